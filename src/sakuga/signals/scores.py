"""Scores of a shot: how it moves and is drawn, how sharp and how damaged it is. Told from what the one pass kept.

`sharpness` and `damage` look at a picture in the film's own size, since blur and coding blocks are gone in a small one;
the pass asks them of the pictures that it keeps. All else comes from numbers of every frame.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from .look import Look

# pixel measures
ROWS = 8  # every so many rows are looked at: an edge is as wide there as in between
EDGE = 16  # levels of 255 within WIDE pixels that make an edge; grain makes no such steps
WIDE = 8  # pixels over which an edge is looked for, and the side of a coding block
STEP_CAP = 8  # levels: a step at a block's rim is small; larger ones are drawn
QUIET = 0.02  # levels: the least that steps are held against, for a picture without any

# a new drawing, in levels of 255 by which the part of the picture that changes most does
HELD = 5  # a held drawing coded twice changes by up to 4
GRAINY = 8  # under heavy grain by up to 6
OVER_GRAIN = 3  # times the lowest tenth of the shot's changes: that is its grain

ZOOM = 0.3  # widths from the middle to a place of the picture, about: what goes so far when the picture grows by 1

STILL_SECONDS = 0.5  # a drawing held for less, on fours say, is no standing picture
DRIFT = 2.0  # levels by which a slow fade or pan changes a small picture in half a second; heavy grain does by 1

# a picture of one colour, shares of the range
FLAT = 0.02  # deviation of its luma, and largest way of a chroma from the middle one
BLACK = 0.98  # share of black pixels: coding leaves a few that are not


@dataclass(frozen=True)
class Scores:
    """What is told of a shot.

    `motion`: mean change of luma from frame to frame, 0..1. `camera`, `subject`: how far the whole picture (by panning and
    zooming) and what moves otherwise go, widths of the picture in a second. `drawings`: new drawings in a second; a
    camera that moves makes one of every frame. `static`: share of the time in holds of half a second and more.
    `brightness`: mean luma, 0..1. `black`, `blank`: shares of frames that are black, or of one colour (black too).
    `sharpness`: 1 for edges one pixel wide in the film's own size, towards 0 as they get wider. `damage`: how much larger
    steps of luma are at the rims of coding blocks than elsewhere; 1 is none, 2 to 4 usual, 10 ugly.
    """

    motion: float
    camera: float
    subject: float
    drawings: float
    static: float
    brightness: float
    black: float
    blank: float
    sharpness: float
    damage: float

    def row(self) -> dict[str, float]:
        """As columns of a shot."""
        return {name: round(value, 5) for name, value in asdict(self).items()}


def score(look: "Look", first: int, last: int, rate: float) -> Scores:
    """The scores of frames first..last (both in it) of a film of `rate` frames a second."""
    span = slice(first, last + 1)
    inside = slice(first + 1, last + 1)  # what compares a frame with the one before, without the cut
    fresh = new_drawings(look.local[inside])
    kept = pictures_of(look.kept, first, last)
    blank = one_colour(look.spread[span], look.tint[span])
    black = look.black[span] > BLACK
    return Scores(
        motion=_mean(look.change[inside]),
        camera=travelled(look.camera[inside], rate) * rate,
        subject=_mean(look.subject[inside]) * rate,
        drawings=(1 + int(fresh.sum())) * rate / (last - first + 1),
        static=standing(fresh, look.tiny[span], rate),
        brightness=_mean(look.luma[span]),
        black=_mean(black),
        blank=_mean(blank | black),
        sharpness=_mean(look.fine[kept]),
        damage=_mean(look.blocks[kept]),
    )


def new_drawings(local: np.ndarray) -> np.ndarray:
    """Which frames show another drawing than the frame before them, bool [N].

    `local` [N]: change of luma (0..1) since the frame before in that part of the picture that changes most. The mean of a
    part has little of the grain, and all of a mouth that opens; so grain and coding are told from drawing by size.
    """
    if not len(local):
        return np.zeros(0, bool)
    least = np.clip(OVER_GRAIN * np.quantile(local, 0.1), HELD / 255, GRAINY / 255)
    return local > least


def travelled(camera: np.ndarray, rate: float) -> float:
    """How far the picture goes from frame to frame, of its width, from `camera` [N, 3] as `Look` has it.

    Means over half a second are asked, so that trembling (of a film in its gate, of the measure) is no way.
    """
    window = min(len(camera), max(1, round(STILL_SECONDS * rate)))
    if not window:
        return 0.0
    sums = np.cumsum(np.vstack((np.zeros(3), camera * (1, 1, ZOOM))), axis=0)
    return _mean(np.linalg.norm(sums[window:] - sums[:-window], axis=1)) / window


def standing(fresh: np.ndarray, tiny: np.ndarray, rate: float) -> float:
    """Share of the time in holds of `STILL_SECONDS` and more, 0..1.

    `fresh` [N-1]: which frames but the first show a new drawing. `tiny` [N, h, w] uint8: the frames, very small; what
    they drift by tells a slow fade or pan from a hold.
    """
    edges = [0, *(np.flatnonzero(fresh) + 1).tolist(), len(tiny)]
    held = 0
    for start, end in pairwise(edges):
        if end - start >= STILL_SECONDS * rate and _drift(tiny[start:end], rate) <= DRIFT:
            held += end - start
    return held / len(tiny)


def _drift(tiny: np.ndarray, rate: float) -> float:
    """The mean change of a small picture within `STILL_SECONDS`, levels; the median over the hold."""
    step = max(1, round(STILL_SECONDS * rate) - 1)
    apart = np.abs(tiny[step:].astype(np.int16) - tiny[:-step]).mean(axis=(1, 2))
    return float(np.median(apart))


def one_colour(spread: np.ndarray, tint: np.ndarray) -> np.ndarray:
    """Which frames are of one colour, bool [N]; `spread` [N] of luma 0..1, `tint` [N, 2, h, w] uint8."""
    low, high = tint.min(axis=(2, 3)).astype(np.int16), tint.max(axis=(2, 3))
    return (spread < FLAT) & ((high - low).max(axis=1) < 2 * FLAT * 255)


def pictures_of(kept: np.ndarray, first: int, last: int) -> np.ndarray:
    """Indices into `kept` [K] (frames whose pictures were kept) of those in first..last; the nearest one if none is."""
    inside = np.flatnonzero((kept >= first) & (kept <= last))
    return inside if len(inside) else np.array([np.abs(kept - (first + last) / 2).argmin()])


def sharpness(luma: np.ndarray) -> float:
    """How narrow edges are in a picture [H, W] uint8: 1 where they are one pixel wide, 0 at `WIDE` and more or without edges.

    The energy of steps over two pixels over that of steps over eight, where there is an edge. An even ramp has a
    quarter of it in relation to its width, and is the 0 of the scale.
    """
    rows = _some_rows(luma)
    wide = cv2.absdiff(rows[:, WIDE:], rows[:, :-WIDE])
    middle = WIDE // 2
    near = cv2.absdiff(rows[:, middle + 1 : 1 - middle], rows[:, middle - 1 : -1 - middle])
    edges = cv2.compare(wide, max(EDGE, 3 * cv2.mean(wide)[0]), cv2.CMP_GT)
    whole = cv2.norm(wide, cv2.NORM_L2SQR, edges)
    if not whole:
        return 0.0
    ramp = 2 / WIDE
    told = cv2.norm(near, cv2.NORM_L2SQR, edges) / whole / ramp
    return float(np.clip((told - ramp) / (1 - ramp), 0, 1))


def damage(luma: np.ndarray) -> float:
    """How much larger steps are at one column in eight than at the others, in a picture [H, W] uint8; 1 is not at all.

    Codecs of all films but the newest work in blocks of eight. Which column is not asked: films are cropped.
    """
    rows = _some_rows(luma).astype(np.int16)
    if rows.shape[1] < 4 * WIDE:
        return 1.0
    steps = np.abs(np.diff(rows, axis=1))
    alone = np.clip(steps[:, 1:-1] - np.maximum(steps[:, :-2], steps[:, 2:]), 0, STEP_CAP).mean(axis=0)
    columns = alone[: len(alone) // WIDE * WIDE].reshape(-1, WIDE).mean(axis=0)
    return float((columns.max() + QUIET) / (np.median(columns) + QUIET))


def _some_rows(luma: np.ndarray) -> np.ndarray:
    """Rows for the measures of pixels, without those of a bar or of words at the picture's rims."""
    rim = luma.shape[0] // 16
    return np.ascontiguousarray(luma[rim : luma.shape[0] - rim : ROWS])


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0
