"""What can be said of a LoRA file without its model: form, kinds, ranks, layers, the expert and base it is for, norms."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ..core.family import MEMBERS, TRAIN_TIMESTEPS
from ..core.pairs import expert_of
from .lora_changes import Change, Dora, LoraTensors
from .lora_file import Hashes, LoraFile, hashes, load_lora
from .lora_names import TARGETS

_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")
BASE = ("ss_base_model_version", "modelspec.architecture", "base_model")
TRIGGER = ("modelspec.trigger_phrase", "ss_trigger_words", "trigger_word")


@dataclass(frozen=True)
class LoraTold:
    """What stands in a LoRA file. Counts are of layers."""

    path: Path
    form: str
    kinds: dict[str, int]
    ranks: dict[int, int]
    alphas: dict[str, int]
    types: dict[str, int]
    layers: dict[str, int]  # by their place in a block
    blocks: int
    shifts: int  # biases, norms and modulations that are changed, too
    expert: str
    fits: list[str]  # members of the family with these widths and so many blocks
    base: str
    trigger: str
    hashes: Hashes
    norms: dict[str, float]  # by block; of the layers outside of blocks by name
    unused: list[str]
    metadata: dict[str, str]


def describe(path: Path | str) -> LoraTold:
    """Reads a file and says what it is. A file that holds both experts is described by what it has of the high one."""
    file = load_lora(path, "high")
    layers = file.layers
    places = {name: _BLOCK.fullmatch(name) for name in layers}
    squares: dict[str, float] = {}
    for name, change in layers.items():
        place = places[name]
        where = place[1] if place else name
        squares[where] = squares.get(where, 0.0) + change.norm() ** 2
    return LoraTold(
        path=file.path,
        form=file.form,
        kinds=dict(Counter(change.kind for change in layers.values())),
        ranks=dict(sorted(Counter(change.rank for change in layers.values()).items())),
        alphas=dict(Counter(f"{c.alpha:g}" for c in layers.values() if isinstance(c, LoraTensors))),
        types=dict(Counter(_type(change) for change in layers.values())),
        layers=dict(Counter(match[2] if (match := places[name]) else name for name in layers)),
        blocks=len({match[1] for match in places.values() if match}),
        shifts=len(file.shifts),
        expert=_expert(file),
        fits=_fits(layers),
        base=_said(file, BASE),
        trigger=_said(file, TRIGGER),
        hashes=hashes(file.path),
        norms={where: square**0.5 for where, square in sorted(squares.items(), key=lambda it: _order(it[0]))},
        unused=file.unused,
        metadata=file.metadata,
    )


def _order(where: str) -> tuple[int, str]:
    return (int(where), "") if where.isdecimal() else (10**9, where)


def _type(change: Change | Dora) -> str:
    return str(next(iter(change.parts().values())).dtype).removeprefix("torch.")


def _said(file: LoraFile, keys: tuple[str, ...]) -> str:
    return next((file.metadata[key] for key in keys if file.metadata.get(key)), "")


def _expert(file: LoraFile) -> str:
    """Which expert a file is for, and how that is known."""
    if file.form.startswith("both"):
        return "both, in one file"
    said = re.fullmatch(r"\s*(\d{1,4})\s*,\s*(\d{1,4})\s*", file.metadata.get("modelspec.timestep_range", ""))
    if said:
        low, high = int(said[1]), int(said[2])
        name = nearest_expert(low / TRAIN_TIMESTEPS, high / TRAIN_TIMESTEPS)
        return f"{name} (timesteps {low} to {high})"
    named = expert_of(file.path)
    return f"{named} (by its name)" if named else "not said"


def nearest_expert(t_min: float, t_max: float) -> str:
    """The name of the expert whose noise levels are nearest to these; "any" for those of a single one."""
    experts = [expert for member in MEMBERS for expert in member.experts]
    best = min(experts, key=lambda expert: abs(expert.t_min - t_min) + abs(expert.t_max - t_max))
    return best.name if best.t_max - best.t_min < 1 else "any"


def _fits(layers: dict[str, Change | Dora]) -> list[str]:
    """The members that have all of these blocks, in these sizes."""
    fit = []
    for member in MEMBERS:
        wan = member.transformer
        sizes = dict.fromkeys(TARGETS, (wan.dim, wan.dim))
        sizes |= {"ffn.0": (wan.ffn_dim, wan.dim), "ffn.2": (wan.dim, wan.ffn_dim)}
        places = [(match, change) for name, change in layers.items() if (match := _BLOCK.fullmatch(name))]
        if places and all(
            int(place[1]) < wan.layers
            and sizes.get(place[2]) == change.shape
            and (wan.clip_branch or not place[2].endswith("_img"))
            for place, change in places
        ):
            fit.append(member.title)
    return fit
