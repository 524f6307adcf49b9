"""retouch: a clip or still of the dataset gives way to one that a person retouched with another program.

The replacement is kept in the project's folder `retouched` and stands in the dataset under the item's own name; the
original is kept too. An export that makes the item anew puts the replacement back in its place, if it still fits.
"""

import shutil
import time
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

from ..core import files, store
from ..core.errors import SakugaError
from ..core.media import film as media
from ..core.media.clip import write_clip
from ..core.media.picture import VIDEO_SUFFIXES, read_picture, write_png
from ..core.media.timing import snap_rate
from ..core.project import Project

KEPT, ORIGINALS = "retouched", "cache/originals"  # what a person gave must not be in the cache, which may be emptied


def retouch(project: Project, item: str, file: Path | str, note: str = "") -> dict[str, Any]:
    """Put `file` in the place of an item's own; `note` says how it was made. Returns the row of `retouch`.

    Raises SakugaError where there is no such item, where it is an adopted one, or where size or frames differ.
    """
    row, path = _item(project, item), files.resolved(file)
    if not path.is_file():
        raise SakugaError(f"{file} is no file; name the clip or picture that is to stand for {item}")
    if (path.suffix.lower() in VIDEO_SUFFIXES) != (row["kind"] == "clip"):
        raise SakugaError(f"{file} cannot stand for {item}, which is a {row['kind']}; give one of its kind")
    kept = f"{KEPT}/{PurePosixPath(row['file']).relative_to('dataset')}"
    fresh = project.path(f"{kept}.new{Path(kept).suffix}")
    fresh.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fitting(path, fresh, row)
        files.move_into_place(fresh, project.path(kept))
    finally:
        fresh.unlink(missing_ok=True)
    known = project.rows("SELECT * FROM retouch WHERE item = ?", item)
    original = f"{ORIGINALS}/{Path(kept).relative_to(KEPT).as_posix()}"
    told: dict[str, Any] = {
        "item": item,
        "file": kept,
        "sha256": files.file_sha256(project.path(kept)),
        "came_from": str(path),
    }
    told |= {"note": note, "original": original, "original_sha256": row["sha256"], "made": time.time()}
    if known and row["sha256"] == known[0]["sha256"]:  # what stands there now is a replacement itself
        told["original_sha256"] = known[0]["original_sha256"]
    else:
        _copy(project.path(row["file"]), project.path(original))
    with store.transaction(project.db):
        store.insert(project.db, "retouch", told, replace=True)
    _put(project, row["file"], told)
    return told


def undo(project: Project, item: str) -> None:
    """Put an item's original back, and let go of the replacement."""
    row = _item(project, item)
    known = project.rows("SELECT * FROM retouch WHERE item = ?", item)
    if not known:
        raise SakugaError(f"{item} was not retouched; there is nothing to undo")
    original = project.path(known[0]["original"])
    if row["sha256"] == known[0]["sha256"]:
        if not original.is_file():
            raise SakugaError(f"the original of {item} is gone from {original}; delete {row['file']} and export again")
        _copy(original, project.path(row["file"]))
    with store.transaction(project.db):
        if row["sha256"] == known[0]["sha256"]:
            _set_hash(project, item, known[0]["original_sha256"])
        project.db.execute("DELETE FROM retouch WHERE item = ?", (item,))
    project.path(known[0]["file"]).unlink(missing_ok=True)


def restore(project: Project) -> dict[str, str]:
    """Put replacements back where an export made their items anew. Returns the items whose replacement no longer fits."""
    faults = {}
    rows = project.rows(
        "SELECT retouch.*, item.file AS place, item.sha256 AS now FROM retouch JOIN item ON name = item"
    )
    for row in rows:
        if row["now"] == row["sha256"]:
            continue
        item, kept = _item(project, row["item"]), project.path(row["file"])
        try:
            _check(kept, item)
        except SakugaError as error:
            faults[row["item"]] = f"its retouched file does not fit any more: {error}"
            continue
        _copy(project.path(row["place"]), project.path(row["original"]))
        told = {key: row[key] for key in ("item", "file", "sha256")}
        with store.transaction(project.db):
            project.db.execute("UPDATE retouch SET original_sha256 = ? WHERE item = ?", (row["now"], row["item"]))
        _put(project, row["place"], told)
    return faults


def _item(project: Project, name: str) -> dict[str, Any]:
    found = project.rows("SELECT * FROM item WHERE name = ?", name)
    if not found:
        raise SakugaError(f"no clip or still is called '{name}'; `sakuga export --json` lists them")
    if found[0]["folder"] is not None:
        raise SakugaError(f"{name} was adopted and lies in a folder of yours; change it there and run `sakuga adopt`")
    return found[0]


def _fitting(path: Path, target: Path, item: dict[str, Any]) -> None:
    """Write what is given as the dataset holds such items: as it is where it can be, else encoded anew."""
    _check(path, item)
    rate = Fraction(item["fps"])
    if item["kind"] == "still":
        if path.suffix.lower() == ".png":
            _copy(path, target)
        else:
            write_png(target, read_picture(path))
    elif (
        path.suffix.lower() == target.suffix and snap_rate(media.scan_times(path), media.probe(path).tick, rate) == rate
    ):
        _copy(path, target)
    else:
        write_clip(target, (rgb for _, rgb in media.frames(path)), rate, lossless=target.suffix == ".mkv")


def _check(path: Path, item: dict[str, Any]) -> None:
    """Raises SakugaError where size or frames are not those of the item."""
    wanted = f"{item['width']}x{item['height']}"
    if item["kind"] == "still":
        height, width = read_picture(path).shape[:2]
    else:
        info = media.probe(path)
        width, height = info.width, info.height
        frames = len(media.scan_times(path))
        if frames != item["frames"]:
            raise SakugaError(f"{path} has {frames} frames and {item['name']} has {item['frames']}; give as many")
    if (width, height) != (item["width"], item["height"]):
        raise SakugaError(f"{path} is {width}x{height} and {item['name']} is {wanted}; save it in that size")


def _put(project: Project, place: str, told: dict[str, Any]) -> None:
    """Let the replacement take the item's place. The hash goes last: what was stopped before is put again."""
    _copy(project.path(told["file"]), project.path(place))
    with store.transaction(project.db):
        _set_hash(project, told["item"], told["sha256"])


def _set_hash(project: Project, item: str, sha256: str) -> None:
    project.db.execute("UPDATE item SET sha256 = ? WHERE name = ?", (sha256, item))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.tmp")
    shutil.copyfile(source, temporary)
    files.move_into_place(temporary, target)
