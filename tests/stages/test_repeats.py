"""repeats: an opening is found in each of its episodes, by picture and by sound, and films alone have none."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from sakuga import api
from sakuga.cli.footage import _part_table
from sakuga.core import store
from sakuga.core.project import Project
from sakuga_world.films import OPENING, _pictures, plan, write_film
from sakuga_world.look import CEL
from tunes import tune, write_sounding_film

OPENING_SECONDS = sum(seconds for seconds, _, _ in OPENING)


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("episodes")
    for number in range(2):
        write_film(folder / f"e{number}.mp4", number, seconds=16, size=(128, 80), rate=12)
    return sorted(folder.iterdir())


def test_the_opening_of_two_episodes_is_found_and_left_out(empty: Project, episodes: list[Path]) -> None:
    api.add(empty, episodes)
    api.shots(empty, judge="off")
    parts = empty.rows("SELECT * FROM recurrence ORDER BY film")
    assert [(part["film"], part["other"]) for part in parts] == [("e0", "e1"), ("e1", "e0")]
    for part in parts:
        assert part["first"] <= 3 and part["last"] / 12 == pytest.approx(OPENING_SECONDS, abs=0.4)
        assert part["other_seconds"] == pytest.approx(0, abs=0.3)
    api.pick(empty, auto=True)
    picks = empty.rows("SELECT pick.*, start_seconds, film FROM pick JOIN shot ON name = shot ORDER BY film, first")
    for pick in picks:
        assert (pick["reason"].startswith("stands in e")) == (pick["start_seconds"] < OPENING_SECONDS - 0.5)
    assert sum(a["film"] == b["film"] and a["kept"] < b["kept"] for a, b in pairwise(picks)) == 2


def test_a_film_alone_recurs_nowhere_and_a_second_one_changes_that(empty: Project, episodes: list[Path]) -> None:
    api.add(empty, episodes[:1])
    api.shots(empty, judge="off")
    assert empty.rows("SELECT * FROM recurrence") == []
    api.add(empty, episodes[1:])
    api.shots(empty, judge="off")
    assert len(empty.rows("SELECT * FROM recurrence")) == 2
    api.add(empty, remove=["e1"])
    api.shots(empty, judge="off")
    assert empty.rows("SELECT * FROM recurrence") == []


def test_another_film_is_compared_and_the_others_are_left_alone(empty: Project, episodes: list[Path]) -> None:
    api.add(empty, episodes)
    api.shots(empty, judge="off")
    known = empty.rows("SELECT item, ended FROM work WHERE stage = 'repeats' ORDER BY item")
    assert [work["item"] for work in known] == ["e0|e0", "e0|e1", "e1|e1"]
    third = episodes[0].parent.parent / "e2.mp4"
    write_film(third, 2, seconds=12, size=(128, 80), rate=12)
    api.add(empty, [third])
    api.shots(empty, judge="off")
    now = empty.rows("SELECT item, ended FROM work WHERE stage = 'repeats' ORDER BY item")
    assert [work for work in now if "e2" not in work["item"]] == known and len(now) == 6
    assert {row["film"] for row in empty.rows("SELECT film FROM recurrence WHERE other = 'e2'")} == {"e0", "e1"}


# with sound: 12 pictures a second of 96x64

RATE, SOUND_RATE = 12, 16_000


def shots(seed: int, seconds: float) -> list[np.ndarray]:
    """Moving pictures that no other seed has."""
    return list(_pictures(plan(seed, 8 + seconds, RATE)[len(OPENING) :], CEL, (96, 64), RATE))


def film(path: Path, *pieces: tuple[int, int, float], codec: str = "aac", level: float = 1.0) -> Path:
    """Pieces are (pictures, tune, seconds)."""
    pictures = [picture for seed, _, seconds in pieces for picture in shots(seed, seconds)]
    sound = np.concatenate([tune(seed, seconds, SOUND_RATE) for _, seed, seconds in pieces]) * np.float32(level)
    return write_sounding_film(path, pictures, RATE, sound, SOUND_RATE, codec=codec)


@pytest.fixture
def sounding(empty: Project, tmp_path: Path) -> Project:
    """`one` and `two` share six seconds of picture and sound, then six of sound alone, then three of pictures alone."""
    film(tmp_path / "one.mkv", (101, 201, 7), (1, 1, 6), (102, 2, 6), (103, 202, 5), (3, 203, 3))
    film(
        tmp_path / "two.mp4",
        (111, 211, 3),
        (1, 1, 6),
        (112, 2, 6),
        (113, 212, 8),
        (3, 213, 3),
        codec="libopus",
        level=0.4,
    )
    api.add(empty, sorted(tmp_path.glob("*.m*")))
    api.shots(empty, judge="off")
    return empty


def test_a_part_is_told_by_picture_by_sound_or_by_both(sounding: Project) -> None:
    rows = sounding.rows("SELECT * FROM recurrence WHERE film = 'one' ORDER BY first")
    assert [(row["by"], row["other"]) for row in rows] == [("both", "two"), ("sound", "two"), ("picture", "two")]
    times = [(row["start_seconds"], row["start_seconds"] + row["seconds"], row["other_seconds"]) for row in rows]
    for told, true in zip(times, [(7, 13, 3), (13, 19, 9), (24, 27, 23)], strict=True):
        assert told == pytest.approx(true, abs=0.5)
    for row, (start, end, _) in zip(rows, times, strict=True):
        assert (row["first"] / RATE, row["last"] / RATE) == pytest.approx((start, end), abs=1.5 / RATE)


def test_what_only_sounds_the_same_is_not_left_out(sounding: Project) -> None:
    api.pick(sounding, auto=True)
    dropped = sounding.rows(
        "SELECT start_seconds FROM pick JOIN shot ON name = shot WHERE film = 'one' AND reason LIKE 'stands in%'"
    )
    starts = [row["start_seconds"] for row in dropped]
    assert any(6.5 < start < 12.5 for start in starts) and not any(13.5 < start < 23 for start in starts)


def test_what_a_film_shows_again_is_told_the_second_time(empty: Project, tmp_path: Path) -> None:
    again = (1, 1, 5)
    film(tmp_path / "one.mp4", (101, 201, 3), again, (102, 202, 36), again, (103, 203, 3))
    api.add(empty, [tmp_path / "one.mp4"])
    api.shots(empty, judge="off")
    [row] = empty.rows("SELECT * FROM recurrence")
    assert (row["film"], row["other"], row["kind"], row["by"]) == ("one", "one", "repeat", "picture")
    assert (row["start_seconds"], row["seconds"], row["other_seconds"]) == pytest.approx((44, 5, 3), abs=0.3)


def test_parts_are_told_once_with_all_their_places(empty: Project, capsys: pytest.CaptureFixture[str]) -> None:
    def row(film: str, start: float, seconds: float, other: str, at: float, by: str, kind: str) -> dict[str, object]:
        told = {"source": "test", "film": film, "first": 0, "last": 1, "start_seconds": start, "seconds": seconds}
        return told | {"other": other, "other_seconds": at, "by": by, "kind": kind}

    rows = [
        row("one", 10.0, 89.5, "two", 0.0, "both", "opening"),
        row("one", 10.2, 90.0, "three", 60.0, "picture", "opening"),
        row("one", 12.0, 86.0, "four", 5.0, "sound", "opening"),
        row("one", 60.0, 8.0, "five", 700.0, "picture", ""),
        row("two", 0.0, 89.5, "one", 10.0, "both", "opening"),
    ]
    with store.transaction(empty.db):
        for values in rows:
            store.insert(empty.db, "recurrence", values)
    assert [tuple(part) for part in api.parts(empty)] == [
        ("one", 10.2, 90.0, "opening", "both", [("three", 60.0), ("two", 0.0)]),
        ("one", 12.0, 86.0, "opening", "sound", [("four", 5.0)]),
        ("one", 60.0, 8.0, "", "picture", [("five", 700.0)]),
        ("two", 0.0, 89.5, "opening", "both", [("one", 10.0)]),
    ]
    _part_table(api.parts(empty))
    told = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert told[1] == ["one", "0:10.2", "1:40.2", "opening", "both", "three", "1:00.0,", "two", "0:00.0"]
