"""shots: one decoding pass over a film finds its cuts, the time of every frame, and what each shot looks like:
light, motion, black bars, burned-in words, and a hash of each frame by which films are compared."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..core.errors import SakugaError
from ..core.media import film as media
from ..core.media.picture import write_thumbnail
from ..core.media.timing import shown_until, snap_rate
from ..core.project import Project
from ..core.settings import ShotSettings
from ..core.stage import Item, Rows, Scratch, Stage
from ..core.timeline import Timeline, pack
from ..signals.borders import dark_edges, over_shot, settle
from ..signals.cuts import CutFinder
from ..signals.measures import luma, motion
from ..signals.overlays import Words, lasting, words_in
from ..signals.recurring import picture_hash

LOOK_WIDTH = 256  # detectors were tuned on pictures of about this width
KEEP_EVERY = 6  # frames between those kept as candidates for a thumbnail, and looked at for words
REPORT_EVERY = 24


@dataclass
class _Look:
    """What the pass remembers of a film: enough for every shot's row, and little enough for a long film."""

    stamps: list[Fraction] = field(default_factory=list)
    brightness: list[float] = field(default_factory=list)
    change: list[float] = field(default_factory=list)
    edges: list[tuple[int, int, int, int]] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    kept: dict[int, bytes] = field(default_factory=dict)
    words: dict[int, list[Words]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def _items(project: Project, settings: ShotSettings) -> list[Item]:
    items = []
    for film in project.rows("SELECT * FROM film ORDER BY name"):
        rate = Fraction(film["rate"] or 24)
        facts = {"name": film["name"], "path": str(project.film_path(film["name"])), "rate": film["rate"]}
        facts |= {"width": film["width"], "height": film["height"]}
        size = max(1, round((film["seconds"] or 0) * rate))
        items.append(Item(film["name"], {"sha256": film["sha256"]}, facts, size))
    return items


def _work(facts: Mapping[str, Any], settings: ShotSettings, scratch: Scratch) -> Rows:
    path = Path(facts["path"])
    info = media.probe(path)
    rate = info.declared or Fraction(24)
    finder = CutFinder(settings.detector, settings.threshold, round(settings.min_seconds * rate))
    look = _watch(path, info, finder, scratch)
    if not look.stamps:
        raise SakugaError(f"no frame of {path} can be decoded; leave it out or convert it with another program")
    timeline = Timeline(look.stamps, snap_rate(look.stamps, info.tick, info.declared))
    cuts = [0, *(cut for cut in finder.finish() if cut < len(look.stamps)), len(look.stamps)]
    spans = [(first, after - 1) for first, after in pairwise(cuts)]
    row = {"film": facts["name"], "frames": len(look.stamps), "rate": str(timeline.rate) if timeline.rate else None}
    row |= {"times": pack(look.stamps), "note": "; ".join(look.faults)}
    row |= {"hashes": np.array(look.hashes, np.uint64).tobytes()}
    shots = [_shot(facts["name"], span, look, timeline, scratch) for span in spans]
    size = (LOOK_WIDTH, _look_height(info))
    told = [over_shot(np.array(look.edges[first : last + 1]), size) for first, last in spans]
    for shot, borders in zip(shots, settle(list(zip(told, [s["seconds"] for s in shots], strict=True))), strict=True):
        shot["borders"] = json.dumps([round(share, 4) for share in borders])
    return {"timeline": [row], "shot": shots}


def _look_height(info: media.FilmInfo) -> int:
    return max(2, round(info.height * LOOK_WIDTH / info.width))


def _watch(path: Path, info: media.FilmInfo, finder: CutFinder, scratch: Scratch) -> _Look:
    look = _Look()
    before: np.ndarray | None = None
    for shown in media.scan(path, size=(LOOK_WIDTH, _look_height(info)), on_error=look.faults.append):
        finder.feed(shown.index, shown.rgb)
        now = luma(shown.rgb)
        look.stamps.append(shown.time)
        look.brightness.append(float(now.mean()))
        look.change.append(0.0 if before is None else motion(before, now))
        look.edges.append(dark_edges(now))
        look.hashes.append(picture_hash(now))
        before = now
        if shown.index % KEEP_EVERY == 0:
            look.kept[shown.index] = _pack_picture(shown.rgb)
            look.words[shown.index] = words_in(shown.rgb)
        if (shown.index + 1) % REPORT_EVERY == 0:
            scratch.report(REPORT_EVERY)
    return look


def _shot(film: str, span: tuple[int, int], look: _Look, timeline: Timeline, scratch: Scratch) -> dict[str, Any]:
    first, last = span
    name = f"{film}_{first:06d}"
    middle = (first + last) // 2
    # a kept frame inside the shot where there is one: shots shorter than the step may have none
    candidates = [k for k in look.kept if first <= k <= last] or list(look.kept)
    nearest = min(candidates, key=lambda kept: abs(kept - middle))
    thumbnail = f"cache/thumbnails/{name}.webp"
    write_thumbnail(scratch.file(thumbnail), _unpack_picture(look.kept[nearest]), LOOK_WIDTH)
    start = timeline.shown[first]
    inside = look.change[first + 1 : last + 1]
    share, place = lasting([words for index, words in look.words.items() if first <= index <= last])
    return {
        "name": name,
        "film": film,
        "first": first,
        "last": last,
        "start_seconds": float(start),
        "seconds": float(shown_until(timeline.shown, last, timeline.rate) - start),
        "brightness": float(np.mean(look.brightness[first : last + 1])),
        "motion": float(np.mean(inside)) if inside else 0.0,
        "thumbnail": thumbnail,
        "words": share,
        "words_at": json.dumps([round(edge, 4) for edge in place]) if place else None,
    }


def _pack_picture(rgb: np.ndarray) -> bytes:
    target = BytesIO()
    Image.fromarray(rgb).save(target, "JPEG", quality=92)
    return target.getvalue()


def _unpack_picture(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


STAGE = Stage(
    "shots", version=3, takes="film", gives=("timeline", "shot"), settings=ShotSettings, items=_items, work=_work,
    unit="frames",
)  # fmt: skip
