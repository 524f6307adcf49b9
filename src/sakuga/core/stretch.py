"""Which frames of a shot become its clips: what is safe of it, at the model's rate, at a length that the model takes."""

from collections.abc import Callable, Sequence

import numpy as np

from .media.timing import resample, shown_until
from .settings import Take
from .timeline import Timeline


def inner_span(first: int, last: int, margin: int, soft_in: int = 0, soft_out: int = 0) -> tuple[int, int]:
    """The frames of a shot without the soft ones (of a dissolve or a fade) and `margin` more at either end.

    A shot too short for that keeps the middle frame of what is not soft, or of all where all is soft.
    """
    if soft_in + soft_out <= last - first:
        first, last = first + soft_in, last - soft_out
    if last - first + 1 <= 2 * margin:
        return (first + last) // 2, (first + last) // 2
    return first + margin, last - margin


def at_rate(timeline: Timeline, span: tuple[int, int], fps: int) -> list[int]:
    """The source frame shown at every 1 / `fps` s of a span, first and last frame inclusive."""
    first, last = span
    until = shown_until(timeline.shown, last, timeline.rate)
    return resample(timeline.shown, timeline.shown[first], fps, None, until)


def stretches(
    chosen: Sequence[int],
    longest: int,
    take: Take,
    most: int,
    floor: Callable[[int], int],
    motion: Sequence[float] = (),
) -> list[list[int]]:
    """The source frames of each clip, out of those of a shot: at most `longest`, and as many as `floor` says.

    `split` gives up to `most` clips, one after the other; a later one must have full length, the first may be as short
    as the shot is. The others give one clip: from the first frame on, from the middle, or where `motion` (of every
    source frame) is largest in sum.
    """
    longest = floor(longest)
    if take == "split":
        parts = [list(chosen[n : n + longest]) for n in range(0, len(chosen), longest)][:most]
        kept = [part for number, part in enumerate(parts) if number == 0 or len(part) == longest]
        return [part[: floor(len(part))] for part in kept]
    count = floor(min(len(chosen), longest))
    start = {"head": 0, "middle": (len(chosen) - count) // 2}.get(take)
    if start is None:
        start = busiest(chosen, count, motion)
    return [list(chosen[start : start + count])]


def busiest(chosen: Sequence[int], count: int, motion: Sequence[float]) -> int:
    """Where among `chosen` the `count` frames in a row begin over which the motion from frame to frame is largest.

    The motion of a source frame is that from the one before it, so what leads to the first of the row does not count.
    """
    until = np.concatenate([[0.0], np.cumsum(motion)])
    starts = range(len(chosen) - count + 1)
    sums = [until[chosen[n + count - 1] + 1] - until[chosen[n] + 1] for n in starts]
    return int(np.argmax(np.round(sums, 6)))
