"""Files of strangers, broken in every way that a machine can think of: each loads, or is one sentence.

SAKUGA_FUZZ sets how many inputs each property is tried with.
"""

import json
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor

from sakuga.core.errors import _UNPRINTABLE, SakugaError
from sakuga.core.family import FAMILY
from sakuga.core.listings import read_listing
from sakuga.core.prompts import MOST_PIXELS, parse_prompts
from sakuga.nn import lora, text
from sakuga.nn.text import EMBEDDED_TOKENIZER, TextDoor, load_text, make_text, text_config
from sakuga.nn.transformer import WanTransformer
from sakuga.nn.vae import load_vae, official_key
from sakuga.nn.weights import read_tensors, weight_files
from sakuga.stages.train.state import load_state, restore, save_state

TINY = FAMILY["tiny"]
CHANNELS = TINY.vae.channels
fuzz = settings(
    max_examples=int(os.environ.get("SAKUGA_FUZZ", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def sentence(call: Callable[[], object]) -> str:
    """What is said of a file, or nothing where it loads. Any other error fails the test."""
    try:
        call()
    except SakugaError as error:
        said = str(error)
        assert not _UNPRINTABLE.search(said) and len(said) < 1000, said[:2000]
        return said
    return ""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "file.safetensors"


# What a damaged file can be

LAYERS = ("blocks.0.self_attn.q", "blocks.1.ffn.2", "blocks.0.norm3", "head.head", "")
KINDS = (
    torch.float32, torch.float32, torch.float32, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e8m0fnu,
    torch.int64, torch.int8, torch.uint16, torch.bool, torch.complex64,
)  # fmt: skip
words = st.text(max_size=8) | st.sampled_from(["9" * 5000, "\x1b[31m", "x" * 5000, "../../x", "\ud800", "[" * 3000])
numbers = st.one_of(st.integers(-3, 70), st.integers(), st.sampled_from([2**31, 2**63, 2**64]))
HUGE = "a number of 5000 digits"
anything = st.recursive(
    st.none() | st.booleans() | st.floats() | numbers | words | st.just(HUGE),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=8,
)


def as_json(value: Any) -> bytes:
    return json.dumps(value).replace(f'"{HUGE}"', "9" * 5000).encode()


@st.composite
def changed(draw: st.DrawFn, whole: Any) -> Any:
    """A JSON value with something in it replaced, taken away or put in."""
    if isinstance(whole, dict) and whole and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(whole)))
        new = dict(whole)
        how = draw(st.sampled_from(["inside", "inside", "away", "in"]))
        if how == "in":
            return new | {draw(words): draw(anything)}
        value = new.pop(key)
        return new if how == "away" else new | {key: draw(changed(value))}
    if isinstance(whole, list) and whole and draw(st.booleans()):
        number = draw(st.integers(0, len(whole) - 1))
        return [*whole[:number], draw(changed(whole[number])), *whole[number + 1 :]]
    return draw(anything)


@st.composite
def scratched(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes with some of them replaced, taken away or put in."""
    new = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(new)) | st.integers(0, min(len(new), 300)))
        cut = draw(st.sampled_from([0, 1, 1, 1, 2, 8, len(new)]))
        new[at : at + cut] = draw(st.binary(max_size=4) | st.sampled_from([b'"', b"}", b"]", b"9", b",", b"\\", b"-"]))
    return bytes(new)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A .safetensors with its bytes scratched, or a header that says something else."""
    if draw(st.booleans()):
        return draw(scratched(whole))
    length = struct.unpack("<Q", whole[:8])[0]
    header = as_json(draw(changed(json.loads(whole[8 : 8 + length]))))
    told = len(header) if draw(st.integers(0, 9)) else draw(st.integers(0, 2**64 - 1))
    return struct.pack("<Q", told) + header + whole[8 + length :]


@st.composite
def odd_tensor(draw: st.DrawFn, shape: tuple[int, ...]) -> Tensor:
    """A tensor of this shape, or nearly."""
    if not draw(st.integers(0, 3)):
        shape = tuple(draw(st.lists(st.integers(0, 5), max_size=3)))
    value = draw(st.sampled_from([0.0, 1.0, 1.0, 1.0, -1.0, 1e30, float("inf"), float("nan")]))
    return torch.full(shape, value).to(draw(st.sampled_from(KINDS)))


@st.composite
def odd_table(draw: st.DrawFn, plain: dict[str, Tensor]) -> dict[str, Tensor]:
    """A sound file's tensors with up to three of them odd, gone, or under another name."""
    table = dict(plain)
    for key in draw(st.lists(st.sampled_from(sorted(plain)), min_size=1, max_size=3, unique=True)):
        how = draw(st.sampled_from(["odd", "odd", "odd", "gone", "renamed"]))
        tensor = table.pop(key) if how == "gone" else draw(odd_tensor(tuple(plain[key].shape)))
        if how != "gone":
            table[draw(words.filter(str.isascii)) + key if how == "renamed" else key] = tensor
    return table


# LoRA


@pytest.fixture(scope="module")
def transformer() -> WanTransformer:
    return WanTransformer(TINY.transformer)


def lora_tensors() -> dict[str, Tensor]:
    wide = TINY.transformer.dim
    made = {}
    for layer in ("blocks.0.self_attn.q", "blocks.1.cross_attn.k"):
        made |= {f"diffusion_model.{layer}.lora_A.weight": torch.ones(2, wide)}
        made |= {f"diffusion_model.{layer}.lora_B.weight": torch.ones(wide, 2)}
        made |= {f"diffusion_model.{layer}.alpha": torch.tensor(2.0)}
    made["lora_unet_blocks_0_self_attn_k.lora_down.weight"] = torch.ones(3, wide)
    made["lora_unet_blocks_0_self_attn_k.lora_up.weight"] = torch.ones(wide, 3)
    return made | {"transformer.blocks.0.attn1.to_q.lora_A.weight": torch.ones(2, wide)}


LORA = lora_tensors()


def use_lora(path: Path, model: WanTransformer) -> None:
    """As `generate` does: read, put on, one number of its effect, taken off."""
    file = lora.load_lora(path)
    assert all(name.isprintable() for name in file.unused)
    applied = lora.apply(model, file)
    try:
        for layer in applied.lora.layers.values():
            assert torch.isfinite(torch.tensor(layer.scale)) and layer.A.isfinite().all() and layer.B.isfinite().all()
    finally:
        applied.lora.remove(model)


def test_a_sound_lora_loads(place: Path, transformer: WanTransformer) -> None:
    place.write_bytes(save(LORA))
    assert sentence(lambda: use_lora(place, transformer)) == ""


@fuzz
@given(content=damaged(save(LORA, {"ss_network_dim": "2", "note": "風"})))
def test_a_damaged_lora(place: Path, transformer: WanTransformer, content: bytes) -> None:
    place.write_bytes(content)
    sentence(lambda: use_lora(place, transformer))


@fuzz
@given(
    table=odd_table(LORA), notes=st.dictionaries(words.filter(lambda word: "\ud800" not in word), st.text(max_size=9))
)
def test_a_lora_of_odd_tensors(
    place: Path, transformer: WanTransformer, table: dict[str, Tensor], notes: dict[str, str]
) -> None:
    place.write_bytes(save(table, notes))
    sentence(lambda: use_lora(place, transformer))


NO_NUMBERS = "is not made of numbers that a LoRA can have; the file is damaged or quantised, take another"


@pytest.mark.parametrize(
    ("part", "tensor"),
    [
        ("alpha", torch.ones(2)),
        ("alpha", torch.tensor(float("nan"))),
        ("alpha", torch.tensor(1j)),
        ("lora_A.weight", torch.ones(2, TINY.transformer.dim, dtype=torch.int8)),
        ("lora_A.weight", torch.full((2, TINY.transformer.dim), float("inf"))),
        ("lora_A.weight", torch.ones(2, 0)),
    ],
)
def test_what_cannot_be_numbers_of_a_lora(place: Path, part: str, tensor: Tensor) -> None:
    place.write_bytes(save(LORA | {f"diffusion_model.blocks.1.cross_attn.k.{part}": tensor}))
    assert sentence(lambda: lora.load_lora(place)) == f"{place}: blocks.1.cross_attn.k {NO_NUMBERS}"


def test_a_lora_of_rank_nothing(place: Path) -> None:
    halves = {"blocks.0.ffn.0.lora_A.weight": torch.ones(0, 8), "blocks.0.ffn.0.lora_B.weight": torch.ones(8, 0)}
    place.write_bytes(save(halves))
    assert sentence(lambda: lora.load_lora(place)) == f"{place}: blocks.0.ffn.0 {NO_NUMBERS}"


def test_an_alpha_without_a_point_is_a_number(place: Path) -> None:
    place.write_bytes(save(LORA | {"diffusion_model.blocks.1.cross_attn.k.alpha": torch.tensor(4)}))
    assert lora.load_lora(place).tensors["blocks.1.cross_attn.k"].alpha == 4.0


def test_names_of_a_stranger_do_not_reach_the_terminal_raw(place: Path) -> None:
    place.write_bytes(save({"\x1b[31mred\u202e" + "x" * 500: torch.ones(1)}))
    assert lora.load_lora(place).unused == ["?[31mred?" + "x" * 91 + "..."]


# The state of a run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, transformer: WanTransformer) -> Iterator[Callable[[Path], None]]:
    """Takes a state up and makes a step from it. Its base is a state after one step."""
    adapters = lora.inject(transformer, 1, 1, 0, include=["self_attn.q"])
    optimizer = torch.optim.AdamW(adapters.parameters())

    def step() -> None:
        for parameter in adapters.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()

    def take_up(path: Path) -> None:
        restore(load_state(path), adapters, optimizer)
        step()

    step()
    base = tmp_path_factory.mktemp("state") / "state.safetensors"
    save_state(base, 1, adapters, optimizer)
    take_up.base = base.read_bytes()  # type: ignore[attr-defined]
    yield take_up
    adapters.remove(transformer)


def test_a_sound_state_loads(place: Path, trained: Any) -> None:
    place.write_bytes(trained.base)
    assert sentence(lambda: trained(place)) == ""
    assert load_state(place).step == 1


@fuzz
@given(data=st.data())
def test_a_damaged_state(place: Path, trained: Any, data: st.DataObject) -> None:
    place.write_bytes(data.draw(damaged(trained.base)))
    sentence(lambda: trained(place))


@fuzz
@given(data=st.data())
def test_a_state_of_odd_tensors(place: Path, trained: Any, data: st.DataObject) -> None:
    tensors = load(trained.base)
    length = struct.unpack("<Q", trained.base[:8])[0]
    notes = json.loads(trained.base[8 : 8 + length])["__metadata__"]
    told = json.dumps(data.draw(st.just(json.loads(notes["state"])) | changed(json.loads(notes["state"]))))
    odd = data.draw(odd_table(tensors) | st.just(tensors))
    place.write_bytes(save(odd, notes | {"state": told}))
    same = told == notes["state"] and odd.keys() == tensors.keys() and all(map(alike, odd.values(), tensors.values()))
    assert sentence(lambda: trained(place)).startswith("" if same else f"{place} is not the state of a run (")


def alike(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


# Weights of a model


@fuzz
@given(content=damaged(save({"a": torch.ones(4, 8), "b": torch.ones(3).bfloat16()}, {"format": "pt"})))
def test_damaged_weights(place: Path, content: bytes) -> None:
    place.write_bytes(content)
    held: list[Tensor] = []
    sentence(lambda: held.extend(tensor for _, tensor in read_tensors(place)))
    assert sum(tensor.nbytes for tensor in held) <= len(content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model in two parts with its index, and a file outside that is none of it."""
    made = tmp_path / "model"
    made.mkdir()
    for name in ("one.safetensors", "two.safetensors", "../outside.safetensors"):
        (made / name).write_bytes(save({name: torch.ones(1)}))
    return made


INDEX = {"metadata": {"total_size": 8}, "weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}


@pytest.mark.parametrize(
    "name",
    [
        "../outside.safetensors", "../../outside.safetensors", "..\\outside.safetensors", "/outside.safetensors",
        "C:outside.safetensors", "x/../../outside.safetensors", "./one.safetensors", "one.safetensors\n", "..", "", "one.pth",
        "\x00.safetensors", "\ud800.safetensors", "x" * 300 + ".safetensors", None, 3, ["one.safetensors"],
    ],
)  # fmt: skip
def test_an_index_names_only_what_is_beside_it(folder: Path, name: object) -> None:
    index = folder / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": name}}))
    assert sentence(lambda: weight_files(folder)) == (
        f"{index} does not say which files beside it hold the weights; download the model again"
    )
    index.write_text(json.dumps(INDEX))
    assert [file.name for file in weight_files(folder)] == ["one.safetensors", "two.safetensors"]


@fuzz
@given(content=changed(INDEX).map(as_json) | scratched(json.dumps(INDEX).encode()))
def test_a_damaged_index(folder: Path, content: bytes) -> None:
    (folder / "m.safetensors.index.json").write_bytes(content)
    files: list[Path] = []
    sentence(lambda: files.extend(weight_files(folder)))
    assert all(file.parent == folder for file in files)


def test_a_key_of_any_length_has_a_name() -> None:
    for facts in (FAMILY[name].vae for name in ("tiny", "wan2.1-t2v-14b", "wan2.2-ti2v-5b")):
        for key in ("decoder.upsamples." + "9" * 5000 + ".x", "encoder.downsamples.1.downsamples." + "9" * 5000 + "."):
            assert "9" * 5000 in official_key(key, facts)


# What stands beside the weights


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vae")


CONFIG = {"_class_name": "AutoencoderKLWan", "latents_mean": [0.0] * CHANNELS, "latents_std": [1.0] * CHANNELS}


@fuzz
@given(content=changed(CONFIG).map(as_json) | scratched(json.dumps(CONFIG).encode()))
def test_a_damaged_config_of_a_vae(vae: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sakuga.nn.vae.fill", lambda *given: None)  # its weights are whole
    monkeypatch.setattr("sakuga.nn.vae.VaeNetwork.channels_last", lambda network: None)
    monkeypatch.setattr("sakuga.nn.vae.VaeDoor.__init__", _statistics_of)
    (vae / "config.json").write_bytes(content)
    sentence(lambda: load_vae(TINY.vae, vae))


def _statistics_of(door: Any, network: Any, mean: list[float], std: list[float]) -> None:
    for values in (mean, std):
        assert len(values) == CHANNELS and torch.tensor(values).isfinite().all()
    assert (1 / torch.tensor(std)).isfinite().all()


@pytest.mark.parametrize("content", ["", "[1]", "null", "{", "[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
def test_a_config_that_is_no_object(vae: Path, content: str) -> None:
    config = vae / "config.json"
    config.write_text(content)
    assert sentence(lambda: load_vae(TINY.vae, vae)) == f"{config} is not a JSON object; download the model again"


@pytest.mark.parametrize(
    ("key", "value"),
    [("latents_std", [0.0] * 32), ("latents_mean", [1.0] * 31), ("latents_std", "1"), ("latents_mean", [10**400] * 32)],
)
def test_statistics_that_cannot_be(vae: Path, key: str, value: object) -> None:
    config = vae / "config.json"
    config.write_text(json.dumps(CONFIG | {key: value}))
    assert sentence(lambda: load_vae(TINY.vae, vae)) == (
        f"{config}: {key} is not a number for each of the 32 channels; download it again"
    )


class Encoder(torch.nn.Module):
    """As much of a text encoder as the door asks for tokens."""

    class config:
        vocab_size = TINY.text.vocabulary


def tokens_of(path: Path) -> list[int]:
    return TextDoor(Encoder(), text.load_tokenizer(path), TINY.text.length).tokens("a girl runs, 漫画 é")


@pytest.fixture(scope="module")
def tokenizer() -> bytes:
    from random_model import _tokenizer

    return _tokenizer(TINY.text.vocabulary).encode()


@fuzz
@given(data=st.data())
def test_a_damaged_tokenizer(place: Path, tokenizer: bytes, data: st.DataObject) -> None:
    file = place.with_name("tokenizer.json")
    file.write_bytes(data.draw(changed(json.loads(tokenizer)).map(as_json) | scratched(tokenizer)))
    sentence(lambda: tokens_of(file))


def test_a_tokenizer_that_panics_is_a_sentence(place: Path, tokenizer: bytes) -> None:
    whole = json.loads(tokenizer)
    whole["post_processor"]["single"][1] = {"SpecialToken": {"id": "gone", "type_id": 0}}
    whole["post_processor"]["special_tokens"] = {}
    file = place.with_name("tokenizer.json")
    file.write_text(json.dumps(whole))
    assert sentence(lambda: tokens_of(file)).startswith(f"{file} holds no tokenizer that can be used (")


def test_tokens_that_the_encoder_does_not_know(place: Path, tokenizer: bytes) -> None:
    whole = json.loads(tokenizer)
    vocabulary = whole["model"]["vocab"]
    whole["model"]["vocab"] = {piece: number + 10_000 for piece, number in vocabulary.items()}
    file = place.with_name("tokenizer.json")
    file.write_text(json.dumps(whole))
    said = sentence(lambda: tokens_of(file))
    assert said.startswith("the tokenizer gives tokens that the text encoder does not know ([100")
    assert said.endswith("of 512); take the tokenizer that belongs to the encoder")


@fuzz
@given(data=st.data())
def test_a_damaged_sentencepiece(place: Path, spiece: bytes, data: st.DataObject) -> None:
    file = place.with_name("spiece.model")
    file.write_bytes(data.draw(scratched(spiece)))
    sentence(lambda: tokens_of(file))


@pytest.fixture(scope="module")
def spiece() -> bytes:
    from test_text import spiece as made

    return made()


def test_a_tokenizer_in_the_weights_that_is_no_bytes(tmp_path: Path) -> None:
    network = make_text(text_config(TINY.text))
    whole = {key: torch.zeros(weight.shape) for key, weight in network.named_parameters()}
    (tmp_path / "text.safetensors").write_bytes(save(whole | {EMBEDDED_TOKENIZER: torch.ones(4).bfloat16()}))
    assert "does not fit this model: not expected spiece_model" in sentence(
        lambda: load_text(TINY.text, tmp_path / "text.safetensors", None)
    )


# Words


LINES = (
    "a cat",
    " ",
    "\n",
    "--w",
    "--h 64",
    "--f 9",
    "--d",
    "--s 20",
    "--l 5",
    "--fs nan",
    "--n",
    "--",
    "#",
    "9" * 5000,
)


@fuzz
@given(
    whole=st.lists(st.sampled_from(LINES) | st.text(max_size=6) | numbers.map(as_json).map(bytes.decode)).map(" ".join)
)
def test_prompt_files(whole: str) -> None:
    found: list[Any] = []
    sentence(lambda: found.extend(parse_prompts(whole)))
    for line in found:
        assert line.text and (line.width or 1) <= MOST_PIXELS and (line.steps or 1) <= 1000


LISTING = {"a.mp4": ["one", "two"], "b.png": "three"}
ENTRIES = [{"file_name": "a.mp4", "caption": "one"}, {"image_path": "b.png", "text": ["two"]}, {"prompt": "x"}]


@fuzz
@example(content=b'{"\\ud800.mp4": "a \\ud800 cat"}')
@example(content=b"[" * 100_000)
@given(content=changed(LISTING).map(as_json) | scratched(json.dumps(LISTING).encode()) | st.binary(max_size=50))
def test_captions_json(place: Path, content: bytes) -> None:
    _listing(place.with_name("captions.json"), content)


@fuzz
@given(content=st.lists(changed(ENTRIES[0]) | changed(ENTRIES[1]) | anything, max_size=4), scratch=st.data())
def test_captions_jsonl(place: Path, content: list[Any], scratch: st.DataObject) -> None:
    whole = b"\n".join(map(as_json, [*ENTRIES, *content]))
    _listing(place.with_name("train.jsonl"), scratch.draw(st.just(whole) | scratched(whole)))


def _listing(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    found = read_listing(path)
    for name, words in found.captions.items():
        assert words.strip() and (name + words).encode()
    assert found.further >= 0 and all(len(fault) < 1000 for fault in found.faults)
