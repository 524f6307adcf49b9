"""shots: what the pass over a film kept becomes its shots, each with its borders, its words, its scores and its
thumbnails. Nothing is decoded: another threshold costs a second."""

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from ..core.media.timing import shown_until
from ..core.media.webp import animation
from ..core.project import Project
from ..core.settings import ShotSettings
from ..core.stage import Item, Rows, Scratch, Stage
from ..core.timeline import Timeline, unpack
from ..signals.borders import Borders, over_shot, settle, unchanging, unlike, with_corners
from ..signals.cuts import Span, decide, find_candidates, spans
from ..signals.look import Look, Pictures
from ..signals.overlays import Words, lasting
from ..signals.scores import score

LOOKED_AT = """
SELECT film, times, rate, note, look, timeline.look_sha256, pictures, probabilities
FROM timeline LEFT JOIN judgement ON judgement.look_sha256 = timeline.look_sha256 WHERE look != '' ORDER BY film
"""


GAP, GAP_SECONDS = 4, 0.4  # times the usual step from one frame to the next, and as long at least: pictures are missing
STRIP_PICTURES, STRIP_MILLISECONDS = 12, 250
MOST_PICTURES = 96  # unlike ones of a film, in which its bars and corners are looked for


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
    if facts["note"]:
        found = at_gaps(found, timeline.shown)
    pictures = Pictures(facts["pictures"])
    shots = [_shot(facts["film"], span[:2], look, timeline, pictures, scratch) for span in found]
    for shot, span in zip(shots, found, strict=True):
        shot |= {"soft_in": span.soft_in, "soft_out": span.soft_out}
    told = _borders(look, [span[:2] for span in found], [s["seconds"] for s in shots], pictures)
    for shot, borders in zip(shots, told, strict=True):
        shot["borders"] = json.dumps([round(share, 4) for share in borders])
    return {"shot": shots}


def _spans(look: Look, probabilities: bytes | None, settings: ShotSettings, rate: float) -> list[Span]:
    judged = np.frombuffer(probabilities, np.float16).astype(np.float32) if probabilities else None
    transitions = decide(find_candidates(look), settings.sensitivity, judged)
    return spans(transitions, len(look), round(settings.min_seconds * rate))


def at_gaps(found: Sequence[Span], shown: Sequence[Fraction]) -> list[Span]:
    """The spans of a film that could not all be read, cut where pictures are missing: no shot runs over a gap.

    `shown`: when each frame is (s). A hold of a film with a variable rate is no gap: it is asked only of damaged ones.
    """
    steps = [after - before for before, after in pairwise(shown)]
    usual = median(steps) if steps else Fraction(0)
    gaps = [n + 1 for n, step in enumerate(steps) if step > max(float(GAP * usual), GAP_SECONDS)]
    cut: list[Span] = []
    for span in found:
        edges = [span.first, *(g for g in gaps if span.first < g <= span.last), span.last + 1]
        for first, after in pairwise(edges):
            soft_in = span.soft_in if first == span.first else 0
            cut.append(Span(first, after - 1, soft_in, span.soft_out if after == span.last + 1 else 0))
    return cut


def _borders(
    look: Look, spans: Sequence[tuple[int, int]], seconds: Sequence[float], pictures: Pictures
) -> list[Borders]:
    """The bars of each shot, from all its frames, and from what never changes in unlike pictures of the whole film."""
    told = [over_shot(look.edges[first : last + 1], (int(look.size[0]), int(look.size[1]))) for first, last in spans]
    frames = [look.kept[i] for i in unlike(look.hashes[look.kept].tolist(), MOST_PICTURES)]
    lumas = np.array([pictures.luma(int(frame)) for frame in frames])
    settled = settle(list(zip(told, seconds, strict=True)), unchanging(lumas))
    shot_of = np.searchsorted([first for first, _ in spans], frames, side="right") - 1
    return with_corners(settled, lumas, shot_of.tolist())


def _shot(
    film: str, span: tuple[int, int], look: Look, timeline: Timeline, pictures: Pictures, scratch: Scratch
) -> dict[str, Any]:
    first, last = span
    name = f"{film}_{first:06d}"
    thumbnail = f"cache/thumbnails/{name}.webp"
    nearest = look.kept[np.abs(look.kept - (first + last) / 2).argmin()]
    scratch.file(thumbnail).write_bytes(pictures.webp(int(nearest)))
    strip = _strip(f"cache/thumbnails/{name}-strip.webp", look, span, pictures, scratch)
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
        "strip": strip,
        "words": share,
        "words_at": json.dumps([round(edge, 4) for edge in place]) if place else None,
    } | score(look, first, last, float(timeline.rate or (last - first + 1) / seconds)).row()


def _strip(file: str, look: Look, span: tuple[int, int], pictures: Pictures, scratch: Scratch) -> str:
    """A short loop of what the shot shows; the empty string for a shot with one kept picture or none."""
    inside = look.kept[(look.kept >= span[0]) & (look.kept <= span[1])]
    if len(inside) < 2:
        return ""
    chosen = inside[np.unique(np.linspace(0, len(inside) - 1, STRIP_PICTURES).round().astype(int))]
    size = (int(look.size[0]), int(look.size[1]))
    scratch.file(file).write_bytes(animation([pictures.webp(int(f)) for f in chosen], size, STRIP_MILLISECONDS))
    return file


def _lines(look: Look, first: int, last: int) -> list[list[Words]]:
    """The lines of letters in each looked-at frame of a span."""
    looked = look.looked[(look.looked >= first) & (look.looked <= last)]
    return [[Words(*map(float, line)) for line in look.words[look.words_in == frame]] for frame in looked]


STAGE = Stage(
    "shots", version=6, takes="timeline", gives=("shot",), settings=ShotSettings, items=_items, work=_work, unit="films"
)
