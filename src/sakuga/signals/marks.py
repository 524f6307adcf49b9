"""Marks that stand over a film: the logo of a station, a watermark, opaque or not, all along or for a part of it.

What moves and what is cut away leaves no edge at one place; a mark does. So each shot gives the edges that stay through
it, and a mark is where unlike shots have the same ones (after Dekel et al., On the Effectiveness of Visible
Watermarks, 2017, who take the median of gradients over pictures). A film of few shots tells nothing: there, a painted
ground is as still as a mark.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from .borders import Borders, inside

# shots
UNLIKE = 14  # bits of 64 in which the hashes of two shots differ at least, or both show one background
FEWEST, MOST = 6, 48  # unlike shots that are held against each other
OF_SHOT = 6  # pictures of a shot that tell what stays in it
PARTS = 4  # of a film, overlapping by half, that are looked at beside the whole of it

# edges, in levels of 255 a pixel
FAINT = 2.5  # coding and grain: of a weaker edge no direction is believed
SLOPE = 2.5  # pixels: what goes on for longer is a shade, and no edge
AGREE = 0.6  # how much of the edges' directions is one: 1 all; faint ones count little
CHANCE = 0.05  # that the edges of so many shots at one pixel agree for no reason: in few shots they must agree more
LOOSELY = 0.72  # of what is asked for, for pixels beside those that have it
NEAR = 3  # pixels, that are beside

# size
WEAKEST, STRONG = 0.25, 0.9  # of the strength that a tenth of a mark's edges exceed: weaker ones are its glow
GAP = 9  # pixels between the letters of one mark
LEAST_PIXELS, LEAST_SIDE = 14, 4  # of a mark
WIDEST, HIGHEST = 0.7, 0.4  # of the picture
EMPTIEST = 0.12  # of a mark's box that has such edges
BESIDE_BARS = 5  # pixels from a bar, a rounded corner or the picture's end, whose own shade is as still as a mark
EDGE_WIDTH = 1  # pixel by which an edge of a small picture is seen beyond what it bounds

SEEN = 0.4  # of a mark's usual strength, over which a picture has it
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


def find_marks(
    pictures: np.ndarray, shots: Sequence[int], hashes: Sequence[int], borders: Sequence[Borders]
) -> list[Mark]:
    """The marks over a film. Of each of its pictures, in order: luma [K, H, W], uint8; the number of its shot, below 0
    for one in which none are looked for; its `recurring.picture_hash`. `borders` are those of each shot."""
    numbers, labels = np.array(shots), np.array(hashes, np.uint64)
    found: list[Mark] = []
    edges: dict[int, np.ndarray] = {}
    for part in _parts(numbers):
        chosen = _unlike(part, numbers, labels)
        if len(chosen) < FEWEST:
            continue
        for shot in chosen:
            if shot not in edges:
                edges[shot] = _staying(pictures[numbers == shot], borders[shot])
        found += _common(np.stack([edges[shot] for shot in chosen]), pictures)
    return _apart(found)


def _parts(numbers: np.ndarray) -> Iterator[np.ndarray]:
    """The shots of the whole film, then of parts of it that overlap by half."""
    shots = np.unique(numbers[numbers >= 0])
    yield shots
    length = max(FEWEST, len(shots) // PARTS)
    if length < len(shots):
        for first in range(0, len(shots) - length // 2, length // 2):
            yield shots[first : first + length]


def _unlike(shots: np.ndarray, numbers: np.ndarray, hashes: np.ndarray) -> list[int]:
    """At most `MOST` shots, spread, none of which looks like another; shots that are plain tell nothing."""
    kept: list[tuple[int, int]] = []
    for shot in shots.tolist():
        own = hashes[numbers == shot]
        middle = int(own[len(own) // 2])
        if middle and all((middle ^ other).bit_count() >= UNLIKE for _, other in kept):
            kept.append((shot, middle))
    step = max(1, -(-len(kept) // MOST))
    return [shot for shot, _ in kept[::step]]


def _gradients(picture: np.ndarray) -> np.ndarray:
    """The edges of a picture [H, W], uint8, without slopes that go on: levels a pixel to the right and down, [2, H, W]."""
    sharp = picture.astype(np.float32)
    sharp -= cv2.GaussianBlur(sharp, (0, 0), SLOPE)
    return np.stack([cv2.Scharr(sharp, cv2.CV_32F, dx, 1 - dx, scale=1 / 32) for dx in (1, 0)])


def _staying(pictures: np.ndarray, borders: Borders) -> np.ndarray:
    """The edges [2, H, W] that stay through a shot; none at its bars, whose own edges always do."""
    every = max(1, len(pictures) // OF_SHOT)
    edges = np.median([_gradients(picture) for picture in pictures[::every][:OF_SHOT]], axis=0).astype(np.float32)
    height, width = edges.shape[1:]
    return np.where(inside((width, height), borders, BESIDE_BARS), edges, np.float32(0))


def _common(edges: np.ndarray, pictures: np.ndarray) -> list[Mark]:
    """The marks that most of the shots' edges [S, 2, H, W] agree on."""
    strength = np.hypot(edges[:, 0], edges[:, 1])
    agree = np.hypot(*(edges / (strength[:, None] + FAINT)).mean(axis=0))
    # of n random directions the mean is longer than r with a chance of about (1 - r^2)^(n - 1)
    asked = max(AGREE, (1 - CHANCE ** (1 / (len(edges) - 1))) ** 0.5)
    sure = agree > asked
    near = cv2.dilate(sure.astype(np.uint8), np.ones((2 * NEAR + 1, 2 * NEAR + 1), np.uint8))
    may_be = near * (agree > LOOSELY * asked)
    joined = cv2.morphologyEx(may_be, cv2.MORPH_CLOSE, np.ones((GAP, GAP), np.uint8))
    count, labels = cv2.connectedComponents(joined)
    usual = np.median(edges, axis=0)
    force = np.hypot(*usual)
    marks = []
    for label in range(1, count):
        mask = (labels == label) & (may_be > 0)
        mask &= force > WEAKEST * np.quantile(force[mask], STRONG)
        if np.count_nonzero(mask & sure) >= LEAST_PIXELS and (mark := _mark(mask, usual, pictures)):
            marks.append(mark)
    return marks


def _mark(mask: np.ndarray, usual: np.ndarray, pictures: np.ndarray) -> Mark | None:
    """The mark that has its edges where `mask` [H, W] says, as strong as `usual` [2, H, W], unless it is none by size."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom = int(rows[0]) + EDGE_WIDTH, int(rows[-1]) + 1 - EDGE_WIDTH
    left, right = int(columns[0]) + EDGE_WIDTH, int(columns[-1]) + 1 - EDGE_WIDTH
    height, width = bottom - top, right - left
    edges = mask[top:bottom, left:right]
    if min(height, width) < LEAST_SIDE or width > WIDEST * mask.shape[1] or height > HIGHEST * mask.shape[0]:
        return None
    if edges.mean() < EMPTIEST:
        return None
    pattern = usual[:, top:bottom, left:right] * edges
    near = slice(max(0, top - 1), bottom + 1), slice(max(0, left - 1), right + 1)
    shift = top - near[0].start, left - near[1].start
    seen = []
    for picture in pictures:
        there = _gradients(picture[near])[:, shift[0] : shift[0] + height, shift[1] : shift[1] + width]
        seen.append(float((there * pattern).sum() / (pattern * pattern).sum()) > SEEN)
    return Mark(left, top, right, bottom, edges, np.array(seen))


def _apart(marks: list[Mark]) -> list[Mark]:
    """Of marks that lie on each other, found in several parts of a film, the one that most pictures have."""
    kept: list[Mark] = []
    for mark in sorted(marks, key=lambda m: -int(m.seen.sum())):
        if not any(_overlap(mark, other) for other in kept):
            kept.append(mark)
    return kept


def _overlap(one: Mark, other: Mark) -> bool:
    """Whether they share more than a third of the smaller one's box."""
    across = min(one.right, other.right) - max(one.left, other.left)
    down = min(one.bottom, other.bottom) - max(one.top, other.top)
    smaller = min((m.right - m.left) * (m.bottom - m.top) for m in (one, other))
    return across > 0 and down > 0 and 3 * across * down > smaller


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
