"""The sizes that other trainers choose among, told from their rules so that a section can list them.

musubi-tuner, area A and s = floor(sqrt(A)): for w = s/2 ... s in steps, both (w, A/w) and (A/w, w), rounded down; the
nearest is that of the smallest difference of w/h. diffusion-pipe: (sqrt(A r), sqrt(A / r)) for each aspect r of its
list, rounded to the nearest step; the nearest is that of the smallest difference of log(r).
"""

from collections.abc import Sequence
from math import isqrt, sqrt

from ..core.samples.buckets import listed_size

Size = tuple[int, int]


def musubi_sizes(width: int, height: int, step: int = 16) -> tuple[Size, ...]:
    """The buckets of musubi-tuner for a resolution, in its order: (832, 480) gives 42."""
    area = width * height
    side = isqrt(area)
    found = set()
    for short in range(max(step, side // 2 // step * step), side + step, step):
        long = area // short // step * step
        found |= {(short, long), (long, short)} if long else set()
    return tuple(sorted(found))


def musubi_size(width: int, height: int, resolution: Size, *, upscale: bool = True, step: int = 16) -> Size:
    """The bucket that musubi-tuner takes for a picture of `width` x `height`, where its buckets are enabled."""
    sizes = musubi_sizes(*resolution, step)
    return listed_size(width, height, sizes, "aspect", resolution[0] * resolution[1], step, upscale)


def aspects(least: float, most: float, count: int) -> list[float]:
    """`count` aspects (w/h) from `least` to `most`, each the same multiple of the one before."""
    if count == 1:
        return [least]
    return [least * (most / least) ** (n / (count - 1)) for n in range(count)]


def aspect_sizes(side: float, ratios: Sequence[float], step: int) -> tuple[Size, ...]:
    """The sizes of diffusion-pipe for a side length and its aspects, in the order of the aspects, each once."""
    sizes = (_rounded(sqrt(side * side * ratio), sqrt(side * side / ratio), step) for ratio in ratios)
    return tuple(dict.fromkeys(sizes))


def _rounded(width: float, height: float, step: int) -> Size:
    return max(step, round(width / step) * step), max(step, round(height / step) * step)
