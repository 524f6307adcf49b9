"""Windows: which frames of a clip become training examples, by the rules people know from musubi-tuner, and `middle`.

Unlike there, windows are distinct: a rule that would take the same frames twice gives them once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import SakugaError, nearest

Rule = Literal["head", "middle", "chunk", "slide", "uniform", "full"]
RULES: tuple[str, ...] = get_args(Rule)
Floor = Callable[[int], int]


@dataclass(frozen=True, order=True)
class Window:
    """`frames` consecutive frames from `start` (0-based)."""

    start: int
    frames: int


def lengths(rule: Rule, n: int, targets: Sequence[int], max_frames: int | None, floor: Floor) -> list[int]:
    """The window lengths a rule asks for on a clip of `n` frames: as the model takes them, distinct, sorted."""
    if rule == "full":
        wanted = [n if max_frames is None else min(n, max_frames)]
    else:
        wanted = list(targets)
    return sorted({length for t in wanted if (length := floor(t)) >= 1})


def windows(
    rule: Rule,
    n: int,
    targets: Sequence[int],
    *,
    stride: int = 1,
    count: int = 1,
    max_frames: int | None = None,
    floor: Floor,
) -> list[Window]:
    """The distinct windows of a clip of `n` frames, by length and then by start.

    head: from the first frame; middle: centred; chunk: end to end; slide: every `stride` frames; uniform: `count`
    spread from first to last; full: the whole clip, up to `max_frames`. A length longer than the clip gives nothing.
    """
    if rule not in RULES:
        raise SakugaError(f"'{rule}' is not a frame rule{nearest(rule, RULES)} (rules: {', '.join(RULES)})")
    if stride < 1 or count < 1:
        raise SakugaError(f"frame rule '{rule}' needs a stride and a count of at least 1, not {stride} and {count}")
    return [
        Window(start, length)
        for length in lengths(rule, n, targets, max_frames, floor)
        if length <= n
        for start in _starts(rule, n - length, length, stride, count)
    ]


def _starts(rule: Rule, last: int, length: int, stride: int, count: int) -> Sequence[int]:
    """The distinct first frames, ascending; `last` is the largest possible one."""
    if rule == "middle":
        return [last // 2]
    if rule == "chunk":
        return range(0, last + 1, length)
    if rule == "slide":
        return range(0, last + 1, stride)
    if rule == "uniform" and count > 1:
        # floating point on purpose: the very operations of numpy.linspace(0, last, count, dtype=int)
        step = last / (count - 1)
        return sorted({int(k * step) for k in range(count - 1)} | {last})
    return [0]


def why_none(
    section: str,
    n: int,
    fps: int,
    rule: Rule,
    targets: Sequence[int],
    *,
    count: int = 1,
    max_frames: int | None = None,
    floor: Floor,
) -> str | None:
    """Why a clip of `n` frames gives fewer windows than its section asks for, or None where it gives all.

    For example: `44 frames at 16 fps, section "motion" needs 45`.
    """
    have = f"{n} frame{'' if n == 1 else 's'} at {fps} fps"
    asked = lengths(rule, n, targets, max_frames, floor)
    if not asked:
        return f'{have}, section "{section}" needs 1'
    if missing := [length for length in asked if length > n]:
        also = "" if len(missing) == len(asked) else "also "
        return f'{have}, section "{section}" {also}needs {_listed(missing)}'
    for length in asked if rule == "uniform" else []:
        distinct = len(_starts(rule, n - length, length, 1, count))
        if distinct < count:
            return f'{have}, section "{section}" asks for {count} windows of {length} and finds {distinct} distinct'
    return None


def _listed(numbers: Sequence[int]) -> str:
    words = [str(x) for x in numbers]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
