"""Thirty films of a hundred shots, as rows: what asks the store reads by an index, and what compares shots stays linear."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sakuga import api
from sakuga.core import store
from sakuga.core.project import Project
from sakuga.core.settings import PickSettings
from sakuga.core.stage import Scratch
from sakuga.report.shots import _SHOTS
from sakuga.signals import alike
from sakuga.signals.alike import Seen
from sakuga.stages import overlays, pick

FILMS, SHOTS, FRAMES = 30, 100, 48  # of each shot
OPENING = 5 * FRAMES  # frames that every film begins with


def shot(film: int, number: int) -> dict[str, Any]:
    first = number * FRAMES
    name = f"f{film:02d}_{first:06d}"
    scores = {"brightness": 0.5, "motion": 0.1, "thumbnail": f"{name}.webp"}
    place = {"name": name, "source": f"f{film:02d}", "film": f"f{film:02d}", "first": first, "last": first + FRAMES - 1}
    return place | {"start_seconds": first / 24, "seconds": FRAMES / 24} | scores


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Project]:
    with Project.create(tmp_path / "studio", "tiny", "StudioStyle") as project:
        _fill(project)
        yield project


def _fill(project: Project) -> None:
    with store.transaction(project.db):
        for film in range(FILMS):
            for number in range(SHOTS):
                store.insert(project.db, "shot", shot(film, number))
            for other in range(FILMS):
                if other != film:
                    row = {
                        "source": f"{film}|{other}",
                        "film": f"f{film:02d}",
                        "other": f"f{other:02d}",
                        "other_seconds": 0.0,
                    }
                    store.insert(project.db, "recurrence", row | {"first": 0, "last": OPENING - 1 - other % 3})


def steps(project: Project, work: Any) -> int:
    """Thousands of instructions that SQLite carries out: what it reads, whatever the machine does besides."""
    count = [0]

    def step() -> None:
        count[0] += 1

    project.db.set_progress_handler(step, 1000)
    work()
    project.db.set_progress_handler(None, 0)
    return count[0]


def scans(project: Project, query: str, *values: Any) -> list[str]:
    """The tables that a query reads from end to end."""
    plan = project.rows(f"EXPLAIN QUERY PLAN {query}", *values)
    return [row["detail"] for row in plan if row["detail"].startswith("SCAN") and "CONSTANT" not in row["detail"]]


def test_the_shots_of_one_film_are_found_by_an_index(studio: Project) -> None:
    assert scans(studio, _SHOTS, "f07") == []
    assert scans(studio, overlays.SHOTS, "f07") == []
    drops = "SELECT clip_drop.name FROM clip_drop JOIN shot ON shot.name = shot WHERE film = ?"
    assert scans(studio, drops, "f07") == []


def test_an_opening_is_told_of_its_shots_and_read_once(studio: Project) -> None:
    found: dict[str, str] = {}
    assert steps(studio, lambda: found.update(pick._elsewhere(studio))) < 400
    assert len(found) == FILMS * OPENING // FRAMES
    assert found["f00_000000"] == "f01" and found["f07_000192"] == "f00" and "f07_000240" not in found


class Apart(dict[str, Any]):
    """A shot that is not to be held against others one by one."""

    __hash__ = None

    def __eq__(self, other: object) -> bool:
        raise AssertionError("a shot is looked for in a list of all")


def test_a_rule_goes_once_over_the_shots(studio: Project, tmp_path: Path) -> None:
    facts = dict(pick._items(studio, PickSettings())[0].facts)
    facts["shots"] = [Apart(row) for row in facts["shots"]]
    for n, row in enumerate(facts["shots"]):
        row.update({"duplicate_of": facts["shots"][0]["name"] if n % 2 else None, "share": 0.9, "recurs": ""})
    rows = pick._work(facts, PickSettings(auto=True, duplicates=False, count=300), Scratch(tmp_path))["pick"]
    assert sum(row["kept"] for row in rows) == 300 and sum(row["rule"] == "duplicate" for row in rows) == 1500


def copies(count: int) -> Iterator[Seen]:
    """One shot in many films, coded anew."""
    rng = np.random.default_rng(3)
    hashes, local = rng.integers(0, 2**63, FRAMES, dtype=np.uint64), rng.uniform(0, 1, FRAMES).astype(np.float32)
    layout = rng.uniform(0, 40, 72).astype(np.float32)
    for _ in range(count):
        coded = np.uint64(1) << rng.integers(0, 64, FRAMES).astype(np.uint64)
        yield Seen(24.0, hashes ^ coded, local, layout)


def test_an_opening_in_every_film_is_not_held_against_itself_two_by_two(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[float] = []
    compare = alike.shared

    def counted(one: Seen, two: Seen, offset: float) -> float:
        held.append(offset)
        return compare(one, two, offset)

    monkeypatch.setattr(alike, "shared", counted)
    met = []
    for films in (150, 300):
        shots = list(copies(films))
        owner, _, hashes = alike._sampled(shots)
        met.append(len(alike._meeting(hashes, owner)[0]))
        held.clear()
        assert [twin.shot for twin in alike.twins(shots)] == list(range(1, films))
        assert len(held) <= alike.TRIED * films
    assert met[1] < 2.2 * met[0]


def test_long_lists_of_drops_are_told_by_reason(studio: Project, capsys: pytest.CaptureFixture[str]) -> None:
    from sakuga.cli import run

    api.pick(studio, auto=True, count=10)
    assert run(["drops", "--project", str(studio.folder)]) == 0
    out = capsys.readouterr().out
    assert "2,990 are left out, for 2 kinds of reasons" in out and len(out.splitlines()) < 10
    assert "2840" in out and "beyond the count of 10" in out and "150" in out
