"""A training that begins with an existing LoRA: the values of a file put into fresh adapters."""

from collections.abc import Mapping

from ..core.errors import SakugaError
from .adapters import Begun
from .lora import LoraFile, LoraSet
from .weights import few


def start_from(lora: LoraSet, file: LoraFile, strength: float = 1.0) -> list[str]:
    """Puts what `file` changes, times `strength`, into freshly injected adapters, and says what became of it.

    The adapters keep their own kind, rank and scale (`Trained.begin_with`). Layers that the file lacks, or has in a kind that
    they cannot hold, begin fresh. Raises SakugaError when no layer is in the file, or one is of another size.
    """
    there = {name: file.layers[name] for name in lora.layers if name in file.layers}
    for name, change in there.items():
        here = lora.layers[name].change.shape
        if change.shape != here:
            sizes = [f"{out} x {into}" for out, into in (change.shape, here)]
            raise SakugaError(
                f"{file.path} was made for another model: its {name} is {sizes[0]}, here it is {sizes[1]}; begin with a LoRA of "
                "this model"
            )
    begun = {name: lora.layers[name].begin_with(change, strength) for name, change in there.items()}
    taken = {name: one for name, one in begun.items() if one is not None}
    if not taken:
        wanted = next(iter(lora.layers.values())).begins_with
        raise SakugaError(
            f"{file.path} has no {wanted} layer of those that are trained ({few(list(file.layers) or file.unused)}); begin with "
            "another LoRA, or without"
        )
    return _told(lora, file, taken)


def _told(lora: LoraSet, file: LoraFile, taken: Mapping[str, Begun]) -> list[str]:
    """One sentence for each thing that a person might not expect."""
    told = [f"begins with {file.path.name}: {len(taken)} of {len(lora.layers)} layers"]
    cut = [name for name, begun in taken.items() if begun.rank > lora.layers[name].rank]
    if cut:
        most = max(taken[name].lost for name in cut)
        told.append(
            f"{len(cut)} layers have a higher rank there and are cut to this one: at most {most:.1%} of one is lost"
        )
    filled = [name for name, begun in taken.items() if begun.rank < lora.layers[name].rank]
    if filled:
        told.append(f"{len(filled)} layers have a lower rank there; the rest of this one begins fresh")
    fresh = [name for name in lora.layers if name not in taken]
    if fresh:
        wanted = lora.layers[fresh[0]].begins_with
        told.append(f"{len(fresh)} layers are not in it as {wanted} ones and begin fresh ({few(fresh)})")
    unused = [name for name in file.layers if name not in lora.layers] + [*file.shifts] + file.unused
    if unused:
        told.append(f"{len(unused)} of its parts are not trained here and left out ({few(unused)})")
    return told
