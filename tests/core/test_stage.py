"""The runner of stages: only what is not done, whole or not at all, and one bad item never the others' trouble."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sakuga.core import files, processes, store
from sakuga.core.errors import SakugaError
from sakuga.core.project import Project
from sakuga.core.stage import STOPPED, Stage, Summary, run
from small_stages import INLINE, PARALLEL, SmallSettings, ask

PLAIN = SmallSettings()
LOUD = SmallSettings(loud=True)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.create(tmp_path / "p", "tiny") as project:
        yield project


class Totals:
    """What a watcher was told."""

    def __init__(self) -> None:
        self.total, self.done = 0, 0

    def start(self, what: str, total: int | None, unit: str = "items", done: int = 0) -> None:
        self.total = total or 0

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.done += amount

    def say(self, message: str) -> None: ...


def outputs(project: Project) -> dict[str, str]:
    """The files that are there, with what is in them."""
    return {p.stem: p.read_text() for p in sorted((project.folder / "out").glob("*"))}


def known(project: Project) -> dict[str, tuple[str, str]]:
    """The rows that are there: key -> (item it came from, text)."""
    rows = project.rows("SELECT key, source, file FROM cache_entry ORDER BY key")
    return {row["key"]: (row["source"], row["file"]) for row in rows}


def everything(project: Project) -> dict[str, Any]:
    marks = project.rows("SELECT item, fingerprint, state, reason FROM work ORDER BY item")
    owned = project.rows("SELECT * FROM output ORDER BY path")
    trash = project.rows("SELECT * FROM trash")
    left = sorted(p.relative_to(project.folder).as_posix() for p in project.folder.rglob("*") if p.is_file())
    left = [name for name in left if not name.startswith(("sakuga.", "asked."))]
    return {
        "rows": known(project),
        "outputs": outputs(project),
        "marks": marks,
        "owned": owned,
        "trash": trash,
        "left": left,
    }


def marks(project: Project) -> dict[str, tuple[str, str]]:
    rows = project.rows("SELECT item, state, reason FROM work")
    return {row["item"]: (row["state"], row["reason"]) for row in rows}


def did(summary: Summary) -> tuple[list[str], list[str]]:
    return sorted(summary.done), sorted(summary.unchanged)


def test_only_what_is_not_done_is_done(project: Project) -> None:
    ask(project, a="one", b="two")
    assert did(run(INLINE, project, PLAIN)) == (["a", "b"], [])
    assert outputs(project) == {"a": "one", "b": "two"} and known(project) == {"a": ("a", "one"), "b": ("b", "two")}
    assert did(run(INLINE, project, PLAIN)) == ([], ["a", "b"])
    assert did(run(INLINE, project, SmallSettings(note="x"))) == ([], ["a", "b"])  # affects nothing
    ask(project, a="one", b="new", c="three")
    assert did(run(INLINE, project, PLAIN)) == (["b", "c"], ["a"])  # changed content, that item alone
    assert known(project)["b"] == ("b", "new")
    assert did(run(INLINE, project, LOUD)) == (["a", "b", "c"], [])  # a changed setting, all of them
    assert outputs(project) == {"a": "ONE", "b": "NEW", "c": "THREE"}
    assert did(run(replace(INLINE, version=2), project, LOUD)) == (["a", "b", "c"], [])
    assert not (project.folder / ".scratch").exists()


def test_an_output_that_was_deleted_is_made_again(project: Project) -> None:
    ask(project, a="one", b="two")
    run(INLINE, project, PLAIN)
    (project.folder / "out" / "a.txt").unlink()
    assert did(run(INLINE, project, PLAIN)) == (["a"], ["b"])
    assert outputs(project) == {"a": "one", "b": "two"}


def test_outputs_that_are_not_asked_for_any_more_go(project: Project) -> None:
    ask(project, a={"text": "one", "files": ["a", "a-2"]}, b="two")
    run(INLINE, project, PLAIN)
    ask(project, a="one", b="two")  # one file fewer
    assert did(run(INLINE, project, PLAIN)) == (["a"], ["b"])
    assert set(outputs(project)) == set(known(project)) == {"a", "b"}
    ask(project, b="two")
    assert run(INLINE, project, PLAIN).retired == ["a"]
    assert set(outputs(project)) == set(known(project)) == set(marks(project)) == {"b"}
    assert project.rows("SELECT * FROM trash") == [] and len(project.rows("SELECT * FROM output")) == 1


def test_a_stage_that_keeps_lets_nothing_go(project: Project) -> None:
    keeping = replace(INLINE, keeps=True)
    ask(project, a="one")
    run(keeping, project, PLAIN)
    ask(project, b="two")
    assert run(keeping, project, PLAIN).retired == []
    assert set(outputs(project)) == {"a", "b"}


def test_a_stage_that_keeps_forgets_what_failed_and_is_not_asked_for(project: Project) -> None:
    keeping = replace(INLINE, keeps=True)
    ask(project, a="one", b={"text": "two", "do": "sentence"})
    assert set(run(keeping, project, PLAIN).failed) == {"b"}
    ask(project, c="three")
    assert run(keeping, project, PLAIN).retired == ["b"]
    assert [row["item"] for row in project.rows("SELECT item FROM work ORDER BY item")] == ["a", "c"]


def test_a_file_that_is_open_elsewhere_goes_later(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(project, a="one")
    run(INLINE, project, PLAIN)
    ask(project, b="two")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", _refuse)  # as Windows does
        run(INLINE, project, PLAIN)
    assert set(outputs(project)) == {"a", "b"} and set(known(project)) == {"b"}
    run(INLINE, project, PLAIN)
    assert set(outputs(project)) == {"b"} and project.rows("SELECT * FROM trash") == []


def _refuse(*_: object, **__: object) -> None:
    raise PermissionError(13, "The file is in use")


@pytest.mark.parametrize("stage", [INLINE, PARALLEL], ids=["inline", "parallel"])
def test_a_failed_item_is_a_row_and_the_others_go_on(project: Project, stage: Stage[SmallSettings]) -> None:
    bad = {"b": {"text": "x", "do": "sentence"}, "c": {"text": "x", "do": "bug"}, "d": {"text": "x", "do": "mute"}}
    ask(project, a="one", **bad, e="five")
    watcher = Totals()
    summary = run(stage, project, PLAIN, watcher)
    assert sorted(summary.done) == ["a", "e"]
    reasons = {"b": "this one cannot be; leave it out", "c": "KeyError: 'colour'", "d": "OSError"}
    assert summary.failed == reasons
    assert {key: marks(project)[key] for key in reasons} == {key: ("failed", why) for key, why in reasons.items()}
    traces = project.rows("SELECT traceback FROM work WHERE item = 'c'")
    assert "small_stages.py" in traces[0]["traceback"] and 'KeyError("colour")' in traces[0]["traceback"]
    assert set(outputs(project)) == set(known(project)) == {"a", "e"}
    assert watcher.done == watcher.total == 10
    ask(project, a="one", b="x", c="x", d="x", e="five")  # what was wrong is mended; their content is the same
    assert did(run(stage, project, PLAIN)) == (["b", "c", "d"], ["a", "e"])


def test_what_fails_after_it_was_done_keeps_no_outdated_output(project: Project) -> None:
    ask(project, a="one", b="two")
    run(INLINE, project, PLAIN)
    ask(project, a={"text": "new", "do": "sentence"}, b="two")
    assert list(run(INLINE, project, PLAIN).failed) == ["a"]
    assert set(outputs(project)) == set(known(project)) == {"b"}


def test_a_full_disk_stops_everything_with_one_sentence(project: Project) -> None:
    ask(project, a="one", b={"text": "x", "do": "full"}, c="three")
    with pytest.raises(SakugaError, match=r"^the disk gave up: .*No space left.*; make room"):
        run(INLINE, project, PLAIN)
    assert set(outputs(project)) == {"a"} and set(marks(project)) == {"a"}
    assert not (project.folder / ".scratch").exists()
    ask(project, a="one", b="x", c="three")
    assert did(run(INLINE, project, PLAIN)) == (["b", "c"], ["a"])


def test_a_file_that_cannot_be_moved_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(project, a="one")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", _refuse)
        with pytest.raises(SakugaError, match=r"a\.txt cannot be written: The file is in use"):
            run(INLINE, project, PLAIN)
    assert marks(project) == {"a": ("failed", STOPPED)} and known(project) == {}
    assert did(run(INLINE, project, PLAIN)) == (["a"], [])


def test_a_name_may_pass_from_one_item_to_another(project: Project) -> None:
    ask(project, a={"text": "1", "files": ["x", "y"]}, b={"text": "2", "files": ["z"]})
    run(INLINE, project, PLAIN)
    # b comes first and takes x, while a still has it from before
    ask(project, b={"text": "2", "files": ["z", "x"]}, a={"text": "1", "files": ["y"]})
    assert did(run(INLINE, project, PLAIN)) == (["a", "b"], [])
    assert known(project) == {"x": ("b", "2"), "y": ("a", "1"), "z": ("b", "2")}
    assert outputs(project) == {"x": "2", "y": "1", "z": "2"}
    assert did(run(INLINE, project, PLAIN)) == ([], ["a", "b"])


def test_two_items_that_give_the_same_name_are_a_fault(project: Project) -> None:
    ask(project, a={"text": "1", "files": ["a"], "names": ["x"]}, b={"text": "2", "files": ["b"], "names": ["x"]})
    with pytest.raises(store.sqlite3.IntegrityError):
        run(INLINE, project, PLAIN)
    assert known(project) == {"x": ("a", "1")}


class _Killed(BaseException):
    """The process ends here."""


@contextlib.contextmanager
def killed_at(number: int, patch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every move of a file, transaction and removal counts; the program ends just before the one of this number."""
    seen: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            seen.append(name)
            if len(seen) == number:
                raise _Killed
            return real(*args, **more)

        return call

    with patch.context() as inner:
        inner.setattr(files, "move_into_place", counted("move", files.move_into_place))
        inner.setattr(store, "transaction", counted("transaction", store.transaction))
        inner.setattr(Path, "unlink", counted("unlink", Path.unlink))
        yield seen


BEFORE: dict[str, Any] = {
    "a": {"text": "one", "files": ["a", "a-2"]}, "b": {"text": "two", "files": ["b"]}, "gone": "x",
}  # fmt: skip
AFTER: dict[str, Any] = {
    "b": {"text": "two", "files": ["b", "a-2"]}, "a": {"text": "new", "files": ["a"]}, "c": "three",
}  # fmt: skip


def test_killed_anywhere_the_next_start_comes_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fresh(name: str) -> Project:
        project = Project.create(tmp_path / name, "tiny")
        ask(project, **BEFORE)
        run(INLINE, project, PLAIN)
        ask(project, **AFTER)
        return project

    with fresh("whole") as whole:
        with killed_at(0, monkeypatch) as steps:
            run(INLINE, whole, LOUD)
        wanted = everything(whole)
    assert wanted["outputs"] == {"a": "NEW", "a-2": "TWO", "b": "TWO", "c": "THREE"}
    assert steps.count("move") == 4 and steps.count("unlink") >= 1 and steps.count("transaction") >= 7
    for number in range(1, len(steps) + 1):
        with fresh(f"killed-{number}") as project:
            with killed_at(number, monkeypatch), pytest.raises(_Killed):
                run(INLINE, project, LOUD)
            # at no moment a done mark without its files and rows
            for key, (state, _) in marks(project).items():
                if state == "done" and key in AFTER:
                    rows = {name: text for name, (source, text) in known(project).items() if source == key}
                    assert rows and all(outputs(project)[name] == text for name, text in rows.items())
            run(INLINE, project, LOUD)
            assert everything(project) == wanted, f"killed before step {number}, a {steps[number - 1]}"


def test_killed_and_then_not_asked_for_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 1
    number = 0
    while number < steps:
        number += 1
        with Project.create(tmp_path / str(number), "tiny") as project:
            ask(project, a={"text": "one", "files": ["a", "a-2"]})
            run(INLINE, project, PLAIN)
            ask(project, a={"text": "one", "files": ["a", "a-3"]})
            with killed_at(number, monkeypatch) as seen, contextlib.suppress(_Killed):
                run(INLINE, project, PLAIN)
            steps = max(steps, len(seen) + (len(seen) == number))
            ask(project)
            run(INLINE, project, PLAIN)
            found = everything(project)
            assert not any(found.values()), f"killed before step {number}: {found}"
    assert steps > 4


def test_items_run_in_other_processes(project: Project) -> None:
    ask(project, **{f"i{n}": {"text": f"text {n}", "size": 3} for n in range(12)})
    watcher = Totals()
    assert len(run(PARALLEL, project, PLAIN, watcher).done) == 12
    assert known(project)["i7"] == ("i7", "text 7") and outputs(project)["i7"] == "text 7"
    assert watcher.done == watcher.total == 36


def test_a_process_that_dies_sets_its_item_alone_aside(project: Project) -> None:
    ask(project, **{f"i{n}": "x" for n in range(5)}, bad={"text": "x", "do": "die"}, **{f"j{n}": "x" for n in range(5)})
    watcher = Totals()
    summary = run(PARALLEL, project, PLAIN, watcher)
    assert len(summary.done) == 10 and list(summary.failed) == ["bad"]
    assert "the process that read it died" in summary.failed["bad"] and marks(project)["bad"][0] == "failed"
    assert set(outputs(project)) == set(summary.done)
    assert watcher.done == watcher.total == 22


def test_a_full_disk_does_not_wait_for_what_is_at_work(project: Project, tmp_path: Path) -> None:
    waiting = {"text": "x", "do": "wait", "pid_file": str(tmp_path / "pid")}
    ask(project, slow=waiting, full={"text": "x", "do": "full"})
    started = time.monotonic()
    with pytest.raises(SakugaError, match="the disk gave up"):
        run(PARALLEL, project, PLAIN)
    assert time.monotonic() - started < 30


SCRIPT = """import sys
from sakuga.core.project import Project
from sakuga.core.stage import run
from small_stages import PARALLEL, SmallSettings
print("begun")
print(len(run(PARALLEL, Project(sys.argv[1]), SmallSettings()).done))
"""


def _script(project: Project, folder: Path) -> tuple[list[str], dict[str, str]]:
    (folder / "script.py").write_text(SCRIPT)
    here = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])}
    return [sys.executable, str(folder / "script.py"), str(project.folder)], os.environ | here


def test_a_script_needs_no_main_guard(project: Project, tmp_path: Path) -> None:
    ask(project, a="one", b="two")
    command, env = _script(project, tmp_path)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("begun\n2\n", "")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes as Linux shows them")
@pytest.mark.parametrize("how", ["kill", "ctrl-c"])
def test_processes_end_with_their_parent(project: Project, tmp_path: Path, how: str) -> None:
    pid_file = tmp_path / "pid"
    ask(project, a={"text": "x", "do": "wait", "pid_file": str(pid_file)})
    command, env = _script(project, tmp_path)
    parent = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert _within(20, lambda: pid_file.is_file() and pid_file.read_text() != "")
    child = int(pid_file.read_text())
    assert not _ended(child)
    if how == "kill":
        parent.kill()
    else:
        os.killpg(parent.pid, signal.SIGINT)  # a terminal sends it to parent and children alike
    _, told = parent.communicate(timeout=20)
    assert _within(10, lambda: _ended(child))
    assert "SpawnProcess" not in told and ("KeyboardInterrupt" in told) == (how == "ctrl-c")


def _ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _within(seconds: float, true: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def test_an_item_that_takes_too_much_memory_is_set_aside(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "MOST_BYTES", 2**30)
    ask(project, a="one", b={"text": "two", "do": "hoard"})
    summary = run(PARALLEL, project, PLAIN)
    assert summary.done == ["a"]
    assert summary.failed == {"b": "MemoryError: "}


def test_an_item_that_stands_still_is_set_aside(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STUCK_SECONDS", 1.0)
    ask(project, a="one", b={"text": "two", "do": "loop"})
    summary = run(PARALLEL, project, PLAIN)
    assert summary.done == ["a"]
    assert "stood still" in summary.failed["b"]
