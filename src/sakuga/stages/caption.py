"""caption: every item gets words, in the store and in a .txt. What a person wrote is never written over.

The .txt stands beside the item's file; for an adopted file it stands in the project, since folders of a person's are
only read.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core import captions
from ..core.errors import SakugaError
from ..core.media import film
from ..core.media.fit import fit
from ..core.media.picture import read_picture
from ..core.models import embedded
from ..core.project import Project
from ..core.settings import CaptionSettings
from ..core.stage import Item, Rows, Scratch, Stage

# (up to this value, words): brightness and motion run from 0 to 1
_LIGHT = ((0.15, "a very dark scene"), (0.35, "a dark scene"), (0.65, "an evenly lit scene"), (1.0, "a bright scene"))
_MOTION = ((0.004, "hardly anything moves"), (0.02, "calm movement"), (0.06, "lively movement"), (1.0, "fast movement"))

AHEAD_SECONDS = 60.0
QUERY = """
SELECT item.name, item.file, item.kind, item.folder, shot.film, shot.seconds, shot.brightness, shot.motion
FROM item LEFT JOIN shot ON shot.name = item.shot ORDER BY item.name
"""


def _items(project: Project, settings: CaptionSettings) -> list[Item]:
    # before people's words are taken in: what is written in between looks other than it did here
    seen = {row["name"]: captions.look(project.path(captions.own(row))) for row in project.rows(QUERY)}
    unreadable = captions.sync(project)
    words = captions.current(project)
    items = []
    for row in project.rows(QUERY):
        known = words.get(row["name"])
        by_person = known.text if known is not None and known.origin == captions.PERSON else None
        place = captions.place(project, row)
        content = row | {"trigger": project.settings.trigger, "by_person": by_person, "place": place}
        if settings.backend != "template":
            content |= {"sha256": project.sha256(project.path(row["file"]))}
        facts = (
            content
            | {"media": str(project.path(row["file"]))}
            | {"now": known.text if known else None, "unreadable": row["name"] in unreadable}
        )
        facts |= {"path": str(project.path(place)) if place else None, "seen": seen.get(row["name"])}
        items.append(Item(row["name"], content, facts))
    return items


def _work(facts: Mapping[str, Any], settings: CaptionSettings, scratch: Scratch) -> Rows:
    if facts["unreadable"] and not facts["place"]:
        return {}
    # a file that a person emptied holds no words of theirs
    write = CAPTIONERS[settings.backend].write
    text: str | None = facts["by_person"] or write(facts, settings, scratch.context)
    origin: str = settings.backend
    kept = _kept(facts) if facts["place"] else None
    if kept is not None:
        text, origin = _readable(kept, facts), captions.PERSON
    if facts["place"]:
        _write(scratch.file(facts["place"]), kept, text)
    if text in (None, facts["now"]):
        return {}
    return {"caption": [{"item": facts["name"], "text": text, "origin": origin, "made": time.time()}]}


def _kept(facts: Mapping[str, Any]) -> bytes | None:
    """What stays as it is: words that cannot be read (check tells of them), or that came while this stage was at work."""
    path = Path(facts["path"])
    if not facts["unreadable"] and captions.look(path) == facts["seen"]:
        return None
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SakugaError(
            f"the words in {path} cannot be looked at: {error.strerror}; mend that, or remove it"
        ) from error
    return raw if _readable(raw, facts) != "" else None


def _readable(raw: bytes, facts: Mapping[str, Any]) -> str | None:
    try:
        return captions.decoded(raw, facts["name"])
    except SakugaError:
        return None


def _write(target: Path, kept: bytes | None, text: str | None) -> None:
    if kept is None:
        target.write_text(f"{text}\n", encoding="utf-8", newline="\n")
        return
    target.write_bytes(kept)
    # younger than the mark that this item is begun: a person's words even if the command is killed before it is done
    os.utime(target, (time.time() + AHEAD_SECONDS,) * 2)


@dataclass(frozen=True)
class Captioner:
    """How a backend writes the caption of an item, and what it opens once for all of them."""

    write: Callable[[Mapping[str, Any], CaptionSettings, Any], str]
    open: Callable[[Project], Any] = lambda project: None


def from_template(facts: Mapping[str, Any], settings: CaptionSettings, _: Any = None) -> str:
    """The template filled with what was measured of the shot."""
    return _filled(facts, settings, describe(facts))


def from_describer(facts: Mapping[str, Any], settings: CaptionSettings, describer: Any) -> str:
    """The template filled with what the embedded describer sees in the file."""
    known, path = describer.knowledge, Path(facts["media"])
    if facts["kind"] == "still":
        pictures = [read_picture(path)]
    else:
        count = len(film.scan_times(path))
        first = max(0, (count - known.frames) // 2)
        pictures = [rgb for _, rgb in film.frames(path, range(first, min(count, first + known.frames)))]
    return _filled(facts, settings, describer.caption(np.stack([fit(p, known.width, known.height) for p in pictures])))


def _open_describer(project: Project) -> Any:
    from ..nn.describer import load_describer

    return load_describer(embedded("describer.safetensors"))


CAPTIONERS = {"template": Captioner(from_template), "describer": Captioner(from_describer, _open_describer)}


def _open(project: Project, settings: CaptionSettings) -> Any:
    return CAPTIONERS[settings.backend].open(project)


def _filled(facts: Mapping[str, Any], settings: CaptionSettings, shot: str) -> str:
    """The caption that the template gives for an item; without a trigger no empty first sentence is left."""
    text = settings.template.format(
        trigger=facts["trigger"], shot=shot, film=facts["film"] or "", seconds=f"{facts['seconds'] or 0:.1f}"
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
    work=_work, unit="captions", context=_open,
)  # fmt: skip
