"""shots: what the pass over a film kept becomes its shots, each with its borders, its words, its scores and its
thumbnails. Nothing is decoded: another threshold costs a second."""

import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from ..core.media.timing import shown_until
from ..core.project import Project
from ..core.settings import ShotSettings
from ..core.stage import Item, Rows, Scratch, Stage
from ..core.timeline import Timeline, unpack
from ..signals.borders import over_shot, settle
from ..signals.cuts import Span, decide, find_candidates, spans
from ..signals.look import Look, Pictures
from ..signals.overlays import Words, lasting
from ..signals.scores import score

LOOKED_AT = """
SELECT film, times, rate, look, timeline.look_sha256, pictures, probabilities
FROM timeline LEFT JOIN judgement ON judgement.look_sha256 = timeline.look_sha256 WHERE look != '' ORDER BY film
"""


def _items(project: Project, settings: ShotSettings) -> list[Item]:
    items = []
    for row in project.rows(LOOKED_AT):
        facts = row | {"look": str(project.path(row["look"])), "pictures": str(project.path(row["pictures"]))}
        content = {"look": row["look_sha256"], "rate": row["rate"]}
        if settings.judge == "off":
            facts["probabilities"] = None
        elif row["probabilities"]:
            content["judged"] = row["probabilities"].hex()
        items.append(Item(row["film"], content, facts))
    return items


def _work(facts: Mapping[str, Any], settings: ShotSettings, scratch: Scratch) -> Rows:
    rate = Fraction(facts["rate"]) if facts["rate"] else None
    timeline = Timeline(unpack(facts["times"]), rate)
    look = Look.load(facts["look"])
    found = _spans(look, facts["probabilities"], settings, float(rate or 24))
    pictures = Pictures(facts["pictures"])
    shots = [_shot(facts["film"], span[:2], look, timeline, pictures, scratch) for span in found]
    for shot, span in zip(shots, found, strict=True):
        shot |= {"soft_in": span.soft_in, "soft_out": span.soft_out}
    size = int(look.size[0]), int(look.size[1])
    told = [over_shot(look.edges[span.first : span.last + 1], size) for span in found]
    for shot, borders in zip(shots, settle(list(zip(told, [s["seconds"] for s in shots], strict=True))), strict=True):
        shot["borders"] = json.dumps([round(share, 4) for share in borders])
    return {"shot": shots}


def _spans(look: Look, probabilities: bytes | None, settings: ShotSettings, rate: float) -> list[Span]:
    judged = np.frombuffer(probabilities, np.float16).astype(np.float32) if probabilities else None
    transitions = decide(find_candidates(look), settings.sensitivity, judged)
    return spans(transitions, len(look), round(settings.min_seconds * rate))


def _shot(
    film: str, span: tuple[int, int], look: Look, timeline: Timeline, pictures: Pictures, scratch: Scratch
) -> dict[str, Any]:
    first, last = span
    name = f"{film}_{first:06d}"
    thumbnail = f"cache/thumbnails/{name}.webp"
    nearest = look.kept[np.abs(look.kept - (first + last) / 2).argmin()]
    scratch.file(thumbnail).write_bytes(pictures.webp(int(nearest)))
    start = timeline.shown[first]
    seconds = float(shown_until(timeline.shown, last, timeline.rate) - start)
    share, place = lasting(_lines(look, first, last))
    return {
        "name": name,
        "film": film,
        "first": first,
        "last": last,
        "start_seconds": float(start),
        "seconds": seconds,
        "thumbnail": thumbnail,
        "words": share,
        "words_at": json.dumps([round(edge, 4) for edge in place]) if place else None,
    } | score(look, first, last, float(timeline.rate or (last - first + 1) / seconds)).row()


def _lines(look: Look, first: int, last: int) -> list[list[Words]]:
    """The lines of letters in each looked-at frame of a span."""
    looked = look.looked[(look.looked >= first) & (look.looked <= last)]
    return [[Words(*map(float, line)) for line in look.words[look.words_in == frame]] for frame in looked]


STAGE = Stage(
    "shots", version=5, takes="timeline", gives=("shot",), settings=ShotSettings, items=_items, work=_work, unit="films"
)
