"""What a film sounds like, as one number for each sixteenth of a second, by which the same sound is known again.

After Haitsma and Kalker (2002): in each of 33 bands of the spectrum the level has risen or fallen since a moment ago,
and a bit says whether it rose more than in the next band. Gain, equalisation and lossy coding leave nearly all bits as
they were; another pitch, as of a film that runs faster, does not.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np

from .recurring import PLAIN

RATE = 8000  # samples/s of mono sound: all that is looked at lies below a quarter of it
TICK = 1 / 16  # seconds from one print to the next

HOP = round(RATE * TICK)
WINDOW = 3072  # samples, 0.38 s: films out of step by half a tick still hear nearly the same
BANDS = np.geomspace(300, 2000, 34)  # Hz, the edges of the bands: every codec keeps these
SINCE = 3  # ticks back to what a level is compared with: half a window, so that the two share little
PAIR = 4  # ticks between the two prints of 32 bits that make one of 64
QUIET = 1e-6  # power, of full scale 1, under which nothing is told: silence, hiss
FLOOR = 1e-10  # added to each band's power: an empty band stands still instead of following rounding
AT_ONCE = 30 * RATE  # samples turned into spectra together


def sound_prints(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Prints [T] uint32 of mono samples (float, -1..1, RATE), given block by block; number k is of the sound at k * TICK s.

    PLAIN where there is nothing to hear.
    """
    levels = np.concatenate([np.empty((0, len(BANDS) - 1), np.float32), *map(_levels, _overlapping(blocks))])
    log = np.log(levels + FLOOR)
    rise = log - log[np.maximum(np.arange(len(log)) - SINCE, 0)]
    prints = np.packbits(rise[:, :-1] > rise[:, 1:], axis=1).view(">u4")[:, 0].astype(np.uint32)
    return np.where(levels.sum(axis=1) > QUIET, prints, np.uint32(PLAIN))


def sound_track(prints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """When (s [T]) and what (uint64 [T]): each print with the one a quarter of a second later, to be looked up by."""
    now, later = (p.astype(np.uint64) for p in (prints[:-PAIR], prints[PAIR:]))
    both = np.where((now == PLAIN) | (later == PLAIN), np.uint64(PLAIN), now << np.uint64(32) | later)
    return np.arange(len(both)) * TICK, both


def _overlapping(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The samples in long stretches, each of which goes on where the last whole window of the one before began."""
    half = np.zeros(WINDOW // 2, np.float32)  # so that the window of tick 0 has time 0 in its middle
    waiting, count = [half], len(half)
    for block in chain(blocks, [half]):
        waiting.append(block)
        count += len(block)
        if count >= AT_ONCE:
            stretch = np.concatenate(waiting)
            yield stretch
            waiting = [stretch[_ticks(len(stretch)) * HOP :]]
            count = len(waiting[0])
    yield np.concatenate(waiting)


def _ticks(samples: int) -> int:
    return max(0, (samples - WINDOW) // HOP + 1)


def _levels(samples: np.ndarray) -> np.ndarray:
    """Power in each band [T, 33], mean square of the samples, in the window around every tick."""
    if not _ticks(len(samples)):
        return np.empty((0, len(BANDS) - 1), np.float32)
    shape = np.hanning(WINDOW).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(windows * shape)) ** 2 * (2 / (WINDOW * (shape**2).sum()))
    edges = np.round(BANDS * WINDOW / RATE).astype(int)
    return np.add.reduceat(power, edges, axis=1)[:, :-1].astype(np.float32)
