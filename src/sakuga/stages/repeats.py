"""repeats: which parts of a film other films have too, an opening in every episode. Told from the hashes of frames."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from ..core.project import Project
from ..core.settings import Settings
from ..core.stage import Item, Rows, Scratch, Stage, inline
from ..core.timeline import Timeline, unpack
from ..signals.recurring import recurring


def _items(project: Project, settings: Settings) -> list[Item]:
    """One item: films are compared with each other."""
    films = project.rows("SELECT film, times, rate, hashes FROM timeline WHERE hashes IS NOT NULL ORDER BY film")
    content = {row["film"]: [row["rate"], row["times"].hex(), row["hashes"].hex()] for row in films}
    return [Item("all", content, {"films": films}, label="comparing films")] if len(films) > 1 else []


def _work(facts: Mapping[str, Any], settings: Settings, scratch: Scratch) -> Rows:
    shown, films = {}, {}
    for row in facts["films"]:
        rate = Fraction(row["rate"]) if row["rate"] else None
        shown[row["film"]] = np.array([float(t) for t in Timeline(unpack(row["times"]), rate).shown])
        films[row["film"]] = (shown[row["film"]], np.frombuffer(row["hashes"], np.uint64))
    rows = []
    for film, found in recurring(films).items():
        for part in found:
            first, last = np.searchsorted(shown[film], (part.first, part.last))
            row = {"film": film, "first": int(first), "last": int(last)}
            rows.append(row | {"other": part.other, "other_seconds": part.other_first})
    return {"recurrence": rows}


STAGE = Stage(
    "repeats", version=1, takes="timeline", gives=("recurrence",), settings=Settings, items=_items, work=_work,
    unit="comparisons", context=inline,
)  # fmt: skip
