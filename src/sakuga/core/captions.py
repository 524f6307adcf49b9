"""Captions: a history per item, and the .txt beside each item, where any editor may change the words.

A .txt that differs from the newest row is a person's edit and becomes a row of its own; no stage writes over it.
Beside an adopted file only its person writes: words that a stage has for it stand in the project, where they can be
edited too. A .txt with words beside the file goes before them.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from . import files, store
from .errors import SakugaError
from .project import Project
from .stage import unfinished

PERSON = "person"
LISTING = "listing"  # the source of words that stood in another trainer's list of captions
UNDO = "undo"  # the source of words that a person put back
KEPT = "dataset/adopted"


@dataclass(frozen=True)
class Caption:
    """The newest words for an item, and who wrote them (`person`, or the stage's backend)."""

    text: str
    origin: str


def sidecar(file: str) -> str:
    """The .txt of an item's file, as a path relative to the project."""
    return PurePosixPath(file).with_suffix(".txt").as_posix()


def own(item: Mapping[str, Any]) -> str:
    """The .txt that the project has for an item (name, file, folder), relative to the project."""
    return sidecar(item["file"]) if item["folder"] is None else f"{KEPT}/{item['name']}.txt"


def place(project: Project, item: Mapping[str, Any]) -> str | None:
    """Where a stage may write the words of an item (name, file, folder); None where a person's own .txt holds them."""
    adopted = item["folder"] is not None
    return None if adopted and holds_words(project.path(sidecar(item["file"]))) else own(item)


def holds_words(path: Path) -> bool:
    """Whether a person's caption file says anything, be it in an encoding that cannot be read."""
    try:
        return path.exists() and read_text(path) != ""
    except (SakugaError, OSError):
        return True


def look(path: Path) -> str:
    """A hash of what a caption file holds; empty where there is none. One that cannot be opened looks like no other."""
    try:
        return files.file_sha256(path)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return str(error)


def read_text(path: Path) -> str:
    """The words of a caption file: UTF-8, or UTF-16 with its mark. Raises SakugaError for anything else."""
    return decoded(path.read_bytes(), path.name)


def decoded(raw: bytes, name: str) -> str:
    """The words that the bytes of a caption file called `name` are."""
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return raw.decode(encoding).replace("\r\n", "\n").strip()
    except UnicodeDecodeError as error:
        raise SakugaError(f"{name} is not UTF-8 text (byte {error.start}); save it as UTF-8 in an editor") from error


def current(project: Project) -> dict[str, Caption]:
    """The newest caption of every item that has one."""
    newest = "SELECT item, text, origin FROM caption WHERE id IN (SELECT max(id) FROM caption GROUP BY item)"
    return {row["item"]: Caption(row["text"], row["origin"]) for row in project.rows(newest)}


def sync(project: Project) -> dict[str, str]:
    """Take in what people changed in caption files. Returns the items whose file cannot be read, with the reason."""
    known, faults = current(project), {}
    edits: list[tuple[str, str]] = []
    begun, listed = unfinished(project), _newest_listed(project)
    for item in project.rows("SELECT name, file, folder FROM item"):
        name = item["name"]
        beside, kept = sidecar(item["file"]), f"{KEPT}/{name}.txt"
        try:
            text = _written(project.path(beside), begun.get(beside, 0))
            if item["folder"] is not None and not text:
                in_project = _written(project.path(kept), max(begun.get(kept, 0), listed.get(name, 0)))
                text = text if in_project is None else in_project
        except SakugaError as error:
            faults[name] = str(error)
            continue
        except OSError as error:
            faults[name] = (
                f"{error.filename} holds no words that can be read: {error.strerror}; mend its rights or its name"
            )
            continue
        if text is None or (not text and name in listed):
            continue
        if name not in known or known[name].text != text:
            edits.append((name, text))
    with store.transaction(project.db):
        for name, text in edits:
            store.insert(project.db, "caption", {"item": name, "text": text, "origin": PERSON, "made": time.time()})
    return faults


def _written(path: Path, since: float) -> str | None:
    """The words of a caption file; None where there is none, or where it is as old as `since`.

    Such a file was written by a stage that was stopped before it could note the words, or before a newer list came.
    """
    return read_text(path) if path.exists() and path.stat().st_mtime > since else None


def _newest_listed(project: Project) -> dict[str, float]:
    """The items whose newest words came from a list of captions, and when (s)."""
    newest = "SELECT item, made FROM caption WHERE id IN (SELECT max(id) FROM caption GROUP BY item) AND source = ?"
    return {row["item"]: row["made"] for row in project.rows(newest, LISTING)}


def write(project: Project, words: Mapping[str, tuple[str, str]], source: str) -> None:
    """Put (.txt relative to the project, new words) of items in the place of what is there, as a person's edit.

    `source` says by which command they said so. Should it end half way, the .txt tells the words, as any editor's does.
    """
    for name, (place, text) in words.items():
        files.write_atomic(project.path(place), f"{text}\n")
        row = {"item": name, "text": text, "source": source, "origin": PERSON, "made": time.time()}
        with store.transaction(project.db):
            store.insert(project.db, "caption", row)


def history(project: Project, item: str) -> list[dict[str, Any]]:
    """All words that an item has had, the oldest first: {id, text, by, source, made (s)}."""
    query = "SELECT id, text, origin AS by, source, made FROM caption WHERE item = ? ORDER BY id"
    return project.rows(query, item)


def before(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The words that an undo puts back, of a history; None where there is nothing to go back to.

    What an undo put back is not undone by the next: that goes one step further back.
    """
    stack: list[str] = []
    for row in rows:
        if row["source"] == UNDO and len(stack) > 1:
            stack.pop()
        elif not stack or stack[-1] != row["text"]:
            stack.append(row["text"])
    return stack[-2] if len(stack) > 1 else None


def take_listed(project: Project, words: Mapping[str, str]) -> None:
    """Note the words that a list of captions gives for items.

    Only where the list has changed: words that were taken from it before would else undo what a person wrote since.
    """
    query = "SELECT item, text FROM caption WHERE id IN (SELECT max(id) FROM caption WHERE source = ? GROUP BY item)"
    taken = {row["item"]: row["text"] for row in project.rows(query, LISTING)}
    with store.transaction(project.db):
        for name in words:
            if taken.get(name) != words[name]:
                row = {"item": name, "text": words[name], "source": LISTING, "origin": PERSON, "made": time.time()}
                store.insert(project.db, "caption", row)
