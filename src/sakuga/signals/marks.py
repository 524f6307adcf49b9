"""Marks that stand over a film: the logo of a station, a watermark, opaque or not, all along or for a part of it.

What moves and what is cut away leaves no edge at one place; a mark does. So each shot gives the edges that stay through
it, and a mark is where unlike shots, one after the other, all have the same ones (after Dekel et al., On the Effectiveness
of Visible Watermarks, 2017, who take the median of gradients over pictures). A horizon that every scene has at one height
has edges one way only; a sun or a cloud that many scenes have at one place is missing in some between. A film of few
shots tells nothing: there, a painted ground is as still as a mark.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from .borders import Borders, inside

# shots
UNLIKE = 14  # bits of 64 in which the hashes of two shots differ at least, or both show one background
FEWEST, MOST = 4, 48  # unlike shots that are held against each other
OF_SHOT = 6  # pictures of a shot that tell what stays in it
HAS = 0.4  # correlation of a shot's edges with a mark's, from which on the shot has it
MANY, CLEARLY = (
    8,
    0.94,
)  # in fewer shots the median must be so high: of clouds that meet by chance it is 0.91, of logos 0.96
SOME_PIXELS = 30  # that fewer shots than many must agree on
FAINTEST = 0.1  # of a mark's usual strength that a shot has which has it
IN_ALL = 0.8  # of the unlike shots of its time have a mark: over white or in a flash it may be lost
ELSEWHERE = 0.25  # of the shots that have it, out of its time: what comes and goes is scenery

# edges, in levels of 255 a pixel
FAINT = 2.5  # coding and grain: of a weaker edge no direction is believed
SLOPE = 2.5  # pixels: what goes on for longer is a shade, and no edge
AGREE = 0.6  # how much of the edges' directions is one: 1 all; faint ones count little
CHANCE = 0.05  # that the edges of so many shots at one pixel agree for no reason: in few shots they must agree more
LOOSELY = 0.72  # of what is asked for, for pixels beside those that have it
NEAR = 3  # pixels, that are beside

# size and shape
WEAKEST, STRONG = 0.3, 0.9  # of the strength that a tenth of a mark's edges exceed: weaker ones are its glow
GAP = 9  # pixels between the letters of one mark
LEAST_PIXELS, LEAST_SIDE = 14, 4  # of a mark
WIDEST, HIGHEST = 0.7, 0.4  # of the picture
EMPTIEST = 0.12  # of a mark's box that has such edges
BOTH_WAYS = 0.12  # of the energy along a mark's main direction that its edges have across it: of a horizon 0.03
LONGEST_LINE = 0.3  # of the width: a straight edge of a logo is shorter
BESIDE_BARS = 5  # pixels from a bar, a rounded corner or the picture's end, whose own shade is as still as a mark
EDGE_WIDTH = 1  # pixel by which an edge of a small picture is seen beyond what it bounds

SEEN = 0.4  # of a mark's usual strength, over which a picture has it
JUST_SO = 0.7  # correlation with a mark, over which a picture has it even where it is fainter
STEADY = 5  # pictures, most of which say whether the middle one has it
REACH = 3  # pixels around a mark that the slope of its edges is told from
ALL_ALONG = 0.75  # of the pictures of its time have a mark; a sun that many scenes have at one place comes and goes
AWAY = 10.0  # seconds without it, after which a mark that comes back is told anew


class Mark(NamedTuple):
    """Pixels left..right, top..bottom (the latter outside) of the small pictures; `mask` [bottom - top, right - left] is
    where it has edges, bool; `seen` [K] says which pictures have it."""

    left: int
    top: int
    right: int
    bottom: int
    mask: np.ndarray
    seen: np.ndarray


class _Shape(NamedTuple):
    """What a mark looks like: `mask` [H, W], where it has edges; `pattern` [2, H, W], those that all its shots share."""

    mask: np.ndarray
    pattern: np.ndarray


def find_marks(
    pictures: np.ndarray, shots: Sequence[int], hashes: Sequence[int], borders: Sequence[Borders]
) -> list[Mark]:
    """The marks over a film. Of each of its pictures, in order: luma [K, H, W], uint8; the number of its shot, below 0
    for one in which none are looked for; its `recurring.picture_hash`. `borders` are those of each shot."""
    numbers = np.array(shots)
    chosen = _unlike(numbers, np.array(hashes, np.uint64))
    if len(chosen) < FEWEST:
        return []
    edges = np.stack([_staying(pictures[numbers == shot], borders[shot]) for shot in chosen])
    found: list[Mark] = []
    for part in _parts(len(chosen)):
        for shape in _shapes(edges[part]):
            runs = _runs(shape, edges)
            times = _times(runs, chosen, numbers)
            if not runs or any(_known(shape.mask, times, mark) for mark in found):
                continue  # scenery; or the whole film told it, or a longer part, and more exactly
            of_its_time = _spread(np.concatenate([np.arange(first, last + 1) for first, last in runs]))
            again = [other for other in _shapes(edges[of_its_time]) if (other.mask & shape.mask).any()]
            marks = [_mark(one, pictures, times) for one in again or [shape]]
            found += [mark for mark in marks if mark is not None]
    return _apart(found)


def _parts(count: int) -> Iterator[np.ndarray]:
    """Which of so many shots are held against each other: all, then halves that overlap by half, then quarters ..."""
    length = count
    while length >= FEWEST:
        step = max(1, length // 2)
        for first in range(0, count - length + 1, step):
            yield _spread(np.arange(first, first + length))
        if (count - length) % step:
            yield _spread(np.arange(count - length, count))
        length = length * 2 // 3


def _spread(shots: np.ndarray) -> np.ndarray:
    return shots[:: max(1, -(-len(shots) // MOST))]


def _unlike(numbers: np.ndarray, hashes: np.ndarray) -> list[int]:
    """Shots none of which looks like another; those that are plain tell nothing."""
    kept: list[tuple[int, int]] = []
    for shot in np.unique(numbers[numbers >= 0]).tolist():
        own = hashes[numbers == shot]
        middle = int(own[len(own) // 2])
        if middle and all((middle ^ other).bit_count() >= UNLIKE for _, other in kept):
            kept.append((shot, middle))
    return [shot for shot, _ in kept]


def _staying(pictures: np.ndarray, borders: Borders) -> np.ndarray:
    """The edges [2, H, W] that stay through a shot; none at its bars, whose own edges always do."""
    every = max(1, len(pictures) // OF_SHOT)
    edges = np.median([_gradients(picture) for picture in pictures[::every][:OF_SHOT]], axis=0).astype(np.float32)
    height, width = edges.shape[1:]
    return np.where(inside((width, height), borders, BESIDE_BARS), edges, np.float32(0))


def _gradients(picture: np.ndarray) -> np.ndarray:
    """The edges of a picture [H, W], uint8, without slopes that go on: levels a pixel to the right and down, [2, H, W]."""
    sharp = picture.astype(np.float32)
    sharp -= cv2.GaussianBlur(sharp, (0, 0), SLOPE)
    return np.stack([cv2.Scharr(sharp, cv2.CV_32F, dx, 1 - dx, scale=1 / 32) for dx in (1, 0)])


def _shapes(edges: np.ndarray) -> Iterator[_Shape]:
    """What the shots' edges [S, 2, H, W] agree on, where it may be a mark by size and shape."""
    strength = np.hypot(edges[:, 0], edges[:, 1])
    unit = edges / (strength[:, None] + FAINT)
    # of n random directions the mean is longer than r with a chance of about (1 - r^2)^(n - 1)
    asked = max(AGREE, (1 - CHANCE ** (1 / (len(edges) - 1))) ** 0.5)
    agree = np.hypot(*unit.mean(axis=0))
    sure = agree > asked
    # the rim of a plate is light against dark and dark against light: at twice the angle both are one direction
    across, down, length = unit[:, 0], unit[:, 1], np.hypot(unit[:, 0], unit[:, 1]) + 1e-6
    turned = np.hypot(((across**2 - down**2) / length).mean(axis=0), (2 * across * down / length).mean(axis=0))
    near = cv2.dilate(sure.astype(np.uint8), np.ones((2 * NEAR + 1, 2 * NEAR + 1), np.uint8))
    may_be = near * (agree > LOOSELY * asked) | (turned > asked).astype(np.uint8)
    may_be &= 1 - _straight(may_be)
    joined = cv2.morphologyEx(may_be, cv2.MORPH_CLOSE, np.ones((GAP, GAP), np.uint8))
    count, labels = cv2.connectedComponents(joined)
    usual, force = np.median(edges, axis=0), np.median(strength, axis=0)
    for label in range(1, count):
        mask = (labels == label) & (may_be > 0)
        mask &= force > WEAKEST * np.quantile(force[mask], STRONG)
        pattern = usual * (mask & sure)
        if np.count_nonzero(mask & sure) >= LEAST_PIXELS and _both_ways(pattern):
            yield _Shape(mask, pattern)


def _straight(mask: np.ndarray) -> np.ndarray:
    """Lines along or down the picture [H, W], uint8, longer than any logo's: horizons, floors, walls."""
    long = round(LONGEST_LINE * mask.shape[1])
    return cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((1, long), np.uint8)) | cv2.morphologyEx(
        mask, cv2.MORPH_OPEN, np.ones((long, 1), np.uint8)
    )


def _both_ways(pattern: np.ndarray) -> bool:
    """Whether edges [2, H, W] run in more than one direction, by the eigenvalues of their structure tensor."""
    across, down = pattern.reshape(2, -1)
    least, most = np.linalg.eigvalsh([[across @ across, across @ down], [across @ down, down @ down]])
    return bool(least > BOTH_WAYS * most)


def _runs(shape: _Shape, edges: np.ndarray) -> list[tuple[int, int]]:
    """First and last of those of the shots' edges [S, 2, H, W] that follow each other and have a mark, of each time that
    it stands; none where it comes and goes as scenery does."""
    where = shape.pattern.any(axis=0)
    pattern, theirs = shape.pattern[:, where], edges[:, :, where]
    along, own = (theirs * pattern).sum(axis=(1, 2)), (pattern**2).sum()
    alike = along / (np.sqrt((theirs**2).sum(axis=(1, 2)) * own) + 1e-6)
    there = np.flatnonzero((alike > HAS) & (along > FAINTEST * own))
    runs = [run for run in np.split(there, np.flatnonzero(np.diff(there) > 2) + 1) if len(run) >= FEWEST]
    runs = [run for run in runs if len(run) >= IN_ALL * (run[-1] - run[0] + 1)]
    clear = CLEARLY if np.count_nonzero(where) >= SOME_PIXELS else np.inf
    runs = [run for run in runs if len(run) >= MANY or np.median(alike[run]) > clear]
    if sum(map(len, runs)) < (1 - ELSEWHERE) * len(there):
        return []
    return [(int(run[0]), int(run[-1])) for run in runs]


def _times(runs: list[tuple[int, int]], chosen: Sequence[int], numbers: np.ndarray) -> np.ndarray:
    """Which pictures [K] may have a mark: those from the shot before each run to the one after it, where it may begin and
    end."""
    may = np.zeros(len(numbers), bool)
    for first, last in runs:
        begin = np.flatnonzero(numbers == chosen[first - 1])[0] if first else 0
        end = np.flatnonzero(numbers == chosen[last + 1])[-1] + 1 if last + 1 < len(chosen) else len(numbers)
        may[begin:end] = True
    return may


def _mark(shape: _Shape, pictures: np.ndarray, times: np.ndarray) -> Mark | None:
    """The mark of this shape in those of the pictures [K, H, W] that `times` [K] says, unless it is none by size."""
    rows, columns = (np.flatnonzero(shape.mask.any(axis=axis)) for axis in (1, 0))
    top, bottom = int(rows[0]) + EDGE_WIDTH, int(rows[-1]) + 1 - EDGE_WIDTH
    left, right = int(columns[0]) + EDGE_WIDTH, int(columns[-1]) + 1 - EDGE_WIDTH
    edges = shape.mask[top:bottom, left:right]
    height, width = shape.mask.shape
    if min(edges.shape) < LEAST_SIDE or right - left > WIDEST * width or bottom - top > HIGHEST * height:
        return None
    if edges.mean() < EMPTIEST:
        return None
    near = slice(max(0, top - REACH), bottom + REACH), slice(max(0, left - REACH), right + REACH)
    pattern = shape.pattern[:, *near]
    seen = np.array([_has(_gradients(picture[near]), pattern) for picture in pictures])
    return Mark(left, top, right, bottom, edges, _steady(seen) & times)


def _has(edges: np.ndarray, pattern: np.ndarray) -> bool:
    """Whether a picture's edges [2, H, W] are a mark's: as strong as usual, or faint (white on white) and just so."""
    theirs = edges * pattern.any(axis=0)
    along, own = float((theirs * pattern).sum()), float((pattern**2).sum())
    alike = along / (float((theirs**2).sum()) * own + 1e-6) ** 0.5
    return along > SEEN * own or (alike > JUST_SO and along > FAINTEST * own)


def _steady(seen: np.ndarray) -> np.ndarray:
    """What most of `STEADY` pictures around each one say, of bool [K]; the ends count for all that lies outside."""
    around = np.pad(seen, STEADY // 2, mode="edge").astype(np.int32)
    return np.convolve(around, np.ones(STEADY, np.int32), "valid") > STEADY // 2


def _known(mask: np.ndarray, times: np.ndarray, mark: Mark) -> bool:
    """Whether a mark has a part of the mask [H, W] in a part of its times [K]."""
    return bool(mask[mark.top : mark.bottom, mark.left : mark.right].any() and (mark.seen & times).any())


def _apart(marks: list[Mark]) -> list[Mark]:
    """Of marks that lie on each other at one time, the one that most pictures have."""
    kept: list[Mark] = []
    for mark in sorted(marks, key=lambda m: -int(m.seen.sum())):
        if not any(_overlap(mark, other) for other in kept):
            kept.append(mark)
    return kept


def _overlap(one: Mark, other: Mark) -> bool:
    """Whether they share more than a third of the smaller one's box at one time."""
    across = min(one.right, other.right) - max(one.left, other.left)
    down = min(one.bottom, other.bottom) - max(one.top, other.top)
    smaller = min((m.right - m.left) * (m.bottom - m.top) for m in (one, other))
    return across > 0 and down > 0 and 3 * across * down > smaller and bool((one.seen & other.seen).any())


def stretches(seen: np.ndarray, times: np.ndarray) -> list[tuple[int, int]]:
    """First and last picture of each stretch in which a mark is seen all along, absences over `AWAY` seconds apart.

    `seen` [K] bool, `times` [K] seconds.
    """
    there = np.flatnonzero(seen)
    if not len(there):
        return []
    breaks = np.flatnonzero(np.diff(times[there]) > AWAY) + 1
    parts = [part for part in np.split(there, breaks) if len(part) >= ALL_ALONG * (part[-1] - part[0] + 1)]
    return [(int(part[0]), int(part[-1])) for part in parts]
