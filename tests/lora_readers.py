"""Who reads which form of LoRA file: the table of docs/loras.md, made by trying each form on a small model.

    python tests/lora_readers.py        writes the page

Sakuga and diffusers are run. ComfyUI is not a library: its rules are restated from what it does with a file, in
`comfy_reads`: every weight `diffusion_model.X.weight` of the model is known as `diffusion_model.X` and as `lora_unet_X` with
underscores, any other parameter by its own name; what bears another name is left out with a line in the log.
"""

import logging
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from diffusers_pair import diffusers_with_lora
from sakuga.core.errors import SakugaError
from sakuga.core.family import SIZE_TINY
from sakuga.nn import lora
from sakuga.nn.lora_names import TARGETS, diffusers_name
from sakuga.nn.transformer import WanTransformer

SHAPE = replace(SIZE_TINY, dim=64, ffn_dim=96, heads=2, layers=2, text_dim=24, freq_dim=32)
PAGE = Path(__file__).parent.parent / "docs" / "loras.md"
State = dict[str, Tensor]
RANK, ALPHA = 4, 8.0
CLOSE = 1e-5
LAYERS = [f"blocks.{n}.{target}" for n in range(SHAPE.layers) for target in TARGETS if not target.endswith("_img")]


def small_model(seed: int = 0) -> WanTransformer:
    """A model of random weights, small enough for any test."""
    model = WanTransformer(SHAPE)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1 if "norm" in name and name.endswith("weight") else 0
            parameter.copy_(centre + 0.08 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Latents, timestep and text for the small model."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, SHAPE.in_channels, 2, 4, 6, generator=generator)
    return x, torch.tensor([700.0]), torch.randn(1, 5, SHAPE.text_dim, generator=generator)


@torch.no_grad()
def output(model: Callable[..., Tensor]) -> Tensor:
    return model(*inputs())


def size_of(layer: str) -> tuple[int, int]:
    """(out, in) of a layer of the small model."""
    wide = {"ffn.0": (SHAPE.ffn_dim, SHAPE.dim), "ffn.2": (SHAPE.dim, SHAPE.ffn_dim)}
    return wide.get(layer.split(".", 2)[2], (SHAPE.dim, SHAPE.dim))


def normal(seed: int) -> Callable[..., Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: 0.3 * torch.randn(shape, generator=generator)


def plain_parts(layer: str) -> State:
    draw, (out, into) = normal(LAYERS.index(layer)), size_of(layer)
    return {"A": draw(RANK, into), "B": draw(out, RANK)}


def lokr_parts(layer: str, whole: bool = False) -> State:
    draw, (out, into) = normal(LAYERS.index(layer)), size_of(layer)
    if whole:
        return {"lokr_w1": draw(4, 4), "lokr_w2": draw(out // 4, into // 4)}
    return {"lokr_w1": draw(4, 4), "lokr_w2_a": draw(out // 4, RANK), "lokr_w2_b": draw(RANK, into // 4)}


def loha_parts(layer: str) -> State:
    draw, (out, into) = normal(LAYERS.index(layer)), size_of(layer)
    return {f"hada_w{n}_{ab}": draw(*((out, RANK) if ab == "a" else (RANK, into))) for n in "12" for ab in "ab"}


PEFT = {"A": "lora_A.weight", "B": "lora_B.weight"}
DOWN_UP = {"A": "lora_down.weight", "B": "lora_up.weight"}


def state(
    layer_name: Callable[[str], str], parts: Callable[[str], State] = plain_parts, endings: Mapping[str, str] = PEFT,
    alpha: float | None = ALPHA, also: Mapping[str, Tensor] = {},
) -> State:  # fmt: skip
    """A file's tensors in one form."""
    made: State = {}
    for layer in LAYERS:
        made |= {f"{layer_name(layer)}.{endings.get(p, p)}": t for p, t in parts(layer).items()}
        made |= {f"{layer_name(layer)}.{p}": t[: size_of(layer)[0]] for p, t in also.items()}
        made |= {} if alpha is None else {f"{layer_name(layer)}.alpha": torch.tensor(alpha)}
    return made


def kohya(layer: str) -> str:
    return "lora_unet_" + layer.replace(".", "_")


def comfy(layer: str) -> str:
    return f"diffusion_model.{layer}"


def diffusers(layer: str) -> str:
    return f"transformer.{diffusers_name(layer)}"


LENGTHS = 1 + normal(99)(SHAPE.ffn_dim, 1).abs()
FORMS: dict[str, tuple[str, State]] = {
    "ours, with alpha": ("`diffusion_model.blocks.0.self_attn.q.lora_A.weight`, `.alpha`", state(comfy)),
    "diffusion-pipe, ai-toolkit": ("the same without `.alpha`", state(comfy, alpha=None)),
    "part of the layers": ("the same, some layers alone", {k: v for k, v in state(comfy).items() if "ffn" in k}),
    "kohya, musubi-tuner": (
        "`lora_unet_blocks_0_self_attn_q.lora_down.weight`, `.alpha`", state(kohya, endings=DOWN_UP),
    ),
    "kohya, part of the layers": (
        "the same, some layers alone", {k: v for k, v in state(kohya, endings=DOWN_UP).items() if "ffn" in k},
    ),
    "kohya without alpha": ("the same without `.alpha`", state(kohya, endings=DOWN_UP, alpha=None)),
    "VideoX-Fun": (
        "`lora_unet__blocks_0_...`", state(lambda n: "lora_unet__" + n.replace(".", "_"), endings=DOWN_UP),
    ),
    "diffusers": ("`transformer.blocks.0.attn1.to_q.lora_A.weight`", state(diffusers, alpha=None)),
    "diffusers with alpha": ("the same with `.alpha`", state(diffusers)),
    "bare names": ("`blocks.0.self_attn.q.lora_A.weight`", state(str, alpha=None)),
    "model.diffusion_model": ("`model.diffusion_model.blocks.0...`", state(lambda n: f"model.{comfy(n)}", alpha=None)),
    "peft": ("`base_model.model.blocks.0...`", state(lambda n: f"base_model.model.{n}", alpha=None)),
    "transformer_2": (
        "`transformer_2.blocks.0.attn1.to_q...`", state(lambda n: f"transformer_2.{diffusers_name(n)}", alpha=None),
    ),
    "LoKr": ("`diffusion_model... .lokr_w1`, `.lokr_w2_a`, `.lokr_w2_b`, `.alpha`", state(comfy, lokr_parts)),
    "LoKr, both factors whole": (
        "`.lokr_w1`, `.lokr_w2`", state(comfy, lambda n: lokr_parts(n, whole=True), alpha=1e10),
    ),
    "LoKr of musubi-tuner": ("`lora_unet_... .lokr_w1`", state(kohya, lokr_parts)),
    "LoHa": ("`diffusion_model... .hada_w1_a`, `.hada_w1_b` ...", state(comfy, loha_parts)),
    "DoRA": ("`.lora_A.weight` and `.dora_scale`", state(comfy, also={"dora_scale": LENGTHS})),
    "biases": ("`.lora_A.weight` and `.diff_b`", state(comfy, alpha=None, also={"diff_b": LENGTHS[:, 0]})),
    "whole differences": ("`diffusion_model... .diff`", state(comfy, lambda n: {"diff": normal(3)(*size_of(n))}, alpha=None)),
}  # fmt: skip


def sakuga_output(path: Path) -> tuple[Tensor, list[str]]:
    """What our model puts out with the file, and the keys it did not use."""
    model = small_model()
    applied = lora.apply(model, lora.load_lora(path))
    return output(model), applied.unused


def diffusers_reads(path: Path, expected: Tensor) -> str:
    """What diffusers' own loader makes of a file, in a word."""
    weights = small_model().state_dict()
    try:
        got = diffusers_with_lora(SHAPE, weights, path)(*inputs())
    except (ValueError, KeyError, RuntimeError, IndexError, UnboundLocalError):
        return "error"
    if (got - expected).abs().max() <= CLOSE:
        return "yes"
    return "ignored" if (got - output(small_model())).abs().max() <= CLOSE else "in part"


COMFY_ENDINGS = (
    "lora_A.weight", "lora_B.weight", "lora_down.weight", "lora_up.weight", "alpha", "lokr_w1", "lokr_w2", "lokr_w1_a",
    "lokr_w1_b", "lokr_w2_a", "lokr_w2_b", "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "dora_scale", "diff", "diff_b",
)  # fmt: skip


def comfy_names(parameters: list[str]) -> set[str]:
    """The names that ComfyUI knows the layers of a model by."""
    names = set()
    for parameter in parameters:
        layer = parameter.removesuffix(".weight")
        names |= {f"diffusion_model.{layer}"}
        names |= {"lora_unet_" + layer.replace(".", "_")} if parameter != layer else set()
    return names


def comfy_reads(keys: list[str]) -> str:
    """What ComfyUI makes of these keys, by its rules, in a word."""
    if any(key.startswith("lora_unet__blocks_0_cross_attn_k.") for key in keys):  # VideoX-Fun's are renamed first
        keys = [key.replace("lora_unet__", "lora_unet_", 1) for key in keys]
    names = comfy_names([name for name, _ in small_model().named_parameters()])
    read = [any(key == f"{name}.{ending}" for ending in COMFY_ENDINGS if (name := key.removesuffix(f".{ending}")) in names)
            for key in keys]  # fmt: skip
    return "yes" if all(read) else "in part" if any(read) else "ignored"


def rows() -> list[tuple[str, str, str, str, str]]:
    """(form, keys, Sakuga, ComfyUI, diffusers) of every form."""
    logging.disable(logging.WARNING)  # diffusers tells of every key that it leaves out
    made = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.safetensors"
        for form, (keys, tensors) in FORMS.items():
            save_file({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, path)
            try:
                expected, unused = sakuga_output(path)
                ours = "yes" if not unused else "in part"
                theirs = diffusers_reads(path, expected)
            except SakugaError:
                ours, theirs = "error", "error"
            made.append((form, keys, ours, comfy_reads(sorted(tensors)), theirs))
    logging.disable(logging.NOTSET)
    return made


def page() -> str:
    """docs/loras.md."""
    lines = [
        "# LoRA files: who reads what",
        "",
        "Written by `python tests/lora_readers.py`; a test fails when it is out of date.",
        "",
        "Every form is put onto a small model. Sakuga and diffusers are run: `yes` is the same output to 1e-5. ComfyUI's column "
        "follows from its rules for names, restated in that file. `ignored` is no error and no effect: the file seems to work "
        "and does nothing. Sakuga names every key that it does not use; `sakuga lora convert` writes comfy, kohya and diffusers.",
        "",
        "| form | keys | Sakuga | ComfyUI | diffusers |",
        "|---|---|---|---|---|",
        *(f"| {form} | {keys} | {ours} | {theirs} | {others} |" for form, keys, ours, theirs, others in rows()),
        "",
        "- DoRA: the rows of W + change are brought to the lengths in the file (arXiv:2402.09353, as peft does it).",
        "- diffusers keeps alpha of its own form in the metadata `lora_adapter_metadata`, peft in `adapter_config.json` beside "
        "`adapter_model.safetensors`; both are honoured.",
        "- Two experts are two files, ending in `-high` and `-low` or `_high_noise` and `_low_noise`; naming one brings both. "
        "A file with `transformer.` and `transformer_2.` holds both: transformer is the high expert.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
    sys.stdout.write(f"wrote {PAGE}\n")
