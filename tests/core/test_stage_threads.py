"""The runner with threads, with a choice of items, and with faults that are nobody's: what lands, and what stays."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sakuga.core.errors import Halt, SakugaError
from sakuga.core.project import Project
from sakuga.core.stage import Rows, Scratch, Stage, run
from small_stages import INLINE, SmallSettings, ask

PLAIN = SmallSettings()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.create(tmp_path / "p", "tiny") as project:
        yield project


def outputs(project: Project) -> dict[str, str]:
    return {p.stem: p.read_text() for p in sorted((project.folder / "out").glob("*"))}


def threaded(threads: int, extra: Callable[[str], None], **more: Any) -> Stage[SmallSettings]:
    """The small stage with so many threads, where `extra` happens to each key before its work."""

    def work(facts: Mapping[str, Any], settings: SmallSettings, scratch: Scratch) -> Rows:
        extra(facts["key"])
        return INLINE.work(facts, settings, scratch)

    return replace(INLINE, work=work, parallel=lambda settings: threads, **more)


class Told:
    def __init__(self) -> None:
        self.done, self.notes, self.said = 0, [""], [""]

    def start(self, what: str, total: int | None, unit: str = "items", done: int = 0) -> None: ...

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.done += amount
        self.notes.append(note)

    def say(self, message: str) -> None:
        self.said.append(message)


def test_threads_work_side_by_side_and_each_item_lands_when_it_is_done(project: Project) -> None:
    ask(project, a="x", b="y", c="z", d="w")
    together = threading.Barrier(2)
    landed: list[list[str]] = []

    def extra(key: str) -> None:
        if key in "ab":
            together.wait(10)  # neither gets on alone
        if key == "a":
            while len(landed) < 3:
                time.sleep(0.01)

    told = Told()
    advance = told.advance
    told.advance = lambda amount=1, note="": (advance(amount, note), landed.append(sorted(outputs(project))))[0]  # type: ignore
    summary = run(threaded(2, extra), project, PLAIN, told)
    assert summary.done[-1] == "a" and set(summary.done) == {"a", "b", "c", "d"} and told.done == 8
    assert outputs(project) == {"a": "x", "b": "y", "c": "z", "d": "w"}
    assert landed[2] == sorted(summary.done[:2])  # when the third is told of, two are there
    assert not (project.folder / ".scratch").exists()


def test_one_that_fails_does_not_hold_up_the_others(project: Project) -> None:
    ask(project, a={"text": "x", "do": "sentence"}, b="y", c={"text": "z", "do": "bug"})
    summary = run(threaded(3, lambda key: None), project, PLAIN)
    assert summary.done == ["b"]
    assert summary.failed == {"a": "this one cannot be; leave it out", "c": "KeyError: 'colour'"}
    assert outputs(project) == {"b": "y"}


@pytest.mark.parametrize("threads", [1, 2])
def test_a_fault_that_is_nobodys_ends_the_run_and_marks_no_item(project: Project, threads: int) -> None:
    ask(project, a="x", b="y", c="z")

    def extra(key: str) -> None:
        if key == "b":
            raise Halt("the server is gone; start it")

    with pytest.raises(Halt, match="the server is gone"):
        run(threaded(threads, extra), project, PLAIN)
    assert project.rows("SELECT item FROM work WHERE state = 'failed'") == []
    done = [row["item"] for row in project.rows("SELECT item FROM work")]
    assert "b" not in done
    again = run(threaded(threads, lambda key: None), project, PLAIN)
    assert sorted(again.done + again.unchanged) == ["a", "b", "c"] and again.unchanged == done


def test_a_stop_does_not_wait_for_what_is_in_flight(project: Project) -> None:
    ask(project, a="x", b="y")
    release = threading.Event()
    told = Told()

    def stopped(amount: int = 1, note: str = "") -> None:
        raise KeyboardInterrupt

    told.advance = stopped  # type: ignore[method-assign]

    def wait_for(key: str) -> None:
        if key == "a":
            release.wait(20)

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(threaded(2, wait_for), project, PLAIN, told)
    assert time.monotonic() - started < 5
    release.set()
    assert sorted(run(INLINE, project, PLAIN).done) == ["a", "b"] and outputs(project) == {"a": "x", "b": "y"}


def test_the_whole_so_far_is_told_beside_each_item_and_at_the_end(project: Project) -> None:
    ask(project, a="x")
    told = Told()
    run(replace(INLINE, tell=lambda context: "3 tokens"), project, PLAIN, told)
    assert told.notes[-1] == "a; 3 tokens" and told.said[-1] == "small: 3 tokens"


def test_only_what_is_chosen_is_done_and_again_does_anew(project: Project) -> None:
    ask(project, a="x", b="y", c="z")
    assert run(INLINE, project, PLAIN, only=lambda key: key != "b").done == ["a", "c"]
    summary = run(INLINE, project, PLAIN, only=lambda key: key in "ab")
    assert summary.done == ["b"] and summary.unchanged == ["a", "c"]
    summary = run(INLINE, project, PLAIN, only=lambda key: key == "a", again=True)
    assert summary.done == ["a"] and summary.unchanged == ["b", "c"]
    assert outputs(project) == {"a": "x", "b": "y", "c": "z"}


def test_what_an_item_has_lasts_while_making_it_anew_fails(project: Project) -> None:
    ask(project, a="x")
    lasting = replace(INLINE, lasting=True)
    run(lasting, project, PLAIN)
    ask(project, a={"text": "new", "do": "sentence"})
    assert run(lasting, project, PLAIN).failed and outputs(project) == {"a": "x"}
    assert project.rows("SELECT file FROM cache_entry") == [{"file": "x"}]
    assert run(lasting, project, PLAIN).failed
    ask(project, a="new")
    assert run(lasting, project, PLAIN).done == ["a"] and outputs(project) == {"a": "new"}
    ask(project)
    assert run(lasting, project, PLAIN).retired == ["a"] and outputs(project) == {}


def test_halt_is_a_sentence_for_people() -> None:
    assert issubclass(Halt, SakugaError)
