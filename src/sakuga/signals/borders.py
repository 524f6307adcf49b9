"""Bars and frames around a picture: letterbox, pillarbox, both, of any colour, and the rounded corners of old film.

Dark bars are told shot by shot from every frame; bars of another colour, and those that a dark film hides, from what
never changes over a whole film. The small pictures tell them to a few pixels; at export the edge is found exactly.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

DARK = 0.09  # luma of what may be a bar: tape and analogue transfers lift black a little
LIFTED = 0.2  # darker than this, a bar may be grey; it is even then, as a night is not
ROOM = 0.05  # of luma: how far noise and coding take a bar's pixels from its level
SMOOTH = 9  # pixels of a row or column that are averaged, against noise, before they are held against that
SPECKS = 0.01  # share of a row that may be brighter: noise, a station logo's corner
STEADY = 10  # percentile over a shot: a dark scene makes bars look wider for a while, seldom narrower
MOST = 0.36  # of the height or width; more than upright video in a wide frame has (0.342) is a dark picture, not a bar
UNEVEN = 0.015  # of the height or width, by which two opposite bars may differ
SHOWN = 0.2  # of a shot's frames show the whole of a bar in which a subtitle stands at other times
COMMON = 0.25  # of a film's time: bars seen so often also hold where one of them is hidden, under a subtitle say

# bars told from what never changes
SPREAD = (5, 95)  # percentiles of a pixel over the film: a subtitle in the bar is seldom there, or always
UNCHANGED = 0.04  # of luma: how far those may be apart
PICTURES = 12  # of the film; in fewer, a painted background is as still as a bar
UNLIKE = 10  # bits of 64 in which the hashes of two pictures differ at least
STRAIGHT = 0.5  # of a bar's inner edge where the picture beside it is not of the bar's level

# rounded corners
BRIGHT = 90  # percentile of a pixel over the film: a corner that is dark even so is none of the picture
ROUNDEST = 0.06  # of the diagonal, that a corner may take; a darker one is a vignette
STEP = 0.1  # of luma, from a dark corner to the picture: its edge is soft
LIT = 0.6  # of the middle third of each side is not dark: else it is the side that is dark
RADIUS = 3.42  # of a round corner, over how far one must come inwards to leave it out: 1 / (1 - 1/sqrt(2))


class Borders(NamedTuple):
    """Bars as shares of the height (top, bottom) and of the width (left, right).

    `corner`: how far, in shares of the width, all four sides must come inwards beyond that to leave rounded corners out.
    """

    top: float = 0.0
    bottom: float = 0.0
    left: float = 0.0
    right: float = 0.0
    corner: float = 0.0


def dark_edges(luma: np.ndarray) -> tuple[int, int, int, int]:
    """How many rows and columns of a luma picture [H, W] (0..1) are dark from its top, bottom, left and right on."""
    level = _level(luma)
    height, width = luma.shape
    rows = _lit(cv2.blur(luma, (SMOOTH, 1)), level).mean(axis=1) > SPECKS
    if not rows.any():
        return height, height, width, width
    top, bottom = _ends(rows)
    inside = luma[top : height - bottom]  # a pillar is judged beside the picture, not beside the bars above it
    columns = _lit(cv2.blur(inside, (1, SMOOTH)), level).mean(axis=0) > SPECKS
    return (top, bottom, *_ends(columns)) if columns.any() else (top, bottom, 0, 0)  # thinner than a speck by column


def _level(luma: np.ndarray) -> float:
    """The luma of a grey bar, should the outermost row or column be one; 0 for black, and where there can be no bar."""
    sides = (luma[0], luma[-1], luma[:, 0], luma[:, -1])
    darkest = min(float(np.partition(side, len(side) // 2)[len(side) // 2]) for side in sides)  # their medians
    return darkest if DARK - ROOM < darkest < LIFTED else 0.0


def _lit(luma: np.ndarray, level: float) -> np.ndarray:
    """Which pixels are none of a bar's. A grey bar is even, and darker ones are picture too."""
    return np.abs(luma - level) > ROOM if level else luma > DARK


def _ends(lit: np.ndarray) -> tuple[int, int]:
    """How many are not lit before the first and after the last that is."""
    found = np.flatnonzero(lit)
    return int(found[0]), len(lit) - 1 - int(found[-1])


def over_shot(edges: np.ndarray, size: tuple[int, int]) -> Borders:
    """What the frames of a shot agree on. `edges` [N, 4] of `dark_edges`, `size` (width, height) of those pictures."""
    width, height = size
    shares = edges / (height, height, width, width)
    steady = np.percentile(shares, STEADY, axis=0, method="lower")
    for one, other in ((0, 1), (2, 3)):
        wide, narrow = (one, other) if steady[one] > steady[other] else (other, one)
        alike = np.abs(shares[:, narrow] - steady[wide]) <= UNEVEN
        if alike.mean() >= SHOWN:
            steady[narrow] = shares[alike, narrow].min()
    return Borders(*steady.tolist())


def settle(shots: Sequence[tuple[Borders, float]], film: Borders | None = None) -> list[Borders]:
    """The bars of every shot of a film, given what its frames agree on and its seconds.

    Bars are opposite and alike. Where only one side shows them they are taken if the film has such bars elsewhere; a
    dark edge that is neither is picture. `film`: bars that it has all along (`unchanging`).
    """
    pairs = [(_pair(b.top, b.bottom), _pair(b.left, b.right)) for b, _ in shots]
    usual = [_common([p[axis] for p in pairs], [s for _, s in shots]) for axis in (0, 1)]
    settled = []
    always = film or Borders()
    for (b, _), (upright, across) in zip(shots, pairs, strict=True):
        vertical = max(_either(upright, usual[0], b.top, b.bottom), always.top)
        horizontal = max(_either(across, usual[1], b.left, b.right), always.left)
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


def unchanging(pictures: np.ndarray) -> Borders:
    """Bars of any colour that stand all through a film, from unlike pictures of it: luma [K, H, W], uint8."""
    if len(pictures) < PICTURES:
        return Borders()
    _, height, width = pictures.shape
    low, high = (p.astype(np.float32) / 255 for p in np.percentile(pictures, SPREAD, axis=0))
    moves = high - low > UNCHANGED
    top, bottom = _ends_or_none(moves.mean(axis=1) > SPECKS)
    left, right = _ends_or_none(moves[top : height - bottom].mean(axis=0) > SPECKS)
    upright, across = _pair(top / height, bottom / height), _pair(left / width, right / width)
    inside = pictures[:, top : height - bottom]
    vertical = upright if upright and _straight(pictures, top, bottom) else 0.0
    horizontal = across if across and _straight(inside.transpose(0, 2, 1), left, right) else 0.0
    return Borders(vertical, vertical, horizontal, horizontal)


def _ends_or_none(lit: np.ndarray) -> tuple[int, int]:
    return _ends(lit) if lit.any() else (0, 0)


def _straight(pictures: np.ndarray, top: int, bottom: int) -> bool:
    """Whether the picture begins at once all along both bars, as it does not beside a figure on a plain ground."""
    sides = (pictures[:, top - 1], pictures[:, top + 1]), (pictures[:, -bottom], pictures[:, -bottom - 2])
    apart = [np.abs(outer.astype(np.int16) - inner) > 255 * UNCHANGED for outer, inner in sides]
    return all(float(side.mean(axis=1).max()) > STRAIGHT for side in apart)


def with_corners(shots: Sequence[Borders], pictures: np.ndarray, shot_of: Sequence[int]) -> list[Borders]:
    """The borders of shots with their `corner`, told from unlike pictures of the film: luma [K, H, W], uint8, and the
    shot of each. Shots of the same bars have the same corners; 0 where too few pictures are of such shots."""
    corners = {}
    for borders in set(shots):
        same = [n for n, shot in enumerate(shot_of) if shots[shot] == borders]
        corners[borders] = _rounded(pictures[same], borders) if len(same) >= PICTURES else 0.0
    return [borders._replace(corner=corners[borders]) for borders in shots]


def _rounded(pictures: np.ndarray, borders: Borders) -> float:
    """`Borders.corner` of pictures [K, H, W] that have such bars."""
    height, width = pictures.shape[1:]
    top, bottom, left, right, _ = (
        -int(-share * length // 1) for share, length in zip(borders, (height, height, width, width, 0), strict=True)
    )
    inside = pictures[:, top : height - bottom, left : width - right]
    return _corner(np.percentile(inside, BRIGHT, axis=0) / 255) / width


def inside(size: tuple[int, int], borders: Borders, margin: int) -> np.ndarray:
    """Which pixels [H, W] of pictures of `size` (width, height) are `margin` pixels inside of bars and rounded corners."""
    width, height = size
    y, x = np.mgrid[:height, :width].astype(np.float32) + 0.5
    up, left = y - borders.top * height, x - borders.left * width
    down, right = (1 - borders.bottom) * height - y, (1 - borders.right) * width - x
    radius = RADIUS * borders.corner * width
    off = [np.maximum(0, radius - np.minimum(*sides)) for sides in ((up, down), (left, right))]
    return (np.minimum.reduce([up, down, left, right]) > margin) & (np.hypot(*off) < max(radius - margin, 1e-6))


def unlike(hashes: Sequence[int], most: int) -> list[int]:
    """Which pictures, by their `recurring.picture_hash`, are unlike all before them; at most so many, spread."""
    kept: list[int] = []
    for n, now in enumerate(hashes):
        if all((now ^ hashes[other]).bit_count() >= UNLIKE for other in kept):
            kept.append(n)
    return kept[:: max(1, -(-len(kept) // most))]


def _corner(luma: np.ndarray) -> int:
    """Pixels from the corners of a picture [H, W] inwards, along the diagonal, that are dark in three corners at least."""
    height, width = luma.shape
    turned = (luma, luma[:, ::-1], luma[::-1], luma[::-1, ::-1])
    level = min(float(corner[0, 0]) for corner in turned)
    across, down = slice(width // 3, -width // 3), slice(height // 3, -height // 3)
    sides = [luma[0, across], luma[-1, across], luma[down, 0], luma[down, -1]]
    if min(float((side > level + STEP).mean()) for side in sides) < LIT:
        return 0
    farthest = max(1, round(ROUNDEST * min(height, width)))
    dark = sorted(_dark_from(corner, farthest) for corner in turned)
    return dark[-1] if dark[1] > 0 and dark[-1] <= min(farthest, 2 * dark[1] + 1) else 0


def _dark_from(luma: np.ndarray, farthest: int) -> int:
    """Pixels along the diagonal from the upper left corner that are as dark as itself; one more than `farthest` for all."""
    if luma[0, 0] > LIFTED:
        return 0
    lit = np.flatnonzero(np.diagonal(luma)[: farthest + 1] > luma[0, 0] + STEP)
    return int(lit[0]) if len(lit) else farthest + 1


def crop_box(borders: Borders, pictures: Sequence[np.ndarray]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels of what the bars leave of full-size luma `pictures` [H, W] (0..1) of one shot.

    The small pictures told the bars to a few pixels; here the edge is looked for around the place they told, and the
    row that is half bar, half picture goes too.
    """
    upright = np.stack(pictures)
    height, width = upright.shape[1:]
    top, bottom = _cut(upright, borders.top), height - _cut(upright[:, ::-1], borders.bottom)
    across = upright[:, top:bottom].transpose(0, 2, 1)
    left, right = _cut(across, borders.left), width - _cut(across[:, ::-1], borders.right)
    if not borders.corner:
        return left, top, right, bottom
    told, found = borders.corner * width, _corner(upright[:, top:bottom, left:right].max(axis=0))
    inwards = (found if found and abs(found - told) <= _reach(width) else round(told)) + 1
    return left + inwards, top + inwards, right - inwards, bottom - inwards


def _cut(pictures: np.ndarray, share: float) -> int:
    """Rows to cut off the top of pictures [K, H, W]: where, near the share told, bar turns to picture most clearly."""
    if share == 0:
        return 0
    length = pictures.shape[1]
    told, reach = round(share * length), _reach(length)
    first = max(0, told - reach)
    level = float(np.median(pictures[:, : max(1, first)]))
    near = pictures[:, first : told + reach + 1]
    lit = np.any([(np.abs(cv2.blur(p, (SMOOTH, 1)) - level) > ROOM).mean(axis=1) > SPECKS for p in near], axis=0)
    if not lit.any():
        return told + 1
    # an edge at k: bar in the k rows before, picture in all after
    fits = np.concatenate([[0], np.cumsum(~lit)]) + np.concatenate([np.cumsum(lit[::-1])[::-1], [0]])
    best = np.flatnonzero(fits == fits.max())
    return first + int(best[np.abs(first + best - told).argmin()]) + 1


def _reach(length: int) -> int:
    """Pixels around the place told in which an edge may be, of a picture so many pixels long."""
    return 2 + length // 100
