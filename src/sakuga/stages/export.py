"""export: picked shots become clips at the model's frame rate, and stills, that any trainer can use as they are."""

import json
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core import captions, files
from ..core.errors import SakugaError
from ..core.family import member
from ..core.media import film as media
from ..core.media.clip import write_clip
from ..core.media.fit import fit
from ..core.media.picture import write_png
from ..core.media.timing import resample, shown_until
from ..core.project import Project
from ..core.settings import ExportSettings
from ..core.stage import Item, Rows, Scratch, Stage
from ..core.timeline import Timeline, unpack
from ..signals.borders import Borders, crop_box
from ..signals.measures import luma

PICKED = """
SELECT shot.name, shot.film, shot.first, shot.last, shot.borders, film.sha256, timeline.times, timeline.rate
FROM pick JOIN shot ON shot.name = pick.shot JOIN film ON film.name = shot.film JOIN timeline ON timeline.film = shot.film
WHERE pick.kept ORDER BY shot.film, shot.first
"""


EDGE_FRAMES = 5  # of a shot, on which the edge of its bars is found to the pixel


class View(NamedTuple):
    """How the frames of a film are taken: which part of the picture (left, top, right, bottom), and how tall at most."""

    path: Path
    timeline: Timeline
    box: tuple[int, int, int, int] | None
    max_height: int


def _items(project: Project, settings: ExportSettings) -> list[Item]:
    captions.sync(project)  # words that a person wrote beside a clip outlive the clip
    shots = project.rows(PICKED)
    paths = {film: project.film_path(film) for film in {shot["film"] for shot in shots}}
    now = {film: project.sha256(path) if path.is_file() else "" for film, path in paths.items()}
    items = []
    for shot in shots:
        content = {key: shot[key] for key in ("film", "first", "last", "sha256", "rate", "borders")}
        content |= {"fps": project.member.fps, "stride": project.member.vae.stride[0]}
        facts = shot | {"path": str(paths[shot["film"]]), "now": now[shot["film"]], "model": project.member.name}
        items.append(Item(shot["name"], content, facts))
    return items


def _work(facts: Mapping[str, Any], settings: ExportSettings, scratch: Scratch) -> Rows:
    path = Path(facts["path"])
    if not facts["now"]:
        raise SakugaError(f"{path} is not there any more; bring it back, or `sakuga add` it from where it is now")
    if facts["now"] != facts["sha256"]:
        raise SakugaError(f"{path} has changed since it was added; run `sakuga add` and `sakuga shots` again")
    rate = Fraction(facts["rate"]) if facts["rate"] else None
    timeline = Timeline(unpack(facts["times"]), rate)
    span = inner_span(facts["first"], facts["last"], settings.margin)
    box = _inside(path, timeline, span, facts["borders"]) if settings.crop_borders else None
    view = View(path, timeline, box, settings.max_height)
    rows: list[dict[str, Any]] = []
    if settings.clips:
        for number, chosen in enumerate(pieces(timeline, span, settings, facts["model"])):
            name = facts["name"] if number == 0 else f"{facts['name']}-{number + 1}"
            rows.append(_clip(name, view, chosen, facts, settings, scratch))
    if settings.stills:
        rows += _stills(view, span, facts, settings, scratch)
    return {"item": rows}


def inner_span(first: int, last: int, margin: int) -> tuple[int, int]:
    """The frames of a shot without `margin` at either end; a shot too short for that keeps its middle frame."""
    if last - first + 1 <= 2 * margin:
        return (first + last) // 2, (first + last) // 2
    return first + margin, last - margin


def pieces(timeline: Timeline, span: tuple[int, int], settings: ExportSettings, model: str) -> list[list[int]]:
    """The source frames of each clip of a shot, at the model's rate, each a length that the model takes.

    A later piece must have full length; the first may be as short as the shot is.
    """
    wan = member(model)
    first, last = span
    chosen = resample(
        timeline.shown, timeline.shown[first], wan.fps, None, shown_until(timeline.shown, last, timeline.rate)
    )
    longest = wan.floor_frames(int(settings.max_seconds * wan.fps) + 1)
    full = [chosen[n : n + longest] for n in range(0, len(chosen), longest)][: settings.pieces]
    kept = [piece for number, piece in enumerate(full) if number == 0 or len(piece) == longest]
    return [piece[: wan.floor_frames(len(piece))] for piece in kept]


def _clip(
    name: str, view: View, chosen: list[int], facts: Mapping[str, Any], settings: ExportSettings, scratch: Scratch
) -> dict[str, Any]:
    file = f"dataset/clips/{name}.mp4"
    target = scratch.file(file)
    fps = member(facts["model"]).fps
    info = write_clip(target, _pictures(view, chosen), fps, settings.quality)
    counted = len(media.scan_times(target))
    if counted != len(chosen):
        raise SakugaError(
            f"{name}: {len(chosen)} frames were written and {counted} can be read back; is {view.path.name} damaged?"
        )
    row: dict[str, Any] = {"name": f"clips/{name}", "kind": "clip", "file": file, "sha256": files.file_sha256(target)}
    row |= {"width": info.width, "height": info.height, "frames": info.frames, "fps": str(fps)}
    return row | {"shot": facts["name"], "first": chosen[0], "last": chosen[-1]}


def _stills(
    view: View, span: tuple[int, int], facts: Mapping[str, Any], settings: ExportSettings, scratch: Scratch
) -> list[dict[str, Any]]:
    first, last = span
    count = settings.stills
    indices = sorted({first + (2 * k + 1) * (last - first + 1) // (2 * count) for k in range(count)})
    rows: list[dict[str, Any]] = []
    for index, rgb in zip(indices, _pictures(view, indices), strict=True):
        name = f"{facts['film']}_{index:06d}"
        file = f"dataset/stills/{name}.png"
        target = scratch.file(file)
        write_png(target, rgb)
        row: dict[str, Any] = {
            "name": f"stills/{name}",
            "kind": "still",
            "file": file,
            "sha256": files.file_sha256(target),
        }
        row |= {"width": rgb.shape[1], "height": rgb.shape[0], "frames": 1, "fps": "0"}
        rows.append(row | {"shot": facts["name"], "first": index, "last": index})
    return rows


def _inside(path: Path, timeline: Timeline, span: tuple[int, int], borders: str) -> tuple[int, int, int, int] | None:
    """What the bars of a shot leave of its picture, or None where it has none. Left, top, right, bottom in pixels."""
    told = Borders(*json.loads(borders))
    if not any(told):
        return None
    looked_at = np.linspace(*span, num=EDGE_FRAMES).round().astype(int).tolist()
    pictures = [luma(rgb) for _, rgb in media.frames(path, looked_at, times=timeline.stamps)]
    return crop_box(told, pictures) if pictures else None


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
            at, rgb = found[0], _at_most(_cropped(found[1], view.box), view.max_height)
        yield rgb


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
    "export", version=2, takes="pick", gives=("item",), settings=ExportSettings, items=_items, work=_work, unit="shots"
)
