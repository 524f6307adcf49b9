"""Reading trainings back from the store: which run, which checkpoint."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from . import store
from .errors import SakugaError, nearest
from .project import Project


@dataclass(frozen=True)
class Checkpoint:
    """A saved LoRA of one expert of a run, and how it was trained."""

    run: str
    expert: str
    step: int
    steps: int
    rank: int
    alpha: float
    t_min: float
    t_max: float
    path: Path
    sha256: str


def find_run(project: Project, name: str | None) -> dict[str, Any]:
    """The named run, or the last one. Raises SakugaError when there is none."""
    rows = project.rows("SELECT * FROM run ORDER BY id DESC")
    if not rows:
        raise SakugaError("nothing was trained yet in this project; run `sakuga train`")
    if name is None:
        return rows[0]
    names = [row["name"] for row in rows]
    if name not in names:
        raise SakugaError(f"there is no run '{name}'{nearest(name, names)} (runs: {', '.join(reversed(names))})")
    return next(row for row in rows if row["name"] == name)


def checkpoints(project: Project, run: str | None, step: int | None = None) -> list[Checkpoint]:
    """The checkpoint of each expert of a run: that of `step`, or the newest. Their files are as they were written.

    Raises SakugaError when there is none, or a file is missing or was changed.
    """
    row = find_run(project, run)
    query = "SELECT * FROM checkpoint JOIN run_expert ON run_expert.id = run_expert WHERE run = ? ORDER BY step"
    saved = project.rows(query, row["id"])
    newest = {r["expert"]: r for r in saved if step is None or r["step"] == step}
    if not newest:
        steps = ", ".join(sorted({str(r["step"]) for r in saved}, key=int)) or "none"
        wanted = f"no checkpoint of step {step}" if step else "no checkpoint"
        raise SakugaError(f"run {row['name']} has {wanted} (saved: {steps}); train further, or name another")
    found = []
    for r in newest.values():
        path = project.path(r["file"])
        if not path.is_file():
            raise SakugaError(f"{path} is missing; name another step, or train the run again")
        if project.sha256(path) != r["sha256"]:
            raise SakugaError(f"{path} is not the file that training wrote (its content changed); name another step")
        shape = {key: r[key] for key in ("expert", "step", "steps", "rank", "alpha", "t_min", "t_max", "sha256")}
        found.append(Checkpoint(run=row["name"], path=path, **shape))
    return found


def note_use(project: Project, by: Literal["publish", "generate"], sums: Iterable[str]) -> None:
    """Files of these sha256 were published, or videos made with them: checkpoints among them are kept."""
    query = "SELECT DISTINCT sha256 FROM checkpoint WHERE sha256 IN (SELECT value FROM json_each(?))"
    for row in project.rows(query, json.dumps(sorted(set(sums)))):
        store.insert(project.db, "checkpoint_use", {"sha256": row["sha256"], "by": by}, replace=True)
