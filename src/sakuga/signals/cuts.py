"""Where shots begin and end, told from what the pass over a film kept: cuts, dissolves and fades.

First all that may be a transition is found, at fixed constants, each with its chance of being one. Then it is decided:
by that chance, and where it is doubtful also by a network's word, if there is one. Another sensitivity finds nothing
anew. In cel animation drawings are held, flashes and impact frames last one to three frames, wings flap before the
camera and it whips round: a picture that comes back, or one among others that change as much, begins no shot.

The weights were fitted by logistic regression; `benchmarks/footage_cuts.py` tells on what, and measures them on others.
"""

from collections.abc import Sequence
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

from .look import Look

CLEAR, LEAST = 0.9, 0.05  # the chance above which nobody else is asked, and under which nothing is a candidate
DARK = 0.04  # contrast that a picture has at the least: coding noise is no cut in a dark one

# a cut
NEAR = (1, 2, 3, 4)  # frames on either side, all pairs of which must differ: a flash of three lies between
FAR = (1, 2, 3, 4, 6, 9, 13)  # the same for what may be a cut: shakes and lightning take half a second
CHANGED = 0.12  # of the contrast, that pictures on both sides differ by at the least
CUT = (1.4, 3.5, 1.0, 1.8, 4.3)  # weights of one, gap, novelty, hash and peak, see `_cut_chances`

# a dissolve
SPANS = (6, 8, 10, 13, 16, 20, 25, 32, 40)  # frames that one takes
DISSOLVED = 0.15  # of the contrast, that its two ends differ by at the least
STEP = 0.6  # of that difference, that a frame may differ from the one before by
UNMIXED = 0.31  # of that difference, that its frames may be off the mix of both ends
UNLIKE = 10  # bits of 64 that the hashes of its ends differ by at the least: with fewer, only the light has changed
DIP = (-0.1, 0.2, 0.45)  # loss of contrast half way: none counts less than the first, the third is no dissolve
DISSOLVE = (2.8, 4.6, 21.0, 7.2, -14.0)  # weights of one, difference, dip, novelty and unmixed, see `_dissolves`

# a fade
BLANK = 0.02  # contrast under which a picture is of one colour
SHADES = (
    0.12,
    0.85,
)  # luma up to which that is black, and from which on it is white: a wing before the camera is neither
RAMP = 48  # frames of the longest fade
RISE = 0.0015  # of contrast, by which each frame of a fade is at the least further out of it
HELD = 4  # frames after which a fade is further out: it may be drawn on threes
PAUSE = 12  # frames of one colour after which what comes is another shot, even of the same picture
RETURNED = 0.3  # of the contrast, that pictures before and after a fade differ by where it is as likely a blink


class Candidate(NamedTuple):
    """What may be a transition: frames first..after-1 are of both shots or of neither; at a hard cut there are none.

    `cut` is the first frame that counts as the new shot's: 0 where a film begins with a fade, its end where it ends so.
    """

    first: int
    after: int
    cut: int
    chance: float

    @property
    def doubtful(self) -> bool:
        return self.chance < CLEAR


class Span(NamedTuple):
    """A shot, frames first..last; the first `soft_in` and the last `soft_out` of them are not of it alone."""

    first: int
    last: int
    soft_in: int
    soft_out: int


def find_candidates(look: Look) -> list[Candidate]:
    """All that may be a transition, in order and apart from each other."""
    if len(look) < 2:
        return []
    rows = pictures(look)
    taken: list[Candidate] = []
    fades = _fades(look, rows)
    others = sorted([*_cuts(look, rows), *_dissolves(look, rows)], key=lambda c: -c.chance)
    free = np.ones(len(look) + 1, bool)
    for candidate in [*fades, *others]:
        around = slice(max(candidate.first - 1, 0), candidate.after + 2)
        if free[around].all():
            free[around] = False
            taken.append(candidate)
    return sorted(taken)


def decide(
    candidates: Sequence[Candidate], sensitivity: float = 0.5, judged: np.ndarray | None = None
) -> list[Candidate]:
    """The candidates that are transitions: those with a chance of 1 - `sensitivity` and more.

    `judged` [N] is the network's probability that a frame is the last of a shot, not a number where it was not asked.
    """
    heard = [c._replace(chance=_with_word(c, judged)) if c.doubtful and judged is not None else c for c in candidates]
    return [c for c in heard if c.chance >= 1 - sensitivity]


def _with_word(candidate: Candidate, judged: np.ndarray) -> float:
    """The chance when the network has spoken too: both have the same say, by their odds."""
    said = judged[asked_about(candidate, len(judged))]
    if np.isnan(said).any():
        return candidate.chance
    odds = np.clip([candidate.chance, said.max()], 1e-4, 1 - 1e-4)
    return float(_sigmoid(np.log(odds / (1 - odds)).mean()))


def asked_about(candidate: Candidate, count: int) -> range:
    """The frames of a film of `count` in which the network would see a candidate."""
    return range(max(candidate.first - 2, 0), min(candidate.after + 1, count))


def spans(transitions: Sequence[Candidate], count: int, min_frames: int = 1) -> list[Span]:
    """The shots of a film of `count` frames. What is shorter than `min_frames` joins the shot before, as soft frames."""
    bounds = [t for t in transitions if 0 < t.cut < count]
    starts = [0, *(t.cut for t in bounds)]
    long = [a for a, b in pairwise([*starts, count]) if b - a >= min_frames]
    firsts = [0, *long[1:]]
    found = []
    for first, after in pairwise([*firsts, count]):
        core = long[0] if first == 0 and long else first
        before = [t.after for t in transitions if t.cut == core]
        behind = [t.first for t in transitions if core < t.cut <= after]
        soft_in, end = (before or [core])[0] - first, (behind or [after])[0]
        found.append(Span(first, after - 1, *((soft_in, after - end) if long else (0, 0))))
    return found


def pictures(look: Look) -> np.ndarray:
    """Each frame as one row [N, 288] whose L1 distances are the mean difference of luma (16 x 12) and twice that of
    the chromas (8 x 6, twice), which vary less."""
    count = len(look)
    luma = look.tiny.reshape(count, -1).astype(np.float32) / (255 * look.tiny[0].size)
    tint = look.tint.reshape(count, -1).astype(np.float32) * 2 / (255 * look.tint[0].size)
    return np.concatenate([luma, tint], 1)


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one - other).sum(1)


def _sigmoid(x: np.ndarray | float) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(x)))


def _chances(weights: Sequence[float], *evidence: np.ndarray) -> np.ndarray:
    return _sigmoid(weights[0] + np.tensordot(weights[1:], np.stack(evidence), 1))


def _around(values: np.ndarray, reach: int) -> np.ndarray:
    """Each value with its neighbours [N, 2 reach + 1], 0 beyond the ends."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(values, reach), 2 * reach + 1)


# cuts


def _cuts(look: Look, rows: np.ndarray) -> list[Candidate]:
    """Hard cuts. Those close together are one: a flash between two shots belongs to neither."""
    at, chances = _cut_chances(look, rows)
    likely = chances >= LEAST
    groups: list[list[tuple[int, float]]] = []
    for frame, chance in zip(at[likely].tolist(), chances[likely].tolist(), strict=True):
        if groups and frame - groups[-1][-1][0] < NEAR[-1]:
            groups[-1].append((frame, chance))
        else:
            groups.append([(frame, chance)])
    found = []
    for group in groups:
        most = max(chance for _, chance in group)
        strong = [frame for frame, chance in group if chance >= most / 2]
        found.append(Candidate(strong[0], strong[-1], strong[-1], most))
    return found


def _cut_chances(look: Look, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames that differ from those before, and the chance that a shot begins there.

    gap: ln of the least difference between a picture before and one from here on, of the contrast; a picture that
    comes back has none. novelty: ln of what motion does not explain. hash: ln of the share of bits that differ, few in
    another light. peak: ln of how far the gap stands out among its neighbours'; in a whip pan or a flapping of wings
    they are alike.
    """
    contrast = np.maximum(_around(look.spread, NEAR[-1] + 2).max(1), DARK)  # a flash has none of its own
    gap = near_gaps(rows) / contrast
    at = np.flatnonzero(gap > CHANGED)
    plain = _plain(look)
    beside = np.where(plain | np.roll(plain, 1), 0, gap)  # the other end of a flash is no neighbour
    others = np.delete(_around(beside, NEAR[-1])[at], NEAR[-1], axis=1).max(1, initial=0)
    least, bits = np.full(len(at), np.inf, np.float32), np.full(len(at), 64)
    for back, on in product(FAR, FAR):
        before, after = np.maximum(at - back, 0), np.minimum(at + on - 1, len(look) - 1)
        np.minimum(least, _apart(rows[before], rows[after]), out=least)
        if back in NEAR and on in NEAR:
            np.minimum(bits, np.bitwise_count(look.hashes[before] ^ look.hashes[after]), out=bits)
    evidence = (least / contrast[at] + 0.01, look.novel[at] / contrast[at] + 0.01, gap[at] / (others + 0.05) + 0.01)
    far, novelty, peak = (np.log(value) for value in evidence)
    return at, _chances(CUT, far, novelty, np.log(bits / 64 + 0.03), peak)


def near_gaps(rows: np.ndarray) -> np.ndarray:
    """For every frame the least difference between one of the pictures before it and one from it on, over `NEAR`.

    Rows of pictures [N, D] to [N]; 0 for the first and where the film has none on a side.
    """
    count = len(rows)
    lags = {lag: _apart(rows[lag:], rows[:-lag]) for lag in range(1, min(2 * NEAR[-1], count))}
    least = np.full(count, np.inf, np.float32)
    for back, on in product(NEAR, NEAR):
        if (lag := back + on - 1) in lags:
            inside = slice(back, count - on + 1)
            np.minimum(least[inside], lags[lag], out=least[inside])
    return np.where(np.isfinite(least), least, 0)


# dissolves


def _dissolves(look: Look, rows: np.ndarray) -> list[Candidate]:
    """Dissolves of every length in `SPANS`: frames that go straight from one picture to another.

    difference: ln of that of both ends, of the contrast. dip: contrast lost half way, since two pictures in one blur
    each other. novelty: ln of the share of the change that motion does not explain. unmixed: how far frames at a
    quarter, half and three quarters are off the mix of both ends, of the ends' difference.
    """
    change = np.concatenate([[0], _apart(rows[1:], rows[:-1])])
    changed, novel = (np.concatenate([[0], np.cumsum(v, dtype=np.float64)]) for v in (look.change, look.novel))
    found: list[Candidate] = []
    for length in SPANS:
        if len(look) < length + 2:
            break
        first = np.arange(1, len(look) - length)
        before, after = first - 1, first + length
        ends = _apart(rows[after], rows[before])
        contrast = np.maximum(np.maximum(look.spread[before], look.spread[after]), DARK)
        step = np.lib.stride_tricks.sliding_window_view(change, length + 1).max(1)[first]
        some = (ends > DISSOLVED * contrast) & (step < STEP * ends)
        first, before, after, ends, contrast = (v[some] for v in (first, before, after, ends, contrast))
        middle = first + (length - 1) // 2
        dip = 1 - (look.spread[middle] + look.spread[middle + 1]) / (look.spread[before] + look.spread[after] + 1e-6)
        share = (novel[after + 1] - novel[first]) / (changed[after + 1] - changed[first] + 1e-4)
        evidence = (np.log(ends / contrast), np.clip(dip, *DIP[:2]), np.clip(np.log(share), -1, 0.1))
        chances = np.where(dip < DIP[2], _chances(DISSOLVE, *evidence, np.zeros(len(first))), 0)
        bits = np.bitwise_count(look.hashes[before] ^ look.hashes[after])
        possible = (chances >= LEAST) & (bits >= UNLIKE)  # what comes is dear
        chances[~possible] = 0
        unmixed = _unmixed(rows, before[possible], after[possible], ends[possible])
        so_far = (e[possible] for e in evidence)
        chances[possible] = np.where(unmixed < UNMIXED, _chances(DISSOLVE, *so_far, unmixed), 0)
        likely = chances >= LEAST
        for f, chance in zip(first[likely].tolist(), chances[likely].tolist(), strict=True):
            found.append(Candidate(f, f + length, f + length // 2, chance))
    return found


def _unmixed(rows: np.ndarray, before: np.ndarray, after: np.ndarray, ends: np.ndarray) -> np.ndarray:
    off = np.zeros(len(before), np.float32)
    length = after - before
    for quarter in (0.25, 0.5, 0.75):
        on = np.rint(quarter * length).astype(int)
        share = (on / np.maximum(length, 1)).astype(np.float32)[:, None]
        off += _apart(rows[before + on], (1 - share) * rows[before] + share * rows[after])
    return off / 3 / ends


# fades


def _fades(look: Look, rows: np.ndarray) -> list[Candidate]:
    """Where the picture goes to one colour and another comes out of it, and fades that a film begins or ends with."""
    blank = np.flatnonzero(np.diff(np.concatenate([[0], _plain(look), [0]])))
    found = []
    for first, after in zip(blank[::2].tolist(), blank[1::2].tolist(), strict=True):
        start, end = _ramp(look.spread, first - 1, -1) + 1, _ramp(look.spread, after, 1)
        if start == 0 and end == len(look):
            continue
        if start == 0 or end == len(look):
            found.append(Candidate(start, end, 0 if start == 0 else len(look), 1.0))
        elif after - first >= PAUSE:
            found.append(Candidate(start, end, (first + after) // 2, 1.0))
        elif _straight(rows, start - 1, first) or _straight(rows, after - 1, end):
            found.append(Candidate(start, end, (first + after) // 2, _another(look, rows, start - 1, end)))
    return [c for c in found if c.chance >= LEAST]


def _plain(look: Look) -> np.ndarray:
    """Whether a frame is black or white and nothing else [N]."""
    return (look.spread < BLANK) & ((look.luma < SHADES[0]) | (look.luma > SHADES[1]))


def _ramp(contrast: np.ndarray, frame: int, way: int) -> int:
    """From the first frame beside a blank one on, the first that is out of the fade, or where the film ends."""
    if not 0 <= frame < len(contrast):
        return frame
    coming = contrast[frame::way][: RAMP + HELD]
    rising = coming[HELD:] > coming[:-HELD] + HELD * RISE
    steps = int(np.argmin(np.append(rising, False)))
    return frame + way * steps


def _straight(rows: np.ndarray, before: int, after: int) -> bool:
    """Whether the frames between go straight from one picture to the other, as a wing before the camera does not."""
    if after - before < HELD:
        return False
    ends = np.array([np.abs(rows[after] - rows[before]).sum()])
    return bool(_unmixed(rows, np.array([before]), np.array([after]), ends)[0] < UNMIXED)


def _another(look: Look, rows: np.ndarray, before: int, after: int) -> float:
    """The chance that these two frames, before and after a fade, are of two shots."""
    contrast = max(look.spread[before], look.spread[after], DARK)
    apart = float(np.abs(rows[after] - rows[before]).sum()) / contrast
    return float(_sigmoid(CUT[1] * np.log(apart / RETURNED + 1e-3)))
