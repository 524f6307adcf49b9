"""Time in rational numbers: which frame of a film is shown when, and how a constant rate is told from a variable one.

A film's timestamps are rounded to the container's tick (Matroska: a millisecond, which a film keeps when it is copied
into another container). Where all of them lie within one tick of a constant rate they are replaced by that rate's exact
times; otherwise the film has a variable rate and its timestamps count as they are.
"""

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from math import lcm

_NTSC = Fraction(1000, 1001)
_MILLISECOND = Fraction(1, 1000)
KNOWN_RATES: tuple[Fraction, ...] = tuple(
    rate
    for base in (24, 25, 30, 60, 50, 48, 12, 15, 10, 16, 20, 8, 6, 5, 18, 72, 90, 100, 120, 144, 240)
    for rate in ([Fraction(base)] if base % 6 else [Fraction(base), base * _NTSC])
)
_SAME_RATE = Fraction(1, 4000)  # a declared 23.98 means 24000/1001; 24 is four times as far away


def snap_rate(timestamps: Sequence[Fraction], tick: Fraction, declared: Fraction | None = None) -> Fraction | None:
    """The constant rate (frames/s) that all `timestamps` (s) lie within one `tick` of, or None for a variable rate.

    Short films fit several rates: one like the `declared` is taken first, then the one with the smallest deviation.
    """
    if len(timestamps) < 2:
        return declared
    tick = _tick_of(timestamps, tick)
    base = lcm(tick.denominator, *(t.denominator for t in timestamps))
    first = timestamps[0]
    ticks = [(t - first).numerator * (base // (t - first).denominator) for t in timestamps]
    allowed = tick.numerator * (base // tick.denominator)
    named, others = _candidates(declared)
    for rate in named:
        if _deviation(ticks, base, rate, allowed) is not None:
            return rate
    fits = [(off, n) for n, rate in enumerate(others) if (off := _deviation(ticks, base, rate, allowed)) is not None]
    return others[min(fits)[1]] if fits else None


def _tick_of(timestamps: Sequence[Fraction], tick: Fraction) -> Fraction:
    """What the timestamps are rounded to: `tick`, or whole milliseconds in a container that could tell more."""
    whole = all(((t - timestamps[0]) * 1000).denominator == 1 for t in timestamps)
    return max(tick, _MILLISECOND) if whole else tick


def _candidates(declared: Fraction | None) -> tuple[list[Fraction], list[Fraction]]:
    if declared is None or declared <= 0:
        return [], list(KNOWN_RATES)
    like = [rate for rate in KNOWN_RATES if abs(rate - declared) <= rate * _SAME_RATE]
    return [*like, declared], [rate for rate in KNOWN_RATES if rate not in like]


def _deviation(ticks: Sequence[int], base: int, rate: Fraction, allowed: int) -> Fraction | None:
    """The largest distance of frame n's time from n / rate, in units of 1 / `base` s; None if more than `allowed`."""
    up, down = rate.numerator, rate.denominator
    limit = allowed * up
    if abs(ticks[-1] * up - (len(ticks) - 1) * down * base) > limit:  # spares the long films a pass for each rate
        return None
    worst = max(abs(t * up - n * down * base) for n, t in enumerate(ticks))
    return Fraction(worst, up) if worst <= limit else None


def frame_times(timestamps: Sequence[Fraction], rate: Fraction | None) -> list[Fraction]:
    """The time (s) each frame is first shown at, from 0: exact for a constant rate, as stamped for a variable one (None)."""
    if rate is not None:
        return [n / rate for n in range(len(timestamps))]
    return [t - timestamps[0] for t in timestamps]


def shown_until(times: Sequence[Fraction], index: int, declared: Fraction | None = None) -> Fraction:
    """The time (s) at which frame `index` gives way to the next; the last stays as long as the one before it did."""
    if index + 1 < len(times):
        return times[index + 1]
    if index >= 1:
        return times[index] + (times[index] - times[index - 1])
    return times[index] + (1 / declared if declared else 1 / KNOWN_RATES[0])


def count_at(start: Fraction, end: Fraction, fps: Fraction | int) -> int:
    """How many k >= 0 have start + k / fps < end."""
    return max(0, -((start - end) * fps // 1))


def resample(
    times: Sequence[Fraction], start: Fraction, fps: Fraction | int, count: int | None, end: Fraction
) -> list[int]:
    """The frames shown at start + k / fps, k = 0, 1, ..., before `end`; at most `count` of them.

    The frame shown at a moment is the last whose time is at or before it (24 -> 16 takes 0, 1, 3, 4, 6, 7, 9, ...;
    12 -> 16 repeats some).
    """
    available = count_at(start, end, fps)
    wanted = available if count is None else min(count, available)
    return [max(0, bisect_right(times, start + Fraction(k) / fps) - 1) for k in range(wanted)]
