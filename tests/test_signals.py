"""Cuts and measures, on pictures whose answer is known."""

from functools import cache

import numpy as np
import pytest

from sakuga.core.settings import ShotSettings
from sakuga.signals.cuts import DETECTORS, CutFinder
from sakuga.signals.measures import luma, motion


@cache
def scene(seed: int, frame: int) -> np.ndarray:
    """A picture of large blocks in the scene's own colours, brightness and layout, moved on a little each frame."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (6, 8, 3)) * (0.4 + 0.6 * (seed % 2))
    picture = np.repeat(np.repeat(blocks, 24, axis=0), 32, axis=1)
    return np.roll(picture, frame, axis=1).astype(np.uint8)


def cuts(detector: str, lengths: list[int], threshold: float | None = None, min_frames: int = 1) -> list[int]:
    finder = CutFinder(detector, threshold, min_frames)
    shots = [(shot, frame) for shot, length in enumerate(lengths) for frame in range(length)]
    for index, (shot, frame) in enumerate(shots):
        finder.feed(index, scene(shot, frame))
    return finder.finish()


@pytest.mark.parametrize("detector", DETECTORS)
def test_hard_cuts_are_found_to_the_frame(detector: str) -> None:
    assert cuts(detector, [20, 25, 18, 30], min_frames=5) == [20, 45, 63]


@pytest.mark.parametrize("detector", DETECTORS)
def test_one_shot_has_no_cut(detector: str) -> None:
    assert cuts(detector, [40]) == [] and cuts(detector, [1]) == [] and cuts(detector, []) == []


@pytest.mark.parametrize("detector", DETECTORS)
def test_short_shots_join_the_one_before(detector: str) -> None:
    def long(*lengths: int) -> list[int]:
        return cuts(detector, list(lengths), min_frames=12)

    assert long(30, 4, 30, 30) == [34, 64]
    assert long(30, 5, 5, 30) == [40]
    assert long(30, 30, 4) == [30]
    assert long(4, 30, 30) == [34]  # there is none before: the one after
    assert long(30, 12, 30) == [30, 42] and long(30, 11, 30) == [41]
    assert long(5, 6) == []


@pytest.mark.parametrize("detector, out_of_reach", [("adaptive", 1e6), ("content", 256.0), ("hash", 1.0)])
def test_a_threshold_out_of_reach_finds_nothing(detector: str, out_of_reach: float) -> None:
    assert len(cuts(detector, [20, 20], min_frames=5)) == 1
    assert cuts(detector, [20, 20], out_of_reach, min_frames=5) == []


def test_every_detector_can_be_chosen() -> None:
    for detector in DETECTORS:
        assert ShotSettings.model_validate({"detector": detector}).detector == detector
    assert set(DETECTORS) == set(ShotSettings.model_fields["detector"].annotation.__args__)  # type: ignore[union-attr]


def test_luma_weighs_colours_as_the_eye_does() -> None:
    pure = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]]], np.uint8)
    assert luma(pure)[0] == pytest.approx([0.2126, 0.7152, 0.0722, 1.0, 0.0], abs=1e-6)
    assert luma(pure).shape == (1, 5) and luma(pure).dtype == np.float32


def test_motion_is_the_mean_change() -> None:
    dark, light = np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32)
    half = np.concatenate([dark[:2], light[:2]])
    assert motion(dark, dark) == 0.0 and motion(dark, light) == motion(light, dark) == 1.0 and motion(dark, half) == 0.5
