"""A run in the store: one row, one for each expert, and what hangs on them."""

import errno
import json
import math
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
    changed = _changed(frozen, settings, _done(project, row["id"], folder))
    if changed:
        raise SakugaError(
            f"run {name} was begun with another {', '.join(changed)}; give a new --name to train with these settings"
            f" (--start-from {name} to begin with its LoRA), or set what is to change from here on in a phase"
        )
    if json.loads(row["weights"]) != weights:
        raise SakugaError(f"run {name} was begun on other model files; bring them back, or give a new --name")
    begun = RUNNING, settings.model_dump_json(), project.db.token, row["id"]
    project.db.execute("UPDATE run SET state = ?, ended = NULL, settings = ?, token = ? WHERE id = ?", begun)
    _write_recipe(project, folder, settings)
    return RunRow(row["id"], name, folder, settings, new=False)


def _done(project: Project, run: int, folder: Path) -> int | None:
    """The steps of a run that are saved, of the expert that is furthest; None where none is."""
    done = int(project.rows("SELECT coalesce(max(steps_done), 0) AS n FROM run_expert WHERE run = ?", run)[0]["n"])
    return done if done or any(folder.glob("state-*")) else None


def _changed(frozen: TrainSettings, settings: TrainSettings, done: int | None) -> list[str]:
    """The settings by which a run would become another. How long it is may change, and a phase that has not come yet."""
    if done is None:
        return []
    before, now = _binding(frozen, done), _binding(settings, done)
    return sorted(key for key, value in now.items() if before.get(key) != value)


def _binding(settings: TrainSettings, done: int) -> dict[str, Any]:
    """The settings that made the first `done` steps what they are."""
    values = settings.that_matter()
    for part in (values, values["high"], values["low"]):
        del part["steps"], part["epochs"]
    values["phases"] = [phase for phase in values["phases"] if phase["from_step"] <= done]
    return values


def _next_name(project: Project, settings: TrainSettings) -> str:
    """A run that stopped half way goes on when settings are given that it can go on with; else the next free number."""
    if settings.resume:
        found = _unfinished(project, settings)
        if found is not None and not found[2]:
            return found[0]
    taken = {row["name"] for row in project.rows("SELECT name FROM run")}
    return next(name for name in (f"run-{n}" for n in range(1, len(taken) + 2)) if name not in taken)


def _unfinished(project: Project, settings: TrainSettings) -> tuple[str, int, list[str]] | None:
    """The newest run, if it is not done: its name, its steps, and the settings that it was begun with others of.

    A shorter training is another one: going on would cut the run off where it stands, or before.
    """
    for row in project.rows("SELECT * FROM run WHERE state != ? ORDER BY id DESC LIMIT 1", DONE):
        frozen = parse_train(json.loads(row["settings"]), row["name"])
        asked = settings.model_copy(update={k: getattr(frozen, k) for k in DERIVED if getattr(settings, k) is None})
        done = _done(project, row["id"], project.folder / "runs" / row["name"]) or 0
        length = ["length"] if _shorter(asked, frozen) else []
        return str(row["name"]), done, _changed(frozen, asked, done) + length
    return None


def _shorter(asked: TrainSettings, begun: TrainSettings) -> bool:
    """Whether a training of the same kind is shorter, or told in other terms: steps go before epochs."""
    for now, before in ((asked, begun), (asked.high, begun.high), (asked.low, begun.low)):
        if (now.steps is None) != (before.steps is None):
            return True
        told = (now.steps, before.steps) if now.steps is not None else (now.epochs, before.epochs)
        if (told[0] or math.inf) < (told[1] or math.inf):
            return True
    return False


def passed_over(project: Project, settings: TrainSettings) -> str:
    """What to say where a new run is to begin while the last one is not done, because it was begun with other settings."""
    found = _unfinished(project, settings) if settings.name is None and settings.resume else None
    if found is None or not found[1] or not found[2]:
        return ""
    name, done, changed = found
    return (
        f"{name}, at step {done}, was begun with another {', '.join(changed)}, so this is a new run; to go on with that one, "
        "set them as they were"
    )


def _begin(project: Project, name: str, folder: Path, settings: TrainSettings, weights: dict[str, str]) -> RunRow:
    row = {"name": name, "model": project.member.name, "seed": settings.seed, "settings": settings.model_dump_json()}
    row |= {"weights": json.dumps(weights, sort_keys=True), "state": RUNNING, "started": time.time()}
    row["token"] = project.db.token
    folder.mkdir(parents=True, exist_ok=True)
    _write_recipe(project, folder, settings)
    store.insert(project.db, "run", row)
    found = project.rows("SELECT id FROM run WHERE name = ?", name)
    return RunRow(found[0]["id"], name, folder, settings, new=True)


def _write_recipe(project: Project, folder: Path, settings: TrainSettings) -> None:
    recipe = project.settings.model_dump(mode="json") | {"train": settings.model_dump(mode="json")}
    write_atomic(folder / "recipe.json", json.dumps(recipe, indent=2, ensure_ascii=False))


def open_expert(project: Project, run: RunRow, expert: Expert, steps: int) -> int:
    """The row of an expert within a run, made where it is not there. Returns its id."""
    s = run.settings.of(expert)
    t_min, t_max = run.settings.levels(expert)
    row: dict[str, Any] = {"run": run.id, "expert": expert.name, "rank": s.rank, "alpha": s.alpha or s.rank}
    row |= {"steps": steps, "steps_done": 0, "t_min": t_min, "t_max": t_max}
    with store.transaction(project.db):
        if not project.rows("SELECT id FROM run_expert WHERE run = ? AND expert = ?", run.id, expert.name):
            store.insert(project.db, "run_expert", row)
        change = "UPDATE run_expert SET steps = max(?, steps_done), rank = ?, alpha = ?, t_min = ?, t_max = ?"
        now = steps, row["rank"], row["alpha"], t_min, t_max, run.id, expert.name
        project.db.execute(f"{change} WHERE run = ? AND expert = ?", now)
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
