"""Masks: pictures and videos whose brightness says how much each place counts, or how opaque an item's own file is."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from . import film
from .picture import VIDEO_SUFFIXES, as_rgb, opened


def is_transparent(path: Path) -> bool:
    """Whether any pixel of a picture is not opaque. Raises SakugaError where it cannot be read."""
    with opened(path) as picture:
        return picture.has_transparency_data and bool(_alpha(picture).min(initial=255) < 255)


def read_mask(path: Path, frames: Sequence[int], *, own: bool) -> list[np.ndarray]:
    """How much each place counts in frames (ascending indices), uint8 [H, W], 255 is wholly; a picture serves for all.

    `own`: of an item's own file, how opaque it is. Another's says it by its brightness, or where it is transparent, by
    that. Fewer frames come where a video ends before. Raises SakugaError where the file cannot be read.
    """
    if path.suffix.lower() in VIDEO_SUFFIXES:
        wanted = sorted(set(frames))
        found = {n: _grey(shown) for n, shown in film.frames(path, wanted, alpha=own)}
        return [found[n] for n in frames if n in found]
    with opened(path) as picture:
        by_alpha = picture.has_transparency_data and (own or _alpha(picture).min(initial=255) < 255)
        mask = _alpha(picture) if by_alpha else _brightness(picture)
    return [mask] * len(frames)


def _alpha(picture: Image.Image) -> np.ndarray:
    return np.array(picture.convert("RGBA").getchannel("A"))


def _brightness(picture: Image.Image) -> np.ndarray:
    return np.array(as_rgb(picture).convert("L"))


def _grey(shown: np.ndarray) -> np.ndarray:
    """Brightness of RGB by BT.601, as Pillow reckons it; what has one channel is that already."""
    return shown if shown.ndim == 2 else np.array(Image.fromarray(shown).convert("L"))
