"""LoRA files made of others: another form, another kind, several as one. What is lost on the way is told.

Nothing here needs a model. What a LoRA of one layer adds is a matrix; ranks standing beside one another add up exactly, and the
best matrix of a lower rank keeps the largest singular values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..core.errors import SakugaError
from .lora_changes import Change, Dora, LoraTensors, from_matrix, join, truncate
from .lora_file import LoraFile, lora_state_dict
from .lora_names import FORMS

_OF_RANK = ("ss_network_dim", "ss_network_alpha", "ss_network_module", "ss_network_args", "lora_adapter_metadata")
_OF_BYTES = ("sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256")


@dataclass(frozen=True)
class Made:
    """A LoRA made of others: what is to be written, and what it is not."""

    state: dict[str, Tensor]
    metadata: dict[str, str]
    layers: int
    lost: dict[str, float] = field(default_factory=dict)  # layer -> share of the norm, where any is lost
    dropped: list[str] = field(default_factory=list)  # what the form has no place for

    @property
    def worst(self) -> float:
        return max(self.lost.values(), default=0.0)


def convert(
    file: LoraFile, form: str, rank: int | None = None, plain: bool = False, dtype: torch.dtype | None = None
) -> Made:
    """The same LoRA in a form of `lora_names.FORMS`; `plain` makes LoRA of LoKr, LoHa and whole differences.

    A `rank` implies `plain`, and layers above it are cut to it. diffusers' form is always plain. Tensors that need not be
    changed are not, unless a `dtype` is given. Raises SakugaError for what the form cannot hold at all.
    """
    names = FORMS[form]
    layers: dict[str, Change | Dora] = dict(file.layers)
    lost: dict[str, float] = {}
    if plain or rank is not None or names.plain:
        for name, change in layers.items():
            layers[name], lost[name] = _plain(file, name, change, rank)
    biases = {f"{layer}.bias" for layer in layers}
    shifts = {p: t for p, t in file.shifts.items() if not names.plain or p in biases}
    dropped = sorted({*file.shifts} - {*shifts}) + file.unused
    state = lora_state_dict(layers, dtype, form, shifts)
    return Made(state, _metadata([file], layers), len(layers), {n: e for n, e in lost.items() if e > 0}, dropped)


def combine(
    files: Sequence[tuple[LoraFile, float]],
    rank: int | None = None,
    dtype: torch.dtype | None = None,
    form: str = "comfy",
) -> Made:
    """The weighted sum of LoRAs as one LoRA: exact, or the best of a lower `rank`. In fp32 unless a `dtype` is given."""
    layers: dict[str, Change | Dora] = {}
    lost: dict[str, float] = {}
    for name in dict.fromkeys(name for file, _ in files for name in file.layers):
        there = [(file, weight) for file, weight in files if name in file.layers]
        _same_size(name, [file for file, _ in there])
        layers[name], lost[name] = _sum(name, there, rank)
    shifts: dict[str, Tensor] = {}
    for file, weight in files:
        for parameter, delta in file.shifts.items():
            shifts[parameter] = shifts.get(parameter, 0.0) + weight * delta.float()
    dropped = [key for file, _ in files for key in file.unused]
    metadata = _metadata([file for file, _ in files], layers)
    return Made(
        lora_state_dict(layers, dtype, form, shifts),
        metadata,
        len(layers),
        {n: e for n, e in lost.items() if e > 0},
        dropped,
    )


def _same_size(name: str, files: Sequence[LoraFile]) -> None:
    first, *rest = (file.layers[name].shape for file in files)
    for file, shape in zip(files[1:], rest, strict=True):
        if shape != first:
            raise SakugaError(
                f"{files[0].path} and {file.path} are for models of other sizes ({name}: {first[0]} x {first[1]} and "
                f"{shape[0]} x {shape[1]}); merge LoRAs of one model"
            )


def _sum(name: str, there: Sequence[tuple[LoraFile, float]], rank: int | None) -> tuple[LoraTensors, float]:
    changes = [_no_dora(file, name, file.layers[name]) for file, _ in there]
    weights = [weight for _, weight in there]
    if any(_too_large(change) for change in changes):
        if rank is None:
            raise _need_rank(there[0][0], name, max(changes, key=lambda change: change.rank))
        return from_matrix(sum((w * c.matrix() for w, c in zip(weights, changes, strict=True)), torch.zeros(())), rank)
    whole = join([(change.low_rank()[0], weight) for change, weight in zip(changes, weights, strict=True)])
    return (whole, 0.0) if rank is None or whole.rank <= rank else truncate(whole.B, whole.A, rank)


def _plain(file: LoraFile, name: str, change: Change | Dora, rank: int | None) -> tuple[LoraTensors, float]:
    simple = _no_dora(file, name, change)
    if rank is None and _too_large(simple):
        raise _need_rank(file, name, simple)
    return simple.low_rank(rank)


def _no_dora(file: LoraFile, name: str, change: Change | Dora) -> Change:
    if isinstance(change, Dora):
        raise SakugaError(
            f"{file.path} is a DoRA at {name}: what it adds depends on the model's weights, and no plain LoRA holds it; "
            "convert it to comfy or kohya as it is"
        )
    return change


def _too_large(change: Change) -> bool:
    """Whether an exact LoRA takes more numbers than the weight itself."""
    out, into = change.shape
    return not isinstance(change, LoraTensors) and change.rank * (out + into) >= out * into


def _need_rank(file: LoraFile, name: str, change: Change) -> SakugaError:
    return SakugaError(
        f"{file.path} has a {change.kind} of rank {change.rank} at {name}, and a LoRA of that rank is larger than the layer; "
        "give --rank, as 64, and the error is told"
    )


def _metadata(files: Sequence[LoraFile], layers: Mapping[str, Change | Dora]) -> dict[str, str]:
    """What all files say alike, and the rank as it is now."""
    first, *rest = (file.metadata for file in files)
    same = {key: value for key, value in first.items() if all(other.get(key) == value for other in rest)}
    kept = {key: value for key, value in same.items() if key not in (*_OF_RANK, *_OF_BYTES)}
    ranks = {(change.rank, change.alpha) for change in layers.values() if isinstance(change, LoraTensors)}
    if len(ranks) != 1 or len(layers) == 0:
        return kept
    ((rank, alpha),) = ranks
    return kept | {"ss_network_dim": str(rank), "ss_network_alpha": f"{alpha:g}"}
