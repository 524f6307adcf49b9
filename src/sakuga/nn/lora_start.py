"""A training that begins with an existing LoRA: the values of a file put into fresh adapters."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..core.errors import SakugaError
from .lora import LoraFile, LoraLinear, LoraSet
from .lora_changes import Change, Dora, LoraTensors
from .weights import few


@torch.no_grad()
def start_from(lora: LoraSet, file: LoraFile, strength: float = 1.0) -> list[str]:
    """Puts what `file` changes, times `strength`, into freshly injected adapters, and says what became of it.

    The adapters keep their own rank and scale: B takes the difference of scales. Of the same rank and scale the values are
    exact; a lower rank is filled up with fresh rows of A and zeros in B, which changes nothing; a higher one, or a
    change of another kind, becomes the best of this rank (singular values). Layers that the file lacks begin fresh.
    Raises SakugaError when no layer is in the file, or one is of another size.
    """
    taken = {name: file.layers[name] for name in lora.layers if name in file.layers}
    plain = {name: change for name, change in taken.items() if not isinstance(change, Dora)}
    if not plain:
        raise SakugaError(
            f"{file.path} has no plain layer of those that are trained ({few(list(file.layers) or file.unused)}); begin with "
            "another LoRA, or without"
        )
    for name, change in plain.items():
        layer = lora.layers[name]
        out, into = change.shape
        if (out, into) != (layer.B.shape[0], layer.A.shape[1]):
            raise SakugaError(
                f"{file.path} was made for another model: its {name} is {out} x {into}, here it is "
                f"{layer.B.shape[0]} x {layer.A.shape[1]}; begin with a LoRA of this model"
            )
    ranks = {name: change.rank for name, change in plain.items()}
    lost = {name: _put(lora.layers[name], change, strength) for name, change in plain.items()}
    return _told(lora, file, plain, ranks, lost)


def _put(layer: LoraLinear, change: Change, strength: float) -> float:
    """Gives one adapter the values of a change; returns the share of its norm that is lost."""
    rank, lost = len(layer.A), 0.0
    if not isinstance(change, LoraTensors) or len(change.A) > rank:
        change, lost = change.low_rank(rank)
    held = len(change.A)
    ratio = strength * change.alpha / held / (layer.alpha / rank)
    layer.A[:held] = change.A.to(layer.A)
    layer.B[:, :held] = _times(change.B.to(layer.B), ratio)
    return lost


def _times(B: Tensor, ratio: float) -> Tensor:
    return B if ratio == 1 else B * ratio


def _told(
    lora: LoraSet, file: LoraFile, taken: Mapping[str, Change], ranks: Mapping[str, int], lost: Mapping[str, float]
) -> list[str]:
    """One sentence for each thing that a person might not expect."""
    told = [f"begins with {file.path.name}: {len(taken)} of {len(lora.layers)} layers"]
    cut = [name for name in taken if ranks[name] > len(lora.layers[name].A)]
    if cut:
        most = max(lost[name] for name in cut)
        told.append(
            f"{len(cut)} layers have a higher rank there and are cut to this one: at most {most:.1%} of one is lost"
        )
    filled = [name for name in taken if ranks[name] < len(lora.layers[name].A)]
    if filled:
        told.append(f"{len(filled)} layers have a lower rank there; the rest of this one begins fresh")
    fresh = [name for name in lora.layers if name not in taken]
    if fresh:
        told.append(f"{len(fresh)} layers are not in it as plain ones and begin fresh ({few(fresh)})")
    unused = [name for name in file.layers if name not in lora.layers] + [*file.shifts] + file.unused
    if unused:
        told.append(f"{len(unused)} of its parts are not trained here and left out ({few(unused)})")
    return told
