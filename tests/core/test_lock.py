"""The lock: one writer, told by name to the next; what is dead or silent is taken over."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sakuga.core import lock, store
from sakuga.core.errors import SakugaError
from sakuga.core.project import Project
from sakuga.core.stage import run
from small_stages import INLINE, SmallSettings, ask


def rows(path: Path) -> list[dict[str, Any]]:
    db = store.connect(path)
    found = store.rows(db, "SELECT * FROM lock")
    db.close()
    return found


def put(path: Path, **values: Any) -> None:
    """The lock of somebody else: this process, on this host, alive and well, but for `values`."""
    row = {"id": 1, "pid": os.getpid(), "host": socket.gethostname(), "command": "shots", "token": "theirs"}
    db = store.connect(path)
    store.insert(db, "lock", row | {"started": time.time(), "heartbeat": time.time()} | values)
    db.close()


def dead_pid() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.db"


def test_the_second_is_refused_and_told_who_is_first(path: Path) -> None:
    with lock.hold(path, "train"):
        with pytest.raises(SakugaError) as caught, lock.hold(path, "export"):
            pytest.fail("two hold the lock")
        sentence = str(caught.value)
        assert (
            "`sakuga train` is at work" in sentence and f"process {os.getpid()} on {socket.gethostname()}" in sentence
        )
        assert [row["command"] for row in rows(path)] == ["train"]
    assert rows(path) == []
    with lock.hold(path, "export"):
        assert [row["command"] for row in rows(path)] == ["export"]


def test_it_is_released_when_the_work_fails(path: Path) -> None:
    for fault in (KeyError, KeyboardInterrupt):
        with pytest.raises(fault), lock.hold(path, "train"):
            raise fault
        assert rows(path) == []


def test_a_dead_process_loses_it(path: Path) -> None:
    if os.name == "posix":
        put(path, pid=dead_pid())
        with lock.hold(path, "export"):
            assert rows(path)[0]["command"] == "export"


@pytest.mark.parametrize("here", [True, False], ids=["on this host", "on another"])
def test_a_silent_one_that_nobody_can_look_at_loses_it(path: Path, monkeypatch: pytest.MonkeyPatch, here: bool) -> None:
    monkeypatch.setattr(lock, "_born", lambda pid: "")  # a system that does not tell
    put(path, pid=os.getppid(), host=socket.gethostname() if here else "elsewhere", heartbeat=time.time())
    with pytest.raises(SakugaError), lock.hold(path, "export"):
        pass
    db = store.connect(path)
    db.execute("UPDATE lock SET heartbeat = ?", (time.time() - lock.STALE_SECONDS - 1,))
    db.close()
    with lock.hold(path, "export"):
        assert rows(path)[0]["pid"] == os.getpid() and rows(path)[0]["token"] != "theirs"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system does not tell when a process began")
def test_one_that_sleeps_keeps_it_and_a_namesake_does_not(path: Path) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        os.kill(sleeper.pid, signal.SIGSTOP)
        long_ago = time.time() - 3 * lock.STALE_SECONDS
        put(path, pid=sleeper.pid, token=f"theirs@{lock._born(sleeper.pid)}", heartbeat=long_ago)
        with pytest.raises(SakugaError, match=r"which has given no sign for 90 s\); wait until"), lock.hold(path, "x"):
            pass
        db = store.connect(path)
        db.execute("UPDATE lock SET token = 'theirs@1'")  # another process had this number once
        db.close()
        with lock.hold(path, "export"):
            assert rows(path)[0]["command"] == "export"
        put(path, pid=sleeper.pid, token=f"theirs@{lock._born(sleeper.pid)}")
    finally:
        sleeper.kill()
    until = time.monotonic() + 10
    while lock._born(sleeper.pid) and time.monotonic() < until:  # it has ended, but nobody has asked how
        time.sleep(0.01)
    with lock.hold(path, "export"):
        assert rows(path)[0]["command"] == "export"
    sleeper.wait()


def test_what_this_process_left_behind_is_taken_over(path: Path) -> None:
    """Its release failed, or a process before had the same number."""
    put(path, token=f"old@{lock._born(os.getpid())}")
    with lock.hold(path, "export"):
        assert rows(path)[0]["command"] == "export"


def test_one_that_was_taken_over_writes_nothing_more(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", "tiny") as project:
        film = {"name": "a", "path": "/a", "relative": None, "added": 1.0}
        with project.writing("shots"):
            with store.transaction(project.db):
                store.insert(project.db, "source_film", film)
            take_over = "UPDATE lock SET token = 'theirs', command = 'export', pid = 7, host = 'far'"
            project.db.execute(take_over)
            sentence = (
                r"that `sakuga export` \(process 7 on far\) has taken over the project; what it had done by then is"
            )
            with pytest.raises(SakugaError, match=sentence), store.transaction(project.db):
                store.insert(project.db, "source_film", film | {"name": "b"})
            assert not project.db.in_transaction
            project.db.execute("DELETE FROM lock")  # and the other has ended since
            with pytest.raises(SakugaError, match="another command has taken over"), store.transaction(project.db):
                store.insert(project.db, "source_film", film | {"name": "b"})
        assert [row["name"] for row in project.rows("SELECT name FROM source_film")] == ["a"]
        with store.transaction(project.db):  # a command that does not hold the lock may note what a person decided
            store.insert(project.db, "source_film", film | {"name": "b"})


def test_a_stage_that_was_taken_over_stops_before_it_lands_a_file(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", "tiny") as project:
        ask(project, a="one", b="two")
        landed = INLINE.work

        def work(facts: Any, settings: Any, scratch: Any) -> Any:
            if facts["key"] == "b":
                project.db.execute("UPDATE lock SET token = 'theirs'")
            return landed(facts, settings, scratch)

        with pytest.raises(SakugaError, match="has taken over the project"), project.writing("small"):
            run(replace(INLINE, work=work), project, SmallSettings())
        assert project.path("out/a.txt").exists() and not project.path("out/b.txt").exists()
        assert [(row["item"], row["state"]) for row in project.rows("SELECT * FROM work")] == [("a", "done")]


def test_another_host_keeps_it_while_its_heart_beats(path: Path) -> None:
    put(path, pid=dead_pid(), host="elsewhere", heartbeat=time.time() - lock.STALE_SECONDS + 5)
    with pytest.raises(SakugaError, match="on elsewhere"), lock.hold(path, "export"):
        pass
    assert rows(path)[0]["token"] == "theirs"


def test_one_that_was_taken_over_leaves_the_new_one_alone(path: Path) -> None:
    with lock.hold(path, "train"):
        db = store.connect(path)
        db.execute("UPDATE lock SET token = 'theirs'")
        db.close()
    assert [row["token"] for row in rows(path)] == ["theirs"]


def test_the_heart_beats_and_survives_a_fault(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.02)
    with lock.hold(path, "train"):
        db = store.connect(path)

        def beats() -> bool:
            first, until = rows(path)[0]["heartbeat"], time.monotonic() + 5
            while time.monotonic() < until and rows(path)[0]["heartbeat"] == first:
                time.sleep(0.01)
            return bool(rows(path)[0]["heartbeat"] > first)

        assert beats()
        db.execute("CREATE TRIGGER broken BEFORE UPDATE ON lock BEGIN SELECT raise(ABORT, 'no room'); END")
        with pytest.raises(sqlite3.IntegrityError):
            db.execute("UPDATE lock SET heartbeat = 0")
        time.sleep(0.1)
        db.execute("DROP TRIGGER broken")
        assert beats()
        db.close()
    assert rows(path) == []
