"""repeats: an opening is found in each of its episodes, whatever else they hold, and films alone have none."""

from itertools import pairwise
from pathlib import Path

import pytest

from sakuga import api
from sakuga.core.project import Project
from sakuga_world.films import OPENING, write_film

OPENING_SECONDS = sum(seconds for seconds, _, _ in OPENING)


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("episodes")
    for number in range(2):
        write_film(folder / f"e{number}.mp4", number, seconds=16, size=(128, 80), rate=12)
    return sorted(folder.iterdir())


def test_the_opening_of_two_episodes_is_found_and_left_out(empty: Project, episodes: list[Path]) -> None:
    api.add(empty, episodes)
    api.shots(empty)
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
    api.shots(empty)
    assert empty.rows("SELECT * FROM recurrence") == []
    api.add(empty, episodes[1:])
    api.shots(empty)
    assert len(empty.rows("SELECT * FROM recurrence")) == 2
    api.add(empty, remove=["e1"])
    api.shots(empty)
    assert empty.rows("SELECT * FROM recurrence") == []
