"""Frame windows: as musubi-tuner makes them (its duplicates removed), and sound on any clip."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sakuga.core.errors import SakugaError
from sakuga.core.family import member
from sakuga.core.samples.windows import RULES, Rule, Window, why_none, windows

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "frame_windows.json").read_text())
FLOOR = member("wan2.2-t2v-a14b").floor_frames


@pytest.mark.parametrize("name", GOLDEN["cases"])
def test_golden_windows(name: str) -> None:
    case: dict[str, Any] = GOLDEN["cases"][name]
    settings = case["settings"]
    got = [
        [clip, window.start, window.frames]
        for clip in sorted(case["clips"])
        for window in windows(
            settings["frame_extraction"], GOLDEN["clips"][clip], settings.get("target_frames", [1]),
            stride=settings.get("frame_stride", 1), count=settings.get("frame_sample", 1),
            max_frames=settings.get("max_frames", 129), floor=FLOOR,
        )
    ]  # fmt: skip
    distinct = [list(w) for w in sorted({tuple(w) for w in case["windows"]})]
    assert sorted(got) == distinct


rules = st.sampled_from(RULES)
some_targets = st.lists(st.integers(1, 90), min_size=1, max_size=4)


@given(
    rules, st.integers(0, 300), some_targets, st.integers(1, 40), st.integers(1, 12), st.none() | st.integers(1, 200)
)
def test_windows_lie_inside_and_are_distinct(
    rule: Rule, n: int, targets: list[int], stride: int, count: int, most: int | None
) -> None:
    got = windows(rule, n, targets, stride=stride, count=count, max_frames=most, floor=FLOOR)
    assert len(got) == len(set(got))
    assert all(w.start >= 0 and w.frames >= 1 and w.start + w.frames <= n for w in got)
    assert all(FLOOR(w.frames) == w.frames for w in got)
    assert got == sorted(got, key=lambda w: (w.frames, w.start))
    if rule == "full":
        assert got == [Window(0, FLOOR(min(n, most or n)))] * (n > 0)
    else:
        assert {w.frames for w in got} == {f for t in targets if 1 <= (f := FLOOR(t)) <= n}
    reason = why_none("motion", n, 16, rule, targets, count=count, max_frames=most, floor=FLOOR)
    assert got or reason


@given(st.integers(0, 400), st.integers(1, 60), st.integers(1, 90))
def test_uniform_starts_are_those_of_numpy(spare: int, count: int, target: int) -> None:
    length = FLOOR(target)
    got = [w.start for w in windows("uniform", length + spare, [target], count=count, floor=FLOOR)]
    assert got == sorted(set(np.linspace(0, spare, count, dtype=int).tolist()))


def test_uniform_follows_numpy_where_floating_point_falls_short() -> None:
    short = [(s, c) for s in range(1, 200) for c in range(3, 60)
             if np.linspace(0, s, c, dtype=int).tolist() != [k * s // (c - 1) for k in range(c)]]  # fmt: skip
    assert short  # integers alone would differ here
    for spare, count in short[:50]:
        got = [w.start for w in windows("uniform", spare + 1, [1], count=count, floor=FLOOR)]
        assert got == sorted(set(np.linspace(0, spare, count, dtype=int).tolist()))


def test_middle_is_centred() -> None:
    assert windows("middle", 44, [21, 5], floor=FLOOR) == [Window(19, 5), Window(11, 21)]


def test_the_last_chunk_ends_with_the_clip() -> None:
    assert windows("chunk", 26, [13], floor=FLOOR) == [Window(0, 13), Window(13, 13)]
    assert windows("slide", 25, [5], stride=10, floor=FLOOR) == [Window(0, 5), Window(10, 5), Window(20, 5)]


def test_reasons() -> None:
    def why(n: int, rule: Rule, targets: list[int], count: int = 1) -> str | None:
        return why_none("motion", n, 16, rule, targets, count=count, floor=FLOOR)

    assert why(44, "uniform", [45], 2) == '44 frames at 16 fps, section "motion" needs 45'
    assert why(45, "uniform", [45], 2) == (
        '45 frames at 16 fps, section "motion" asks for 2 windows of 45 and finds 1 distinct'
    )
    assert why(46, "uniform", [45], 2) is None
    assert why(20, "head", [1, 21]) == '20 frames at 16 fps, section "motion" also needs 21'
    assert why(1, "head", [21, 45]) == '1 frame at 16 fps, section "motion" needs 21 and 45'
    assert why(0, "full", []) == '0 frames at 16 fps, section "motion" needs 1'
    assert why(3, "full", []) is None


def test_an_unknown_rule_names_the_nearest() -> None:
    with pytest.raises(SakugaError, match="did you mean uniform"):
        windows("unifrom", 10, [1], floor=FLOOR)  # type: ignore[arg-type]
    with pytest.raises(SakugaError, match="at least 1"):
        windows("slide", 10, [1], stride=0, floor=FLOOR)
