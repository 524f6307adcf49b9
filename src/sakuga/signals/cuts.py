"""Where a film cuts, told from what the pass over it kept."""

import numpy as np

from .look import Look

AROUND = 3  # frames to either side that a cut is held against


def find_cuts(look: Look, min_frames: int, ratio: float = 3.0, least: float = 0.03) -> list[int]:
    """The first frame of every shot but the first. A shot of fewer than `min_frames` joins the one before it."""
    novel = look.novel
    padded = np.pad(novel, AROUND)
    around = np.stack([padded[AROUND + d : AROUND + d + len(novel)] for d in range(-AROUND, AROUND + 1) if d]).mean(0)
    found = np.flatnonzero((novel > least) & (novel > ratio * around)).tolist()
    afters = [*found, len(novel)]
    return [f for f, after in zip([0, *found], afters, strict=True) if after - f >= min_frames][1:]
