"""Which frames of a shot are its best stills: sharp, not blank, and unlike each other."""

from typing import NamedTuple

import cv2
import numpy as np

WIDE = 640  # pixels: sharpness is measured at this width at most, where grain and coding noise are averaged away
EDGES = 0.05  # share of the pixels, those on the strongest edges, that sharpness is told from
TINY = (16, 12)  # width and height of the pictures that are compared
BLANK = 4.0  # deviation of luma, of 255, under which a picture shows nothing
SHARP = 0.9  # of the sharpest frame's sharpness: from here on the eye sees no difference
SOFT = 0.7  # of the sharpest frame's sharpness: softer ones are taken only when no other is left
SAME = 1.5  # mean difference of 255 under which two frames show one drawing


class Seen(NamedTuple):
    """What is told of a candidate: its sharpness, whether it shows anything, and itself at `TINY` [12, 16, 3]."""

    sharpness: float
    blank: bool
    tiny: np.ndarray


def see(rgb: np.ndarray) -> Seen:
    """What is told of a picture [H, W, 3] uint8. Sharpness is the mean of the strongest second differences of luma."""
    luma = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    if luma.shape[1] > WIDE:
        luma = cv2.resize(luma, (WIDE, max(1, luma.shape[0] * WIDE // luma.shape[1])), interpolation=cv2.INTER_AREA)
    edges = np.abs(cv2.Laplacian(luma, cv2.CV_16S)).ravel()
    strongest = max(1, round(EDGES * edges.size))
    sharpness = float(np.partition(edges, -strongest)[-strongest:].mean())
    tiny = cv2.resize(rgb, TINY, interpolation=cv2.INTER_AREA).astype(np.float32)
    return Seen(sharpness, float(luma.std()) < BLANK, tiny)


def best(seen: list[Seen], count: int) -> list[int]:
    """Which of the candidates are taken, ascending: at most `count`, none blank, no two of one drawing.

    The first is the one nearest to the middle of those about as sharp as the sharpest; then comes always the one that is
    most unlike those taken, among those not much softer.
    """
    showing = [n for n, s in enumerate(seen) if not s.blank]
    if not showing or not count:
        return []
    middle, sharpest = (len(seen) - 1) / 2, max(seen[n].sharpness for n in showing)
    taken = [min((n for n in showing if seen[n].sharpness >= SHARP * sharpest), key=lambda n: abs(n - middle))]
    sharp = SOFT * sharpest
    while len(taken) < count:
        left = [(n, min(_apart(seen[n], seen[t]) for t in taken)) for n in showing if n not in taken]
        left = [(n, apart) for n, apart in left if apart > SAME]
        if not left:
            break
        taken.append(max(left, key=lambda one: (seen[one[0]].sharpness >= sharp, one[1]))[0])
    return sorted(taken)


def _apart(a: Seen, b: Seen) -> float:
    return float(np.abs(a.tiny - b.tiny).mean())
