"""Reading weight files in every form people have them, refusing those that do not fit, and making tiny members."""

import json
import struct
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer, UMT5EncoderModel

from random_model import make_tiny
from sakuga.core.errors import SakugaError
from sakuga.core.family import FAMILY, Transformer
from sakuga.nn.transformer import WanTransformer, is_island
from sakuga.nn.weights import fill, load_transformer, read_tensors

SHAPE = Transformer(48, 64, 2, 2, 16, 16, 24, freq_dim=32)


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(v.shape, generator=generator) for k, v in WanTransformer(SHAPE).state_dict().items()}


def whole(weights: dict[str, Tensor], path: Path, prefix: str = "") -> Path:
    save_file({prefix + k: v for k, v in weights.items()}, path)
    return path


def pickled(weights: dict[str, Tensor], path: Path) -> Path:
    torch.save(weights, path)
    return path


def sharded(weights: dict[str, Tensor], folder: Path, index: bool = True) -> Path:
    folder.mkdir()
    place = {key: f"model-0000{n % 2 + 1}-of-00002.safetensors" for n, key in enumerate(weights)}
    for name in set(place.values()):
        save_file({k: v for k, v in weights.items() if place[k] == name}, folder / name)
    if index:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": place}))
        save_file({"other": torch.zeros(1)}, folder / "another_model.safetensors")  # not named, so not read
    return folder


def test_every_form_gives_the_same_model(weights: dict[str, Tensor], tmp_path: Path) -> None:
    paths = [
        whole(weights, tmp_path / "a.safetensors"),
        whole(weights, tmp_path / "b.safetensors", "model.diffusion_model."),
        whole(weights, tmp_path / "c.safetensors", "diffusion_model."),
        pickled(weights, tmp_path / "d.pth"),
        sharded(weights, tmp_path / "indexed"),
        sharded(weights, tmp_path / "bare", index=False),
    ]
    for path in paths:
        model = load_transformer(SHAPE, path, torch.float32)
        assert not model.training
        found = dict(model.named_parameters())
        assert found.keys() == weights.keys()
        assert all(torch.equal(p, weights[k]) and not p.requires_grad for k, p in found.items())


def test_islands_are_fp32_and_the_rest_is_not(weights: dict[str, Tensor], tmp_path: Path) -> None:
    half = {k: v.half() for k, v in weights.items()}
    model = load_transformer(SHAPE, whole(half, tmp_path / "a.safetensors"))
    kinds = {k: p.dtype for k, p in model.named_parameters()}
    assert kinds == {k: torch.float32 if is_island(k) else torch.bfloat16 for k in kinds}
    assert len(set(kinds.values())) == 2


def test_tensors_go_one_by_one(weights: dict[str, Tensor]) -> None:
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def tensors() -> Iterator[tuple[str, Tensor]]:
        nonlocal most
        for key in weights:
            tensor = weights[key].double()
            alive.append(weakref.ref(tensor))
            most = max(most, sum(ref() is not None for ref in alive))
            yield key, tensor

    with torch.device("meta"):
        model = WanTransformer(SHAPE)
    fill(model, tensors(), Path("file"), lambda _: torch.float32, "cpu")
    assert most <= 2


FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)
MOST = {torch.float8_e4m3fn: 448.0, torch.float8_e5m2: 57344.0}  # the largest number of each


def in_fp8(weights: dict[str, Tensor], kind: torch.dtype) -> dict[str, Tensor]:
    """Plain fp8: every number as it is."""
    return {key: tensor.to(kind) for key, tensor in weights.items()}


@pytest.mark.parametrize("kind", FP8, ids=["e4m3", "e5m2"])
def test_plain_fp8_is_read_number_by_number(kind: torch.dtype, weights: dict[str, Tensor], tmp_path: Path) -> None:
    stored = in_fp8(weights, kind)
    for target in (torch.float32, torch.bfloat16):  # both hold every number of fp8
        model = load_transformer(SHAPE, whole(stored, tmp_path / "a.safetensors"), target)
        assert all(torch.equal(p.float(), stored[k].float()) for k, p in model.named_parameters())


@pytest.mark.parametrize(
    ("kind", "ending", "suffix"),
    [
        (FP8[0], "scale_weight", ".safetensors"),
        (FP8[0], "weight_scale", ".safetensors"),
        (FP8[1], "scale_weight", ".safetensors"),
        (FP8[0], "scale_weight", ".pth"),
    ],
)
def test_scaled_fp8_is_multiplied_out(
    kind: torch.dtype, ending: str, suffix: str, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    """As ComfyUI stores it: the large weights in fp8, a scale beside each, and notes for those who compute in fp8."""
    stored, expected = dict(weights), dict(weights)
    for key in [key for key in weights if key.endswith(("attn.q.weight", "ffn.0.weight"))]:
        scale = weights[key].abs().max() / MOST[kind]
        stored[key] = (weights[key] / scale).to(kind)
        layer = key.removesuffix(".weight")
        stored[f"{layer}.{ending}"] = scale.reshape(()) if "q" in key else scale.reshape(1)
        stored[f"{layer}.scale_input"] = torch.ones(1)
        stored[f"{layer}.comfy_quant"] = torch.zeros(4, dtype=torch.uint8)
        expected[key] = stored[key].float() * scale
    stored["scaled_fp8"] = torch.zeros(2, dtype=kind)
    path = (whole if suffix == ".safetensors" else pickled)(
        {f"model.diffusion_model.{key}": tensor for key, tensor in stored.items()}, tmp_path / f"a{suffix}"
    )
    model = load_transformer(SHAPE, path, torch.float32)
    assert all(torch.equal(p, expected[k]) for k, p in model.named_parameters())
    assert (expected["blocks.0.ffn.0.weight"] - weights["blocks.0.ffn.0.weight"]).abs().max() < 0.3
    half = load_transformer(SHAPE, path)
    assert torch.equal(half.blocks[0].ffn[0].weight, expected["blocks.0.ffn.0.weight"].bfloat16())


def test_a_scale_for_each_row(weights: dict[str, Tensor], tmp_path: Path) -> None:
    key, stored = "blocks.1.ffn.2.weight", dict(weights)
    scale = weights[key].abs().amax(1, keepdim=True) / 448
    stored |= {key: (weights[key] / scale).to(FP8[0]), "blocks.1.ffn.2.weight_scale": scale}
    model = load_transformer(SHAPE, whole(stored, tmp_path / "a.safetensors"), torch.float32)
    assert torch.equal(model.blocks[1].ffn[2].weight, stored[key].float() * scale)


def test_diffusers_folders(tmp_path: Path) -> None:
    """With the image branch, whose names are the most; diffusers' own conversion says what is what."""
    shape = replace(SHAPE, in_channels=36, clip_branch=True)
    generator = torch.Generator().manual_seed(0)
    weights = {k: torch.randn(v.shape, generator=generator) for k, v in WanTransformer(shape).state_dict().items()}
    theirs = convert_wan_transformer_to_diffusers({k: v.clone() for k, v in weights.items()})
    assert not [
        key for key in theirs if key in weights and not key.startswith("patch_embedding.") and "norm_" not in key
    ]
    folder = tmp_path / "transformer"
    folder.mkdir()
    whole(theirs, folder / "diffusion_pytorch_model.safetensors")
    model = load_transformer(shape, folder, torch.float32)
    assert all(torch.equal(p, weights[k]) for k, p in model.named_parameters())


def int8(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return weights | {"blocks.0.ffn.0.weight": weights["blocks.0.ffn.0.weight"].to(torch.int8)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {k: v for k, v in w.items() if "ffn" not in k}, r"missing blocks\.0\.ffn\.0\.bias, .* and 5 more"),
        (lambda w: w | {"vace.weight": torch.zeros(1)}, r"not expected vace\.weight"),
        (lambda w: w | {"patch_embedding.weight": torch.zeros(48, 36, 1, 2, 2)}, r"\[48, 36, .*expected \[48, 16, "),
        (
            lambda w: w | {"blocks.0.ffn.0.scale_weight": torch.ones(3)},
            r"holds a scale of blocks\.0\.ffn\.0\.weight that Sakuga cannot read \(\[3\]\); use the fp16",
        ),
        (lambda w: w | {"blocks.9.ffn.0.scale_weight": torch.ones(1)}, r"not expected blocks\.9\.ffn\.0\.scale_weight"),
        (int8, r"quantised weights \(blocks\.0\.ffn\.0\.weight, int8\)"),
        (
            lambda w: int8(w) | {"blocks.0.ffn.0.weight_scale": torch.ones(1)},
            r"quantised weights \(blocks\.0\.ffn\.0\.weight, int8\)",
        ),
        (
            lambda w: w | {"head.modulation": torch.full((1, 2, 48), torch.nan)},
            r"holds what are no numbers \(NaN or infinite\) in head\.modulation as float32; download it again, or take",
        ),
        (
            lambda w: w | {"blocks.1.ffn.0.bias": torch.full((64,), torch.inf)},
            r"no numbers \(NaN or infinite\) in blocks\.1\.ffn\.0\.bias as bfloat16; download",
        ),
        (lambda w: w | {"model.diffusion_model.head.modulation": w["head.modulation"].clone()}, "twice"),
    ],
    ids=["missing", "unexpected", "shape", "scale", "lone scale", "int8", "int8 scaled", "nan", "infinite", "twice"],
)
def test_what_does_not_fit_is_named(change, message: str, weights: dict[str, Tensor], tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = whole(change(weights), tmp_path / "film.safetensors")
    with pytest.raises(SakugaError, match=message) as caught:
        load_transformer(SHAPE, path)
    assert str(path) in str(caught.value)


def test_files_that_cannot_be_read(weights: dict[str, Tensor], tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"not weights at all")
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    torch.save({"state_dict": weights}, tmp_path / "c.pth")
    (tmp_path / "empty").mkdir()
    gone = sharded(weights, tmp_path / "gone")
    (gone / "model-00002-of-00002.safetensors").unlink()
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    expected = {
        "a.safetensors": "cannot be read",
        "a.gguf": "not a kind of file",
        "c.pth": "not a plain table",
        "empty": r"no \.safetensors",
        "nowhere": "does not exist",
        "gone": "00002.*is missing",
        "link": "is a link to a file that is missing; download the model again",
    }
    for name, message in expected.items():
        with pytest.raises(SakugaError, match=message):
            load_transformer(SHAPE, tmp_path / name)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", ["tiny", "tiny-experts"])
def test_a_tiny_member_is_a_function_of_its_seed(name: str, tmp_path: Path) -> None:
    member = FAMILY[name]
    state = torch.random.get_rng_state()
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        make_tiny(member, tmp_path / folder, seed)
    assert torch.equal(torch.random.get_rng_state(), state)
    a, b, c = (contents(tmp_path / folder) for folder in "abc")
    assert a == b
    assert {k for k in a if a[k] != c[k]} == {k for k in a if k.endswith(".safetensors")} | {"vae/config.json"}
    models = [load_file(tmp_path / "a" / f.names[0]) for f in member.files if f.names[0].endswith(".safetensors")]
    assert len(models) == len(member.experts)
    assert all((tmp_path / "a" / f.names[0]).exists() for f in member.files)
    if len(models) == 2:
        assert not torch.equal(models[0]["head.head.weight"], models[1]["head.head.weight"])


def test_files_that_are_there_are_left_alone(tmp_path: Path) -> None:
    make_tiny(FAMILY["tiny"], tmp_path)
    before = contents(tmp_path)
    (tmp_path / "transformer.safetensors").write_bytes(b"mine")
    (tmp_path / "text_encoder" / "model.safetensors").unlink()
    make_tiny(FAMILY["tiny"], tmp_path, seed=0)
    assert contents(tmp_path) == before | {"transformer.safetensors": b"mine"}


def test_a_real_member_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(SakugaError, match=r"wan2\.1-t2v-14b cannot be made"):
        make_tiny(FAMILY["wan2.1-t2v-14b"], tmp_path)


@torch.no_grad()
def test_a_tiny_transformer_answers_to_all_its_inputs(tmp_path: Path) -> None:
    member = FAMILY["tiny"]
    make_tiny(member, tmp_path)
    model = load_transformer(member.transformer, tmp_path / "transformer.safetensors", torch.float32)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 1, *member.latent_shape(96, 64, 9), generator=generator)
    a, b = torch.randn(2, 1, member.text.length, member.text.dim, generator=generator)
    t = torch.tensor([900.0])
    velocity = model(x, t, a)
    assert 0.3 < velocity.std() < 3
    for other in (model(y, t, a), model(x, t / 2, a), model(x, t, b)):
        assert (other - velocity).std() > 0.1
    assert all((p == 1).all() for k, p in model.named_parameters() if "norm" in k and k.endswith("weight"))


def test_other_readers_take_the_tiny_files(tmp_path: Path) -> None:
    make_tiny(FAMILY["tiny"], tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tokenizer", local_files_only=True)
    assert tokenizer("a girl")["input_ids"][-1] == tokenizer.eos_token_id
    _, report = UMT5EncoderModel.from_pretrained(tmp_path / "text_encoder", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]


def test_what_is_said_while_a_file_changes(weights: dict[str, Tensor], tmp_path: Path) -> None:
    path = whole(weights, tmp_path / "a.safetensors")
    tensors = read_tensors(path)
    next(tensors)
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - 8)
    with pytest.raises(SakugaError, match="became shorter while it was read; let its download end, then try again"):
        list(tensors)
    tensors = read_tensors(whole(weights, path))
    next(tensors)
    path.unlink()
    with pytest.raises(SakugaError, match=r"cannot be read: .*; look whether it is there and yours"):
        list(tensors)


def test_types_that_no_weight_has_here(tmp_path: Path) -> None:
    text = json.dumps({"a": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(2))
    with pytest.raises(SakugaError, match=r"holds quantised weights \(a, F4\), which Sakuga cannot read yet"):
        list(read_tensors(tmp_path / "a.safetensors"))


STREAM = """
import resource, sys, torch
from pathlib import Path
from sakuga.nn.weights import read_weights
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _, tensor in read_weights(Path(sys.argv[1])):
    tensor.to(torch.bfloat16, copy=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A file with a hole where the weights stand takes no room on the disk, and reads as zeros."""
    pytest.importorskip("resource")
    rows, count = 4096, 32
    size = rows * rows * 2
    header = {
        f"w{n}": {"dtype": "BF16", "shape": [rows, rows], "data_offsets": [n * size, (n + 1) * size]}
        for n in range(count)
    }
    text, path = json.dumps(header).encode(), tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + count * size)
    told = subprocess.run([sys.executable, "-c", STREAM, str(path)], check=True, capture_output=True, text=True).stdout
    assert int(told) * 1024 < 6 * size < count * size / 5
