"""The lock: one writer, told by name to the next; what is dead or silent is taken over."""

import os
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sakuga.core import lock, store
from sakuga.core.errors import SakugaError


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


def test_a_silent_one_loses_it(path: Path) -> None:
    put(path, heartbeat=time.time() - lock.STALE_SECONDS - 1)
    with lock.hold(path, "export"):
        assert rows(path)[0]["pid"] == os.getpid() and rows(path)[0]["token"] != "theirs"


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
