"""Tags of items: those of an adopted folder's files, and those that a person gives.

What a person says goes before: a tag that they take away stays away, also when the folder is read anew.
"""

import json
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache

from . import store
from .errors import SakugaError
from .project import Project


def tags_of(project: Project) -> dict[str, tuple[str, ...]]:
    """The tags of every item."""
    own: dict[str, dict[str, int]] = {}
    for row in project.rows("SELECT item, tag, present FROM item_tag ORDER BY tag"):
        own.setdefault(row["item"], {})[row["tag"]] = row["present"]
    found = {}
    for row in project.rows("SELECT name, tags FROM item"):
        said = own.get(row["name"])
        given = _listed(row["tags"])
        found[row["name"]] = _merged(given, said) if said else given
    return found


@lru_cache(maxsize=5000)
def _listed(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _merged(given: tuple[str, ...], said: Mapping[str, int]) -> tuple[str, ...]:
    kept = [tag for tag in given if said.get(tag, 1)]
    return tuple(kept + [tag for tag, present in said.items() if present and tag not in given])


def tag(project: Project, items: Iterable[str], add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
    """Give tags to items, or take them away. The caller holds the project's lock."""
    given = {**dict.fromkeys(remove, 0), **dict.fromkeys(add, 1)}
    if bad := [name for name in given if not name.strip() or name != name.strip()]:
        raise SakugaError(f"{bad[0]!r} cannot be a tag; give a word without spaces around it")
    with store.transaction(project.db):
        for item in items:
            for name, present in given.items():
                row = {"item": item, "tag": name, "present": present, "made": time.time()}
                store.insert(project.db, "item_tag", row, replace=True)
