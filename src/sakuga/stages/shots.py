"""shots: what the pass over a film kept becomes its shots, each with its borders, its words, its scores and its
thumbnails. Nothing is decoded: another threshold costs a second."""

import json
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from ..core.media.timing import shown_until
from ..core.project import Project
from ..core.settings import ShotSettings
from ..core.stage import Item, Rows, Scratch, Stage
from ..core.timeline import Timeline, unpack
from ..signals.borders import over_shot, settle
from ..signals.cuts import find_cuts
from ..signals.look import Look, Pictures
from ..signals.overlays import Words, lasting

LOOKED_AT = "SELECT film, times, rate, look, look_sha256, pictures FROM timeline WHERE look != '' ORDER BY film"


def _items(project: Project, settings: ShotSettings) -> list[Item]:
    items = []
    for row in project.rows(LOOKED_AT):
        facts = row | {"look": str(project.path(row["look"])), "pictures": str(project.path(row["pictures"]))}
        items.append(Item(row["film"], {"look": row["look_sha256"], "rate": row["rate"]}, facts))
    return items


def _work(facts: Mapping[str, Any], settings: ShotSettings, scratch: Scratch) -> Rows:
    rate = Fraction(facts["rate"]) if facts["rate"] else None
    timeline = Timeline(unpack(facts["times"]), rate)
    look = Look.load(facts["look"])
    cuts = [0, *find_cuts(look, round(settings.min_seconds * (rate or 24))), len(look)]
    spans = [(first, after - 1) for first, after in pairwise(cuts)]
    pictures = Pictures(facts["pictures"])
    shots = [_shot(facts["film"], span, look, timeline, pictures, scratch) for span in spans]
    told = [over_shot(look.edges[first : last + 1], (int(look.size[0]), int(look.size[1]))) for first, last in spans]
    for shot, borders in zip(shots, settle(list(zip(told, [s["seconds"] for s in shots], strict=True))), strict=True):
        shot["borders"] = json.dumps([round(share, 4) for share in borders])
    return {"shot": shots}


def _shot(
    film: str, span: tuple[int, int], look: Look, timeline: Timeline, pictures: Pictures, scratch: Scratch
) -> dict[str, Any]:
    first, last = span
    name = f"{film}_{first:06d}"
    thumbnail = f"cache/thumbnails/{name}.webp"
    nearest = look.kept[np.abs(look.kept - (first + last) / 2).argmin()]
    scratch.file(thumbnail).write_bytes(pictures.webp(int(nearest)))
    start = timeline.shown[first]
    inside = look.change[first + 1 : last + 1]
    share, place = lasting(_lines(look, first, last))
    return {
        "name": name,
        "film": film,
        "first": first,
        "last": last,
        "start_seconds": float(start),
        "seconds": float(shown_until(timeline.shown, last, timeline.rate) - start),
        "brightness": float(look.luma[first : last + 1].mean()),
        "motion": float(inside.mean()) if len(inside) else 0.0,
        "thumbnail": thumbnail,
        "words": share,
        "words_at": json.dumps([round(edge, 4) for edge in place]) if place else None,
    }


def _lines(look: Look, first: int, last: int) -> list[list[Words]]:
    """The lines of letters in each looked-at frame of a span."""
    looked = look.looked[(look.looked >= first) & (look.looked <= last)]
    return [[Words(*map(float, line)) for line in look.words[look.words_in == frame]] for frame in looked]


STAGE = Stage(
    "shots", version=4, takes="timeline", gives=("shot",), settings=ShotSettings, items=_items, work=_work, unit="films"
)
