"""Lengths to train clips at: how many clips have them, and how much of the footage they show."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ...core.family import Member
from ...core.samples.enumeration import ItemFacts
from ...core.settings import Section

MOST = 6  # lengths that are told
ENOUGH = 0.05  # of the clips must have one more length for it to be worth telling


class Length(NamedTuple):
    """A number of frames that the model takes: the clips that have so many, their share of all clips, and the share of all
    frames that an epoch shows with one window a clip (head, middle) and with windows end to end (chunk). `asked` tells
    whether a section asks for it now."""

    frames: int
    clips: int
    share: float
    one_window: float
    end_to_end: float
    asked: bool


def lengths(items: Sequence[ItemFacts], sections: Mapping[str, Section], member: Member) -> list[Length]:
    """The lengths at which clips begin to be lost, from short to long: the longest that all clips have first of all."""
    clips = sorted(item.frames for item in items if item.kind == "clip")
    if not clips:
        return []
    asked = {
        member.floor_frames(f) for section in sections.values() if section.items != "stills" for f in section.frames
    }
    step = member.vae.stride[0]
    found: list[Length] = []
    for frames in range(min(member.frames, member.floor_frames(clips[-1])), 0, -step):
        told = _length(frames, clips, frames in asked)
        if told.asked or not found or told.share >= found[-1].share + ENOUGH:
            found.append(told)
        if told.share == 1:
            break
    if 1 in asked and found[-1].frames > 1:
        found.append(_length(1, clips, True))
    kept = [length for length in found if length.asked]
    others = [length for length in found if not length.asked]
    return sorted(kept + others[-max(1, MOST - len(kept)) :])


def _length(frames: int, clips: Sequence[int], asked: bool) -> Length:
    """`clips` are the lengths of all clips."""
    long = [count for count in clips if count >= frames]
    total = sum(clips)
    shown, all_shown = frames * len(long) / total, sum(count // frames * frames for count in long) / total
    return Length(frames, len(long), round(len(long) / len(clips), 4), round(shown, 4), round(all_shown, 4), asked)
