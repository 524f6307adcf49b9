"""Plain measures of a picture and of what changes between two."""

import numpy as np


def luma(rgb: np.ndarray) -> np.ndarray:
    """Brightness 0..1 of each pixel of an RGB picture [H, W, 3] (BT.709 weights)."""
    weights = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
    return (rgb.astype(np.float32) @ weights) / 255.0


def motion(before: np.ndarray, after: np.ndarray) -> float:
    """How much changed between two luma pictures: the mean absolute difference, 0..1."""
    return float(np.abs(after - before).mean())
