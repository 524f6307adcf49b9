"""Whether a finished clip holds one shot: a second and stricter look, at every frame of it.

A break is a change of most of the picture that mixes two pictures and is not taken back. So a span of frames is a
break where, in most blocks that change, what lies between is a mix of its ends, the same for the whole picture
(`mixed`: a cut and a fade are mixes too, something that moves is none), and where nothing of what is before can be found
after it, wherever it went to and however the light changed (`found`). Before and after reach a second to either side:
what comes back after a flash, an impact frame or an explosion was no break.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

LOOK_SIZE = (96, 72)  # width, height: pictures are looked at squeezed into this
BLOCK = 8  # pixels of that; 12 x 9 blocks
FINEST = 0  # scale of the motion: every pixel of LOOK_SIZE, since at half of it a slow zoom is not followed
SPANS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 22)  # frames from the start of a break to its end
REACH = (0, 1, 2, 4, 7, 11, 16, 22)  # frames further before or after, where what was there may be found again
CHANGED = 6.0  # of 255, root mean square over a block: below this it is noise
TEXTURED = 30.0  # variance of luma over a block from which it can be told from another
UNMIXED = 0.12  # share of a block's change that a mix may leave unexplained
MIXED = 0.5  # share of the picture that mixes, from which it may be a break
ALIKE = 0.6  # correlation of luma from which two blocks show the same
FOUND = 0.72  # share of the textured blocks that is found again, from which it is the same shot
HOPEFUL = 0.3  # share below which looking a second time is in vain
FEW = 6  # textured blocks with which nothing can be told
FLAT = 12.0  # deviation of luma under which a picture is black or white, and how far from either it may be
BACK = 0.12  # share of a mix that may be taken back from one frame to the next
BEGUN = 0.3  # of an even step: with less, a mix has not begun or is over, and the span is too wide
AHEAD = 3  # frames looked ahead for more of a mix, which motion hides in single ones
STILL = 0.03  # share of a mix in one frame under which a mix has not begun or is over

Kind = Literal["cut", "dissolve", "fade to black", "fade to white"]


@dataclass(frozen=True)
class Break:
    """`first` is the last frame of what was before, `last` the first of what comes after; frames between are mixed."""

    first: int
    last: int
    kind: Kind


def breaks(frames: Sequence[np.ndarray]) -> list[Break]:
    """Where a clip, RGB uint8 pictures [H, W, 3] of one size and about 16 a second, is of more than one shot."""
    if len(frames) < 2:
        return []
    clip = _Clip([_small(rgb) for rgb in frames])
    told: list[Break] = []
    for first, last in clip.candidates():
        if any(first < t.last and t.first < last for t in told):
            continue
        if clip.found(first, last) < FOUND:
            told.append(clip.told(first, last))
    return sorted(told, key=lambda t: t.first)


def longest_whole(count: int, told: Sequence[Break]) -> tuple[int, int]:
    """The first and last frame of the longest part of a clip of `count` frames that no break touches; the earlier of two.

    Frames at which a break begins or ends are whole. Where nothing is left, last < first.
    """
    starts = [0, *(t.last for t in told)]
    ends = [*(t.first for t in told), count - 1]
    return max(zip(starts, ends, strict=True), key=lambda part: part[1] - part[0])


def _small(rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.resize(rgb, LOOK_SIZE, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2YCrCb)


def mixed(pictures: np.ndarray, textured: np.ndarray) -> float:
    """The share of the blocks that change from the first to the last picture as a mix of the two, 0 where it goes back.

    `pictures` [F, P, V] are the values of every block, `textured` [P] the blocks that hold something in either.
    """
    way = pictures[-1] - pictures[0]
    length = (way * way).sum(1)
    changed = length > CHANGED**2 * way.shape[1] / 3
    if 2 * changed.sum() < MIXED * len(changed):
        return 0.0
    between = pictures[1:-1] - pictures[0]
    parts = np.median((between * way).sum(2)[:, changed] / length[changed], axis=1)
    steps = np.diff([0.0, *parts, 1.0])
    if steps.min() < -BACK or min(steps[0], steps[-1]) < BEGUN / len(steps):
        return 0.0
    left = ((between - parts[:, None, None] * way) ** 2).sum(2)
    fits = changed & (left < UNMIXED * length).all(0)
    return float(fits.sum() / (changed | textured).sum())


@dataclass
class _Clip:
    """The frames of a clip, YCrCb uint8 [72, 96, 3], and what was found of one in another so far."""

    frames: list[np.ndarray]
    _known: dict[tuple[int, int], float | None] = field(default_factory=dict)
    _flow: cv2.DISOpticalFlow = field(
        default_factory=lambda: cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    )

    def __post_init__(self) -> None:
        self._flow.setFinestScale(FINEST)
        self.luma = [np.ascontiguousarray(f[..., 0]) for f in self.frames]
        self.values = np.stack([_blocks(f) for f in self.frames])
        self.means = np.stack([_averaged(f.astype(np.float32)) for f in self.frames])
        self.textured = np.stack([_deviation(y)[1] for y in self.luma]) > TEXTURED

    def candidates(self) -> list[tuple[int, int]]:
        """Spans that mix, those that mix most first, the shorter where two mix as much."""
        spans: list[tuple[float, int, int]] = []
        textured = self.textured.reshape(len(self.frames), -1)
        for span in SPANS:
            for first in range(len(self.frames) - span):
                last = first + span
                share = mixed(self.values[first : last + 1], textured[first] | textured[last])
                if share >= MIXED:
                    spans.append((-round(share, 1), first, last))
        return [(first, last) for _, first, last in sorted(spans, key=lambda s: (s[0], s[2] - s[1], s[1]))]

    def found(self, first: int, last: int) -> float:
        """The most of any frame up to `first` that stands in any frame from `last` on, or the other way round."""
        told: list[float] = []
        for before in (first - reach for reach in REACH if first - reach >= 0):
            for after in (last + reach for reach in REACH if last + reach < len(self.frames)):
                for share in (self._in(before, after), self._in(after, before)):
                    if share is not None and share >= FOUND:
                        return share
                    told += [share] if share is not None else []
        return max(told, default=1.0)

    def _in(self, a: int, b: int) -> float | None:
        """Looked for from where the whole picture went, and where it is not found so, from where it was half way."""
        if (a, b) not in self._known:
            share = self._measure(a, b, _shift(self.luma[a], self.luma[b]))
            if share is not None and FOUND > share >= HOPEFUL and abs(b - a) > 2:
                half = self._motion(a, (a + b) // 2, _shift(self.luma[a], self.luma[(a + b) // 2]))
                share = max(share, self._measure(a, b, 2 * half) or 0.0)
            self._known[a, b] = share
        return self._known[a, b]

    def _motion(self, a: int, b: int, begin: np.ndarray) -> np.ndarray:
        return self._flow.calc(self.luma[a], self.luma[b], begin)

    def _measure(self, a: int, b: int, begin: np.ndarray) -> float | None:
        """The share of the textured blocks of `a` that are found in `b`, of those that did not leave the picture.

        None where too few are left to tell.
        """
        at = _PLACES + self._motion(a, b, begin)
        moved = cv2.remap(self.frames[b], at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        inside = ((at >= 0) & (at <= _LIMITS)).all(2)
        seen = self.textured[a] & (_averaged(inside.astype(np.float32)) > 0.8)
        if seen.sum() < FEW:
            return None
        alike = _correlation(self.luma[a], moved[..., 0]) > ALIKE
        same = _same_colours(self.means[a], _averaged(moved.astype(np.float32)), seen & alike)
        return float((seen & alike & same).sum() / seen.sum())

    def told(self, first: int, last: int) -> Break:
        """The break that a span lies on, from where its mix begins to where it ends."""
        way = (self.values[last] - self.values[first]).reshape(-1)
        parts = (self.values - self.values[first]).reshape(len(self.frames), -1) @ way / (way @ way)
        ahead = AHEAD if last - first > 2 else 1  # a cut has no more of it to come
        while first > 0 and parts[first] - parts[max(first - ahead, 0) : first].min() > STILL:
            first -= 1
        while last < len(parts) - 1 and parts[last + 1 : last + 1 + ahead].max() - parts[last] > STILL:
            last += 1
        while last - first > 1 and parts[first + 1] - parts[first] < STILL:
            first += 1
        while last - first > 1 and parts[last] - parts[last - 1] < STILL:
            last -= 1
        return Break(first, last, self._kind(first, last))

    def _kind(self, first: int, last: int) -> Kind:
        for luma in self.luma[first : last + 1]:
            mean, spread = (float(v[0, 0]) for v in cv2.meanStdDev(luma))
            if spread < FLAT and mean < FLAT:
                return "fade to black"
            if spread < FLAT and mean > 255 - FLAT:
                return "fade to white"
        return "cut" if last - first <= 2 else "dissolve"


def _blocks(picture: np.ndarray) -> np.ndarray:
    """[72, 96, 3] as the values of each block at half the size [108, 48], float32."""
    half = cv2.resize(picture, (LOOK_SIZE[0] // 2, LOOK_SIZE[1] // 2), interpolation=cv2.INTER_AREA)
    side = BLOCK // 2
    rows, columns = half.shape[0] // side, half.shape[1] // side
    cut = half.reshape(rows, side, columns, side, 3).transpose(0, 2, 1, 3, 4)
    return cut.reshape(rows * columns, -1).astype(np.float32)


def _shift(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How the whole picture `a` moved to become `b`, as a motion [72, 96, 2] to begin with."""
    (right, down), _ = cv2.phaseCorrelate(a.astype(np.float32), b.astype(np.float32), _WINDOW)
    return np.full((*a.shape, 2), (right, down), np.float32)


def _averaged(plane: np.ndarray) -> np.ndarray:
    """The mean of every block."""
    return cv2.resize(plane, (LOOK_SIZE[0] // BLOCK, LOOK_SIZE[1] // BLOCK), interpolation=cv2.INTER_AREA)


def _deviation(luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of every block."""
    exact = luma.astype(np.float32)
    mean = _averaged(exact)
    return mean, _averaged(exact * exact) - mean * mean


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The correlation of luma in every block, whatever the light."""
    (mean_a, var_a), (mean_b, var_b) = _deviation(a), _deviation(b)
    both = _averaged(a.astype(np.float32) * b) - mean_a * mean_b
    return both / np.sqrt(np.maximum(var_a, 4) * np.maximum(var_b, 4))


def _same_colours(a: np.ndarray, b: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Which blocks of means `a` and `b` [9, 12, 3] agree in colour but for one light over all (luma linear, chroma by it)."""
    if among.sum() < FEW:
        return among
    from_a, from_b = a[..., 0][among], b[..., 0][among]
    spread = from_a - from_a.mean()
    gain = float(np.clip((spread * from_b).sum() / max((spread * spread).sum(), 1.0), 0.0, 3.0))
    luma = np.abs(b[..., 0] - from_b.mean() - gain * (a[..., 0] - from_a.mean())) < LUMA_APART
    chroma = np.abs(b[..., 1:] - 128 - gain * (a[..., 1:] - 128)).max(2) < CHROMA_APART
    return luma & chroma


LUMA_APART, CHROMA_APART = 30.0, 18.0  # how far a block's mean may be from what the light makes of it
_PLACES = np.stack(np.meshgrid(np.arange(LOOK_SIZE[0]), np.arange(LOOK_SIZE[1])), axis=2).astype(np.float32)
_WINDOW = cv2.createHanningWindow(LOOK_SIZE, cv2.CV_32F)
_LIMITS = np.array(LOOK_SIZE, np.float32) - 1
