"""What was in flight beside an item that took its process with it is done again, and only the culprit is set aside."""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sakuga.core.progress import Silent
from sakuga.core.project import Project
from sakuga.core.settings import change
from sakuga.core.stage import Item, Rows, Scratch, Stage, run
from small_stages import INLINE, SmallSettings, ask

PATIENCE = 60.0


def _items(project: Project, settings: SmallSettings) -> list[Item]:
    begun = str(project.folder / "begun")
    return [Item(key, {}, {"key": key, "begun": begun}, 3) for key in ("culprit", "innocent")]


def _work(facts: Mapping[str, Any], settings: SmallSettings, scratch: Scratch) -> Rows:
    """The culprit ends its process when the innocent one is half way, which happens to that one only once."""
    scratch.report(1)
    begun, until = Path(facts["begun"]), time.monotonic() + PATIENCE
    if facts["key"] == "culprit":
        while not begun.exists() and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.3)  # the sign of the other's progress goes first
        os._exit(3)
    if not begun.exists():
        begun.touch()
        time.sleep(PATIENCE)
    scratch.file("out/innocent.txt").write_text("done")
    return {"cache_entry": [{"key": facts["key"], "kind": "text", "file": "out/innocent.txt", "bytes": 4}]}


STAGE = Stage(
    "small", version=1, takes="text", gives=("cache_entry",), settings=SmallSettings, items=_items, work=_work
)


class Counted(Silent):
    def __init__(self) -> None:
        self.total: int | None = None
        self.done = 0

    def start(self, what: str, total: int | None, unit: str = "items", done: int = 0) -> None:
        self.total = total

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.done += amount


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.create(tmp_path / "p", "tiny") as project:
        yield project


def test_the_innocent_one_is_done_again(project: Project) -> None:
    project.settings = change(project.settings, {"workers": 2})
    counted = Counted()
    summary = run(STAGE, project, SmallSettings(), counted)
    assert summary.done == ["innocent"]
    assert summary.failed == {
        "culprit": "the process that read it died or stood still: the file is damaged, or memory ran out"
    }
    assert [row["key"] for row in project.rows("SELECT key FROM cache_entry")] == ["innocent"]
    assert project.path("out/innocent.txt").read_text() == "done"
    assert (counted.done, counted.total) == (6, 6), "what was reported before the end is not counted twice"


def test_a_stage_gives_only_what_it_declares(project: Project) -> None:
    ask(project, a="one")
    with pytest.raises(AssertionError, match="stage small does not declare that it gives cache_entry"):
        run(replace(INLINE, gives=()), project, SmallSettings())
    assert project.rows("SELECT * FROM cache_entry") == []
    assert [row["state"] for row in project.rows("SELECT state FROM work")] == ["failed"]
    assert run(INLINE, project, SmallSettings()).done == ["a"]
