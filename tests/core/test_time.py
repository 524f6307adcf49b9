"""Which frame is shown when: against brute force in rational numbers, and on real films through a whole export."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from films import number_picture, numbered_film, read_number, write_film
from sakuga.core.media.clip import write_clip
from sakuga.core.media.film import frames, probe, scan_times
from sakuga.core.media.timing import KNOWN_RATES, count_at, frame_times, resample, shown_until, snap_rate

MILLISECOND = Fraction(1, 1000)
FILM, NTSC = Fraction(24000, 1001), Fraction(30000, 1001)
RATES = [Fraction(r) for r in (12, 24, 25, 30, 50, 60)] + [FILM, NTSC, 2 * NTSC]
FPS = 16


def in_ticks(times: list[Fraction], tick: Fraction) -> list[Fraction]:
    return [round(t / tick) * tick for t in times]


def test_24_to_16_takes_two_frames_of_three() -> None:
    times = [Fraction(n, 24) for n in range(24)]
    assert resample(times, Fraction(0), 16, None, Fraction(1)) == [
        0,
        1,
        3,
        4,
        6,
        7,
        9,
        10,
        12,
        13,
        15,
        16,
        18,
        19,
        21,
        22,
    ]


def test_12_to_16_repeats_frames() -> None:
    times = [Fraction(n, 12) for n in range(12)]
    assert resample(times, Fraction(0), 16, 8, Fraction(1)) == [0, 0, 1, 2, 3, 3, 4, 5]


def test_a_span_lasts_until_the_frame_after_it() -> None:
    times = [Fraction(n, 24) for n in range(48)]
    assert shown_until(times, 23) == 1
    assert shown_until(times, 47) == 2
    assert shown_until([Fraction(0)], 0, Fraction(25)) == Fraction(1, 25)
    assert resample(times, times[24], 16, None, shown_until(times, 47))[:4] == [24, 25, 27, 28]
    assert len(resample(times, times[24], 16, None, shown_until(times, 47))) == 16


def test_a_time_just_before_a_frame_still_shows_the_one_before() -> None:
    times = [Fraction(0), Fraction(1, 16) + Fraction(1, 10**9), Fraction(1)]
    assert resample(times, Fraction(0), 16, 2, Fraction(1)) == [0, 0]
    assert resample([Fraction(0), Fraction(1, 16), Fraction(1)], Fraction(0), 16, 2, Fraction(1)) == [0, 1]


ascending = st.lists(
    st.fractions(Fraction(1, 1000), Fraction(1, 5), max_denominator=48048), min_size=1, max_size=60
).map(lambda gaps: [sum(gaps[:n], Fraction(0)) for n in range(len(gaps))])


@given(ascending, st.sampled_from([*KNOWN_RATES, Fraction(FPS)]), st.data())
def test_resample_is_what_brute_force_says(times: list[Fraction], fps: Fraction, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(times) - 1))
    last = data.draw(st.integers(first, len(times) - 1))
    start, end = times[first], shown_until(times, last, Fraction(24))
    got = resample(times, start, fps, None, end)
    assert len(got) == count_at(start, end, fps) == sum(start + k / fps < end for k in range(len(got) + 3))
    assert got == [max(n for n, t in enumerate(times) if t <= start + k / fps) for k in range(len(got))]
    assert got == sorted(got)
    assert not got or (got[0] == first and got[-1] <= last)
    assert resample(times, start, fps, 2, end) == got[:2]


@given(st.sampled_from([r for r in KNOWN_RATES if r <= 120]), st.integers(2, 400), st.fractions(0, 5), st.booleans())
def test_milliseconds_snap_to_the_declared_rate(rate: Fraction, n: int, start: Fraction, cut: bool) -> None:
    exact = [start + k / rate for k in range(n)]
    stamps = [t // MILLISECOND * MILLISECOND for t in exact] if cut else in_ticks(exact, MILLISECOND)
    assert snap_rate(stamps, MILLISECOND, rate) == rate
    assert frame_times(stamps, snap_rate(stamps, MILLISECOND, rate)) == [k / rate for k in range(n)]


@pytest.mark.parametrize("tick", [Fraction(1, 16000), Fraction(1, 90000)])
def test_milliseconds_that_came_along_from_another_container_snap_too(tick: Fraction) -> None:
    stamps = [7 * MILLISECOND + t for t in in_ticks([k / FILM for k in range(200)], MILLISECOND)]
    assert snap_rate(stamps, tick, Fraction(24)) == snap_rate(stamps, tick) == FILM
    stamps[90] += 2 * MILLISECOND
    assert snap_rate(stamps, tick) is None
    fine = in_ticks([k / FILM for k in range(200)], tick)
    fine[90] += tick * 2  # less than a millisecond, but this film's times are finer
    assert snap_rate(fine, tick) is None


@pytest.mark.parametrize("rate", RATES)
def test_milliseconds_snap_without_a_declared_rate(rate: Fraction) -> None:
    stamps = in_ticks([k / rate for k in range(500)], MILLISECOND)
    assert snap_rate(stamps, MILLISECOND) == rate
    assert snap_rate(stamps, MILLISECOND, Fraction(17)) == rate


def test_a_declared_rate_near_a_known_one_means_the_known_one() -> None:
    stamps = in_ticks([k / FILM for k in range(10)], MILLISECOND)
    assert snap_rate(stamps, MILLISECOND, Fraction("23.98")) == FILM
    assert snap_rate(stamps, MILLISECOND, Fraction(24)) == 24  # ten frames do not tell, so the file is believed
    assert snap_rate(stamps, MILLISECOND) == FILM


def test_an_unusual_declared_rate_is_kept() -> None:
    rate = Fraction(37, 2)
    stamps = in_ticks([k / rate for k in range(200)], MILLISECOND)
    assert snap_rate(stamps, MILLISECOND) is None
    assert snap_rate(stamps, MILLISECOND, rate) == rate


def test_a_variable_rate_keeps_its_stamps() -> None:
    stamps = [Fraction(5), *(5 + Fraction(k * k + 40 * k, 1000) for k in range(1, 30))]
    assert snap_rate(stamps, MILLISECOND, Fraction(24)) is None
    assert frame_times(stamps, snap_rate(stamps, MILLISECOND, Fraction(24))) == [t - 5 for t in stamps]
    late = [Fraction(k, 24) for k in range(40)] + [Fraction(k + 1, 24) for k in range(40, 80)]  # one frame is missing
    assert snap_rate(late, Fraction(1, 12288), Fraction(24)) is None


def test_one_frame_out_of_step_makes_a_rate_variable() -> None:
    stamps = in_ticks([Fraction(k, 24) for k in range(100)], MILLISECOND)
    assert snap_rate(stamps, MILLISECOND, Fraction(24)) == 24
    stamps[50] += 2 * MILLISECOND
    assert snap_rate(stamps, MILLISECOND, Fraction(24)) is None


def test_one_frame_has_no_rate_of_its_own() -> None:
    assert snap_rate([Fraction(3)], MILLISECOND) is None
    assert frame_times([Fraction(3)], snap_rate([Fraction(3)], MILLISECOND)) == [0]
    assert frame_times([], snap_rate([], MILLISECOND)) == []


def exported_numbers(film: Path, clip: Path, first: int, last: int) -> tuple[list[int], list[int]]:
    """What a span of a film is at 16 fps: the numbers read from the clip, and the frames that the formula names."""
    info, stamps = probe(film), scan_times(film)
    times = frame_times(stamps, snap_rate(stamps, info.tick, info.declared))
    chosen = resample(times, times[first], FPS, None, shown_until(times, last, info.declared))
    pictures = dict(frames(film, sorted(set(chosen)), times=stamps))
    written = write_clip(clip, (pictures[n] for n in chosen), FPS)
    read = [read_number(rgb) for _, rgb in frames(clip)]
    assert written.frames == len(chosen) == len(scan_times(clip))
    assert probe(clip).declared == FPS
    return read, chosen


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("rate", RATES)
def test_film_to_clip_shows_the_frames_that_the_formula_names(tmp_path: Path, rate: Fraction, suffix: str) -> None:
    total = round(rate * 3)
    first, last = total // 3, total - 2
    film = numbered_film(tmp_path / f"film.{suffix}", total, rate)
    read, chosen = exported_numbers(film, tmp_path / "clip.mp4", first, last)
    exact = [int(first + Fraction(k, FPS) * rate // 1) for k in range(len(chosen))]
    assert read == chosen == exact
    assert len(read) == -(-(last - first + 1) * FPS / rate // 1)


def test_a_film_with_a_variable_rate(tmp_path: Path) -> None:
    stamps = [k * 40 + (k % 3) * 15 + (200 if k > 30 else 0) for k in range(60)]
    pictures = (number_picture(n) for n in range(60))
    film = write_film(tmp_path / "vfr.mkv", pictures, 25, pts=stamps, time_base=MILLISECOND)
    read, chosen = exported_numbers(film, tmp_path / "clip.mp4", 5, 55)
    moments = [Fraction(stamps[5], 1000) + Fraction(k, FPS) for k in range(len(chosen))]
    assert read == chosen == [max(n for n, t in enumerate(stamps) if Fraction(t, 1000) <= m) for m in moments]
    assert read.count(30) > 2  # held through the gap
