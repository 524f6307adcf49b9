"""inspect: what the files of the dataset show that nobody should have to find by watching them.

Frames that cannot be read, bars left in, a cut or dissolve inside, parts that are too unlike for one caption. Each file is
decoded once for as long as it stays what it is; what its caption says changes nothing here.
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..core.errors import SakugaError
from ..core.media import film as media
from ..core.media.picture import read_picture
from ..core.project import Project
from ..core.settings import Settings
from ..core.stage import Item, Rows, Scratch, Stage
from ..signals.alike import layout
from ..signals.borders import dark_edges, over_shot
from ..signals.oneshot import LOOK_SIZE, breaks
from ..signals.recurring import picture_hash

KEY = "file:"  # before an item's name: its findings are this stage's own

Finding = tuple[str, str, str]  # severity, rule, reason

SIDE = 320  # pixels of the longer side, at which bars are looked for
LEAST_BAR = 0.02  # of the height or width: less is the edge of the scan
BREAKS_RATE = 16  # frames a second that breaks are told at
PART_SECONDS = 0.5  # of the beginning and of the end, that are held against each other
# levels between the layouts of the two: another place or another light is 20 and more apart, and a caption can tell of both;
# a clip whose camera goes from one place to a wholly other one comes to 45 and more
UNLIKE = 45.0
HASH_EVERY = 2  # frames: drawings are held for two, and neighbours differ little
LEAST_SECONDS = 2.0  # of a clip, for its parts to be held against each other: in less nothing becomes another place
SIGN_EVERY = 64  # frames between signs of progress


def _items(project: Project, settings: Settings) -> list[Item]:
    items, retouched = [], {row["item"] for row in project.rows("SELECT item FROM retouch")}
    for row in project.rows("SELECT name, kind, file, folder, frames, fps FROM item ORDER BY name"):
        path = project.path(row["file"])
        if path.is_file():
            own = row["folder"] is None and row["name"] not in retouched
            looked_at = own and project.settings.export.one_shot  # by export, when it was written
            content = {"sha256": project.sha256(path), "frames": row["frames"], "one_shot": looked_at}
            items.append(Item(KEY + row["name"], content, {**row, "path": str(path), "one_shot": looked_at}))
    return items


def _work(facts: Mapping[str, Any], settings: Settings, scratch: Scratch) -> Rows:
    path = Path(facts["path"])
    hashes: list[int] = []
    try:
        found = _still(path, hashes) if facts["kind"] == "still" else _clip(path, facts, hashes, scratch)
    except SakugaError as error:
        found = [("error", "unreadable", str(error))]
    if not facts["folder"]:  # a project may move, and its own files with it
        found = [(*finding[:2], finding[2].replace(facts["path"], facts["file"])) for finding in found]
    columns = ("severity", "rule", "reason")
    rows = [{"item": facts["name"], **dict(zip(columns, f, strict=True))} for f in found]
    return {"finding": rows, "item_look": [{"item": facts["name"], "hashes": np.array(hashes, np.uint64).tobytes()}]}


def _still(path: Path, hashes: list[int]) -> list[Finding]:
    fitted = _fitted(read_picture(path), SIDE)
    hashes.append(picture_hash(_luma(fitted)))
    return _bars([dark_edges(_luma(fitted))], fitted.shape)


def _clip(path: Path, facts: Mapping[str, Any], hashes: list[int], scratch: Scratch) -> list[Finding]:
    """Of each frame its dark edges and a small picture are kept, so that a long clip takes no more memory than it must."""
    broken: list[str] = []
    small: list[np.ndarray] = []
    edges: list[tuple[int, int, int, int]] = []
    shape: tuple[int, ...] = ()
    for index, rgb in media.frames(path, on_error=broken.append):
        fitted = _fitted(rgb, SIDE)
        luma, shape = _luma(fitted), fitted.shape
        small.append(cv2.resize(fitted, LOOK_SIZE, interpolation=cv2.INTER_AREA))
        edges.append(dark_edges(luma))
        if index % HASH_EVERY == 0:
            hashes.append(picture_hash(luma))
        if index % SIGN_EVERY == 0:
            scratch.report(0)
    if broken and len(small) == facts["frames"]:  # a file that was adopted so
        return [("error", "unreadable", broken[0])]
    if broken or len(small) != facts["frames"]:
        counted = f"{len(small)} of {facts['frames']}"
        return [("error", "unreadable", f"{counted} frames can be read; export or replace the clip")]
    rate = float(Fraction(facts["fps"]))
    told = [] if facts["one_shot"] else _breaks(small, rate)
    if not told and len(small) >= LEAST_SECONDS * rate:
        part = max(1, round(PART_SECONDS * rate))
        told = _unlike(small[:part], small[-part:])
    return _bars(edges, shape) + told


def _fitted(rgb: np.ndarray, side: int) -> np.ndarray:
    scale = side / max(rgb.shape[:2])
    return rgb if scale >= 1 else cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _bars(edges: Sequence[tuple[int, int, int, int]], shape: Sequence[int]) -> list[Finding]:
    """`edges` are those of pictures of `shape` (height, width ...)."""
    height, width = shape[:2]
    sides = over_shot(np.array(edges), (width, height))
    pairs = {"above and below": (sides.top, sides.bottom), "left and right": (sides.left, sides.right)}
    told = [f"{min(pair):.0%} {where}" for where, pair in pairs.items() if min(pair) >= LEAST_BAR and sum(pair) < 1]
    if not told:
        return []
    return [
        ("warning", "bars", f"dark bars were left in, {' and '.join(told)}; crop them off, or the style learns them")
    ]


def _luma(rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255


def _breaks(small: Sequence[np.ndarray], rate: float) -> list[Finding]:
    step = max(1.0, rate / BREAKS_RATE)
    chosen = [int(k * step) for k in range(int(len(small) / step))]
    found = breaks([small[n] for n in chosen])
    return [
        (
            "warning",
            "break",
            f"a {each.kind} at {chosen[each.last] / rate:.1f} s; cut the clip there: it holds two shots",
        )
        for each in found
    ]


def _unlike(first: Sequence[np.ndarray], last: Sequence[np.ndarray]) -> list[Finding]:
    apart = float(np.linalg.norm(_layout(first) - _layout(last)))
    if apart < UNLIKE:
        return []
    why = "its end looks nothing like its beginning, and one caption tells of all its windows; cut it, or take its head"
    return [("warning", "parts-differ", why)]


def _layout(pictures: Sequence[np.ndarray]) -> np.ndarray:
    planes = list(_planes(pictures))
    return layout(np.stack([tiny for tiny, _ in planes]), np.stack([tint for _, tint in planes]))


def _planes(pictures: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Luma [12, 16] and chroma [2, 6, 8] of each picture, in levels."""
    for rgb in pictures:
        ycc = cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb).astype(np.float32)
        chroma = cv2.resize(ycc[..., 1:], (8, 6), interpolation=cv2.INTER_AREA)
        yield cv2.resize(ycc[..., 0], (16, 12), interpolation=cv2.INTER_AREA), chroma.transpose(2, 0, 1)


STAGE = Stage(
    "inspect",
    version=1,
    takes="item",
    gives=("finding", "item_look"),
    settings=Settings,
    items=_items,
    work=_work,
    unit="files",
)
