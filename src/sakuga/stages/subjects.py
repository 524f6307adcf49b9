"""subjects: of each shot how many people are in it, how near they are (shot size), and whether somebody is nude.

Told from the pictures that the one pass over the film kept. A tag: by default nothing is looked for, and what is found
leaves out no shot unless a person asks `pick` for that.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core.project import Project
from ..core.settings import SubjectSettings
from ..core.stage import Item, Rows, Scratch, Stage
from ..signals.borders import Borders
from ..signals.look import Look, Pictures
from ..signals.subjects import SURELY_NUDE, Part, face_height, looked_at, nudity, parts_detector, people, shot_size

LOOKED_AT = "SELECT film, look, look_sha256, pictures FROM timeline WHERE look != '' ORDER BY film"
SHOTS = """
SELECT name, first + soft_in AS first, last - soft_out AS last, borders FROM shot WHERE film = ? ORDER BY shot.first"""


def _items(project: Project, settings: SubjectSettings) -> list[Item]:
    """One of each film; none where nobody asked, so that what was found before goes."""
    items = []
    for row in project.rows(LOOKED_AT) if settings.read != "off" else []:
        shots = project.rows(SHOTS, row["film"])
        if shots:
            facts = {"shots": shots} | {kind: str(project.path(row[kind])) for kind in ("look", "pictures")}
            items.append(Item(row["film"], {"look": row["look_sha256"], "shots": shots}, facts, size=len(shots)))
    return items


def _open(project: Project, settings: SubjectSettings) -> Any:
    return parts_detector()


def _work(facts: Mapping[str, Any], settings: SubjectSettings, scratch: Scratch) -> Rows:
    kept = Look.load(Path(facts["look"])).kept
    pictures = Pictures(Path(facts["pictures"]))
    rows = []
    for shot in facts["shots"]:
        frames = looked_at(kept, shot["first"], shot["last"])
        found = {frame: scratch.context(pictures.rgb(frame)) for frame in frames}
        if found:  # a shot shorter than half a second may have no picture: of it nothing is known
            rows.append({"shot": shot["name"]} | _told(found, Borders(*json.loads(shot["borders"]))))
        scratch.report(1)
    pictures.close()
    return {"subject": rows}


def _told(found: Mapping[int, list[Part]], borders: Borders) -> dict[str, Any]:
    """What the pictures of a shot tell of it: the most people at once, the size in the middle of those with a face."""
    high = 1 - borders.top - borders.bottom  # of the picture, without bars
    faces = [share for share in map(face_height, found.values()) if share]
    face = float(np.median(faces)) / high if faces else 0.0
    nude = max(map(nudity, found.values()))
    boxes = [
        {"frame": frame, "label": part.label, "score": round(part.score, 3), "box": [round(e, 4) for e in part[2:]]}
        for frame, parts in found.items()
        for part in parts
    ]
    return {
        "people": max(map(people, found.values())), "shot_size": shot_size(face), "face": face,
        "nude": int(nude >= SURELY_NUDE), "nude_score": nude, "boxes": json.dumps(boxes),
    }  # fmt: skip


STAGE = Stage(
    "subjects", version=1, takes="shot", gives=("subject",), settings=SubjectSettings, items=_items, work=_work,
    unit="shots", context=_open,
)  # fmt: skip
