"""caption: every item gets words, in the store and in a .txt. What a person wrote is never written over.

The .txt stands beside the item's file; for an adopted file it stands in the project, since folders of a person's are
only read.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core import captions
from ..core.project import Project
from ..core.settings import CaptionSettings
from ..core.stage import Item, Rows, Scratch, Stage, inline

# (up to this value, words): brightness and motion run from 0 to 1
_LIGHT = ((0.15, "a very dark scene"), (0.35, "a dark scene"), (0.65, "an evenly lit scene"), (1.0, "a bright scene"))
_MOTION = ((0.004, "hardly anything moves"), (0.02, "calm movement"), (0.06, "lively movement"), (1.0, "fast movement"))

QUERY = """
SELECT item.name, item.file, item.kind, item.folder, shot.film, shot.seconds, shot.brightness, shot.motion
FROM item LEFT JOIN shot ON shot.name = item.shot ORDER BY item.name
"""


def _items(project: Project, settings: CaptionSettings) -> list[Item]:
    unreadable = captions.sync(project)
    words = captions.current(project)
    items = []
    for row in project.rows(QUERY):
        known = words.get(row["name"])
        by_person = known.text if known is not None and known.origin == captions.PERSON else None
        place = captions.place(project, row)
        content = row | {"trigger": project.settings.trigger, "by_person": by_person, "place": place}
        facts = content | {"now": known.text if known else None, "unreadable": row["name"] in unreadable}
        items.append(Item(row["name"], content, facts | {"path": str(project.path(place)) if place else None}))
    return items


def _work(facts: Mapping[str, Any], settings: CaptionSettings, scratch: Scratch) -> Rows:
    if facts["unreadable"]:  # a person's words all the same: they stay as they are, and check tells of them
        if facts["place"]:
            scratch.file(facts["place"]).write_bytes(Path(facts["path"]).read_bytes())
        return {}
    text = facts["by_person"]
    rows: Rows = {}
    if not text:  # a file that a person emptied holds no words of theirs
        text = from_template(settings.template, facts)
        if text != facts["now"]:
            rows = {"caption": [{"item": facts["name"], "text": text, "origin": "template", "made": time.time()}]}
    if facts["place"]:
        scratch.file(facts["place"]).write_text(text + "\n", encoding="utf-8", newline="\n")
    return rows


def from_template(template: str, facts: Mapping[str, Any]) -> str:
    """The caption that a template gives for an item; without a trigger no empty first sentence is left."""
    text = template.format(
        trigger=facts["trigger"], shot=describe(facts), film=facts["film"] or "", seconds=f"{facts['seconds'] or 0:.1f}"
    )
    return text.strip() if facts["trigger"] else text.lstrip(" .,:;-").strip()


def describe(facts: Mapping[str, Any]) -> str:
    """The light of a shot, and for a clip its motion, in words, from what was measured."""
    if facts["brightness"] is None:
        return ""
    light = _word(_LIGHT, facts["brightness"])
    return light if facts["kind"] == "still" else f"{light}, {_word(_MOTION, facts['motion'])}"


def _word(scale: tuple[tuple[float, str], ...], value: float) -> str:
    return next((word for limit, word in scale if value <= limit), scale[-1][1])


STAGE = Stage(
    "caption", version=1, takes="item", gives=(), appends=("caption",), settings=CaptionSettings, items=_items,
    work=_work, unit="captions", context=inline,
)  # fmt: skip
