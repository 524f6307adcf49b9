"""Fitting a picture to a bucket: scaled to cover it, then cropped from the centre."""

import cv2
import numpy as np


def fit(rgb: np.ndarray, width: int, height: int) -> np.ndarray:
    """`rgb` (H x W x 3 or H x W, uint8) as height x width (x 3): area averaging to shrink, Lanczos to enlarge."""
    have_h, have_w = rgb.shape[:2]
    scale = max(width / have_w, height / have_h)
    new_w, new_h = max(width, round(have_w * scale)), max(height, round(have_h * scale))
    if (new_w, new_h) != (have_w, have_h):
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LANCZOS4
        rgb = cv2.resize(rgb, (new_w, new_h), interpolation=how)
    left, top = (new_w - width) // 2, (new_h - height) // 2
    return np.ascontiguousarray(rgb[top : top + height, left : left + width])
