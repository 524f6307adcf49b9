"""export: picked shots become clips at the model's frame rate, and stills, that any trainer can use as they are."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from ..core import captions, files
from ..core.errors import SakugaError
from ..core.family import member
from ..core.media import film as media
from ..core.media.clip import write_clip
from ..core.media.fit import fit
from ..core.media.picture import write_png
from ..core.overlays import over
from ..core.project import Project
from ..core.settings import ExportSettings
from ..core.stage import Item, Rows, Scratch, Stage
from ..core.stretch import at_rate, inner_span, stretches
from ..core.timeline import Timeline, unpack
from ..signals.borders import Borders, crop_box
from ..signals.inpaint import Box, Overlay, paint_out, spare, spared_mask
from ..signals.look import Look
from ..signals.measures import luma
from ..signals.oneshot import LOOK_SIZE, Break, breaks, longest_whole
from ..signals.stills import best, see

PICKED = """
SELECT shot.name, shot.film, shot.first, shot.last, shot.borders, film.sha256, film.width, film.height,
  timeline.times, timeline.rate,
  timeline.look, timeline.look_sha256, shot.soft_in, shot.soft_out
FROM pick JOIN shot ON shot.name = pick.shot JOIN film ON film.name = shot.film JOIN timeline ON timeline.film = shot.film
WHERE pick.kept ORDER BY shot.film, shot.first
"""


FATES = ("crop", "inpaint", "mask")  # of what stands over the picture, where it is taken away
LEAST_LEFT = 0.5  # of a picture that logos and words are cut off from
CANDIDATES = 13  # frames of a shot from which its stills are chosen (odd: one is its middle), or two for each and one
EDGE_FRAMES = 5  # of a shot, on which the edge of its bars is found to the pixel


class View(NamedTuple):
    """How the frames of a film are taken: which part of the picture (left, top, right, bottom), how tall at most, what
    is painted out of them, and what stays and is masked."""

    path: Path
    timeline: Timeline
    box: tuple[int, int, int, int] | None
    max_height: int
    painted: Sequence[Overlay] = ()
    masked: Sequence[Overlay] = ()


def _items(project: Project, settings: ExportSettings) -> list[Item]:
    captions.sync(project)  # words that a person wrote beside a clip outlive the clip
    shots = project.rows(PICKED)
    paths = {film: project.film_path(film) for film in {shot["film"] for shot in shots}}
    now = {film: project.sha256(path) if path.is_file() else "" for film, path in paths.items()}
    items = []
    for shot in shots:
        content = {
            key: shot[key] for key in ("film", "first", "last", "sha256", "rate", "borders", "soft_in", "soft_out")
        }
        content |= {"fps": project.member.fps, "stride": project.member.vae.stride[0]}
        if settings.take == "motion":
            content["look"] = shot["look_sha256"]
        if covers := _overlays(project, shot, settings):
            content["overlays"] = covers
        facts = shot | {
            "overlays": covers,
            "look": str(project.path(shot["look"])),
            "path": str(paths[shot["film"]]),
            "now": now[shot["film"]],
            "model": project.member.name,
        }
        items.append(Item(shot["name"], content, facts))
    return items


def _overlays(project: Project, shot: Mapping[str, Any], settings: ExportSettings) -> list[dict[str, Any]]:
    """What is to be taken away from a shot's picture: `overlays.over` with its `fate` (crop, inpaint, mask)."""
    fates = {"logo": settings.logos, "words": settings.words}
    taken = {kind: fate for kind, fate in fates.items() if fate in FATES}
    return [
        row | {"fate": fate}
        for kind, fate in taken.items()
        for row in over(project, kind, shot["film"], shot["first"], shot["last"])
    ]


def _work(facts: Mapping[str, Any], settings: ExportSettings, scratch: Scratch) -> Rows:
    path = Path(facts["path"])
    if not facts["now"]:
        raise SakugaError(f"{path} is not there any more; bring it back, or `sakuga add` it from where it is now")
    if facts["now"] != facts["sha256"]:
        raise SakugaError(f"{path} has changed since it was added; run `sakuga add` and `sakuga shots` again")
    rate = Fraction(facts["rate"]) if facts["rate"] else None
    timeline = Timeline(unpack(facts["times"]), rate)
    span = inner_span(facts["first"], facts["last"], settings.margin, facts["soft_in"], facts["soft_out"])
    box = _inside(path, timeline, span, facts["borders"]) if settings.crop_borders else None
    over = {fate: [_overlay(row) for row in facts["overlays"] if row["fate"] == fate] for fate in FATES}
    size = facts["width"], facts["height"]
    box = _spared(size, box, over["crop"], facts["name"]) if over["crop"] else box
    view = View(path, timeline, box, settings.max_height, over["inpaint"], over["mask"])
    empty: Rows = {"item": [], "clip_drop": []}
    clips = _clips(view, span, facts, settings, scratch) if settings.clips else empty
    shown = [(row["first"], row["last"]) for row in clips["item"]] if settings.stills_from == "outside" else []
    stills = _stills(view, outside(span, shown), facts, settings, scratch) if settings.stills else empty
    return {table: clips[table] + stills[table] for table in empty}


def _clips(
    view: View, span: tuple[int, int], facts: Mapping[str, Any], settings: ExportSettings, scratch: Scratch
) -> Rows:
    wan = member(facts["model"])
    chosen = at_rate(view.timeline, span, wan.fps)
    longest = settings.max_frames or int(settings.max_seconds * wan.fps) + 1
    motion = Look.load(Path(facts["look"])).subject.tolist() if settings.take == "motion" else ()
    rows: Rows = {"item": [], "clip_drop": []}
    parts = stretches(chosen, longest, settings.take, settings.pieces, wan.floor_frames, motion)
    for number, part in enumerate(parts):
        name = facts["name"] if number == 0 else f"{facts['name']}-{number + 1}"
        made = _clip(name, view, part, facts, settings, scratch)
        rows["item"] += made["item"]
        rows["clip_drop"] += made["clip_drop"]
    return rows


def _clip(
    name: str, view: View, chosen: list[int], facts: Mapping[str, Any], settings: ExportSettings, scratch: Scratch
) -> Rows:
    """Write a clip and look at what was written; one that holds a break is written anew without it, or dropped."""
    wan = member(facts["model"])
    file = f"dataset/clips/{name}.{'mkv' if settings.lossless else 'mp4'}"
    target = scratch.file(file)
    drops: list[dict[str, Any]] = []
    while True:
        info = write_clip(target, _pictures(view, chosen), wan.fps, settings.quality, lossless=settings.lossless)
        told = _second_look(name, target, view, chosen, look=settings.one_shot)
        if not told:
            break
        kept, left = _without(told, chosen, settings.min_frames, wan.floor_frames)
        reason = _reason(told, len(chosen), len(kept))
        drops += [
            {"shot": facts["name"], "name": f"clips/{name}", "first": a, "last": b, "reason": reason} for a, b in left
        ]
        if not kept:
            del scratch.files[file]
            return {"item": [], "clip_drop": drops}
        chosen = kept
    row: dict[str, Any] = {"name": f"clips/{name}", "kind": "clip", "file": file, "sha256": files.file_sha256(target)}
    row |= {"width": info.width, "height": info.height, "frames": info.frames, "fps": str(wan.fps)}
    row["mask"] = _mask(row["name"], view, facts, scratch)
    return {"item": [row | {"shot": facts["name"], "first": chosen[0], "last": chosen[-1]}], "clip_drop": drops}


def _second_look(name: str, clip: Path, view: View, chosen: list[int], *, look: bool) -> list[Break]:
    """Where a finished clip breaks; SakugaError where it has not as many frames as it should."""
    pictures = [rgb for _, rgb in media.frames(clip, size=LOOK_SIZE)]
    if len(pictures) != len(chosen):
        raise SakugaError(
            f"{name}: {len(chosen)} frames were written and {len(pictures)} can be read back; is {view.path.name} damaged?"
        )
    return breaks(pictures) if look else []


def _without(
    told: Sequence[Break], chosen: list[int], least: int, floor: Callable[[int], int]
) -> tuple[list[int], list[tuple[int, int]]]:
    """The source frames of the longest part without a break, none where that is shorter than `least`; and the first and
    last source frame of what is left out."""
    first, last = longest_whole(len(chosen), told)
    count = floor(last - first + 1)
    if count < least:
        return [], [(chosen[0], chosen[-1])]
    kept = chosen[first : first + count]
    left = [(chosen[0], kept[0] - 1), (kept[-1] + 1, chosen[-1])]
    return kept, [(a, b) for a, b in left if a <= b]


def _reason(told: Sequence[Break], frames: int, kept: int) -> str:
    """What is wrong with a clip, and what became of it."""
    what = " and ".join(f"a {t.kind} at frame {t.last}" for t in told)
    if kept:
        return f"{what}: {kept} of {frames} frames are kept"
    return f"{what} of {frames} frames: nothing long enough is left of it"


def outside(span: tuple[int, int], shown: Sequence[tuple[int, int]]) -> list[int]:
    """The frames of a span, first and last in it, that none of the stretches `shown` has."""
    return [n for n in range(span[0], span[1] + 1) if not any(first <= n <= last for first, last in shown)]


def _stills(
    view: View, frames: Sequence[int], facts: Mapping[str, Any], settings: ExportSettings, scratch: Scratch
) -> Rows:
    """The best of the given frames of a shot as PNG. Fewer than asked for give a row that says why."""
    drop = {"shot": facts["name"], "name": f"stills/{facts['name']}", "first": facts["first"], "last": facts["last"]}
    if not frames:
        return {"item": [], "clip_drop": [drop | {"reason": "no still: its clips show all of its frames"}]}
    wanted = max(CANDIDATES, 2 * settings.stills + 1)
    indices = sorted({frames[(2 * k + 1) * len(frames) // (2 * wanted)] for k in range(wanted)})
    pictures = list(_pictures(view, indices))
    rows: list[dict[str, Any]] = []
    for place in best([see(rgb) for rgb in pictures], settings.stills):
        index, rgb = indices[place], pictures[place]
        name = f"{facts['film']}_{index:06d}"
        file = f"dataset/stills/{name}.png"
        target = scratch.file(file)
        write_png(target, rgb)
        row: dict[str, Any] = {"name": f"stills/{name}", "kind": "still", "file": file}
        row |= {
            "sha256": files.file_sha256(target),
            "width": rgb.shape[1],
            "height": rgb.shape[0],
            "frames": 1,
            "fps": "0",
        }
        row["mask"] = _mask(row["name"], view, facts, scratch)
        rows.append(row | {"shot": facts["name"], "first": index, "last": index})
    missing = f"{len(rows)} of {settings.stills} stills: its other frames are blank or show the same drawing"
    return {"item": rows, "clip_drop": [drop | {"reason": missing}] if len(rows) < settings.stills else []}


def _inside(path: Path, timeline: Timeline, span: tuple[int, int], borders: str) -> tuple[int, int, int, int] | None:
    """What the bars of a shot leave of its picture, or None where it has none. Left, top, right, bottom in pixels."""
    told = Borders(*json.loads(borders))
    if not any(told):
        return None
    looked_at = np.linspace(*span, num=EDGE_FRAMES).round().astype(int).tolist()
    pictures = [luma(rgb) for _, rgb in media.frames(path, looked_at, times=timeline.stamps)]
    return crop_box(told, pictures) if pictures else None


def _overlay(row: Mapping[str, Any]) -> Overlay:
    """What stands over a picture, from its row."""
    left, top, right, bottom = row["box"]
    mask = (
        cv2.imdecode(np.frombuffer(bytes.fromhex(row["mask"]), np.uint8), cv2.IMREAD_GRAYSCALE) if row["mask"] else None
    )
    return Overlay((left, top, right, bottom), mask)


def _spared(size: tuple[int, int], box: Box | None, off: Sequence[Overlay], name: str) -> Box:
    """What is left of the picture, or of its part `box`, when strips are cut off with what stands over it."""
    width, height = size
    left, top, right, bottom = spared = spare(size, box, off)
    whole = box or (0, 0, width, height)
    if (right - left) * (bottom - top) < LEAST_LEFT * (whole[2] - whole[0]) * (whole[3] - whole[1]):
        raise SakugaError(
            f"{name}: too little of the picture is left when its logos and words are cut off; drop it or inpaint them"
        )
    return spared


def _pictures(view: View, indices: Sequence[int]) -> Iterator[np.ndarray]:
    """The frames at ascending `indices`, one that is asked for twice given twice, as the view has them."""
    path = view.path
    decoded = media.frames(path, sorted(set(indices)), times=view.timeline.stamps)
    at, rgb = -1, np.zeros((0, 0, 3), np.uint8)
    for index in indices:
        while at < index:
            found = next(decoded, None)
            if found is None:
                raise SakugaError(f"frame {index} of {path} cannot be decoded; the file may be damaged there")
            at, rgb = found[0], _at_most(_cropped(paint_out(found[1], view.painted), view.box), view.max_height)
        yield rgb


def _mask(name: str, view: View, facts: Mapping[str, Any], scratch: Scratch) -> str:
    """Write what of an item is free of what stands over it, and return where; nothing where nothing is to be masked."""
    if not view.masked:
        return ""
    mask = spared_mask((facts["height"], facts["width"]), view.masked)
    file = f"dataset/masks/{name}.png"
    write_png(scratch.file(file), _at_most(_cropped(mask, view.box), view.max_height))
    return file


def _cropped(rgb: np.ndarray, box: tuple[int, int, int, int] | None) -> np.ndarray:
    if box is None:
        return rgb
    left, top, right, bottom = box
    return np.ascontiguousarray(rgb[top:bottom, left:right])


def _at_most(rgb: np.ndarray, max_height: int) -> np.ndarray:
    height, width = rgb.shape[:2]
    if height <= max_height:
        return rgb
    even_width = round(width * max_height / height / 2) * 2
    return fit(rgb, even_width, max_height // 2 * 2)


STAGE = Stage(
    "export",
    version=4,
    takes="pick",
    gives=("item", "clip_drop"),
    settings=ExportSettings,
    items=_items,
    work=_work,
    unit="shots",
)
