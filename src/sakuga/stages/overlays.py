"""overlays: what stands over the picture of a film, its logos and burned-in words: where, from when to when.

Told from the pictures and lines that the one pass over the film kept. Nothing is decoded, unless the words are to be
read: letters need the full size.
"""

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..core.media import film as media
from ..core.project import Project
from ..core.settings import OverlaySettings
from ..core.stage import Item, Rows, Scratch, Stage
from ..core.timeline import Timeline, unpack
from ..signals.borders import Borders
from ..signals.look import Look, Pictures
from ..signals.marks import find_marks, stretches
from ..signals.overlays import Words, standing
from ..signals.reading import words_reader

LOOKED_AT = "SELECT film, times, rate, look, look_sha256, pictures FROM timeline WHERE look != '' ORDER BY film"
SHOTS = "SELECT first, last, borders FROM shot WHERE film = ? ORDER BY first"
SHARED = "SELECT first, last FROM recurrence WHERE film = ? AND by != 'sound' ORDER BY first, last"
BESIDE = 0.15  # of a line's height, around it, that is read too
ELSEWHERE = -1  # the shot of a picture in which no marks are looked for


def _items(project: Project, settings: OverlaySettings) -> list[Item]:
    items = []
    for row in project.rows(LOOKED_AT):
        shots = project.rows(SHOTS, row["film"])
        if not shots:
            continue
        content = {"look": row["look_sha256"], "rate": row["rate"], "shots": shots}
        content["shared"] = project.rows(SHARED, row["film"])
        facts = row | content | {"look": str(project.path(row["look"])), "path": str(project.film_path(row["film"]))}
        facts["pictures"] = str(project.path(row["pictures"]))
        items.append(Item(row["film"], content, facts))
    return items


def _work(facts: Mapping[str, Any], settings: OverlaySettings, scratch: Scratch) -> Rows:
    look = Look.load(Path(facts["look"]))
    timeline = Timeline(unpack(facts["times"]), Fraction(facts["rate"]) if facts["rate"] else None)
    words = list(_words(look))
    if settings.read:
        for row, text in zip(words, _read(Path(facts["path"]), timeline, words), strict=True):
            row["text"] = text
    rows = [*_logos(facts, look, timeline), *words]
    return {"overlay": [row | {"film": facts["film"]} for row in rows]}


def _logos(facts: Mapping[str, Any], look: Look, timeline: Timeline) -> Iterator[dict[str, Any]]:
    """A row for each stretch of the film that has a mark."""
    shots, shared = facts["shots"], facts["shared"]
    firsts = [shot["first"] for shot in shots]
    numbers = [max(0, bisect_right(firsts, frame) - 1) for frame in look.kept.tolist()]
    borders = [Borders(*json.loads(shot["borders"])) for shot in shots]
    for n, frame in enumerate(look.kept.tolist()):
        # an opening that other films have is one picture in all of them: what stays in it is no mark
        if any(part["first"] <= frame <= part["last"] for part in shared):
            numbers[n] = ELSEWHERE
    archive = Pictures(Path(facts["pictures"]))
    pictures = np.stack([archive.luma(frame) for frame in look.kept.tolist()])
    archive.close()
    shown = np.array([float(timeline.shown[frame]) for frame in look.kept])
    height, width = pictures.shape[1:]
    for mark in find_marks(pictures, numbers, look.hashes[look.kept], borders):
        box = mark.left / width, mark.top / height, mark.right / width, mark.bottom / height
        row = {"kind": "logo", "box": _shares(box), "mask": _png(mark.mask), "text": None}
        for first, last in stretches(mark.seen, shown):
            after = look.kept[last + 1] - 1 if last + 1 < len(look.kept) else len(look) - 1
            share = float(mark.seen[first : last + 1].mean())
            yield row | {"first": int(look.kept[first]), "last": int(after), "share": share}


def _words(look: Look) -> Iterator[dict[str, Any]]:
    """A row for each line of letters that stands for a while."""
    looked = look.looked.tolist()
    found = [[Words(*map(float, line)) for line in look.words[look.words_in == frame]] for frame in looked]
    for line in standing(found):
        # it came after the last look without it, and goes before the first
        first = looked[line.first - 1] + 1 if line.first else 0
        last = looked[line.last + 1] - 1 if line.last + 1 < len(looked) else len(look) - 1
        row = {"kind": "words", "box": _shares(line.words), "mask": None, "text": None}
        yield row | {"first": first, "last": last, "share": line.share}


def _read(path: Path, timeline: Timeline, lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each line says, read in the middle of its time."""
    read, texts = words_reader(), [""] * len(lines)
    middles = [(line["first"] + line["last"]) // 2 for line in lines]
    for frame, rgb in media.frames(path, sorted(set(middles)), times=timeline.stamps):
        for n, middle in enumerate(middles):
            if middle == frame:
                texts[n] = read(_around(rgb, json.loads(lines[n]["box"])))
    return texts


def _around(rgb: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """The part of a picture [H, W, 3] that holds a box of shares, and a little more."""
    height, width = rgb.shape[:2]
    left, top, right, bottom = box
    more = BESIDE * (bottom - top) * height
    rows = slice(max(0, round(top * height - more)), round(bottom * height + more))
    return rgb[rows, max(0, round(left * width - more)) : round(right * width + more)]


def _shares(box: Sequence[float]) -> str:
    return json.dumps([round(edge, 4) for edge in box])


def _png(mask: np.ndarray) -> bytes:
    done, data = cv2.imencode(".png", mask.astype(np.uint8) * 255)
    assert done
    return data.tobytes()


STAGE = Stage(
    "overlays", version=2, takes="shot", gives=("overlay",), settings=OverlaySettings, items=_items, work=_work,
    unit="films",
)  # fmt: skip
