"""Measures of a picture, on pictures whose answer is known."""

import numpy as np
import pytest

from sakuga.signals.measures import luma, motion


def test_luma_weighs_colours_as_the_eye_does() -> None:
    pure = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]]], np.uint8)
    assert luma(pure)[0] == pytest.approx([0.2126, 0.7152, 0.0722, 1.0, 0.0], abs=1e-6)
    assert luma(pure).shape == (1, 5) and luma(pure).dtype == np.float32


def test_motion_is_the_mean_change() -> None:
    dark, light = np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32)
    half = np.concatenate([dark[:2], light[:2]])
    assert motion(dark, dark) == 0.0 and motion(dark, light) == motion(light, dark) == 1.0 and motion(dark, half) == 0.5
