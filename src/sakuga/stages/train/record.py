"""A run in the store: one row, one for each expert, and what hangs on them."""

import errno
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core import store
from ...core.errors import SakugaError
from ...core.family import Expert
from ...core.files import file_sha256, write_atomic
from ...core.project import Project, relative_to
from ...core.settings import TrainSettings, parse_train

RUNNING, DONE, STOPPED = "running", "done", "stopped"
# A file system without room, or that has become one that is only read, says one of these.
_DISK_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
_STORE_FAULTS = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}

DERIVED = ("precision", "weights")  # settings that follow from the machine where nobody sets them


@dataclass(frozen=True)
class RunRow:
    """A run as it was begun: its settings are frozen with it."""

    id: int
    name: str
    folder: Path
    settings: TrainSettings
    new: bool


def as_begun(project: Project, settings: TrainSettings) -> TrainSettings:
    """The settings with what was derived when their run began, in place of what they leave open now: a run that moves to
    another machine goes on in the precision and with the weights that it had."""
    name = settings.name or _next_name(project, settings)
    found = project.rows("SELECT settings FROM run WHERE name = ?", name)
    if not found:
        return settings
    frozen = parse_train(json.loads(found[0]["settings"]), f"run {name}")
    derived = {key: getattr(frozen, key) for key in DERIVED if getattr(settings, key) is None}
    return settings.model_copy(update=derived)


def open_run(project: Project, settings: TrainSettings, weights: dict[str, str]) -> RunRow:
    """The run to train: the named one where it stopped, or a new one.

    Raises SakugaError when the named run was begun with other settings or another model: a run is one thing.
    """
    name = settings.name or _next_name(project, settings)
    found = project.rows("SELECT * FROM run WHERE name = ?", name)
    folder = project.folder / "runs" / name
    if not found:
        return _begin(project, name, folder, settings, weights)
    row = found[0]
    frozen = parse_train(json.loads(row["settings"]), f"run {name}")
    if not settings.resume:
        raise SakugaError(f"a run named {name} is there already; give another --name, or let it resume")
    changed = sorted(k for k, v in settings.that_matter().items() if frozen.that_matter().get(k) != v and k != "steps")
    if changed:
        raise SakugaError(
            f"run {name} was begun with another {', '.join(changed)}; give a new --name to train with these settings"
        )
    if json.loads(row["weights"]) != weights:
        raise SakugaError(f"run {name} was begun on other model files; bring them back, or give a new --name")
    begun = RUNNING, settings.model_dump_json(), project.db.token, row["id"]
    project.db.execute("UPDATE run SET state = ?, ended = NULL, settings = ?, token = ? WHERE id = ?", begun)
    return RunRow(row["id"], name, folder, settings, new=False)


def _next_name(project: Project, settings: TrainSettings) -> str:
    """A run that stopped half way goes on when the same settings are given again; else the next free number."""
    if settings.resume:
        for row in project.rows("SELECT name, settings FROM run WHERE state != ? ORDER BY id DESC LIMIT 1", DONE):
            frozen = parse_train(json.loads(row["settings"]), row["name"]).that_matter()
            asked = settings.that_matter()
            if all(frozen.get(key) == value or (value is None and key in DERIVED) for key, value in asked.items()):
                return str(row["name"])
    taken = {row["name"] for row in project.rows("SELECT name FROM run")}
    return next(name for name in (f"run-{n}" for n in range(1, len(taken) + 2)) if name not in taken)


def _begin(project: Project, name: str, folder: Path, settings: TrainSettings, weights: dict[str, str]) -> RunRow:
    row = {"name": name, "model": project.member.name, "seed": settings.seed, "settings": settings.model_dump_json()}
    row |= {"weights": json.dumps(weights, sort_keys=True), "state": RUNNING, "started": time.time()}
    row["token"] = project.db.token
    folder.mkdir(parents=True, exist_ok=True)
    recipe = project.settings.model_dump(mode="json") | {"train": settings.model_dump(mode="json")}
    write_atomic(folder / "recipe.json", json.dumps(recipe, indent=2, ensure_ascii=False))
    store.insert(project.db, "run", row)
    found = project.rows("SELECT id FROM run WHERE name = ?", name)
    return RunRow(found[0]["id"], name, folder, settings, new=True)


def open_expert(project: Project, run: RunRow, expert: Expert, steps: int) -> int:
    """The row of an expert within a run, made where it is not there. Returns its id."""
    s = run.settings.of(expert)
    t_min, t_max = run.settings.levels(expert)
    row: dict[str, Any] = {"run": run.id, "expert": expert.name, "rank": s.rank, "alpha": s.alpha or s.rank}
    row |= {"steps": steps, "steps_done": 0, "t_min": t_min, "t_max": t_max}
    with store.transaction(project.db):
        if not project.rows("SELECT id FROM run_expert WHERE run = ? AND expert = ?", run.id, expert.name):
            store.insert(project.db, "run_expert", row)
        change = "UPDATE run_expert SET steps = max(?, steps_done) WHERE run = ? AND expert = ?"
        project.db.execute(change, (steps, run.id, expert.name))
    found = project.rows("SELECT id FROM run_expert WHERE run = ? AND expert = ?", run.id, expert.name)
    return int(found[0]["id"])


def newest_checkpoint(project: Project, run_expert: int) -> tuple[int, Path] | None:
    """The last checkpoint of an expert of a run, and its step; None where its file is not as it was written."""
    query = "SELECT step, file, sha256 FROM checkpoint WHERE run_expert = ? ORDER BY step DESC LIMIT 1"
    for row in project.rows(query, run_expert):
        path = project.path(row["file"])
        if path.is_file() and project.sha256(path) == row["sha256"]:
            return int(row["step"]), path
    return None


def note_checkpoint(project: Project, run_expert: int, step: int, path: Path) -> None:
    """A checkpoint and the state behind it are durable: say so."""
    row = {"run_expert": run_expert, "step": step, "file": relative_to(path, project.folder)}
    with store.transaction(project.db):
        mark = {"sha256": file_sha256(path), "made": time.time()}
        store.insert(project.db, "checkpoint", row | mark, replace=True)
        project.db.execute(
            "DELETE FROM trash WHERE path = ?", (row["file"],)
        )  # one of the same step may have gone before
        project.db.execute("UPDATE run_expert SET steps_done = ? WHERE id = ?", (step, run_expert))


@contextmanager
def on_a_full_disk(run: RunRow) -> Iterator[None]:
    """Turn what a disk without room does to a training into one sentence."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        if not _of_the_disk(error):
            raise
        raise SakugaError(
            f"the disk of {run.folder} takes no more ({getattr(error, 'strerror', None) or error}); what {run.name} had saved is "
            "whole: make room or mend it, then run the same command again"
        ) from error


def _of_the_disk(error: OSError | sqlite3.Error) -> bool:
    if isinstance(error, sqlite3.Error):
        return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _STORE_FAULTS  # without what extends the code
    return error.errno in _DISK_FAULTS


def end_run(project: Project, run: RunRow, state: str) -> None:
    """Note how a training ended. On a full disk that goes unsaid: who asks sees that nobody holds the project."""
    with suppress(sqlite3.OperationalError):
        project.db.execute("UPDATE run SET state = ?, ended = ? WHERE id = ?", (state, time.time(), run.id))
