"""The one list of what an epoch trains on. Plan, check, caches and training all call this and nothing else."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from ..family import Member
from ..settings import Section
from .buckets import bucket_for, fixed_size, listed_size
from .windows import Window, why_none, windows


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
    folder: str | None = None  # that was adopted


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
    items: Iterable[ItemFacts], sections: Mapping[str, Section], member: Member
) -> tuple[list[Sample], list[Drop]]:
    """All samples, by section, item name, length and start; and every item that gives none or fewer, with why."""
    samples: list[Sample] = []
    drops: list[Drop] = []
    ordered = sorted(items, key=lambda item: (item.name, str(item.id)))
    for name, section in sections.items():
        for item in ordered:
            if not takes(section, item):
                continue
            found = _samples(item, name, section, member)
            samples += found
            if reason := _why_fewer(item, name, section, member):
                drops.append(Drop(item, name, reason, len(found)))
    return samples, drops


def takes(section: Section, item: ItemFacts) -> bool:
    """Whether an item belongs to a section."""
    bears = not section.tags or not set(section.tags).isdisjoint(item.tags)
    lies = not section.folders or item.folder in section.folders
    return bears and lies and section.items in ("all", f"{item.kind}s")


def _samples(item: ItemFacts, name: str, section: Section, member: Member) -> list[Sample]:
    width, height = size_of(item.width, item.height, section, member)
    found = [window for window in _windows(item, section, member) if not _given(window, member)]
    return [Sample(item, name, window, width, height, section.repeats) for window in found]


def _given(window: Window, member: Member) -> bool:
    """Whether a model is given all of a window before it begins: one that starts from a picture learns nothing of it."""
    return member.needs_picture and window.frames == 1


def size_of(width: int, height: int, section: Section, member: Member) -> tuple[int, int]:
    """The width and height that a picture of `width` x `height` is trained at in a section."""
    step, upscale = member.side_step, section.upscale
    if section.sizes:
        area = section.resolution[0] * section.resolution[1]
        return listed_size(width, height, section.sizes, section.nearest, area, step, upscale)
    choose = bucket_for if section.buckets else fixed_size
    return choose(width, height, *section.resolution, step, upscale)


def _windows(item: ItemFacts, section: Section, member: Member) -> list[Window]:
    if item.kind == "still":
        return [Window(0, 1)]
    found = windows(
        section.rule, item.frames, section.frames, stride=section.stride, count=section.count,
        max_frames=section.max_frames or member.frames, floor=member.floor_frames,
    )  # fmt: skip
    if section.lengths == "longest":
        return [window for window in found if window.frames == found[-1].frames]
    return found


def _why_fewer(item: ItemFacts, name: str, section: Section, member: Member) -> str | None:
    if any(_given(window, member) for window in _windows(item, section, member)):
        return f"{member.title} is given the first frame of all it learns, and a single frame has nothing after it"
    if item.kind == "still" or (section.lengths == "longest" and _windows(item, section, member)):
        return None
    return why_none(
        name, item.frames, member.fps, section.rule, section.frames, count=section.count,
        max_frames=section.max_frames or member.frames, floor=member.floor_frames,
    )  # fmt: skip
