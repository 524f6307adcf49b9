"""add: films become known. A person names the files; the stage reads what each one is."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..core import files, store
from ..core.errors import SakugaError, nearest
from ..core.project import Project, relative_to
from ..core.settings import Settings
from ..core.stage import Item, Rows, Scratch, Stage


def note_films(project: Project, paths: Iterable[Path | str]) -> list[str]:
    """Note which films a person adds; folders give the films inside. Returns their names in the project.

    Raises SakugaError for a path that is not there. A film that was added before keeps its name, also where its file
    has moved since. One whose name is no text is noted under what can be read of it.
    """
    from ..core.media.picture import VIDEO_SUFFIXES

    names: list[str] = []
    for path in _expand(paths, VIDEO_SUFFIXES):
        full = path.resolve()
        if files.readable(full.parent) != str(full.parent):
            raise SakugaError(f"{files.readable(full.parent)} is no text as UTF-8 spells it; rename that folder")
        shown = Path(files.readable(full))
        known = project.rows("SELECT name FROM source_film WHERE path = ?", str(shown))
        name = known[0]["name"] if known else _moved(project, full) or _free_name(project, shown)
        row = {"name": name, "path": str(shown), "relative": relative_to(shown, project.folder), "added": time.time()}
        store.insert(project.db, "source_film", row, replace=True)
        names.append(name)
    return names


def forget_films(project: Project, names: Iterable[str]) -> None:
    """Take films out of the project, by name; their files and what was decided about them stay.

    Raises SakugaError for a name that no film of the project has; then none is taken out.
    """
    known = [row["name"] for row in project.rows("SELECT name FROM source_film")]
    names = list(names)
    for name in names:
        if name not in known:
            raise SakugaError(f"no film of the project is called '{name}'{nearest(name, known)}")
    with store.transaction(project.db):
        project.db.executemany("DELETE FROM source_film WHERE name = ?", [(name,) for name in names])


def _expand(paths: Iterable[Path | str], suffixes: Iterable[str]) -> list[Path]:
    found: list[Path] = []
    for given in map(Path, paths):
        if files.resolved(given).is_dir():
            inside = sorted(p for p in given.iterdir() if p.suffix.lower() in suffixes and p.is_file())
            if not inside:
                raise SakugaError(f"{given} holds no film; name the films, or a folder that holds them")
            found += inside
        elif given.is_file():
            found.append(given)
        else:
            raise SakugaError(f"{given} is not there; check the path")
    return found


def _moved(project: Project, path: Path) -> str | None:
    """The name of a film that is no longer where it was and has the content of `path`."""
    for film in project.rows("SELECT name, sha256, size FROM film ORDER BY name"):
        gone = not project.film_path(film["name"]).is_file()
        same_size = gone and film["size"] == path.stat().st_size
        if same_size and files.readable(path) == str(path) and film["sha256"] == project.sha256(path):
            return str(film["name"])
    return None


def _free_name(project: Project, path: Path) -> str:
    """A name for a film from its file name; a second film of that name gets a number."""
    stem = files.safe_stem(path.stem)
    taken = {row["name"].lower() for row in project.rows("SELECT name FROM source_film")}
    names = (stem if n == 1 else f"{stem}-{n}" for n in range(1, len(taken) + 2))
    return next(name for name in names if name.lower() not in taken)


def _items(project: Project, settings: Settings) -> list[Item]:
    """A film whose disk is away stays as it is known: its shots and clips are still good."""
    films = project.rows("SELECT name FROM source_film ORDER BY added, name")
    known = {film["name"]: film["sha256"] for film in project.rows("SELECT name, sha256 FROM film")}
    items = []
    for film in films:
        path = project.film_path(film["name"])
        if "\\udc" in path.name and not _named_oddly(path):
            continue  # it has another name by now
        content = {"sha256": project.sha256(path) if path.is_file() else known.get(film["name"], "missing")}
        facts = {"name": film["name"], "path": str(path), **content}
        items.append(Item(film["name"], content, facts))
    return items


def _named_oddly(path: Path) -> bool:
    """Whether a file lies there whose name is not UTF-8, and which `path` is the readable form of."""
    inside = path.parent.iterdir() if "\\udc" in path.name and path.parent.is_dir() else ()
    return any(files.readable(other) == str(path) != str(other) for other in inside)


def _work(facts: Mapping[str, Any], settings: Settings, scratch: Scratch) -> Rows:
    from ..core.media.film import probe

    path = Path(facts["path"])
    if _named_oddly(path):
        raise SakugaError(f"{path} has a name that is not UTF-8; rename it, then `sakuga add` it")
    if not path.is_file():
        raise SakugaError(f"{path} is not there any more; bring it back, or `sakuga add` it from where it is now")
    info = probe(path)
    row = {
        "name": facts["name"],
        "file": path.name,
        "sha256": facts["sha256"],
        "size": path.stat().st_size,
        "width": info.width,
        "height": info.height,
        "rotation": info.rotation,
        "pixel_aspect": str(info.sar),
        "codec": info.codec,
        "rate": str(info.declared) if info.declared else None,
        "seconds": float(info.duration) if info.duration else None,
    }
    return {"film": [row]}


STAGE = Stage(
    "add", version=1, takes="source_film", gives=("film",), settings=Settings, items=_items, work=_work, unit="films"
)
