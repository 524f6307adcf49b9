"""Black bars around a picture: letterbox, pillarbox, both. Found by looking at all frames of a shot, cropped at export."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DARK = 0.09  # luma of what may be a bar: tape and analogue transfers lift black a little
SPECKS = 0.01  # share of a row that may be brighter: noise, a station logo's corner
STEADY = 10  # percentile over a shot: a dark scene makes bars look wider for a while, seldom narrower
MOST = 0.45  # of the height or width; more than that is a dark picture, not a bar
UNEVEN = 0.015  # of the height or width, by which two opposite bars may differ
COMMON = 0.25  # of a film's time: bars seen so often also hold where one of them is hidden, under a subtitle say


class Borders(NamedTuple):
    """Bars as shares of the height (top, bottom) and of the width (left, right)."""

    top: float = 0.0
    bottom: float = 0.0
    left: float = 0.0
    right: float = 0.0


def dark_edges(luma: np.ndarray) -> tuple[int, int, int, int]:
    """How many rows and columns of a luma picture [H, W] (0..1) are dark from its top, bottom, left and right on."""
    bright = luma > DARK
    rows = np.flatnonzero(bright.mean(axis=1) > SPECKS)
    if not len(rows):
        return luma.shape[0], luma.shape[0], luma.shape[1], luma.shape[1]
    inside = bright[rows[0] : rows[-1] + 1]  # a pillar is judged beside the picture, not beside the bars above it
    columns = np.flatnonzero(inside.mean(axis=0) > SPECKS)
    if not len(columns):  # thinner than a speck by column
        return int(rows[0]), luma.shape[0] - 1 - int(rows[-1]), 0, 0
    left, right = int(columns[0]), luma.shape[1] - 1 - int(columns[-1])
    return int(rows[0]), luma.shape[0] - 1 - int(rows[-1]), left, right


def over_shot(edges: np.ndarray, size: tuple[int, int]) -> Borders:
    """What the frames of a shot agree on. `edges` [N, 4] of `dark_edges`, `size` (width, height) of those pictures."""
    width, height = size
    steady = np.percentile(edges, STEADY, axis=0, method="lower")
    return Borders(*(steady / (height, height, width, width)))


def settle(shots: Sequence[tuple[Borders, float]]) -> list[Borders]:
    """The bars of every shot of a film, given what its frames agree on and its seconds.

    Bars are opposite and alike. Where only one side shows them they are taken if the film has such bars elsewhere; a
    dark edge that is neither is picture.
    """
    pairs = [(_pair(b.top, b.bottom), _pair(b.left, b.right)) for b, _ in shots]
    usual = [_common([p[axis] for p in pairs], [s for _, s in shots]) for axis in (0, 1)]
    settled = []
    for (b, _), (upright, across) in zip(shots, pairs, strict=True):
        vertical = _either(upright, usual[0], b.top, b.bottom)
        horizontal = _either(across, usual[1], b.left, b.right)
        settled.append(Borders(vertical, vertical, horizontal, horizontal))
    return settled


def _pair(one: float, other: float) -> float | None:
    """The bar on both sides, 0 for none, None where the sides differ or all is dark."""
    if max(one, other) > MOST or abs(one - other) > UNEVEN:
        return None
    return min(one, other)


def _common(bars: Sequence[float | None], seconds: Sequence[float]) -> float:
    """The bar that fills a good part of the film, 0 where none does."""
    time: defaultdict[float, float] = defaultdict(float)
    for bar, length in zip(bars, seconds, strict=True):
        if bar:
            time[round(bar, 2)] += length
    if not time:
        return 0.0
    most, length = max(time.items(), key=lambda pair: pair[1])
    alike = [bar for bar in bars if bar and abs(bar - most) <= UNEVEN]
    return min(alike) if length >= COMMON * sum(seconds) else 0.0


def _either(bar: float | None, usual: float, one: float, other: float) -> float:
    if bar is not None:
        return bar
    return usual if usual and max(one, other) >= usual - UNEVEN else 0.0


def crop_box(borders: Borders, pictures: Sequence[np.ndarray]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels of what the bars leave of full-size luma `pictures` [H, W] of one shot.

    The small pictures told the bars to a few pixels; here the edge is looked for around the place they told, and the
    row that is half bar, half picture goes too.
    """
    height, width = pictures[0].shape
    lengths = (height, height, width, width)
    edges = np.min([dark_edges(luma) for luma in pictures], axis=0)
    cut = [_refined(share, int(edge), length) for share, edge, length in zip(borders, edges, lengths, strict=True)]
    return cut[2], cut[0], width - cut[3], height - cut[1]


def _refined(share: float, edge: int, length: int) -> int:
    """Pixels to cut off one side: the edge that the full-size pictures show, if it is where it was told."""
    if share == 0:
        return 0
    told, reach = share * length, 2 + length / 100
    return (edge if abs(edge - told) <= reach else round(told)) + 1
