"""The text door: parity with the official encoder and tokenizer, padding, and tokenizers of each kind.

Shapes: T text tokens, D width of the text.
"""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file, save_file

from official import official
from random_model import CAPTIONS, make_tiny
from sakuga.core.errors import SakugaError
from sakuga.core.family import FAMILY
from sakuga.nn.device import _available, _granted, free_memory
from sakuga.nn.text import (
    HEADROOM,
    TIED,
    LayeredDoor,
    TextDoor,
    clean,
    load_text,
    load_tokenizer,
    make_text,
    pad_text,
    text_config,
)

FACTS = FAMILY["tiny"].text
PROMPTS = ["MyStyle. a girl runs along the sea wall", "", "a &amp;amp; b\n\n  c", "a black cat in the rain " * 9]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tiny")
    make_tiny(FAMILY["tiny"], made)
    return made


@pytest.fixture(scope="module")
def tiny(folder: Path) -> TextDoor:
    return load_text(FACTS, folder / "text_encoder", folder / "tokenizer", torch.float32)


def official_encoder() -> Any:
    model = official("modules.t5").T5Encoder(
        FACTS.vocabulary, FACTS.dim, FACTS.heads * FACTS.head_dim, FACTS.ffn_dim, FACTS.heads, FACTS.layers,
        num_buckets=32, shared_pos=False,
    ).eval()  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(noise / p.shape[1] ** 0.5 if p.dim() > 1 else 1 + noise / 4)
            if key.endswith("attn.q.weight"):
                p /= FACTS.head_dim**0.5  # T5 does not scale its scores
    return model


@torch.no_grad()
def test_comfyuis_scaled_fp8(folder: Path, tmp_path: Path) -> None:
    """transformers' names, the large weights in fp8 with a scale each, and the tokenizer as a tensor."""
    weights = load_file(folder / "text_encoder" / "model.safetensors")
    stored, expected = dict(weights), dict(weights)
    for key in [key for key in weights if key.endswith((".q.weight", ".wo.weight", "shared.weight"))]:
        scale = weights[key].abs().max() / 448
        stored[key] = (weights[key] / scale).to(torch.float8_e4m3fn)
        stored[f"{key.removesuffix('weight')}scale_weight"] = scale
        expected[key] = stored[key].float() * scale
    stored |= {"scaled_fp8": torch.zeros(0, dtype=torch.float8_e4m3fn)}
    stored |= {"spiece_model": torch.frombuffer(bytearray(spiece()), dtype=torch.uint8)}
    save_file(stored, tmp_path / "umt5_xxl_fp8_e4m3fn_scaled.safetensors")
    save_file(expected, tmp_path / "plain.safetensors")
    found = load_text(FACTS, tmp_path / "umt5_xxl_fp8_e4m3fn_scaled.safetensors", None, torch.float32)
    plain = load_text(FACTS, tmp_path / "plain.safetensors", folder / "tokenizer", torch.float32)
    ids = torch.arange(3, 20)[None]
    assert torch.equal(found.model(input_ids=ids)[0], plain.model(input_ids=ids)[0])
    assert found.tokens("a girl")[-1] == 1


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@torch.no_grad()
def test_equals_official(folder: Path, tmp_path: Path, suffix: str) -> None:
    expected, file = official_encoder(), tmp_path / f"text{suffix}"
    if suffix == ".pth":
        torch.save(expected.state_dict(), file)
    else:
        save_file(expected.state_dict(), file)
    tokenizer = official("modules.tokenizers").HuggingfaceTokenizer(
        str(folder / "tokenizer"), seq_len=FACTS.length, clean="whitespace"
    )
    ids, mask = tokenizer(PROMPTS, return_mask=True, add_special_tokens=True)
    wanted = [u[:n] for u, n in zip(expected(ids, mask), mask.sum(1).tolist(), strict=True)]

    door = load_text(FACTS, file, folder / "tokenizer", torch.float32)
    found = door.encode(PROMPTS)
    assert [u.shape for u in found] == [u.shape for u in wanted]
    for ours, theirs in zip(found, wanted, strict=True):
        assert theirs.std() > 0.1, "the comparison would be between zeros"
        # Of the largest value: official code differs from itself by as much when the padding is left out.
        assert (ours - theirs).abs().max() <= 1e-6 * theirs.abs().max()


def test_the_company_of_a_prompt_changes_nothing(tiny: TextDoor) -> None:
    assert torch.equal(tiny.encode(PROMPTS)[0], tiny.encode(PROMPTS[:1])[0])


def test_long_prompts_are_cut_and_keep_their_end(tiny: TextDoor) -> None:
    short, long = tiny.tokens("a"), tiny.tokens(PROMPTS[3])
    assert len(long) == FACTS.length
    assert long[-1] == short[-1]


def test_the_tiny_tokenizer_keeps_a_prompt_whole(tiny: TextDoor) -> None:
    assert len(tiny.tokens(PROMPTS[0])) < FACTS.length
    assert len(set(map(tuple, map(tiny.tokens, ("漫画", "アニメ", "é", "E"))))) == 4


def test_padding_is_zeros(tiny: TextDoor) -> None:
    texts = tiny.encode(PROMPTS[:2])
    padded = pad_text(texts, FACTS.length)
    assert padded.shape == (2, FACTS.length, FACTS.dim)
    for row, text in zip(padded, texts, strict=True):
        assert torch.equal(row[: len(text)], text)
        assert row[len(text) :].abs().max() == 0


def test_cleaning() -> None:
    assert clean("  a &amp;amp; b\n\t c ") == "a & b c"


def spiece() -> bytes:
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CAPTIONS), model_writer=made, vocab_size=100, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        minloglevel=2,
    )  # fmt: skip
    return made.getvalue()


def test_the_tokenizer_inside_the_file(folder: Path, tmp_path: Path, tiny: TextDoor) -> None:
    weights, model = load_file(folder / "text_encoder" / "model.safetensors"), spiece()
    weights[TIED] = weights["shared.weight"].clone()
    save_file(
        weights | {"spiece_model": torch.frombuffer(bytearray(model), dtype=torch.uint8)}, tmp_path / "a.safetensors"
    )
    (tmp_path / "spiece.model").write_bytes(model)
    inside = load_text(FACTS, tmp_path / "a.safetensors", None, torch.float32)
    beside = load_text(FACTS, folder / "text_encoder", tmp_path, torch.float32)
    alone = load_tokenizer(tmp_path / "a.safetensors")
    for prompt in PROMPTS:
        ids = inside.tokens(prompt)
        assert ids == beside.tokens(prompt)
        assert len(ids) == FACTS.length or alone(clean(prompt)) == ids
        assert ids[-1] == 1
    assert torch.equal(inside.encode(PROMPTS)[0], beside.encode(PROMPTS)[0])
    assert inside.tokens(PROMPTS[0]) != tiny.tokens(PROMPTS[0])


def test_no_tokenizer(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SakugaError, match="carries no tokenizer"):
        load_text(FACTS, folder / "text_encoder", None)
    with pytest.raises(SakugaError, match="carries no tokenizer"):
        load_tokenizer(folder / "text_encoder" / "model.safetensors")
    with pytest.raises(SakugaError, match="holds no tokenizer"):
        load_text(FACTS, folder / "text_encoder", tmp_path)


# Layer by layer


def official_file(folder: Path, suffix: str) -> Path:
    """Official names, bf16 as the published file has them."""
    file = folder / f"official{suffix}"
    state = {key: tensor.bfloat16() for key, tensor in official_encoder().state_dict().items()}
    torch.save(state, file) if suffix == ".pth" else save_file(state, file)
    return file


def scaled_file(source: Path, folder: Path, dtype: torch.dtype, rows: bool = False) -> Path:
    """transformers' names, every matrix in fp8 with a scale, one for all or one a row."""
    stored = {}
    for key, weight in load_file(source / "text_encoder" / "model.safetensors").items():
        stored[key] = weight.half()
        if weight.dim() == 2:
            most = weight.abs().amax(1) if rows else weight.abs().max()
            scale = most / torch.finfo(dtype).max
            stored[key] = (weight / (scale[:, None] if rows else scale)).to(dtype)
            stored[f"{key.removesuffix('weight')}scale_weight"] = scale
    file = folder / "scaled.safetensors"
    save_file(stored | {"spiece_model": torch.frombuffer(bytearray(spiece()), dtype=torch.uint8)}, file)
    return file


def shards(source: Path, folder: Path) -> Path:
    """A folder of transformers' in two files, layers scattered over both."""
    weights = load_file(source / "text_encoder" / "model.safetensors")
    places = {key: f"model-{n % 2 + 1}-of-2.safetensors" for n, key in enumerate(sorted(weights, reverse=True))}
    for name in set(places.values()):
        save_file({key: weights[key] for key in places if places[key] == name}, folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("form", [".pth", ".safetensors", "folder", "shards", "e4m3", "e5m2", "e4m3 by row"])
def test_layer_by_layer_equals_the_whole_to_the_bit(
    folder: Path, tmp_path: Path, form: str, dtype: torch.dtype
) -> None:
    if form.startswith("."):
        file = official_file(tmp_path, form)
    elif form.startswith("e"):
        kind = torch.float8_e5m2 if "e5m2" in form else torch.float8_e4m3fn
        file = scaled_file(folder, tmp_path, kind, rows="row" in form)
    else:
        file = shards(folder, tmp_path) if form == "shards" else folder / "text_encoder"
    whole, layered = (load_text(FACTS, file, folder / "tokenizer", dtype, layered=layered) for layered in (False, True))
    wanted = whole.encode(PROMPTS)
    found = layered.encode(PROMPTS)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, wanted, strict=True))
    assert all(u.dtype == torch.float32 and u.std() > 0.1 for u in found)
    assert isinstance(layered, LayeredDoor) and not isinstance(whole, LayeredDoor)
    layered._layers.ahead = True  # as for a card
    assert torch.equal(layered.encode(PROMPTS[2:3])[0], wanted[2])  # once more, and alone
    assert layered.encode([]) == []


def test_layers_are_held_one_at_a_time(folder: Path) -> None:
    door = load_text(FACTS, folder / "text_encoder", folder / "tokenizer", torch.float32, layered=True)
    held: list[int] = []
    assert isinstance(door, LayeredDoor)
    blocks = door._layers.blocks

    def watch(layers: int) -> None:
        held.append(sum(not next(block.parameters()).is_meta for block in blocks))

    door.encode(PROMPTS, watch)
    assert held == [1] * (FACTS.layers * len(PROMPTS)) and len(PROMPTS) * door.layers == len(held)
    assert all(p.is_meta for p in blocks.parameters()) and door.together > 1


def test_a_whole_encoder_tells_of_its_layers_too(tiny: TextDoor) -> None:
    told: list[int] = []
    tiny.encode(PROMPTS, told.append)
    assert told == [FACTS.layers] * len(PROMPTS) and tiny.together == 1


@pytest.mark.parametrize(("free", "layered"), [(0, True), (HEADROOM, False), (HEADROOM * 0.99, True)])
def test_what_does_not_fit_well_is_read_by_layers(
    folder: Path, monkeypatch: pytest.MonkeyPatch, free: float, layered: bool
) -> None:
    size = 4 * sum(weight.numel() for weight in make_text(text_config(FACTS)).parameters())
    monkeypatch.setattr("sakuga.nn.text.free_memory", lambda device: round(free * size))
    door = load_text(FACTS, folder / "text_encoder", folder / "tokenizer", torch.float32)
    assert isinstance(door, LayeredDoor) is layered


@pytest.mark.parametrize("layered", [False, True])
def test_what_is_no_encoder_is_told_before_it_is_read(folder: Path, tmp_path: Path, layered: bool) -> None:
    weights = load_file(folder / "text_encoder" / "model.safetensors")
    lost = weights.pop("encoder.block.1.layer.0.SelfAttention.k.weight")
    save_file(weights, tmp_path / "less.safetensors")
    with pytest.raises(SakugaError, match=r"does not fit this model: missing encoder.block.1.layer.0.SelfAttention.k"):
        load_text(FACTS, tmp_path / "less.safetensors", folder / "tokenizer", torch.float32, layered=layered)
    official = {"token_embedding.weight": weights["shared.weight"].clone()}
    save_file(
        weights | official | {"encoder.block.1.layer.0.SelfAttention.k.weight": lost}, tmp_path / "both.safetensors"
    )
    with pytest.raises(
        SakugaError, match=r"both.safetensors holds shared.weight twice; give the file or folder of one"
    ):
        load_text(FACTS, tmp_path / "both.safetensors", folder / "tokenizer", torch.float32, layered=layered)


def test_a_layer_that_is_no_numbers_is_named_when_it_is_read(folder: Path, tmp_path: Path) -> None:
    weights = load_file(folder / "text_encoder" / "model.safetensors")
    weights["encoder.block.1.layer.1.DenseReluDense.wo.weight"][3, 3] = float("nan")
    save_file(weights, tmp_path / "nan.safetensors")
    door = load_text(FACTS, tmp_path / "nan.safetensors", folder / "tokenizer", torch.float32, layered=True)
    with pytest.raises(
        SakugaError, match=r"no numbers \(NaN or infinite\) in encoder.block.1.layer.1.DenseReluDense.wo"
    ):
        door.encode(PROMPTS)
    assert isinstance(door, LayeredDoor)
    assert all(p.is_meta for p in door._layers.blocks.parameters())
    weights["encoder.block.1.layer.1.DenseReluDense.wo.weight"] = torch.zeros(4, 4)
    save_file(weights, tmp_path / "nan.safetensors")
    door = load_text(FACTS, tmp_path / "nan.safetensors", folder / "tokenizer", torch.float32, layered=True)
    with pytest.raises(SakugaError, match=r"encoder.block.1.layer.1.DenseReluDense.wo.weight is \[4, 4\], expected"):
        door.encode(PROMPTS)


def test_free_memory(tmp_path: Path) -> None:
    assert free_memory(torch.device("cpu")) > 0
    (tmp_path / "meminfo").write_text("MemTotal:  9000 kB\nMemAvailable:     2000 kB\n")
    assert (_available(tmp_path / "meminfo"), _available(tmp_path / "none")) == (2000 * 1024, 0)
    for most, left in (("max", sys.maxsize), ("5000", 4000), ("500", 0)):
        (tmp_path / "memory.max").write_text(f"{most}\n")
        (tmp_path / "memory.current").write_text("1000\n")
        assert _granted(tmp_path) == left
    assert _granted(tmp_path / "none") == sys.maxsize
