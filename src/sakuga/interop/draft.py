"""What an import has understood: settings by their keys, sections with their folders, and the report of it all."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..core.adapters import MOST_RANK
from ..core.family import Member
from ..core.family import member as member_of
from .reading import last_part, locate
from .report import Kind, Report, plain

# A share of the noise levels this small is rounding, not a choice.
CLOSE = 1e-3


@dataclass(frozen=True)
class Later:
    """A setting in steps that is told in epochs, or as a share of all steps: known once the samples are counted."""

    key: str
    there: str  # the key it comes from
    by: Literal["epochs", "share"]
    value: float


@dataclass
class Draft:
    """Settings as `train.rank` -> value, and sections in their order; `folders` of a section are paths as given there."""

    trainer: str
    model: str | None = None
    name: str = "imported"
    settings: dict[str, Any] = field(default_factory=dict)
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)  # section -> folder
    masks: list[tuple[str, str]] = field(
        default_factory=list
    )  # folder, masks of its items: a folder of them, or one for all
    rates: dict[str, float] = field(default_factory=dict)  # folder -> the rate its clips are taken to have there
    later: list[Later] = field(default_factory=list)
    prompts: str | None = None
    pair: dict[str, str] | None = None  # the weights of each expert, where each had a training of its own
    report: Report = field(default_factory=Report)

    @property
    def member(self) -> Member:
        assert self.model is not None
        return member_of(self.model)

    def put(self, kind: Kind, there: str, value: Any, key: str, own: Any, note: str = "") -> None:
        """Set a setting of ours from a key of theirs, and say so."""
        self.settings[key] = own
        self.report.add(kind, there, value, f"{key} = {plain(own)}", note)

    def section(self, kind: str, values: dict[str, Any], folder: str) -> str:
        """Add a section (clips or stills) over a folder; returns its name."""
        number = sum(name.split("-")[0] == kind for name in self.sections) + 1
        name = kind if number == 1 else f"{kind}-{number}"
        self.sections[name] = {"items": kind, **values}
        self.folders[name] = folder
        return name


def put_factor(draft: Draft, there: str, factor: int) -> None:
    """The factor of a LoKr; -1 is the nearest factors there, which Sakuga takes where none is set."""
    if factor > 0:
        draft.put("exact", there, factor, "train.factor", factor)
    else:
        draft.report.add("exact", there, factor, "", "the factors that are nearest to one another")


def rank_setting(draft: Draft, rank: int) -> tuple[str, Any]:
    """The setting that a rank is; one larger than any says of a LoKr that its larger factor is a whole matrix."""
    whole = rank > MOST_RANK and draft.settings.get("train.adapter") == "lokr"
    return ("train.full_matrix", True) if whole else ("train.rank", rank)


def take_range(draft: Draft, there: str, t_min: float, t_max: float, squeezed: bool) -> None:
    """Noise levels from `t_min` to `t_max` (0..1): the expert of the model that they are, and the range where it is another.

    `squeezed`: the other trainer scales its distribution into the range rather than cutting it off there.
    """
    member, told = draft.member, [t_min, t_max]
    if t_min <= CLOSE and t_max >= 1 - CLOSE:
        return  # which expert is told by the weights
    squeeze = "theirs squeezes all noise levels into the range, Sakuga cuts the distribution off at its ends"
    if len(member.experts) == 1:
        _put_range(draft, there, told, squeeze if squeezed else "")
        return
    covered = {e.name: max(0.0, min(t_max, e.t_max) - max(t_min, e.t_min)) for e in member.experts}
    name = max(covered, key=lambda expert: covered[expert])
    expert = member.expert(name)
    own = abs(expert.t_min - t_min) <= CLOSE and abs(expert.t_max - t_max) <= CLOSE
    draft.put("differs" if squeezed else "exact", there, told, "train.experts", [name], squeeze if squeezed else "")
    if not own:
        note = f"the {name} expert of {member.title} works from {expert.t_min:g} to {expert.t_max:g}; the range is as there"
        _put_range(draft, there, told, note)


def _put_range(draft: Draft, there: str, told: list[float], note: str) -> None:
    kind: Kind = "differs" if note.startswith("theirs") else "exact"
    draft.put(kind, there, told, "train.min_t", told[0], note)
    draft.put(kind, there, told, "train.max_t", told[1], note)


def whole_name(pattern: str) -> str:
    """A pattern that is to match a layer's whole name, as one that is looked for in it."""
    return f"^(?:{pattern})$"


def flux_shift(width: int, height: int) -> float:
    """The shift that depends on the size of a picture: e^mu, mu from 0.5 at 256 tokens to 1.15 at 4096; frames not counted."""
    from math import exp

    tokens = (width // 16) * (height // 16)
    return exp(0.5 + (1.15 - 0.5) * (tokens - 256) / (4096 - 256))


def take_file(draft: Draft, there: str, given: str, key: str, maps: Sequence[tuple[str, str]], *beside: Path) -> None:
    """A model file: its path where it is on this machine, else the word that it is looked for in models/."""
    path = locate(given, maps, beside)
    if path is not None:
        draft.put("exact", there, given, key, str(path))
        return
    note = f"{last_part(given)} is not on this machine; put it into models/, set {key}, or say --map"
    draft.report.add("differs", there, given, "", note)


def expert_named(given: object) -> str | None:
    """high or low, as the path of the weights says; None where it does not."""
    name = last_part(str(given or "")).lower()
    return next((expert for expert in ("high", "low") if expert in name), None)
