"""Buckets: known sizes, and what holds for any picture."""

from math import isqrt, log

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sakuga.core.samples.buckets import bucket_for, fixed_size, landscape_buckets, listed_size

LANDSCAPE = (832, 480, 16)
side = st.integers(1, 5000)
steps = st.sampled_from([16, 32])
targets = st.integers(64, 1300)


@pytest.mark.parametrize(
    ("source", "size"),
    [
        ((1920, 1080), (832, 480)),
        ((1080, 1920), (480, 832)),
        ((1920, 800), (992, 400)),  # as musubi-tuner
        ((1000, 1000), (624, 624)),  # an exact square, which it has not
        ((1440, 1080), (720, 544)),
        ((8000, 1000), (1216, 304)),  # beyond 4 : 1
    ],
)
def test_known_sizes(source: tuple[int, int], size: tuple[int, int]) -> None:
    assert bucket_for(*source, *LANDSCAPE, upscale=True) == size


def test_without_upscale_what_is_small_keeps_its_size() -> None:
    assert bucket_for(640, 360, *LANDSCAPE, upscale=False) == (640, 352)
    assert bucket_for(640, 360, *LANDSCAPE, upscale=True) == (832, 480)
    assert bucket_for(1920, 1080, *LANDSCAPE, upscale=False) == (832, 480)
    assert bucket_for(15, 10, *LANDSCAPE, upscale=False) == (16, 16)
    assert fixed_size(640, 360, *LANDSCAPE, upscale=False) == (640, 352)
    assert fixed_size(640, 360, 840, 490, 16, upscale=True) == (832, 480)


@given(side, side, targets, targets, steps, st.booleans())
def test_sizes_are_multiples_within_the_area(w: int, h: int, aw: int, ah: int, step: int, upscale: bool) -> None:
    width, height = bucket_for(w, h, aw, ah, step, upscale)
    assert width % step == height % step == 0
    assert width >= step and height >= step
    assert width * height <= aw * ah
    assert max(width, height) <= 4 * min(width, height)
    assert bucket_for(h, w, aw, ah, step, upscale) == (height, width)
    assert bucket_for(h, w, ah, aw, step, upscale) == (height, width)
    if not upscale:
        assert width <= max(w, step) and height <= max(h, step)


@given(side, side, st.integers(256, 1300), st.integers(256, 1300), steps)
def test_the_aspect_is_near_and_the_area_is_used(w: int, h: int, aw: int, ah: int, step: int) -> None:
    assume(1 / 4 <= w / h <= 4)
    width, height = bucket_for(w, h, aw, ah, step, True)
    short = isqrt(aw * ah // 4) // step * step  # of the longest bucket
    assert abs(log(width / height) - log(w / h)) <= log((short + step) / short) + log((4 * short + step) / (4 * short))
    assert width * height >= aw * ah * (short / (short + step)) ** 2  # the longest bucket wastes most


@given(st.integers(256, 10**6), steps)
def test_there_is_always_a_bucket(area: int, step: int) -> None:
    sizes = landscape_buckets(area, step)
    assert sizes and len(sizes) == len(set(sizes))
    assert any(w == h for w, h in sizes)


def test_of_listed_sizes_the_one_of_the_nearest_aspect_is_taken() -> None:
    sizes = [(512, 512), (400, 640), (640, 400), (800, 320)]
    assert listed_size(1920, 1080, sizes, "log-aspect", 512 * 512, 16, False) == (640, 400)
    # 1.25 lies as far from 1 as from 1.6 in ratio, nearly; as a difference it is nearer to 1
    assert listed_size(1270, 1000, sizes, "log-aspect", 512 * 512, 16, False) == (640, 400)
    assert listed_size(1270, 1000, sizes, "aspect", 512 * 512, 16, False) == (512, 512)


def test_of_listed_sizes_none_is_for_what_would_be_enlarged() -> None:
    sizes = [(832, 480)]
    assert listed_size(640, 360, sizes, "aspect", 832 * 480, 16, False) == (640, 352)
    assert listed_size(640, 360, sizes, "aspect", 832 * 480, 16, True) == (832, 480)
