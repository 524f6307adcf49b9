"""Parts that several films share, an opening in every episode for one, told by picture from one hash per frame.

A few pictures a second of one film are looked up among all that the other film shows. Where they agree, they say how
far apart in time the two films run. From there both are followed to either side, frame by frame, for as long as they
agree; that gives the part's ends.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import NamedTuple

import cv2
import numpy as np

# The hash of a picture that tells nothing: blank, black, one colour, a smooth gradient. Half the bits of any other are
# set, so that it is unlike them all.
PLAIN = 0

# the hash
EDGE = 1 / 8  # left out on each side: bars, crops, subtitles and logos differ between copies of one picture there
SHRUNK = 32  # pixels, both ways
QUIET = 0.015  # middle strength of the 64 waves: film grain and coding alone reach 0.006, pictures begin at 0.09

# bits of 64 in which two hashes differ; unlike pictures differ in about 32
SAME = 4  # a held drawing, coded twice
NEAR = 10  # one picture in two copies: coding 0-2, brighter by a fifth up to 10, cropped by 2 % up to 10
STILL = 2  # a picture that stands still: two credits in white on black often differ in no more than 4

# seconds
STEP = 0.2  # between the pictures that are looked up: a part of 2 s still has ten to be found by
SLACK = 0.125  # that two films may be out of step: three frames, a drawing held "on threes"
VOTED = 2.0  # of a film that are asked together how far away the other is; much faster or slower ones still agree
GIVE_UP = 1.0  # of pictures that differ more than agree: the part is over
EDGE_OF_STILL = 0.2  # by when a still must have gone: two looks at one painted room last differently long

FOLLOW = 0.25  # share of a lag that is made up at once; films sped up from 24 to 25 frames/s lag by 2 ms a frame
PLAIN_COUNTS = -0.1  # of agreeing: black may stand inside a part for some seconds, but is no part
AGREE = 0.7  # of a part's pictures that must be near
PICTURES = 3  # different ones; a stretch of fewer must also stand whole in both films, and be nearly the same there
COMMONPLACE = 900  # a picture that the other film has more often tells no place; a loop through an ending has 300
MOST = 200_000  # pairs of like pictures, the rarest first: what a minute and a half of looped animation comes to
TRIES = 5000  # places followed for each two films, the likeliest first; unrelated cartoons have about a thousand
BLOCK = 16  # pictures held at once against all of the other film, to keep within the processor's cache


class Recurrence(NamedTuple):
    """A part of a film, from its first frame to its last (both in it), that stands in another film too."""

    first: float  # seconds: when the first frame is shown
    last: float  # seconds: when the last frame is shown
    other: str  # the other film
    other_first: float  # seconds: where the same part begins there


class _Film(NamedTuple):
    """Frames as plain numbers, which a loop reads faster than arrays."""

    times: list[float]
    hashes: list[int]
    changes: np.ndarray  # indices of frames: one for every new picture
    keys: np.ndarray  # and a few a second of them, to be looked up among the changes of other films


class _Match(NamedTuple):
    """Frames first..last of one film (both in it) and those of another that show the same."""

    first: int
    last: int
    other_first: int
    other_last: int


class _Side(NamedTuple):
    """What following two films to one side gave: pairs of frames up to the last that agrees, and the bits they differ in.

    A difference of None: both are plain.
    """

    pairs: list[tuple[int, int]]
    bits: list[int | None]


def picture_hash(luma: np.ndarray) -> int:
    """64 bits that stay nearly the same when a picture [H, W] (luma 0..1) is coded anew, brightened, cropped a little.

    Each bit says whether one of 64 slow waves (DCT, both ways at least half a period) is above their median, after
    pHash (Zauner, 2010). 0 (`PLAIN`) for a picture that tells nothing.
    """
    height, width = luma.shape
    top, left = round(height * EDGE), round(width * EDGE)
    inner = np.ascontiguousarray(luma[top : height - top, left : width - left], dtype=np.float32)
    waves = cv2.dct(cv2.resize(inner, (SHRUNK, SHRUNK), interpolation=cv2.INTER_AREA))[1:9, 1:9].ravel()
    if np.median(np.abs(waves)) < QUIET:
        return PLAIN
    return int.from_bytes(np.packbits(waves > np.median(waves)).tobytes(), "big")


def recurring(films: Mapping[str, tuple[np.ndarray, np.ndarray]], at_least: float = 2.0) -> dict[str, list[Recurrence]]:
    """For each film its stretches of `at_least` seconds that another film has too, in the order of time.

    `films`: name -> (when each frame is shown, s [N] ascending, its `picture_hash` [N] uint64). A stretch is listed once
    for every film that it stands in, where it matches longest. Films may differ in rate, and one may run a few per
    cent faster than the other. Repeats inside one film are not looked for.
    """
    ready = {name: _ready(times, hashes) for name, (times, hashes) in films.items()}
    found: dict[str, list[Recurrence]] = {name: [] for name in films}
    for one, two in combinations(films, 2):
        matches = _matches(ready[one], ready[two], at_least)
        turned = [_Match(m.other_first, m.other_last, m.first, m.last) for m in matches]
        for name, other, mine in ((one, two, matches), (two, one, turned)):
            here, there = ready[name].times, ready[other].times
            found[name] += [
                Recurrence(here[m.first], here[m.last], other, there[m.other_first]) for m in _longest(mine, here)
            ]
    return {name: sorted(parts) for name, parts in found.items()}


def _ready(times: np.ndarray, hashes: np.ndarray) -> _Film:
    film = _Film([float(t) for t in times], [int(h) for h in hashes], *np.empty((2, 0), dtype=np.intp))
    changes: list[int] = []
    keys: list[int] = []
    for index, (time, now) in enumerate(zip(film.times, film.hashes, strict=True)):
        if now == PLAIN:
            continue
        if not changes or (now ^ film.hashes[changes[-1]]).bit_count() > SAME:
            changes.append(index)
        if not keys or (time - film.times[keys[-1]] >= STEP and (now ^ film.hashes[keys[-1]]).bit_count() > SAME):
            keys.append(index)
    return film._replace(changes=np.array(changes, dtype=np.intp), keys=np.array(keys, dtype=np.intp))


def _matches(one: _Film, two: _Film, at_least: float) -> list[_Match]:
    mine, theirs, bits = _near(one, two)
    at = np.array([one.times[i] for i in mine])
    apart = np.array([two.times[j] for j in theirs]) - at
    left = np.ones(len(mine), dtype=bool)
    matches: list[_Match] = []
    tries = 0
    for n in _by_votes(at, apart, bits):
        if not left[n]:
            continue
        if tries == TRIES:
            break
        tries += 1
        match, whole = _follow(one, two, int(mine[n]), int(theirs[n]), at_least)
        inside = (mine >= match.first) & (mine <= match.last)
        if whole:
            matches.append(match)
            left &= ~(inside & (theirs >= match.other_first) & (theirs <= match.other_last))
        else:
            left &= ~(inside & (np.abs(apart - apart[n]) < SLACK))
        left[n] = False
    return matches


def _near(one: _Film, two: _Film) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys of one film and changes of another that agree: their frames [P], [P], and in how many bits they differ [P]."""
    mine = np.array([one.hashes[k] for k in one.keys], dtype=np.uint64)
    theirs = np.array([two.hashes[k] for k in two.changes], dtype=np.uint64)
    rows, columns, bits = [np.array([], np.intp)], [np.array([], np.intp)], [np.array([], np.uint8)]
    for start in range(0, len(mine), BLOCK):
        apart = np.bitwise_count(mine[start : start + BLOCK, None] ^ theirs[None])
        near = apart <= NEAR
        near[near.sum(axis=1) > COMMONPLACE] = False
        row, column = np.nonzero(near)
        rows.append(row + start)
        columns.append(column)
        bits.append(apart[row, column])
    row, column, differ = np.concatenate(rows), np.concatenate(columns), np.concatenate(bits)
    rarest = np.argsort(np.bincount(row)[row], kind="stable")[:MOST]
    return one.keys[row[rarest]], two.changes[column[rarest]], differ[rarest]


def _by_votes(at: np.ndarray, apart: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """The order in which to try pairs: first those that most others nearby agree with on how far apart the films run.

    `at`: when, `apart`: how far (both s), `bits`: in how many bits the pair differs (all [P]).
    """
    cells = list(zip((at // VOTED).astype(int).tolist(), (apart // SLACK).astype(int).tolist(), strict=True))
    votes: Counter[tuple[int, int]] = Counter()
    for cell, differ in zip(cells, bits.tolist(), strict=True):
        votes[cell] += NEAR + 1 - differ
    around = list(product((-1, 0, 1), repeat=2))
    weight = {(t, d): sum(votes.get((t + i, d + j), 0) for i, j in around) for t, d in votes}
    return np.argsort([-weight[cell] for cell in cells], kind="stable")


def _follow(one: _Film, two: _Film, i: int, j: int, at_least: float) -> tuple[_Match, bool]:
    """The stretch around two frames in which both films agree, and whether it is a part that they share."""
    after = _side(one, two, i, two.times[j] - one.times[i], 1)
    before = _side(one, two, i, two.times[j] - one.times[i], -1)
    pairs = [*before.pairs[::-1], (i, j), *after.pairs]
    bits = [*before.bits[::-1], (one.hashes[i] ^ two.hashes[j]).bit_count(), *after.bits]
    match = _Match(pairs[0][0], pairs[-1][0], pairs[0][1], pairs[-1][1])
    pictures = [(frame, b) for (frame, _), b in zip(pairs, bits, strict=True) if b is not None]
    near = [b for _, b in pictures if b <= NEAR]
    seconds = one.times[match.last] - one.times[match.first]
    seconds += 1.01 * seconds / max(1, match.last - match.first)  # the last frame is shown for a while too
    if seconds < at_least or len(near) < AGREE * len(pictures):
        return match, False
    seen = _unlike([one.hashes[frame] for frame, b in pictures if b <= NEAR])
    if len(seen) == PICTURES:
        return match, True
    gone = [(one, match.first, -1), (one, match.last, 1), (two, match.other_first, -1), (two, match.other_last, 1)]
    return match, sum(near) <= STILL * len(near) and all(_are_gone(seen, *edge) for edge in gone)


def _side(one: _Film, two: _Film, i: int, apart: float, step: int) -> _Side:
    """Go through `one` beyond frame `i`, forward (step 1) or back (-1), for as long as `two`, `apart` s on, agrees."""
    side = _Side([], [])
    score = best = 0.0
    kept, time = 0, one.times[i]
    i += step
    while 0 <= i < len(one.times) and score > best - GIVE_UP:
        passed, time = abs(one.times[i] - time), one.times[i]
        if not two.times[0] - SLACK <= time + apart <= two.times[-1] + SLACK:
            break
        j, bits, lag = _shown_there(two, time + apart, one.hashes[i])
        if bits <= NEAR:  # of unlike pictures one is always a little more like
            apart += FOLLOW * lag
        plain = one.hashes[i] == two.hashes[j] == PLAIN
        side.pairs.append((i, j))
        side.bits.append(None if plain else bits)
        score += passed * (PLAIN_COUNTS if plain else 1.0 if bits <= NEAR else -1.0)
        if score > best:
            best, kept = score, len(side.pairs)
        i += step
    return _Side(side.pairs[:kept], side.bits[:kept])


def _shown_there(film: _Film, time: float, wanted: int) -> tuple[int, int, float]:
    """The frame shown at `time`, or one close by that is clearly more like `wanted`; the bits it differs in; how much
    later it is shown (s, 0 for the frame shown at `time`)."""
    at = max(0, bisect_right(film.times, time + 1e-6) - 1)
    bits = (film.hashes[at] ^ wanted).bit_count()
    chosen, fewest, lag = at, bits, 0.0
    for step in (1, -1):
        j = at + step
        while 0 <= j < len(film.times) and abs(film.times[j] - time) <= SLACK:
            other = (film.hashes[j] ^ wanted).bit_count()
            later = film.times[j] - time
            if other < bits - SAME and (other, abs(later)) < (fewest, abs(lag)):
                chosen, fewest, lag = j, other, later
            j += step
    return chosen, fewest, lag


def _unlike(hashes: Sequence[int]) -> list[int]:
    """The pictures that are unlike all before them: the first PICTURES of them, as no more are needed."""
    seen: list[int] = []
    for now in hashes:
        if all((now ^ known).bit_count() > NEAR for known in seen):
            seen.append(now)
            if len(seen) == PICTURES:
                break
    return seen


def _are_gone(seen: list[int], film: _Film, frame: int, step: int) -> bool:
    """Does the film show none of these pictures EDGE_OF_STILL after `frame` (step 1) or before it (-1), or end there?"""
    time = film.times[frame] + step * EDGE_OF_STILL
    if not film.times[0] <= time <= film.times[-1]:
        return True
    now = film.hashes[bisect_right(film.times, time) - 1]
    return all((now ^ known).bit_count() > NEAR for known in seen)


def _longest(matches: list[_Match], times: list[float]) -> list[_Match]:
    """Of matches that lie on each other by more than half of the shorter, the longest."""
    kept: list[_Match] = []
    for match in sorted(matches, key=lambda m: times[m.first] - times[m.last]):
        first, last = times[match.first], times[match.last]
        shared = (min(last, times[k.last]) - max(first, times[k.first]) for k in kept)
        if all(s <= (last - first) / 2 for s in shared):
            kept.append(match)
    return kept
