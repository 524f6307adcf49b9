"""What the next run of a stage would do, and why: which setting changed, which input, what is new, what failed."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .project import Project
from .stage import S, Stage, basis_of, done_among


@dataclass(frozen=True)
class Stale:
    """An item that a stage would work on: never done, changed since, failed, or no longer asked for."""

    stage: str
    item: str
    state: Literal["new", "changed", "failed", "gone"]
    why: str


def stale(stage: Stage[S], project: Project, settings: S) -> list[Stale]:
    """The items that `stage` would work on now. Raises SakugaError where its inputs cannot be read."""
    marks = {row["item"]: row for row in project.rows("SELECT * FROM work WHERE stage = ?", stage.name)}
    found: list[Stale] = []
    bases = {item.key: basis_of(stage, settings, item) for item in stage.items(project, settings)}
    done = done_among(stage, project, bases)
    for key, basis in bases.items():
        mark = marks.get(key)
        if mark is None:
            found.append(Stale(stage.name, key, "new", "never done"))
        elif mark["state"] == "failed":
            found.append(Stale(stage.name, key, "failed", mark["reason"]))
        elif key not in done:
            found.append(Stale(stage.name, key, "changed", _why(json.loads(mark["basis"]), json.loads(basis))))
    gone = [] if stage.keeps else sorted(marks.keys() - bases.keys())
    return found + [Stale(stage.name, key, "gone", "no longer asked for") for key in gone]


def _why(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    reasons = list(_changes(before, now))
    return "; ".join(reasons) if reasons else "a file that it wrote is missing"


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if before.get("version") != now["version"]:
        yield f"made by version {before.get('version')} of this stage, now {now['version']}"
    old = before.get("settings", {})
    for name, value in now["settings"].items():
        if old.get(name) != value:
            yield f"{now['stage']}.{name} was {old.get(name)}, now {value}"
    read = before.get("content", {})
    parts = sorted(key for key in now["content"].keys() | read.keys() if now["content"].get(key) != read.get(key))
    if parts:
        yield f"what it reads has changed ({', '.join(parts)})"
