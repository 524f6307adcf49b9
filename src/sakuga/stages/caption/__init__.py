"""caption: every item gets words, in the store and in a .txt. What a person wrote is never written over.

The .txt stands beside the item's file; for an adopted file it stands in the project, since folders of a person's are
only read. Who writes is a row of `backends`, what is asked stands in `prompts`, what is made of an answer in `answers`.
"""

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from ...core import captions
from ...core.answers import clean
from ...core.errors import SakugaError
from ...core.project import Project
from ...core.settings import CaptionSettings, CaptionWay
from ...core.stage import Item, Rows, Scratch, Stage
from ...core.tags import tags_of
from ...core.triggers import extras, with_extras
from .backends import BACKENDS, Opened, Shown, used
from .prompts import Kind, hints, instruct, read_prompt

KINDS: tuple[Kind, ...] = ("clip", "still")
AHEAD_SECONDS = 60.0
QUERY = """
SELECT item.name, item.file, item.kind, item.folder, item.frames, item.fps, shot.film, shot.seconds, shot.brightness,
       shot.motion, shot.camera, shot.static, shot.words
FROM item LEFT JOIN shot ON shot.name = item.shot ORDER BY item.name
"""
_OF_TEMPLATE = ("film", "seconds", "brightness", "motion")  # what a caption by template reads of the shot


class Captioners:
    """The backend of each kind, opened when the first item of its kind comes; both kinds may share one."""

    def __init__(self, project: Project, settings: CaptionSettings, wanted: Sequence[Kind] | None = None) -> None:
        opened: list[tuple[CaptionWay, Opened]] = []
        wanted = _wanted(project) if wanted is None else wanted
        for kind in wanted:
            way = settings.way(kind)
            same = next((one for other, one in opened if other == way), None)
            opened.append((way, same or BACKENDS[way.backend].open(project, way)))
        self.opened = dict(zip(wanted, opened, strict=True))

    def told(self) -> str:
        return used(list(self.opened.values()))


def _wanted(project: Project) -> list[Kind]:
    """The kinds of which an item has no words of a person's."""
    words = captions.current(project)
    persons = {name for name, caption in words.items() if caption.origin == captions.PERSON and caption.text}
    found = {row["kind"] for row in project.rows("SELECT name, kind FROM item") if row["name"] not in persons}
    return [kind for kind in KINDS if kind in found]


def _items(project: Project, settings: CaptionSettings) -> list[Item]:
    # before people's words are taken in: what is written in between looks other than it did here
    seen = {row["name"]: captions.look(project.path(captions.own(row))) for row in project.rows(QUERY)}
    unreadable = captions.sync(project)
    words = captions.current(project)
    ways = {kind: settings.way(kind) for kind in KINDS}
    told = {kind: read_prompt(project.folder, kind) for kind in KINDS if BACKENDS[ways[kind].backend].prompted}
    items, tags = [], tags_of(project)
    for row in project.rows(QUERY):
        known = words.get(row["name"])
        by_person = known.text if known is not None and known.origin == captions.PERSON else None
        place = captions.place(project, row)
        content = {key: row[key] for key in ("name", "file", "kind", "folder")} | {
            "by_person": by_person,
            "place": place,
        }
        prompt = prompt_of(project, told.get(row["kind"]), row, ways[row["kind"]])
        content |= {"trigger": project.settings.trigger} | depends(project, row, ways[row["kind"]], prompt)
        more = extras(tags[row["name"]], project.settings.triggers)
        content |= {"extras": more} if more else {}
        facts = row | content | {"prompt": prompt, "media": str(project.path(row["file"])), "extras": more}
        facts |= {"now": known.text if known else None, "unreadable": row["name"] in unreadable}
        facts |= {"path": str(project.path(place)) if place else None, "seen": seen.get(row["name"])}
        items.append(Item(row["name"], content, facts))
    return items


def prompt_of(project: Project, instruction: str | None, row: Mapping[str, Any], way: CaptionWay) -> str:
    """What a prompted backend is asked of an item; empty for others."""
    if instruction is None:
        return ""
    facts = dict(row) | {"item_seconds": float(row["frames"] / Fraction(row["fps"])) if row["kind"] == "clip" else 0.0}
    return instruct(instruction, row["kind"], project.settings.trigger, hints(facts) if way.hints else [])


def depends(project: Project, row: Mapping[str, Any], way: CaptionWay, prompt: str) -> dict[str, Any]:
    """What an item's caption depends on beyond its name: its backend, the settings that matter there, what is read."""
    backend = BACKENDS[way.backend]
    values = way.model_dump(mode="json", include={"backend", *backend.matters})
    found = {f"caption.{name}": value for name, value in values.items()}
    if way.backend != "template":
        found |= {"sha256": project.sha256(project.path(row["file"]))}
    return found | ({"prompt": prompt} if backend.prompted else {key: row[key] for key in _OF_TEMPLATE})


def _work(facts: Mapping[str, Any], settings: CaptionSettings, scratch: Scratch) -> Rows:
    if facts["unreadable"] and not facts["place"]:
        return {}
    # a file that a person emptied holds no words of theirs
    text: str | None = facts["by_person"]
    origin = captions.PERSON
    if not text:
        way, opened = scratch.context.opened[facts["kind"]]
        draft = written(facts, way, opened, scratch.folder)
        text, origin = with_extras(draft, facts["trigger"], facts["extras"]), opened.origin
    kept = _kept(facts) if facts["place"] else None
    if kept is not None:
        text, origin = _readable(kept, facts), captions.PERSON
    if facts["place"]:
        _write(scratch.file(facts["place"]), kept, text)
    if text in (None, facts["now"]):
        return {}
    return {"caption": [{"item": facts["name"], "text": text, "origin": origin, "made": time.time()}]}


def asked(facts: Mapping[str, Any], way: CaptionWay, opened: Opened, scratch: Path) -> str:
    """What a backend answers, shown an item and given its prompt."""
    own = scratch / "shown"
    try:
        return opened.describe(Shown(Path(facts["media"]), facts["kind"], facts, way, own, facts["prompt"]))
    finally:
        shutil.rmtree(own, ignore_errors=True)


def written(facts: Mapping[str, Any], way: CaptionWay, opened: Opened, scratch: Path) -> str:
    """The caption that a backend writes for an item."""
    told = asked(facts, way, opened, scratch)
    return clean(told, facts["trigger"]) if BACKENDS[way.backend].prompted else filled(facts, way.template, told)


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


def filled(facts: Mapping[str, Any], template: str, shot: str) -> str:
    """The caption that a template gives for an item; without a trigger no empty first sentence is left."""
    text = template.format(
        trigger=facts["trigger"], shot=shot, film=facts["film"] or "", seconds=f"{facts['seconds'] or 0:.1f}"
    )
    return text.strip() if facts["trigger"] else text.lstrip(" .,:;-").strip()


def parallel(settings: CaptionSettings) -> int:
    """How many items may be under way: as many as are asked for of a program that is waited for."""
    ways = [settings.way(kind) for kind in KINDS]
    return max(way.concurrency or BACKENDS[way.backend].at_once for way in ways)


STAGE = Stage(
    "caption", version=2, takes="item", gives=(), appends=("caption",), settings=CaptionSettings, items=_items,
    work=_work, unit="captions", context=Captioners, lasting=True, parallel=parallel, tell=Captioners.told,
)  # fmt: skip
