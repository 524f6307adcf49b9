"""The one list of what an epoch trains on. Plan, check, caches and training all call this and nothing else."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from ..family import Member
from .buckets import bucket_for, fixed_size
from .windows import Rule, Window, why_none, windows


@dataclass(frozen=True)
class ItemFacts:
    """What the enumeration needs to know of an item. `frames` are counted at the member's rate; a still has 1."""

    id: int | str
    name: str
    kind: Literal["clip", "still"]
    width: int
    height: int
    frames: int
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A part of the dataset with its own resolution and frame rule. With `tags`, only items that bear one of them."""

    name: str
    resolution: tuple[int, int]
    items: Literal["clips", "stills", "all"] = "all"
    rule: Rule = "head"
    targets: tuple[int, ...] = (1,)
    stride: int = 1
    count: int = 1
    max_frames: int | None = None
    repeats: int = 1
    upscale: bool = False
    bucket: bool = True
    tags: tuple[str, ...] = ()

    def takes(self, item: ItemFacts) -> bool:
        """Whether the item belongs to this section."""
        kind = self.items == "all" or self.items == f"{item.kind}s"
        return kind and (not self.tags or not set(self.tags).isdisjoint(item.tags))


@dataclass(frozen=True)
class Sample:
    """One training example: a window of an item at a bucket's size, taken `repeats` times an epoch."""

    item: ItemFacts
    section: str
    window: Window
    width: int
    height: int
    repeats: int = 1

    @property
    def frames(self) -> int:
        return self.window.frames

    @property
    def bucket(self) -> tuple[int, int, int]:
        """Width, height, frames: samples of one bucket can share a batch."""
        return self.width, self.height, self.window.frames

    @cached_property
    def key(self) -> str:
        """The same in every run and on every machine: item, first frame, bucket."""
        return f"{self.item.name}@{self.window.start}:{self.width}x{self.height}x{self.window.frames}"


@dataclass(frozen=True)
class Drop:
    """An item that gives a section no sample (`given` 0) or fewer than the section asks for, and why."""

    item: ItemFacts
    section: str
    reason: str
    given: int = 0


def enumerate_samples(
    items: Iterable[ItemFacts], sections: Sequence[Section], member: Member
) -> tuple[list[Sample], list[Drop]]:
    """All samples, by section as given, item name, length and start; and every item that gives none or fewer, with why."""
    samples: list[Sample] = []
    drops: list[Drop] = []
    ordered = sorted(items, key=lambda item: (item.name, str(item.id)))
    for section in sections:
        for item in ordered:
            if not section.takes(item):
                continue
            found = _samples(item, section, member)
            samples += found
            if reason := _why_fewer(item, section, member):
                drops.append(Drop(item, section.name, reason, len(found)))
    return samples, drops


def epoch_size(samples: Iterable[Sample]) -> int:
    """How many training examples one epoch has, repeats counted."""
    return sum(sample.repeats for sample in samples)


def _samples(item: ItemFacts, section: Section, member: Member) -> list[Sample]:
    choose = bucket_for if section.bucket else fixed_size
    width, height = choose(item.width, item.height, *section.resolution, member.side_step, section.upscale)
    return [
        Sample(item, section.name, window, width, height, section.repeats) for window in _windows(item, section, member)
    ]


def _windows(item: ItemFacts, section: Section, member: Member) -> list[Window]:
    if item.kind == "still":
        return [Window(0, 1)]
    return windows(
        section.rule, item.frames, section.targets, stride=section.stride, count=section.count,
        max_frames=section.max_frames, floor=member.floor_frames,
    )  # fmt: skip


def _why_fewer(item: ItemFacts, section: Section, member: Member) -> str | None:
    if item.kind == "still":
        return None
    return why_none(
        section.name, item.frames, member.fps, section.rule, section.targets, count=section.count,
        max_frames=section.max_frames, floor=member.floor_frames,
    )  # fmt: skip
