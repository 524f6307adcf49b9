"""shots: the exact cuts of a known film, what is measured of each shot, and films that break off."""

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

import small
from films import cartoon_film, write_film
from sakuga import api
from sakuga.core import timeline
from sakuga.core.media.film import frames
from sakuga.core.media.fit import fit
from sakuga.core.media.picture import read_picture
from sakuga.core.project import Project
from sakuga.signals.cuts import Span
from sakuga.stages.shots import at_gaps


def spans(project: Project) -> list[tuple[int, int]]:
    return [(row["first"], row["last"]) for row in project.rows("SELECT first, last FROM shot ORDER BY film, first")]


def test_the_cuts_are_found_to_the_frame(exported: Project) -> None:
    assert spans(exported) == [(0, 23), (24, 47), (48, 71), (72, 95)]
    rows = exported.rows("SELECT * FROM shot ORDER BY first")
    assert [row["name"] for row in rows] == small.SHOTS
    assert [(row["start_seconds"], row["seconds"]) for row in rows] == [(0, 1), (1, 1), (2, 1), (3, 1)]


def test_each_shot_shows_its_middle_and_is_measured(exported: Project) -> None:
    film = exported.film_path("film")
    for row in exported.rows("SELECT * FROM shot ORDER BY first"):
        thumbnail = read_picture(exported.path(row["thumbnail"])).astype(float)
        inside = [rgb.astype(float) for _, rgb in frames(film, range(row["first"], row["last"] + 1))]
        light = np.mean([rgb @ (0.299, 0.587, 0.114) for rgb in inside]) / 255  # the luma of a small film without tags
        assert abs(row["brightness"] - light) < 0.01
        assert 0.001 < row["motion"] < 0.1
        unlike = [np.abs(fit(rgb.astype(np.uint8), 256, 192) - thumbnail).mean() for rgb in inside]
        assert thumbnail.shape == (192, 256, 3) and min(unlike) < 4
        assert abs(int(np.argmin(unlike)) - 12) <= 4  # a frame near the middle, drawn on twos


def test_the_times_of_a_film_are_kept(empty: Project, tmp_path: Path) -> None:
    cartoon_film(tmp_path / "a.mkv", 2, Fraction(24000, 1001), shots=2)
    api.add(empty, [tmp_path / "a.mkv"])
    api.shots(empty)
    found = timeline.of_film(empty, "a")
    assert found.rate == Fraction(24000, 1001) and len(found.stamps) == 48
    assert found.shown[47] == 47 / Fraction(24000, 1001)


def break_off(path: Path, after: int) -> None:
    """Overwrite the packets of a film from the n-th on."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.pos is not None]
    for start, size in packets[after:]:
        data[start : start + size] = b"\xff" * size
    path.write_bytes(data)


def test_a_film_that_breaks_off_keeps_the_frames_before_and_says_so(empty: Project, tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    pictures = (noise.integers(0, 256, (96, 128, 3), np.uint8) for _ in range(60))
    write_film(tmp_path / "a.mp4", pictures, 24, gop=60, bframes=0)
    break_off(tmp_path / "a.mp4", after=30)
    api.add(empty, [tmp_path / "a.mp4"])
    summary = api.shots(empty, min_seconds=10)
    (row,) = empty.rows("SELECT frames, note FROM timeline")
    assert summary.failed == {} and 20 < row["frames"] <= 30
    assert f"breaks off after frame {row['frames']}" in row["note"] and "a.mp4" in row["note"]
    assert spans(empty) == [(0, row["frames"] - 1)]


def test_only_what_has_changed_is_done_again(exported: Project) -> None:
    assert api.shots(exported).unchanged == ["film"]
    assert api.shots(exported, min_seconds=1.5).done == ["film"]
    assert spans(exported) == [(0, 95)]  # each is too short, and joins the one before
    thumbnails = sorted(path.name for path in (exported.folder / "cache" / "thumbnails").iterdir())
    assert thumbnails == ["film_000000-strip.webp", "film_000000.webp"]


def test_a_persons_word_outlives_new_cuts(exported: Project) -> None:
    api.pick(exported, drop=["film_000048"], reason="smoke")
    api.shots(exported, min_seconds=10)
    api.shots(exported)
    api.pick(exported, auto=True)
    query = "SELECT kept, reason, by FROM pick WHERE shot = 'film_000048'"
    assert exported.rows(query) == [{"kept": 0, "reason": "smoke", "by": "person"}]
    assert json.dumps(spans(exported)) == "[[0, 23], [24, 47], [48, 71], [72, 95]]"


def test_no_shot_runs_over_a_gap() -> None:
    shown = [Fraction(n, 24) for n in (*range(10), *range(30, 40), *range(42, 50))]  # 20 pictures are missing, then 2
    found = [Span(0, 4, 1, 0), Span(5, 27, 2, 3)]
    assert at_gaps(found, shown) == [(0, 4, 1, 0), (5, 9, 2, 0), (10, 27, 0, 3)]
    assert at_gaps([Span(0, 0, 0, 0)], shown[:1]) == [(0, 0, 0, 0)]
