"""Commands on LoRA files, of whatever program: lora show, lora convert, lora merge."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from .. import api
from . import show
from .base import app

if TYPE_CHECKING:
    from ..nn.lora_told import LoraTold
    from ..stages.loras import Written

SHOWN = 20  # unused keys that are told one by one; --json has all
BAR = 24  # columns of the largest norm

Flag = Parameter(negative="")
Form = Literal["comfy", "kohya", "diffusers"]
Precision = Literal["bf16", "fp16", "fp32"]

lora = App(name="lora", help="Look into LoRA files of any program, convert them, and merge several into one.")
app.command(lora)


@lora.command(name="show")
def show_(file: Path, *, json: Annotated[bool, Flag] = False) -> None:
    """Say what a LoRA file is: form, ranks, layers, expert, base, trigger, hashes, norms, and keys that say nothing.

    Args:
        file: The .safetensors file
        json: Print the result as JSON
    """
    told = api.lora_show(file)
    if json:
        show.print_json(asdict(told))
    else:
        _show(told)


def _show(told: "LoraTold") -> None:
    show.say(str(told.path))
    rows = [
        ("form", told.form),
        ("kinds", _counts(told.kinds)),
        ("ranks", _counts(told.ranks)),
        ("alphas", _counts(told.alphas) or "none: the rank"),
        ("types", _counts(told.types)),
        ("layers", f"{sum(told.layers.values())} in {told.blocks} blocks: {_counts(told.layers)}"),
        ("expert", told.expert),
        ("fits", ", ".join(told.fits) or "no model of the family"),
        ("base", told.base or "not said"),
        ("trigger", told.trigger or "not said"),
        ("hashes", f"AutoV2 {told.hashes.autov2}, AutoV3 {told.hashes.autov3}"),
    ]
    if told.shifts:
        rows.append(("also changed", f"{told.shifts} biases, norms and modulations"))
    show.table(("", ""), rows)
    most = max(told.norms.values(), default=0.0)
    bars = ((b, f"{n:.4g}", "#" * round(BAR * n / most) if most else "") for b, n in told.norms.items())
    show.table(("block ", "norm ", ""), bars)
    for key in told.unused[:SHOWN]:
        show.say(f"not used: {key}")
    if len(told.unused) > SHOWN:
        show.say(f"not used: {len(told.unused) - SHOWN} more; --json names all")


def _counts(counts: dict[str, int] | dict[int, int]) -> str:
    return ", ".join(f"{name} ({n})" for name, n in counts.items())


@lora.command
def convert(
    file: Path, *, to: Form, out: Path | None = None, rank: int | None = None, plain: Annotated[bool, Flag] = False,
    precision: Precision | None = None, alone: Annotated[bool, Flag] = False, json: Annotated[bool, Flag] = False,
) -> None:  # fmt: skip
    """Write a LoRA as another program takes it; both files of a pair at once.

    Args:
        file: The .safetensors file
        to: comfy (ComfyUI and diffusers), kohya (musubi-tuner) or diffusers
        out: The file to write; beside the other, with the form in its name, by default
        rank: Cut layers above this rank to it; what that loses is told
        plain: Make plain LoRA of LoKr, LoHa and whole differences
        precision: Precision of the tensors; as they are by default
        alone: Only this file, not the other of its pair
        json: Print the result as JSON
    """
    done = api.lora_convert(file, to, out, rank=rank, plain=plain, precision=precision, alone=alone)
    _told(done, json)


@lora.command
def merge(
    files: list[Path], *, out: Path, weights: list[float] | None = None, rank: int | None = None, to: Form = "comfy",
    precision: Precision | None = None, alone: Annotated[bool, Flag] = False, json: Annotated[bool, Flag] = False,
) -> None:  # fmt: skip
    """Write the weighted sum of LoRAs as one LoRA; both files of pairs at once. Exact unless a rank is given.

    Args:
        files: The .safetensors files
        out: The file to write
        weights: The weight of each file, in their order; 1 by default
        rank: Cut the sum to this rank; what that loses is told
        to: comfy (ComfyUI and diffusers), kohya (musubi-tuner) or diffusers
        precision: Precision of the tensors; fp32 by default
        alone: Only these files, not the others of their pairs
        json: Print the result as JSON
    """
    done = api.lora_merge(files, out, weights=weights, rank=rank, form=to, precision=precision, alone=alone)
    _told(done, json)


def _told(done: "list[Written]", json: bool) -> None:
    if json:
        show.print_json([asdict(one) for one in done])
        return
    for one in done:
        show.say(f"{one.path} ({one.layers} layers, {_loss(one.lost)}, AutoV2 {one.autov2})")
        for key in one.dropped[:SHOWN]:
            show.say(f"left out: {key}")
        if len(one.dropped) > SHOWN:
            show.say(f"left out: {len(one.dropped) - SHOWN} more; --json names all")


def _loss(lost: dict[str, float]) -> str:
    if not lost:
        return "exact"
    worst = max(lost, key=lambda layer: lost[layer])
    mean = sum(lost.values()) / len(lost)
    return f"{len(lost)} layers cut: {mean:.2%} of the norm lost on average, {lost[worst]:.2%} at {worst}"
