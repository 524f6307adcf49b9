"""Decisions about shots: named by pattern, all or none, and as lasting as the frames they were made about."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from sakuga.core import store
from sakuga.core.errors import SakugaError
from sakuga.core.picks import decide, decided, overlap
from sakuga.core.project import Project


def cut(project: Project, film: str, *firsts: int) -> None:
    """Make the film's shots anew: from each of `firsts` to the next; the last number ends the film."""
    project.db.execute("DELETE FROM shot WHERE film = ?", (film,))
    for first, after in pairwise(firsts):
        row = {"name": f"{film}_{first:06d}", "source": film, "film": film, "first": first, "last": after - 1}
        row |= {"start_seconds": 0.0, "seconds": 1.0, "brightness": 0.5, "motion": 0.1, "thumbnail": ""}
        store.insert(project.db, "shot", row)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.create(tmp_path / "p", "tiny") as project:
        cut(project, "film", 0, 100, 200, 300)
        cut(project, "[Group] Other", 0, 50, 90)
        yield project


def noted(project: Project) -> int:
    return int(project.rows("SELECT count(*) AS n FROM decision")[0]["n"])


@pytest.mark.parametrize(
    "patterns, names",
    [
        (["film_000100"], ["film_000100"]),
        (["film"], ["film_000000", "film_000100", "film_000200"]),
        (["film_0002*"], ["film_000200"]),
        (["film_000?00"], ["film_000000", "film_000100", "film_000200"]),
        (["[Group] Other"], ["[Group] Other_000000", "[Group] Other_000050"]),
        (["[Group] Other_00005*"], ["[Group] Other_000050"]),
        (["*_000000"], ["[Group] Other_000000", "film_000000"]),
        (["film_000100", "film_0001*", "film_000000"], ["film_000100", "film_000000"]),
        ([], []),
    ],
)
def test_shots_are_named_by_pattern(project: Project, patterns: list[str], names: list[str]) -> None:
    assert decide(project, {"keep": patterns}) == names
    assert noted(project) == len(names) and set(decided(project)) == set(names)


@pytest.mark.parametrize(
    "pattern, remedy",
    [("film_00100", "did you mean film_000100?"), ("flim", "did you mean film?"), ("zzz*", "`sakuga shots --json` lists them"),
     ("FILM*", ""), ("[G]roup*", "")],
)  # fmt: skip
def test_nothing_is_noted_with_a_pattern_that_names_nothing(project: Project, pattern: str, remedy: str) -> None:
    with pytest.raises(SakugaError) as caught:
        decide(project, {"drop": ["film_000000", pattern, "film_000100"]})
    assert str(caught.value).startswith(f"no shot is named '{pattern}'") and remedy in str(caught.value)
    assert noted(project) == 0


def test_the_newest_decision_wins_and_all_are_kept(project: Project) -> None:
    decide(project, {"drop": ["film"]}, "all of it")
    decide(project, {"keep": ["film_000100"]}, "but this")
    decide(project, {"keep": ["film_000200"]})
    decide(project, {"drop": ["film_000200"]}, "no")
    assert decided(project) == {
        "film_000000": (False, "all of it"), "film_000100": (True, "but this"), "film_000200": (False, "no"),
    }  # fmt: skip
    assert noted(project) == 6


def test_undecided_returns_a_shot_to_the_rule(project: Project) -> None:
    decide(project, {"keep": ["film_000000", "film_000100"]})
    decide(project, {"undecided": ["film_000000"]})
    assert decided(project) == {"film_000100": (True, "")}
    decide(project, {"drop": ["film_000000"]})
    assert decided(project)["film_000000"] == (False, "")


def test_a_decision_outlives_new_cuts(project: Project) -> None:
    decide(project, {"keep": ["film_000100"]}, "mine")  # frames 100 to 199

    def speaks(first: int, after: int) -> bool:
        cut(project, "film", first, after)
        return decided(project) == {f"film_{first:06d}": (True, "mine")}

    assert speaks(100, 200) and speaks(90, 200) and speaks(110, 210) and speaks(100, 180) and speaks(120, 200)
    assert speaks(75, 200)  # the longest before it that is four fifths the same
    assert not speaks(74, 200) and not speaks(100, 179) and not speaks(121, 200) and not speaks(112, 212)
    assert not speaks(0, 1000) and not speaks(200, 300)
    cut(project, "film", 0, 100, 200, 300)
    assert decided(project) == {"film_000100": (True, "mine")}


def test_a_decision_speaks_for_its_own_film(project: Project) -> None:
    cut(project, "other", 100, 200)
    decide(project, {"keep": ["film_000100"]})
    assert "other_000100" not in decided(project)


def test_many_decisions_are_read_quickly(project: Project) -> None:
    cut(project, "film", *range(0, 150_100, 100))
    for verdict in ("keep", "drop"):
        decide(project, {verdict: ["film"]})
    before = project.db.total_changes
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    project.db.set_progress_handler(count, 1000)
    assert len(decided(project)) == 1501 - 1 and project.db.total_changes == before
    assert steps < 1500  # of a thousand instructions each: a look at every pair would be 40 times as many


def test_overlap_is_frames_in_both_over_frames_in_either() -> None:
    assert overlap((0, 9), (0, 9)) == 1.0 and overlap((0, 9), (10, 19)) == 0.0 and overlap((0, 9), (30, 39)) == 0.0
    assert overlap((0, 9), (5, 14)) == 5 / 15 and overlap((5, 5), (0, 9)) == 0.1


def test_one_bad_pattern_notes_nothing_of_any_verdict(project: Project) -> None:
    with pytest.raises(SakugaError, match="no shot is named 'fylm'"):
        decide(project, {"keep": ["film_000000"], "drop": ["fylm"]})
    assert project.rows("SELECT * FROM decision") == []
