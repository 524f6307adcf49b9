"""The bucket lists and choices of other trainers, against what was measured there."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sakuga.core.family import member
from sakuga.core.samples.windows import windows
from sakuga.interop.buckets import aspect_sizes, aspects, musubi_size, musubi_sizes


def test_musubi_has_42_buckets_for_832_by_480() -> None:
    sizes = musubi_sizes(832, 480)
    assert len(sizes) == 42 and sizes[0] == (304, 1312) and (640, 624) in sizes and (640, 640) not in sizes
    assert set(sizes) == {(h, w) for w, h in sizes}


@pytest.mark.parametrize(
    ("picture", "bucket"), [((1920, 800), (992, 400)), ((1000, 1000), (624, 640)), ((1920, 1080), (832, 480))]
)
def test_musubi_chooses_as_measured(picture: tuple[int, int], bucket: tuple[int, int]) -> None:
    assert musubi_size(*picture, (832, 480)) == bucket


def test_musubi_keeps_small_pictures_where_it_may_not_enlarge() -> None:
    assert musubi_size(640, 500, (832, 480), upscale=False) == (640, 496)
    assert musubi_size(640, 500, (832, 480)) == (704, 560)


@given(st.integers(32, 2000), st.integers(32, 2000))
def test_musubi_buckets_are_within_the_area(width: int, height: int) -> None:
    for w, h in musubi_sizes(width, height):
        assert w % 16 == h % 16 == 0 and w * h <= width * height
        assert min(w, h) >= max(16, math.isqrt(width * height) // 2 // 16 * 16)


def test_aspects_are_even_in_ratio() -> None:
    assert aspects(0.5, 2, 3) == [0.5, 1.0, 2.0]
    assert aspects(0.5, 2, 1) == [0.5]


def test_diffusion_pipe_rounds_to_the_nearest_step() -> None:
    assert aspect_sizes(512, [1.0], 16) == ((512, 512),)
    assert aspect_sizes(512, [0.5, 1.0, 2.0], 16) == ((368, 720), (512, 512), (720, 368))
    assert aspect_sizes(512, [1.0, 1.001], 16) == ((512, 512),)
    assert aspect_sizes(512, [16 / 9], 32) == ((672, 384),)


def theirs(rule: str, n: int, targets: list[int], stride: int, count: int, most: int) -> set[tuple[int, int]]:
    """musubi-tuner's windows of n frames as (start, frames), told anew from the description of its rules."""
    if rule == "full":
        frames = (min(n, most) - 1) // 4 * 4 + 1
        return {(0, frames)} if n else set()
    found = set()
    for target in sorted({(t - 1) // 4 * 4 + 1 for t in targets}):
        if target > n:
            continue
        if rule == "head" or (rule == "uniform" and count == 1):
            found.add((0, target))
        elif rule == "chunk":
            start = 0
            while start + target <= n:
                found.add((start, target))
                start += target
        elif rule == "slide":
            found |= {(start, target) for start in range(0, n - target + 1, stride)}
        else:
            import numpy as np

            found |= {(int(start), target) for start in np.linspace(0, n - target, count, dtype=int)}
    return found


@given(
    st.sampled_from(["head", "chunk", "slide", "uniform", "full"]), st.integers(0, 200),
    st.lists(st.integers(1, 90), min_size=1, max_size=4), st.integers(1, 30), st.integers(1, 9), st.integers(1, 150),
)  # fmt: skip
def test_windows_are_musubis_on_any_clip(
    rule: str, n: int, targets: list[int], stride: int, count: int, most: int
) -> None:
    floor = member("wan2.1-t2v-14b").floor_frames
    ours = windows(rule, n, targets, stride=stride, count=count, max_frames=most, floor=floor)  # type: ignore[arg-type]
    assert {(w.start, w.frames) for w in ours} == theirs(rule, n, targets, stride, count, most)
    assert len(ours) == len(set(ours))
