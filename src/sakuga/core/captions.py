"""Captions: a history per item, and the .txt beside each item, where any editor may change the words.

A .txt that differs from the newest row is a person's edit and becomes a row of its own; no stage writes over it.
"""

import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from . import store
from .errors import SakugaError
from .project import Project
from .stage import unfinished

PERSON = "person"


@dataclass(frozen=True)
class Caption:
    """The newest words for an item, and who wrote them (`person`, or the stage's backend)."""

    text: str
    origin: str


def sidecar(file: str) -> str:
    """The .txt of an item's file, as a path relative to the project."""
    return PurePosixPath(file).with_suffix(".txt").as_posix()


def read_text(path: Path) -> str:
    """The words of a caption file: UTF-8, or UTF-16 with its mark. Raises SakugaError for anything else."""
    raw = path.read_bytes()
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return raw.decode(encoding).replace("\r\n", "\n").strip()
    except UnicodeDecodeError as error:
        raise SakugaError(
            f"{path.name} is not UTF-8 text (byte {error.start}); save it as UTF-8 in an editor"
        ) from error


def current(project: Project) -> dict[str, Caption]:
    """The newest caption of every item that has one."""
    newest = "SELECT item, text, origin FROM caption WHERE id IN (SELECT max(id) FROM caption GROUP BY item)"
    return {row["item"]: Caption(row["text"], row["origin"]) for row in project.rows(newest)}


def sync(project: Project) -> dict[str, str]:
    """Take in what people changed in caption files. Returns the items whose file cannot be read, with the reason."""
    known, faults = current(project), {}
    edits: list[tuple[str, str]] = []
    begun = unfinished(project)
    for item in project.rows("SELECT name, file FROM item"):
        path = project.path(sidecar(item["file"]))
        if not path.exists():
            continue
        try:
            if path.stat().st_mtime <= begun.get(sidecar(item["file"]), 0):
                continue  # written by a stage that was stopped before it could note the words
            text = read_text(path)
        except (SakugaError, OSError) as error:
            faults[item["name"]] = str(error)
            continue
        if item["name"] not in known or known[item["name"]].text != text:
            edits.append((item["name"], text))
    with store.transaction(project.db):
        for name, text in edits:
            store.insert(project.db, "caption", {"item": name, "text": text, "origin": PERSON, "made": time.time()})
    return faults
