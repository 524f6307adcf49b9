"""One writing command at a time: a lock row that its holder keeps alive; that of a dead or silent one is taken over.

A holder of this host that still runs keeps the lock however long it was silent (a laptop that slept, a process that was
stopped). Of one that nobody can look at, on another host or system, the heartbeat alone speaks; should such a one wake
up after all, the store refuses its next transaction (`store.transaction`), so that two never write.
"""

import os
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from . import store
from .errors import SakugaError

BEAT_SECONDS = 5.0
STALE_SECONDS = 30.0
_held: set[str] = set()  # tokens of this process


@contextmanager
def hold(path: Path, command: str) -> Iterator[str]:
    """Hold the project's lock while the block runs; gives the token that stands in its row.

    Raises SakugaError naming the holder when another command has it. A holder that died, or whose heart has not
    beaten for STALE_SECONDS where nobody can see whether it lives, loses it.
    """
    token = f"{uuid.uuid4().hex}@{_born(os.getpid())}"
    _take(path, command, token)
    _held.add(token)
    stop = threading.Event()
    heart = threading.Thread(target=_beat, args=(path, token, stop), name="sakuga-lock", daemon=True)
    heart.start()
    try:
        yield token
    finally:
        stop.set()
        heart.join()
        _held.discard(token)
        db = store.connect(path)
        with suppress(sqlite3.OperationalError):  # on a full disk the row stays; it is seen to be nobody's
            db.execute("DELETE FROM lock WHERE token = ?", (token,))
        db.close()


def _take(path: Path, command: str, token: str) -> None:
    db, now, host = store.connect(path), time.time(), socket.gethostname()
    try:
        with store.transaction(db):
            held = holder(db)
            if held is not None:
                silent = now - held["heartbeat"]
                sign = f", which has given no sign for {silent:.0f} s" if silent >= STALE_SECONDS else ""
                raise SakugaError(
                    f"`sakuga {held['command']}` is at work on this project (process {held['pid']} on {held['host']}"
                    f"{sign}); wait until it has ended, or stop it"
                )
            row = {"id": 1, "pid": os.getpid(), "host": host, "command": command, "token": token}
            store.insert(db, "lock", row | {"started": now, "heartbeat": now}, replace=True)
    finally:
        db.close()


def holder(db: sqlite3.Connection) -> dict[str, Any] | None:
    """The row of the lock where its holder lives, as far as can be told; None where nobody holds it."""
    held = db.execute("SELECT * FROM lock").fetchone()
    if held is None:
        return None
    lives = _lives(held["pid"], held["token"]) if held["host"] == socket.gethostname() else None
    there = time.time() - held["heartbeat"] < STALE_SECONDS if lives is None else lives
    return dict(held) if there else None


def _lives(pid: int, token: str) -> bool | None:
    """Whether the process of this host that took a lock still runs; None where this system does not tell.

    Another process may go by its number since: the token says when the one that is meant began.
    """
    if pid == os.getpid():
        return token in _held
    if os.name != "posix":  # Windows' os.kill would end it
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    began = token.rpartition("@")[2]
    return _born(pid) == began if began and _born(os.getpid()) else None


def _born(pid: int) -> str:
    """When a process began, in the ticks of its system; empty for one that has ended, and where no /proc tells."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    return "" if state in "ZX" else fields[18]  # its parent has not asked for its exit code yet


def _beat(path: Path, token: str, stop: threading.Event) -> None:
    db = store.connect(path)
    while not stop.wait(BEAT_SECONDS):
        with suppress(sqlite3.Error):  # a disk full for a while must not stop the heart: the next beat may pass
            db.execute("UPDATE lock SET heartbeat = ? WHERE token = ?", (time.time(), token))
    db.close()
