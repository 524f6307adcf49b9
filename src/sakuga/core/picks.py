"""What people decided about shots. A decision is kept with its span of frames, so that it outlives new cuts."""

import time
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from . import store
from .errors import SakugaError, nearest
from .project import Project

SAME_SHOT = 0.8  # a decision speaks for a shot when their frames overlap by this much of their union


def named(project: Project, patterns: Iterable[str]) -> list[dict[str, Any]]:
    """The shots that patterns name; SakugaError for a pattern that names none.

    A pattern is a shot (`film_000074`), a film, or has `*` and `?` in it; brackets are plain, since films' names have
    them.
    """
    shots = project.rows("SELECT name, film, first, last FROM shot ORDER BY film, first")
    chosen: dict[str, dict[str, Any]] = {}
    for pattern in patterns:
        wild = pattern.replace("[", "[[]")
        found = [s for s in shots if pattern in (s["name"], s["film"]) or fnmatchcase(s["name"], wild)]
        if not found:
            names = [s["name"] for s in shots] + sorted({s["film"] for s in shots})
            raise SakugaError(
                f"no shot is named '{pattern}'{nearest(pattern, names) or '; `sakuga shots --json` lists them'}"
            )
        chosen |= {s["name"]: s for s in found}
    return list(chosen.values())


def decide(project: Project, verdicts: Mapping[str, Iterable[str]], reason: str = "") -> list[str]:
    """Note a verdict (`keep`, `drop`, `undecided`) for every shot that its patterns name, all of them or none.

    Returns the shots' names. Raises SakugaError for a pattern that names none; then nothing is noted.
    """
    chosen = [(verdict, shot) for verdict, patterns in verdicts.items() for shot in named(project, patterns)]
    with store.transaction(project.db):
        for verdict, shot in chosen:
            row = {"film": shot["film"], "first": shot["first"], "last": shot["last"], "verdict": verdict}
            store.insert(project.db, "decision", row | {"reason": reason, "made": time.time()})
    return [shot["name"] for _, shot in chosen]


# Decisions that begin less than a shot's length before it, or inside it: no other can overlap by as much as is asked.
# CROSS JOIN holds SQLite to this order of the two, which is the one that its index serves.
_NEAR = """
SELECT shot.name, shot.first AS shot_first, shot.last AS shot_last, decision.*
FROM shot CROSS JOIN decision ON decision.film = shot.film
  AND decision.first BETWEEN 2 * shot.first - shot.last - 1 AND shot.last
ORDER BY decision.id
"""


def decided(project: Project) -> dict[str, tuple[bool, str]]:
    """The newest decision on each shot that has one: name -> (kept, reason)."""
    newest: dict[str, dict[str, Any]] = {}
    for row in project.rows(_NEAR):
        if overlap((row["shot_first"], row["shot_last"]), (row["first"], row["last"])) >= SAME_SHOT:
            newest[row["name"]] = row
    return {name: (d["verdict"] == "keep", d["reason"]) for name, d in newest.items() if d["verdict"] != "undecided"}


def overlap(a: tuple[int, int], b: tuple[int, int]) -> float:
    """Frames in both spans over frames in either (last frames inclusive), 0..1."""
    both = min(a[1], b[1]) - max(a[0], b[0]) + 1
    return max(both, 0) / (max(a[1], b[1]) - min(a[0], b[0]) + 1)
