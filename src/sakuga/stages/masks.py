"""masks: a person's files that say which places of clips and stills count are taken into the project.

A mask is for the item whose name it bears, with _mask, -mask or -masklabel behind it or not: white counts, black does not,
grey counts in part. A picture serves all frames of a clip, a video has as many as the clip.
"""

import os
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..core import files, store
from ..core.counting import MASKS, forget_masks
from ..core.errors import SakugaError, nearest
from ..core.media import film as media
from ..core.media.mask import read_mask
from ..core.media.picture import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from ..core.project import Project

ENDINGS = ("", "_mask", "-mask", "-masklabel")
SAME_SHAPE = 0.02  # by which width over height may differ: bars a line off, sizes rounded to even numbers
LOOKED_AT = 16  # frames of a video, for the share that counts

_Item = Mapping[str, Any]


@dataclass
class Taken:
    """What became of the masks: how much of its item each leaves, by item, and why others were set aside, by path."""

    shares: dict[str, float] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


def take_masks(project: Project, given: Path | str, of: str | None = None) -> Taken:
    """Take a file, or all files of a folder and those below it. The caller holds the project's lock.

    `of` names the folder of items that they are for (clips, stills, one that was adopted), or one item; a single file for
    a folder is the mask of all of its items that have none. Raises SakugaError where nothing is taken.
    """
    path, items = files.resolved(given), _items(project, of)
    taken = Taken()
    if path.is_file() and of is not None:
        named = [item for item in items if item["name"] == of]
        pairs: list[tuple[Path, _Item]] = [
            (path, item) for item in named or [item for item in items if item["mask"] is None]
        ]
    elif path.exists():
        pairs = list(_matched(project, path, items, taken))
    else:
        raise SakugaError(f"{given} is not there; name a mask, or a folder of them")
    for file, item in pairs:
        try:
            share = _share(file, item)
        except SakugaError as error:
            taken.faults[str(file)] = str(error)
            continue
        _keep(project, file, item, share)
        taken.shares[item["name"]] = share
    if not taken.shares:
        why = next(iter(taken.faults.values()), "it holds no picture and no video of an item's name")
        raise SakugaError(f"no mask was taken from {given}: {why}")
    return taken


def _items(project: Project, of: str | None) -> list[dict[str, Any]]:
    """The items that masks may be for, each with the `mask` file that it has."""
    query = """SELECT name, kind, width, height, frames, item_mask.file AS mask
    FROM item LEFT JOIN item_mask ON item_mask.item = name ORDER BY name"""
    items = project.rows(query)
    chosen = [item for item in items if of is None or item["name"] == of or item["name"].startswith(f"{of}/")]
    if of is not None and not chosen:
        folders = sorted({item["name"].partition("/")[0] for item in items})
        there = ", ".join(folders) or "none yet"
        raise SakugaError(f"no item and no folder of items is called '{of}'{nearest(of, folders)}; there are {there}")
    return chosen


def _matched(project: Project, path: Path, items: Sequence[_Item], taken: Taken) -> Iterator[tuple[Path, _Item]]:
    """Each file with the item that bears its name. Files without one are faults, and so is a second for an item."""
    by_last: dict[str, list[_Item]] = defaultdict(list)
    for item in items:
        by_last[item["name"].rpartition("/")[2]].append(item)
    seen: dict[str, Path] = {}
    for file in _files(path, project.folder):
        way = file.relative_to(path if path.is_dir() else path.parent).with_suffix("").as_posix()
        found = _named(way, by_last)
        if len(found) != 1:
            many = f"{' and '.join(item['name'] for item in found[:2])} both bear its name; say --of which"
            taken.faults[str(file)] = many if found else "no clip and no still bears its name"
        elif found[0]["name"] in seen:
            taken.faults[str(file)] = f"{seen[found[0]['name']].name} is the mask of {found[0]['name']} already"
        else:
            seen[found[0]["name"]] = file
            yield file, found[0]


def _files(path: Path, project: Path) -> list[Path]:
    """Pictures and videos, without those of a project that lies below."""
    if path.is_file():
        return [path]
    found: list[Path] = []
    for here, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".") and Path(here, name) != project]
        found += [Path(here, name) for name in names if not name.startswith(".")]
    return sorted(file for file in found if file.suffix.lower() in PICTURE_SUFFIXES | VIDEO_SUFFIXES)


def _named(way: str, by_last: Mapping[str, Sequence[_Item]]) -> list[_Item]:
    """The items that a path means: those whose whole name it ends with, or by the last name alone."""
    for ending in ENDINGS:
        whole = way.removesuffix(ending)
        if way.endswith(ending) and (same := by_last.get(whole.rpartition("/")[2])):
            exact = [item for item in same if f"/{whole}".endswith(f"/{item['name']}")]
            return exact or list(same)
    return []


def _share(file: Path, item: _Item) -> float:
    """How much of the item counts, 0..1. Raises SakugaError where the mask does not fit it or leaves nothing."""
    frames = [0]
    if file.suffix.lower() in VIDEO_SUFFIXES:
        if item["kind"] == "still":
            raise SakugaError(f"{file.name} is a video and {item['name']} a still; give a picture")
        count = len(media.scan_times(file))
        if count != item["frames"]:
            raise SakugaError(f"{file.name} has {count} frames and {item['name']} has {item['frames']}; give as many")
        frames = sorted({n * count // LOOKED_AT for n in range(LOOKED_AT)})
    masks = read_mask(file, frames, own=False)
    height, width = masks[0].shape
    if abs(width * item["height"] / (height * item["width"]) - 1) > SAME_SHAPE:
        size = f"{item['width']}x{item['height']}"
        raise SakugaError(
            f"{file.name} is {width}x{height}, another shape than {item['name']} ({size}); save it in that"
        )
    share = float(np.mean([mask.mean() for mask in masks])) / 255
    if share == 0:
        raise SakugaError(
            f"{file.name} is black: nothing of {item['name']} would count; paint white what is to be learnt"
        )
    return share


def _keep(project: Project, file: Path, item: _Item, share: float) -> None:
    """Copy a mask into the project, in the place of the one before. The row goes last: it never names a file not there."""
    place = f"{MASKS}/{item['name']}{file.suffix.lower()}"
    target = project.path(place)
    if file != target:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}.tmp")
        shutil.copyfile(file, temporary)
        if item.get("mask") not in (None, place):
            forget_masks(project, [item["name"]])
        files.move_into_place(temporary, target)
    row = {"item": item["name"], "file": place, "share": share, "made": time.time()}
    with store.transaction(project.db):
        store.insert(project.db, "item_mask", row, replace=True)
