"""Who reads which form of weight file: the table of docs/weights.md, made by writing each form of a small model and reading it.

    python tests/weight_readers.py        writes the page

Sakuga and diffusers (for UMT5 and CLIP transformers) are run. diffusers' `from_single_file` looks the member up by what is
in the file and would fetch its configuration; it is given that of the small model, as a person offline gives one.

Shapes: B batch, C channels, F frames, H W size, T text tokens, D width of the text.
"""

import json
import logging
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, UMT5Config, UMT5EncoderModel

from official_parts import noise, official_vae, ours
from sakuga.core.errors import SakugaError
from sakuga.core.family import FAMILY, ClipVision, Transformer, Vae
from sakuga.nn.clip import load_clip
from sakuga.nn.text import load_text, text_config, transformers_key
from sakuga.nn.transformer import WanTransformer
from sakuga.nn.vae import load_vae
from sakuga.nn.weights import load_transformer

PAGE = Path(__file__).parent.parent / "docs" / "weights.md"
SHAPE = Transformer(48, 64, 4, 2, 16, 16, 32, freq_dim=16)
FACTS = replace(FAMILY["tiny"].text, vocabulary=64, dim=32, ffn_dim=48, heads=2, head_dim=16)
CLIP = ClipVision(64, 96, 4, 3, 28, 14)
VAES = {
    "2.1": replace(FAMILY["wan2.1-t2v-14b"].vae, base_dim=8), "2.2": replace(
        FAMILY["wan2.2-ti2v-5b"].vae, base_dim=8, decoder_base_dim=8, res_blocks=1
    ),
}  # fmt: skip
State = dict[str, Tensor]


# What a file holds


def as_type(kind: torch.dtype) -> Callable[[State], State]:
    return lambda state: {key: tensor.to(kind) for key, tensor in state.items()}


def scaled(state: State, ending: str = "scale_weight") -> tuple[State, State]:
    """(what is stored, what it stands for): the matrices of layers in fp8 with a scale each, the rest in fp16."""
    stored, meant = {}, {}
    for key, tensor in state.items():
        if tensor.dim() == 2 and "block" in key:
            scale = tensor.abs().max() / 448
            stored[key] = (tensor / scale).to(torch.float8_e4m3fn)
            stored[f"{key.removesuffix('weight')}{ending}"] = scale
            meant[key] = stored[key].float() * scale
        else:
            stored[key] = meant[key] = tensor.half()
    stored["scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
    return stored, meant


def prefixed(state: State, prefix: str) -> State:
    return {prefix + key: tensor for key, tensor in state.items()}


def file_of(path: Path, state: Mapping[str, Tensor]) -> Path:
    state = {key: tensor.clone().contiguous() for key, tensor in state.items()}
    torch.save(state, path) if path.suffix == ".pth" else save_file(state, path, {"format": "pt"})
    return path


def shards_of(folder: Path, state: Mapping[str, Tensor], stem: str) -> Path:
    """Two files and their index; every other tensor in each."""
    folder.mkdir(exist_ok=True)
    names = {key: f"{stem}-{n % 2 + 1:05}-of-00002.safetensors" for n, key in enumerate(sorted(state))}
    for name in sorted(set(names.values())):
        file_of(folder / name, {key: state[key] for key in state if names[key] == name})
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    return folder


# Readers


def verdict(read: Callable[[], Tensor], wanted: Tensor) -> str:
    """`yes`: the same output to 1e-4 of its largest value; `wrong`: another and no word of it; `no`: an error."""
    try:
        found = read()
    except (SakugaError, OSError, ValueError, KeyError, RuntimeError, AttributeError, TypeError, NotImplementedError):
        return "no"
    return "yes" if (found - wanted).abs().max() <= 1e-4 * wanted.abs().max() else "wrong"


def velocity(model: Any) -> Tensor:
    x_BCFHW, text_BTD = noise(1, 16, 2, 4, 6), noise(1, 5, SHAPE.text_dim, seed=2)
    out = model(x_BCFHW, torch.tensor([900.0]), text_BTD)
    return out[0] if isinstance(out, tuple) else getattr(out, "sample", out)


@torch.no_grad()
def transformers_rows(folder: Path) -> list[tuple[str, ...]]:
    model = ours(SHAPE)
    state = dict(model.state_dict())
    theirs = WanTransformer3DModel(
        num_attention_heads=SHAPE.heads, attention_head_dim=SHAPE.dim // SHAPE.heads, in_channels=16, out_channels=16,
        text_dim=SHAPE.text_dim, freq_dim=SHAPE.freq_dim, ffn_dim=SHAPE.ffn_dim, num_layers=SHAPE.layers,
    )  # fmt: skip
    theirs.load_state_dict(convert_wan_transformer_to_diffusers({k: v.clone() for k, v in state.items()}))
    config = folder / "diffusers"
    theirs.save_pretrained(config)
    theirs.save_pretrained(folder / "cut", max_shard_size="50KB")
    single, e4m3, e5m2 = folder / "a.safetensors", torch.float8_e4m3fn, torch.float8_e5m2
    rows = []

    def row(title: str, keys: str, path: Path, held: Mapping[str, Tensor] = state) -> None:
        reference = WanTransformer(SHAPE).eval()
        reference.load_state_dict({key: tensor.float() for key, tensor in held.items()})
        wanted = velocity(reference)

        def diffusers() -> Tensor:
            if path.is_dir():
                return velocity(WanTransformer3DModel.from_pretrained(path, torch_dtype=torch.float32))
            kind = WanTransformer3DModel.from_single_file
            return velocity(kind(str(path), config=str(config), torch_dtype=torch.float32))

        ours_ = verdict(lambda: velocity(load_transformer(SHAPE, path, torch.float32)), wanted)
        rows.append((title, keys, ours_, verdict(diffusers, wanted)))

    row("official .safetensors", "`blocks.0.self_attn.q.weight`", file_of(folder / "o.safetensors", state))
    row("official .pth", "the same, pickled", file_of(folder / "o.pth", state))
    row("official folder of shards", "the same, with an index", shards_of(folder / "o", state, "model"))
    for prefix in ("model.diffusion_model.", "diffusion_model."):
        row("ComfyUI single file", f"`{prefix}blocks.0...`", file_of(single, prefixed(state, prefix)))
    for name, kind in (("fp16", torch.float16), ("bf16", torch.bfloat16), ("fp8 e4m3", e4m3), ("fp8 e5m2", e5m2)):
        held = as_type(kind)(state)
        row(name, "official names, every tensor so", file_of(single, held), held)
    for ending in ("scale_weight", "weight_scale"):
        stored, meant = scaled(state, ending)
        row("fp8 scaled", f"matrices in fp8 (e4m3), `.{ending}` beside each", file_of(single, stored), meant)
    row("diffusers folder", "`blocks.0.attn1.to_q.weight`", config)
    row("diffusers folder of shards", "the same, with an index", folder / "cut")
    (folder / "a.gguf").write_bytes(b"GGUF" + bytes(64))
    gguf = verdict(lambda: velocity(load_transformer(SHAPE, folder / "a.gguf")), velocity(model))
    return [*rows, ("GGUF", "of any program", gguf, "not tried")]


@torch.no_grad()
def vae_rows(name: str, facts: Vae, folder: Path) -> list[tuple[str, ...]]:
    expected = official_vae(facts)
    pixels_BCFHW = noise(1, 3, 5, 32, 32).tanh()
    scale = [torch.tensor(facts.mean), 1 / torch.tensor(facts.std)]
    wanted = expected.encode(pixels_BCFHW, scale)
    theirs = AutoencoderKLWan(
        base_dim=facts.base_dim, decoder_base_dim=facts.decoder_base_dim, z_dim=facts.channels,
        dim_mult=list(facts.dim_mult), num_res_blocks=facts.res_blocks, attn_scales=[], dropout=0.0,
        temperal_downsample=list(facts.temporal_downsample), latents_mean=list(facts.mean), latents_std=list(facts.std),
        is_residual=facts.residual, in_channels=facts.pixel_channels, out_channels=facts.pixel_channels,
        patch_size=facts.patch, scale_factor_temporal=4, scale_factor_spatial=facts.stride[1],
    ).eval()  # fmt: skip
    config = folder / f"vae-{name}"
    theirs.save_pretrained(config)

    def latents(model: Any) -> Tensor:
        mean, inverse = (v.view(1, -1, 1, 1, 1) for v in scale)
        return (model.encode(pixels_BCFHW).latent_dist.mode() - mean) * inverse

    def row(title: str, keys: str, path: Path, right: Tensor = wanted) -> tuple[str, ...]:
        def diffusers() -> Tensor:
            if path.is_dir():
                return latents(AutoencoderKLWan.from_pretrained(path))
            return latents(AutoencoderKLWan.from_single_file(str(path), config=str(config)))

        ours_ = verdict(lambda: load_vae(facts, path).encode(pixels_BCFHW), right)
        return f"VAE {name}, {title}", keys, ours_, verdict(diffusers, right)

    state = expected.state_dict()
    return [
        row("official .pth", "`encoder.conv1.weight`", file_of(folder / f"v{name}.pth", state)),
        row("ComfyUI .safetensors", "the same", file_of(folder / f"v{name}.safetensors", state)),
        row("diffusers folder", "`encoder.conv_in.weight`", config, latents(theirs)),
    ]


@torch.no_grad()
def text_rows(folder: Path) -> list[tuple[str, ...]]:
    model = UMT5EncoderModel(UMT5Config(**text_config(FACTS))).eval()
    for number, (_, p) in enumerate(model.named_parameters()):
        p.copy_(noise(*p.shape, seed=number) / (p.shape[1] ** 0.5 if p.dim() > 1 else 4))
    state = dict(model.named_parameters())
    official_state = {official_text_key(key): tensor for key, tensor in state.items()}
    ids = torch.arange(3, 20)[None]
    tokenizer = torch.frombuffer(bytearray(b"pieces"), dtype=torch.uint8)
    model.save_pretrained(folder / "text")
    model.save_pretrained(folder / "text-cut", max_shard_size="20KB")
    rows, single = [], folder / "t.safetensors"

    def row(title: str, keys: str, path: Path, held: Mapping[str, Tensor] = state) -> None:
        reference = UMT5EncoderModel(UMT5Config(**text_config(FACTS))).eval()
        reference.load_state_dict({key: tensor.float() for key, tensor in held.items()}, strict=False)
        wanted = reference(input_ids=ids)[0]

        def theirs() -> Tensor:
            """From a folder; a single file is put into one, beside a config.json."""
            place = path
            if path.is_file():
                place = folder / f"beside-{len(rows)}"
                place.mkdir()
                (place / "config.json").write_bytes((folder / "text" / "config.json").read_bytes())
                name = "pytorch_model.bin" if path.suffix == ".pth" else "model.safetensors"
                (place / name).write_bytes(path.read_bytes())
            return UMT5EncoderModel.from_pretrained(place, dtype=torch.float32)(input_ids=ids)[0]

        def both() -> Tensor:
            whole, layered = (
                load_text(FACTS, path, folder / "tokenizer.json", torch.float32, layered=layered)
                for layered in (False, True)
            )
            found = whole.model(input_ids=ids)[0]
            layered.tokens = lambda prompt: ids[0].tolist()  # type: ignore[method-assign]
            assert torch.equal(layered.encode([""])[0], found[0])
            return found

        rows.append((f"UMT5, {title}", keys, verdict(both, wanted), verdict(theirs, wanted)))

    bf16, fp16 = as_type(torch.bfloat16)(state), as_type(torch.float16)(state)
    row("official .pth, bf16", "`blocks.0.attn.q.weight`", file_of(
        folder / "t.pth", as_type(torch.bfloat16)(official_state)), bf16)  # fmt: skip
    row("official names, .safetensors", "the same", file_of(single, official_state))
    row("ComfyUI fp16", "`encoder.block.0.layer.0.SelfAttention.q.weight`, `spiece_model`", file_of(
        single, fp16 | {"spiece_model": tokenizer}), fp16)  # fmt: skip
    stored, meant = scaled(state)
    row("ComfyUI fp8 scaled", "the same, `.scale_weight` beside matrices", file_of(
        single, stored | {"spiece_model": tokenizer}), meant)  # fmt: skip
    row("transformers folder", "the same without `spiece_model`", folder / "text")
    row("transformers folder of shards", "the same, with an index", folder / "text-cut")
    return rows


def official_text_key(name: str) -> str:
    """The official name of a weight; `transformers_key` goes the other way, and is what it is held against."""
    parts = (
        "token_embedding.", "norm.", *(
            f"blocks.{n}.{part}" for n in range(FACTS.layers)
            for part in ("norm1.", "attn.q.", "attn.k.", "attn.v.", "attn.o.", "pos_embedding.embedding.", "norm2.",
                         "ffn.gate.0.", "ffn.fc1.", "ffn.fc2.")
        ),
    )  # fmt: skip
    return next(f"{part}weight" for part in parts if transformers_key(f"{part}weight") == name)


@torch.no_grad()
def clip_rows(folder: Path) -> list[tuple[str, ...]]:
    config = CLIPVisionConfig(
        hidden_size=CLIP.width, intermediate_size=CLIP.ffn_dim, num_hidden_layers=CLIP.layers, hidden_act="gelu",
        num_attention_heads=CLIP.heads, image_size=CLIP.size, patch_size=CLIP.patch, projection_dim=32,
    )  # fmt: skip
    model = CLIPVisionModelWithProjection(config).eval()
    for number, (_, p) in enumerate(model.named_parameters()):
        p.copy_(noise(*p.shape, seed=number) / (p[0].numel() ** 0.5 if p.dim() > 1 else 4))
    model.save_pretrained(folder / "clip")
    pixels_BCHW = noise(1, 3, CLIP.size, CLIP.size).tanh()
    mean, std = (torch.tensor(v)[:, None, None] for v in (CLIP.mean, CLIP.std))

    def seen(other: Any) -> Tensor:
        return other((pixels_BCHW / 2 + 0.5 - mean) / std, output_hidden_states=True).hidden_states[-2]

    wanted, rows = seen(model), []
    state = {key.removeprefix("vision_model."): tensor for key, tensor in model.state_dict().items()}
    named = {k if k.startswith("visual_projection") else f"vision_model.{k}": v for k, v in state.items()}
    for title, keys, path in (
        ("transformers folder", "`vision_model.embeddings.patch_embedding.weight`", folder / "clip"),
        ("ComfyUI .safetensors", "the same", file_of(folder / "clip_vision_h.safetensors", named)),
    ):

        def theirs(path: Path = path) -> Tensor:
            place = path
            if path.is_file():
                place = folder / "clip-beside"
                place.mkdir()
                (place / "config.json").write_bytes((folder / "clip" / "config.json").read_bytes())
                (place / "model.safetensors").write_bytes(path.read_bytes())
            return seen(CLIPVisionModelWithProjection.from_pretrained(place))

        ours_ = verdict(lambda path=path: load_clip(path, facts=CLIP).encode(pixels_BCHW), wanted)  # type: ignore[misc]
        rows.append((f"CLIP, {title}", keys, ours_, verdict(theirs, wanted)))
    return rows


def rows() -> list[tuple[str, ...]]:
    """(form, keys, Sakuga, diffusers or transformers) of every form."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        from random_model import _tokenizer

        (folder / "tokenizer.json").write_text(_tokenizer(FAMILY["tiny"].text.vocabulary), encoding="utf-8")
        made = transformers_rows(folder)
        for number, facts in VAES.items():
            made += vae_rows(number, facts, folder)
        made += [*text_rows(folder), *clip_rows(folder)]
    logging.disable(logging.NOTSET)
    return made


def page() -> str:
    """docs/weights.md."""
    lines = [
        "# Weight files: who reads what",
        "",
        "Written by `python tests/weight_readers.py`; a test fails when it is out of date.",
        "",
        "Every form is written from a small model and read by Sakuga, and by diffusers (UMT5 and CLIP: by transformers): `yes` is "
        "the output of the weights in the file to 1e-4, `wrong` another output and no error, `no` an error. diffusers is given the "
        "small model's configuration beside single files, transformers a folder with the file and a config.json: no network.",
        "",
        "| form | keys | Sakuga | diffusers, transformers |",
        "|---|---|---|---|",
        *(f"| {form} | {keys} | {ours_} | {theirs} |" for form, keys, ours_, theirs in rows()),
        "",
        "- UMT5 is read whole and layer by layer, with the same result to the bit.",
        "- The official file of CLIP is a pickle with a text encoder besides; it is held against the official code in "
        "`tests/nn/test_clip.py`, as the official files of the other parts are in their tests.",
        "- A .pth is read by a process that can do nothing else; no code in it is run. Weights in int8 and nf4 are refused.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
    sys.stdout.write(f"wrote {PAGE}\n")
