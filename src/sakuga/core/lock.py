"""One writing command at a time: a lock row that its holder keeps alive; a stale one is taken over."""

import os
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from . import store
from .errors import SakugaError

BEAT_SECONDS = 5.0
STALE_SECONDS = 30.0


def _alive(pid: int) -> bool:
    """Whether a process of this host runs. Windows' os.kill would end it, so there only the heartbeat counts."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def hold(path: Path, command: str) -> Iterator[None]:
    """Hold the project's lock while the block runs.

    Raises SakugaError naming the holder when another command has it. A holder that died, or whose heart has not
    beaten for STALE_SECONDS, loses it.
    """
    token = uuid.uuid4().hex
    _take(path, command, token)
    stop = threading.Event()
    heart = threading.Thread(target=_beat, args=(path, token, stop), name="sakuga-lock", daemon=True)
    heart.start()
    try:
        yield
    finally:
        stop.set()
        heart.join()
        db = store.connect(path)
        db.execute("DELETE FROM lock WHERE token = ?", (token,))
        db.close()


def _take(path: Path, command: str, token: str) -> None:
    db, now, host = store.connect(path), time.time(), socket.gethostname()
    try:
        with store.transaction(db):
            held = db.execute("SELECT * FROM lock").fetchone()
            fresh = held is not None and now - held["heartbeat"] < STALE_SECONDS
            if fresh and (held["host"] != host or _alive(held["pid"])):
                raise SakugaError(
                    f"`sakuga {held['command']}` is at work on this project (process {held['pid']} on {held['host']}); "
                    "wait until it has ended, or stop it"
                )
            row = {"id": 1, "pid": os.getpid(), "host": host, "command": command, "token": token}
            store.insert(db, "lock", row | {"started": now, "heartbeat": now}, replace=True)
    finally:
        db.close()


def _beat(path: Path, token: str, stop: threading.Event) -> None:
    db = store.connect(path)
    while not stop.wait(BEAT_SECONDS):
        with suppress(sqlite3.Error):  # a disk full for a while must not stop the heart: the next beat may pass
            db.execute("UPDATE lock SET heartbeat = ? WHERE token = ?", (time.time(), token))
    db.close()
