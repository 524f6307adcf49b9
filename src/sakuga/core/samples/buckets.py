"""Buckets: the size an item is trained at, near its own aspect and within the area that a section asks for.

With area A = width x height, step S and short side s = S, 2S, ... <= sqrt(A), the landscape buckets are
(long, s) with long = min(floor(A / s), 4 s) rounded down to S, and the square (floor(sqrt(A)), floor(sqrt(A))).
The one nearest in log(aspect) is taken, the larger where two are equally near; portraits are the same, turned.
Aspects beyond 4 : 1 count as 4 : 1. A section may list sizes of its own, to be trained as another program trains.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import isqrt, log
from typing import Literal

MAX_ASPECT = 4


def _floor(size: int, step: int) -> int:
    return max(step, size // step * step)


@lru_cache(maxsize=256)
def landscape_buckets(area: int, step: int) -> tuple[tuple[int, int], ...]:
    """All (width, height) with width >= height, by height."""
    side = _floor(isqrt(area), step)
    sizes = {(side, side)}
    for short in range(step, side + 1, step):
        sizes.add((_floor(min(area // short, MAX_ASPECT * short), step), short))
    return tuple(sorted(((w, h) for w, h in sizes if w >= h), key=lambda size: (size[1], size[0])))


@lru_cache(maxsize=5000)  # many items are of few sizes
def bucket_for(width: int, height: int, area_w: int, area_h: int, step: int, upscale: bool) -> tuple[int, int]:
    """The (width, height) an item of `width` x `height` is trained at within `area_w` x `area_h` pixels.

    Multiples of `step`. Without `upscale` an item is never enlarged: what is smaller keeps its size, rounded down.
    """
    if height > width:
        long, short = bucket_for(height, width, area_w, area_h, step, upscale)
        return short, long
    area = area_w * area_h
    aspect = min(width / height, float(MAX_ASPECT))
    best = min(
        landscape_buckets(area, step), key=lambda size: (abs(log(size[0] / size[1]) - log(aspect)), -size[0] * size[1])
    )
    return best if upscale else _not_enlarged(best, width, height, area, step)


def listed_size(
    width: int, height: int, sizes: Sequence[tuple[int, int]], by: Literal["log-aspect", "aspect"], area: int, step: int,
    upscale: bool,
) -> tuple[int, int]:  # fmt: skip
    """The one of `sizes` whose aspect is nearest, the first of equals: as ratio of the aspects, or as their difference.

    Without `upscale` an item of at most `area` pixels keeps its own size, rounded down to `step`.
    """
    if not upscale and width * height <= area:
        return _floor(width, step), _floor(height, step)
    far = _ratio if by == "log-aspect" else _difference
    return min(sizes, key=lambda size: far(width / height, size[0] / size[1]))


def _ratio(a: float, b: float) -> float:
    return abs(log(a / b))


def _difference(a: float, b: float) -> float:
    return abs(a - b)


def fixed_size(width: int, height: int, area_w: int, area_h: int, step: int, upscale: bool) -> tuple[int, int]:
    """The section's own resolution for all its items; without `upscale` no side is longer than the item's."""
    w, h = _floor(area_w, step), _floor(area_h, step)
    return (w, h) if upscale else (min(w, _floor(width, step)), min(h, _floor(height, step)))


def _not_enlarged(best: tuple[int, int], width: int, height: int, area: int, step: int) -> tuple[int, int]:
    own = _floor(width, step), _floor(height, step)
    w, h = own if width * height <= area and own[0] * own[1] <= area else (min(best[0], own[0]), min(best[1], own[1]))
    return min(w, MAX_ASPECT * h), h
