"""adopt: folders of clips and pictures that a person has already become items, where they lie and as they are.

A person names the folders; the stage reads what is in them. Nothing is written there, and no file of theirs is ever an
output, since outputs are removed when they are no longer asked for.
"""

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ..core import captions, files, store
from ..core.counting import ALPHA, MASKS
from ..core.errors import SakugaError
from ..core.listings import is_listing, read_listing
from ..core.media import film as media
from ..core.media.mask import is_transparent
from ..core.media.picture import PICTURE_SUFFIXES, VIDEO_SUFFIXES, read_picture
from ..core.media.timing import shown_until, snap_rate
from ..core.project import Project, relative_to
from ..core.settings import Settings
from ..core.stage import Item, Rows, Scratch, Stage
from ..core.timeline import Timeline, pack

KEY = "adopted:"  # before the names of items and lists, so that no other stage clears the rows that these keys stand in
# What the project itself makes: never adopted, though a folder above it may be.
MADE = (
    "dataset/clips", "dataset/stills", captions.KEPT, MASKS, "cache", "runs", "generated", "published", "models", ".scratch",
)  # fmt: skip
SIGN_EVERY = 500  # frames between signs that a long file is still being read
_TAKEN = {"clips", "stills"}  # items of export begin so


def note_folders(project: Project, paths: Iterable[Path | str], remove: Iterable[Path | str] = ()) -> list[str]:
    """Note which folders a person adopts, and which no longer. Returns the names of all that are adopted.

    A folder keeps its name for good, also when it is removed, moved, or adopted again. Raises SakugaError for a path
    that is no folder or holds neither clip nor picture, and for a removed one that was not adopted.
    """
    gone = [_adopted(project, given) for given in remove]
    folders = [_folder(project, Path(given)) for given in paths]
    with store.transaction(project.db):
        for name in gone:
            project.db.execute("UPDATE source_folder SET removed = ? WHERE name = ?", (time.time(), name))
        for full in dict.fromkeys(folders):
            _note(project, full)
    return [row["name"] for row in _current(project)]


def _current(project: Project) -> list[dict[str, Any]]:
    return project.rows("SELECT * FROM source_folder WHERE removed IS NULL ORDER BY added, name")


def _adopted(project: Project, given: Path | str) -> str:
    """The name of an adopted folder, from that name or its path."""
    full = files.resolved(given)
    for row in _current(project):
        if str(given) == row["name"] or full in (Path(row["path"]), _root(project, row)):
            return str(row["name"])
    known = ", ".join(row["path"] for row in _current(project)) or "none"
    raise SakugaError(f"{given} is not a folder that was adopted; these are: {known}")


def _folder(project: Project, given: Path) -> Path:
    full = files.resolved(given)
    if full.is_file():
        raise SakugaError(f"{given} is a file; name the folder it is in, or `sakuga add` it if it is a film")
    if not full.is_dir():
        raise SakugaError(f"{given} is not there; check the path")
    if files.readable(full) != str(full):
        raise SakugaError(f"the name of {files.readable(full)} is not UTF-8; rename the folder")
    if any(made == full or made in full.parents for made in _made(project)):
        raise SakugaError(f"{given} is what this project makes itself; name a folder of your own")
    if not _look(project, full).media:
        raise SakugaError(f"{given} holds no clip and no picture; name a folder that does")
    return full


def _note(project: Project, full: Path) -> None:
    known = project.rows("SELECT name, added FROM source_folder WHERE path = ?", str(full))
    name = known[0]["name"] if known else _moved(project, full) or _free_name(project, full)
    added = known[0]["added"] if known else time.time()
    row = {"name": name, "path": str(full), "relative": relative_to(full, project.folder), "added": added}
    store.insert(project.db, "source_folder", row, replace=True)


def _moved(project: Project, full: Path) -> str | None:
    """The name of a folder that is no longer where it was, and whose first file `full` holds."""
    for row in _current(project):
        items = project.rows("SELECT file, sha256 FROM item WHERE folder = ? ORDER BY name LIMIT 1", row["name"])
        if items and not _root(project, row).is_dir():
            now = full / PurePosixPath(items[0]["file"]).relative_to(_stored(row))
            if now.is_file() and project.sha256(now) == items[0]["sha256"]:
                return str(row["name"])
    return None


def _free_name(project: Project, full: Path) -> str:
    """A name for a folder from its own; a second folder of that name gets a number."""
    stem = files.safe_stem(full.name or "folder")
    taken = {row["name"].lower() for row in project.rows("SELECT name FROM source_folder")} | _TAKEN
    names = (stem if n == 1 else f"{stem}-{n}" for n in range(1, len(taken) + 2))
    return next(name for name in names if name.lower() not in taken)


def _root(project: Project, row: Mapping[str, Any]) -> Path:
    """Where an adopted folder is now."""
    return project.path(f"{_stored(row)}/.").resolve()


def _stored(row: Mapping[str, Any]) -> str:
    """An adopted folder as the rows of its items have it: seen from the project where that can be."""
    return str(row["relative"] or Path(row["path"]).as_posix())


def _made(project: Project) -> set[Path]:
    return {(project.folder / folder).resolve() for folder in MADE}


@dataclass
class _Inside:
    """What is in a folder and those below it: clips and pictures, lists of captions, and what cannot be read."""

    media: list[Path] = field(default_factory=list)
    listings: list[Path] = field(default_factory=list)
    faults: dict[Path, str] = field(default_factory=dict)


def _look(project: Project, root: Path) -> _Inside:
    """Hidden files and folders are left alone, and so is what the project makes; links are followed, once each."""
    found, seen = _Inside(), _made(project)

    def note(error: OSError) -> None:
        found.faults[Path(error.filename)] = f"{error.filename} cannot be read: {error.strerror}; mend its permissions"

    for here, folders, names in os.walk(root, onerror=note, followlinks=True):
        actual = Path(here).resolve()
        folders[:] = [] if actual in seen else sorted(name for name in folders if not name.startswith("."))
        if actual in seen:
            continue
        seen.add(actual)
        for path in (Path(here, name) for name in sorted(names) if not name.startswith(".")):
            if path.suffix.lower() in VIDEO_SUFFIXES | PICTURE_SUFFIXES:
                found.media.append(path)
            elif is_listing(path):
                found.listings.append(path)
    return found


def _items(project: Project, settings: Settings) -> list[Item]:
    """The files of every folder, each once. A folder whose disk is away stays as it is known."""
    captions.sync(project)  # words that a person wrote outlive the item
    items: list[Item] = []
    words: dict[str, str] = {}
    seen: set[Path] = set()
    for row in _current(project):
        root = _root(project, row)
        if not root.is_dir():
            items += _away(project, row)
            continue
        inside = _look(project, root)
        inside.media = [path for path in inside.media if path not in seen]
        inside.listings = [path for path in inside.listings if path not in seen]
        seen.update(inside.media, inside.listings)
        said, lists = _listed(row["name"], root, inside)
        items += lists + [_failing(_full(row["name"], root, path), why) for path, why in inside.faults.items()]
        for path, name in _names(row["name"], root, inside).items():
            items.append(_item(project, row, root, path, name))
            if path in said and not captions.holds_words(path.with_suffix(".txt")):
                words[name] = said[path]
    captions.take_listed(project, words)
    return items


def _away(project: Project, row: Mapping[str, Any]) -> list[Item]:
    query = "SELECT source, file, sha256, tags FROM item WHERE folder = ? ORDER BY name"
    why = f"{row['path']} is not there; bring it back, `sakuga adopt` it from where it is now, or --remove it"
    known = project.rows(query, row["name"])
    return [
        _failing(row["name"], why),
        *(Item(k["source"], _content(k["file"], k["sha256"], k["tags"]), {"fault": why}) for k in known),
    ]


def _content(file: str, sha256: str, tags: str) -> dict[str, str]:
    """What an item depends on; the same whether it is read from the folder or, that being away, from the item's row."""
    return {"file": file, "sha256": sha256, "tags": tags}


def _failing(name: str, reason: str) -> Item:
    """What is set aside before it could be looked at."""
    return Item(KEY + name, {"fault": reason}, {"fault": reason})


def _full(folder: str, root: Path, path: Path) -> str:
    """The name of an adopted folder, and the way from there to a file."""
    return f"{folder}/{files.readable(path.relative_to(root)).replace(os.sep, '/')}"


def _names(folder: str, root: Path, inside: _Inside) -> dict[Path, str]:
    """The item names of clips and pictures: without the suffix, or with it where another goes by that name too."""
    full = {path: _full(folder, root, path) for path in (*inside.media, *inside.listings, *inside.faults)}
    short = {path: full[path].removesuffix(path.suffix) for path in inside.media}
    used = Counter(name.lower() for name in (*full.values(), *short.values()))
    return {path: short[path] if used[short[path].lower()] == 1 else full[path] for path in inside.media}


def _item(project: Project, row: Mapping[str, Any], root: Path, path: Path, name: str) -> Item:
    way = path.relative_to(root)
    if not all(files.fits(words.name) for words in (path.with_suffix(".txt"), Path(f"{name}.txt"))):
        return _failing(name, f"the name of {path} leaves no room for a .txt beside it; rename the file, shorter")
    try:
        sha256 = project.sha256(path)
    except SakugaError as error:
        return _failing(name, str(error))
    tags = json.dumps(list(dict.fromkeys(way.parts[:-1])), ensure_ascii=False)
    content = _content(PurePosixPath(_stored(row), way.as_posix()).as_posix(), sha256, tags)
    return Item(KEY + name, content, content | {"name": name, "folder": row["name"], "path": str(path)})


def _listed(folder: str, root: Path, inside: _Inside) -> tuple[dict[Path, str], list[Item]]:
    """The caption that lists give for each file, and an item for each list that has something to tell."""
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in inside.media:
        by_name[path.name].append(path)
    words: dict[Path, str] = {}
    items = []
    for path in inside.listings:
        listing = read_listing(path)
        strangers = []
        for given, text in listing.captions.items():
            meant = _meant(given, path.parent, by_name)
            if meant is None:
                strangers.append(given)
            elif meant in words:
                listing.further += 1
            else:
                words[meant] = text
        name = _full(folder, root, path)
        if listing.faults:
            items.append(_failing(name, listing.faults[0]))
        elif listing.further or strangers:
            facts = {"name": name, "further": listing.further, "strangers": len(strangers), "first": strangers[:1]}
            items.append(Item(KEY + name, facts, facts))
    return words, items


def _meant(given: str, folder: Path, by_name: Mapping[str, list[Path]]) -> Path | None:
    """The file that a list in `folder` means: as a path, or by name alone where the list was written elsewhere."""
    plain = given.replace("\\", "/")
    named = by_name.get(PurePosixPath(plain).name, [])
    exact = Path(os.path.normpath(folder / plain))
    below = [path for path in named if folder in path.parents]
    return exact if exact in named else below[0] if len(below) == 1 else None


def _work(facts: Mapping[str, Any], settings: Settings, scratch: Scratch) -> Rows:
    if "fault" in facts:
        raise SakugaError(facts["fault"])
    if "strangers" in facts:
        return {"finding": _findings(facts)}
    path = Path(facts["path"])
    row = {key: facts[key] for key in ("name", "file", "sha256", "tags", "folder")}
    return {"item": [row | (_clip(path, scratch) if path.suffix.lower() in VIDEO_SUFFIXES else _still(path))]}


def _findings(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    if facts["further"]:
        reason = f"further captions that were left aside: {facts['further']}; an item has one, the first"
        found.append({"severity": "warning", "rule": "further-captions", "reason": reason})
    if facts["strangers"]:
        reason = f"{facts['strangers']} of its files are not in the folder, the first is {facts['first'][0]}"
        found.append({"severity": "warning", "rule": "unknown-files", "reason": reason})
    return [row | {"item": facts["name"]} for row in found]


def _still(path: Path) -> dict[str, Any]:
    height, width = read_picture(path).shape[:2]
    mask = ALPHA if is_transparent(path) else ""
    return {"kind": "still", "width": width, "height": height, "frames": 1, "fps": "0", "mask": mask}


def _clip(path: Path, scratch: Scratch) -> dict[str, Any]:
    """Frames are counted by decoding. Where the rate varies, `fps` is the mean and `times` are those of the frames."""
    info = media.probe(path)
    stamps = media.scan_times(path, lambda index, time: scratch.report(0) if index % SIGN_EVERY == 0 else None)
    if not stamps:
        raise SakugaError(f"no frame of {path} can be decoded; leave it out or convert it with another program")
    rate, times = snap_rate(stamps, info.tick, info.declared), None
    if rate is None:
        rate = len(stamps) / shown_until(Timeline(stamps, None).shown, len(stamps) - 1, info.declared)
        times = pack(stamps)
    size = {"width": info.width, "height": info.height}
    mask = ALPHA if info.alpha else ""
    return {"kind": "clip", **size, "frames": len(stamps), "fps": str(rate), "times": times, "mask": mask}


STAGE = Stage(
    "adopt", version=3, takes="source_folder", gives=("item", "finding"), settings=Settings, items=_items, work=_work,
    unit="files",
)  # fmt: skip
