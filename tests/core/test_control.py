"""A training asked from another process: by a request that names it, which nothing else takes for its own."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sakuga import cli
from sakuga.core import control, store
from sakuga.core.control import Control, Live, read_live, request_path
from sakuga.core.errors import SakugaError
from sakuga.core.project import Project

LIVE = Live(
    "high", 3, 9, loss=0.25, corrected=0.2, learning_rate=2e-5, seconds_per_step=2.0, seconds_left=12.0, memory=10**9
)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.create(tmp_path / "p", "tiny") as project:
        yield project


def begin(project: Project, name: str = "r") -> Control:
    """A run in training, as far as the outside sees it. The caller holds the lock."""
    folder = project.folder / "runs" / name
    folder.mkdir(parents=True)
    row = {
        "name": name,
        "model": "tiny",
        "seed": 1,
        "settings": "{}",
        "weights": "{}",
        "state": "running",
        "started": 1.0,
    }
    store.insert(project.db, "run", row | {"token": project.db.token})
    return Control(folder, project.db.token)


def test_a_request_is_heard_by_the_training_it_is_meant_for(project: Project) -> None:
    with Project(project.folder) as other, project.writing("train"):
        run = begin(project)
        assert not run.stop_asked and not run.save_asked
        training, _ = control.ask(other, "stop")
        assert (training.run, training.pid, training.live) == ("r", os.getpid(), None)
        assert run.stop_asked and not run.save_asked
        assert not Control(run.folder, "another token").stop_asked
        assert not Control(run.folder, None).stop_asked  # a training without a lock hears nobody
        run.close()
        assert not run.stop_asked and list(run.folder.iterdir()) == []


def test_a_request_from_before_counts_for_nothing(project: Project) -> None:
    with Project(project.folder) as other:
        with project.writing("train"):
            run = begin(project)
            control.ask(other, "stop", "r")
        with project.writing("train"):
            project.db.execute("UPDATE run SET token = ?", (project.db.token,))
            again = Control(run.folder, project.db.token)
            assert request_path(run.folder, "stop").exists() and not again.stop_asked


def test_a_save_is_done_once_and_a_later_request_is_another(project: Project) -> None:
    with Project(project.folder) as other, project.writing("train"):
        run = begin(project)
        training, request = control.ask(other, "save")
        waiting = threading.Thread(target=lambda: _wait(other.folder, training, request))
        waiting.start()
        assert run.save_asked and run.answering == request
        assert not run.save_asked  # while it is being saved nothing more is asked
        _, later = control.ask(other, "save")
        assert run.save_asked and run.answering == later
        run.done_saving(request)
        assert request_path(run.folder, "save").read_text() == later
        run.done_saving(later)
        assert not run.save_asked and not request_path(run.folder, "save").exists()
        waiting.join(10)
        assert not waiting.is_alive()
        run.done_saving("")  # nobody had asked


def _wait(folder: Path, training: control.Training, request: str) -> None:
    with Project(folder) as project:
        control.wait(project, training, "save", request)


def test_where_nothing_is_trained_it_says_so(project: Project) -> None:
    with pytest.raises(SakugaError, match="nothing is being trained in this project"):
        control.ask(project, "stop")
    with Project(project.folder) as other:
        with project.writing("export"), pytest.raises(SakugaError, match="nothing is being trained in this"):
            control.ask(other, "save")
        with project.writing("train"):
            with pytest.raises(SakugaError, match="is still encoding and has no run yet; ask again"):
                control.ask(other, "stop")
            begin(project, "run-2")
            with pytest.raises(SakugaError, match="run run-1 is not being trained now, run-2 is; did you mean run-2"):
                control.ask(other, "stop", "run-1")
    assert control.running(project) is None  # its row says so still, but nobody holds the project


def test_what_a_training_says_of_itself_is_whole_and_not_written_at_every_step(
    project: Project, tmp_path: Path
) -> None:
    run = Control(tmp_path, "t")
    run.write(LIVE)
    assert read_live(tmp_path) == LIVE
    run.write(Live("high", 4, 9))
    assert read_live(tmp_path) == LIVE
    run.write(Live("high", 5, 9), at_once=True)
    found = read_live(tmp_path)
    assert found is not None and found.step == 5
    for told in ("", "{", "[]", '{"step": 1}'):
        (tmp_path / control.LIVE).write_text(told)
        assert read_live(tmp_path) is None
    (tmp_path / control.LIVE).unlink()
    (tmp_path / control.LIVE).mkdir()  # what cannot be written is not said, and stops nothing
    run.write(LIVE, at_once=True)


def test_status_shows_the_training_and_what_the_store_knows(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    with project.writing("train"):
        run = begin(project)
        expert = {
            "run": 1,
            "expert": "high",
            "rank": 4,
            "alpha": 4,
            "steps": 9,
            "steps_done": 2,
            "t_min": 0,
            "t_max": 1,
        }
        store.insert(project.db, "run_expert", expert)
        for step in (1, 2, 3):
            item = {"run_expert": 1, "step": step, "part": 0, "sample": "s", "item": "i", "t": 0.5, "loss": 0.1}
            store.insert(project.db, "item_loss", item)
        store.insert(
            project.db, "checkpoint", {"run_expert": 1, "step": 2, "file": "x.safetensors", "sha256": "", "made": 1}
        )
        run.write(LIVE)
        assert cli.run(["status", "--project", str(project.folder)]) == 0
        lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
        told = ["step 3 of 9 of high", "loss 0.2500, corrected 0.2000", "rate 2e-05", "speed 2.0 s/step", "time left 0:12",
                "memory 1 GB", "samples high 3", "checkpoint step 2 of high: x.safetensors"]  # fmt: skip
        assert set(told) <= set(lines) and "r: running (high 2/9)" in lines
    assert cli.run(["status", "--json", "--project", str(project.folder)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["training"] is None and found["runs"][0]["state"] == "stopped"  # it was killed


TRAINS = """
import sys, time
from sakuga.core.control import Control, Live
from sakuga.core.project import Project
from sakuga.core import store

with Project(sys.argv[1]) as project, project.writing("train"):
    folder = project.folder / "runs" / "r"
    folder.mkdir(parents=True)
    row = {"name": "r", "model": "tiny", "seed": 1, "settings": "{}", "weights": "{}", "state": "running", "started": 1.0}
    store.insert(project.db, "run", row | {"token": project.db.token})
    row = {"id": 1, "run": 1, "expert": "full", "rank": 4, "alpha": 4.0, "steps": 3000, "steps_done": 0, "t_min": 0.0, "t_max": 1.0}
    store.insert(project.db, "run_expert", row)
    run, saved = Control(folder, project.db.token), 0
    for step in range(1, 3000):
        run.write(Live("full", step, 3000))
        time.sleep(0.01)
        if run.save_asked:
            saved += 1
            row = {"run_expert": 1, "step": step, "file": "f", "sha256": "0", "made": time.time()}
            store.insert(project.db, "checkpoint", row)
            run.done_saving(run.answering)
        if run.stop_asked:
            break
    run.close()
    (folder / "saved").write_text(str(saved))
"""


def test_from_another_terminal(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A real second process: it is found, told to save, told to stop, and waited for; meanwhile nobody else may write."""
    at = ["--project", str(project.folder)]
    process = subprocess.Popen([sys.executable, "-c", TRAINS, str(project.folder)])
    try:
        until = time.monotonic() + 30
        while control.running(project) is None and time.monotonic() < until:
            time.sleep(0.02)
        assert cli.run(["train", *at]) == 1
        said = capsys.readouterr().err
        assert f"`sakuga train` is at work on this project (process {process.pid} on" in said and said.count("\n") == 1
        assert cli.run(["save", "--wait", *at]) == 0 and "r, saved at step " in capsys.readouterr().out
        assert cli.run(["save", "--wait", "--run", "r", "--json", *at]) == 0
        assert json.loads(capsys.readouterr().out).items() >= {"run": "r", "asked": "save", "done": True}.items()
        assert cli.run(["stop", "--wait", *at]) == 0 and "has ended" in capsys.readouterr().out
        assert process.wait(10) == 0 and (project.folder / "runs" / "r" / "saved").read_text() == "2"
        assert cli.run(["stop", *at]) == 1 and "nothing is being trained" in capsys.readouterr().err
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a thing of POSIX")
def test_who_waits_for_one_that_is_killed_is_not_left_waiting(project: Project) -> None:
    process = subprocess.Popen([sys.executable, "-c", TRAINS, str(project.folder)])
    until = time.monotonic() + 30
    while control.running(project) is None and time.monotonic() < until:
        time.sleep(0.02)
    training, request = control.ask(project, "save")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    control.wait(project, training, "stop", request)
    assert control.running(project) is None


def test_a_file_that_is_being_read_is_replaced_a_little_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, refused = Path.replace, [PermissionError(13, "it is open elsewhere")] * 2

    def replace(path: Path, target: Any) -> Path:
        if refused:
            raise refused.pop()
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    Control(tmp_path, "t").write(LIVE)
    assert read_live(tmp_path) == LIVE and not refused
    refused += [PermissionError(13, "it is open elsewhere")] * control.TRIES
    Control(tmp_path, "t").write(Live("high", 4, 9))
    assert read_live(tmp_path) == LIVE and [path.name for path in tmp_path.iterdir()] == [control.LIVE]
