"""What people decided about shots. A decision is kept with its span of frames, so that it outlives new cuts."""

import time
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from . import store
from .errors import SakugaError, nearest
from .project import Project

SAME_SHOT = 0.8  # a decision speaks for a shot when their frames overlap by this much of their union


def decide(project: Project, patterns: Sequence[str], verdict: str, reason: str = "") -> list[str]:
    """Note `keep`, `drop` or `undecided` for every shot that a pattern names (`film_000074`, `film*`, or the film itself).

    Returns the shots' names. Raises SakugaError for a pattern that names none; then nothing is noted.
    """
    shots = project.rows("SELECT name, film, first, last FROM shot ORDER BY film, first")
    chosen: dict[str, dict[str, Any]] = {}
    for pattern in patterns:
        found = [s for s in shots if pattern in (s["name"], s["film"]) or fnmatchcase(s["name"], pattern)]
        if not found:
            names = [s["name"] for s in shots] + sorted({s["film"] for s in shots})
            raise SakugaError(
                f"no shot is named '{pattern}'{nearest(pattern, names) or '; `sakuga shots --json` lists them'}"
            )
        chosen |= {s["name"]: s for s in found}
    with store.transaction(project.db):
        for shot in chosen.values():
            row = {"film": shot["film"], "first": shot["first"], "last": shot["last"], "verdict": verdict}
            store.insert(project.db, "decision", row | {"reason": reason, "made": time.time()})
    return list(chosen)


def decided(project: Project) -> dict[str, tuple[bool, str]]:
    """The newest decision on each shot that has one: name -> (kept, reason)."""
    by_film: dict[str, list[dict[str, Any]]] = {}
    for row in project.rows("SELECT film, first, last, verdict, reason FROM decision ORDER BY id DESC"):
        by_film.setdefault(row["film"], []).append(row)
    verdicts: dict[str, tuple[bool, str]] = {}
    for shot in project.rows("SELECT name, film, first, last FROM shot"):
        newest = next(_speaking_for(shot, by_film.get(shot["film"], [])), None)
        if newest is not None and newest["verdict"] != "undecided":
            verdicts[shot["name"]] = (newest["verdict"] == "keep", newest["reason"])
    return verdicts


def _speaking_for(shot: dict[str, Any], decisions: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (d for d in decisions if overlap((shot["first"], shot["last"]), (d["first"], d["last"])) >= SAME_SHOT)


def overlap(a: tuple[int, int], b: tuple[int, int]) -> float:
    """Frames in both spans over frames in either (last frames inclusive), 0..1."""
    both = min(a[1], b[1]) - max(a[0], b[0]) + 1
    return max(both, 0) / (max(a[1], b[1]) - min(a[0], b[0]) + 1)
