"""What stands over a picture taken away again: painted over from around it, cut off with a strip of the picture, or
left out by a mask."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

RADIUS = 4.0  # pixels from which what is painted over takes its colours
AROUND = 16  # pixels beyond a box that are handed to the painter

# logos, whose mask is of the small pictures
SOFT = 3.0  # of their pixels, by which a mask is widened: what coding smears of it would be spread over its place
# words, whose letters are found anew in each picture
STROKE = 0.35  # of a line's height: letters are thinner across
CONTRAST = 30  # levels of 255 of letters to what is beside them
OUTLINE = 0.14  # of a line's height: the edge that is drawn around letters, and what coding smears

Share = tuple[float, float, float, float]  # left, top, right, bottom of the picture's width and height
Box = tuple[int, int, int, int]  # the same in pixels, the last two outside


class Overlay(NamedTuple):
    """What stands at `box`. `mask` is above 0 where that is a logo, at any size; None for words."""

    box: Share
    mask: np.ndarray | None = None


def paint_out(rgb: np.ndarray, overlays: Iterable[Overlay]) -> np.ndarray:
    """A picture [H, W, 3] uint8 with logos and letters painted over from around them (Telea, 2004)."""
    painted = rgb.copy()
    height, width = rgb.shape[:2]
    for overlay in overlays:
        mask = _letters(rgb, overlay.box) if overlay.mask is None else _logo(rgb.shape[:2], overlay.box, overlay.mask)
        if not mask.any():
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        near = (
            slice(max(0, int(rows[0]) - AROUND), min(height, int(rows[-1]) + AROUND + 1)),
            slice(max(0, int(columns[0]) - AROUND), min(width, int(columns[-1]) + AROUND + 1)),
        )
        painted[near] = cv2.inpaint(np.ascontiguousarray(painted[near]), mask[near], RADIUS, cv2.INPAINT_TELEA)
    return painted


def spared_mask(shape: Sequence[int], overlays: Iterable[Overlay]) -> np.ndarray:
    """A mask [H, W] uint8 of what no overlay touches: 0 in the rectangle of a logo or a line of words, a bit wider; else 255."""
    height, width = shape
    mask = np.full((height, width), 255, np.uint8)
    for overlay in overlays:
        left, top, right, bottom = _pixels(overlay.box, height, width)
        wider = round(
            OUTLINE * (bottom - top) if overlay.mask is None else SOFT * (right - left) / overlay.mask.shape[1]
        )
        mask[max(0, top - wider) : bottom + wider, max(0, left - wider) : right + wider] = 0
    return mask


def _pixels(box: Share, height: int, width: int) -> Box:
    """The whole pixels that a box touches."""
    left, top, right, bottom = box
    return int(left * width), int(top * height), -int(-right * width // 1), -int(-bottom * height // 1)


def _logo(shape: Sequence[int], box: Share, mask: np.ndarray) -> np.ndarray:
    """The mask [H, W] uint8 of a logo over a picture of that shape: all that lies between its edges, a bit wider."""
    height, width = shape
    left, top, right, bottom = _pixels(box, height, width)
    across, down = (_between(mask > 0, axis) for axis in (1, 0))  # a plate whose edges are faint in part is one still
    filled = cv2.resize((across | down).astype(np.uint8) * 255, (right - left, bottom - top))
    full = np.zeros((height, width), np.uint8)
    full[top:bottom, left:right] = filled[: height - top, : width - left] > 127
    return _wider(full, SOFT * (right - left) / mask.shape[1])


def _between(mask: np.ndarray, axis: int) -> np.ndarray:
    """From the first to the last of the pixels in each row (axis 1) or column (0)."""
    before = np.maximum.accumulate(mask, axis)
    after = np.flip(np.maximum.accumulate(np.flip(mask, axis), axis), axis)
    return before & after


def _letters(rgb: np.ndarray, box: Share) -> np.ndarray:
    """The mask [H, W] uint8 of the strokes in a box, light or dark ones, whichever stand out more; with their outline."""
    left, top, right, bottom = _pixels(box, *rgb.shape[:2])
    luma = cv2.cvtColor(np.ascontiguousarray(rgb[top:bottom, left:right]), cv2.COLOR_RGB2GRAY)
    line = luma.shape[0]
    kernel = np.ones((1, max(3, round(STROKE * line))), np.uint8)
    hats = [cv2.morphologyEx(luma, hat, kernel) for hat in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT)]
    strokes = max(hats, key=lambda hat: float(hat.mean())) > CONTRAST
    mask = np.zeros(rgb.shape[:2], np.uint8)
    mask[top:bottom, left:right] = strokes
    return _wider(mask, OUTLINE * line)


def _wider(mask: np.ndarray, pixels: float) -> np.ndarray:
    side = 2 * max(1, round(pixels)) + 1
    return cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))


def spare(size: tuple[int, int], box: Box | None, overlays: Iterable[Overlay]) -> Box:
    """The largest part of a picture of `size` (width, height), or of its part `box`, that is free of what stands over it.

    Of each overlay the strip above, below, left or right that takes least is cut off with it.
    """
    width, height = size
    left, top, right, bottom = box or (0, 0, width, height)
    for overlay in overlays:
        first, upper, last, lower = _pixels(overlay.box, height, width)
        if last <= left or first >= right or lower <= top or upper >= bottom:
            continue  # an earlier strip took it along
        free = [(last, top, right, bottom), (left, top, first, bottom), (left, lower, right, bottom)]
        free += [(left, top, right, upper)]
        left, top, right, bottom = max(free, key=lambda part: max(0, part[2] - part[0]) * max(0, part[3] - part[1]))
    return left, top, right, bottom
