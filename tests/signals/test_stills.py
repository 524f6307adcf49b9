"""Which frames become stills: sharp ones, no blank ones, no drawing twice."""

import cv2
import numpy as np

from sakuga.signals.stills import best, see


def picture(x: int, blur: float = 0.0) -> np.ndarray:
    rgb = np.full((96, 128, 3), 80, np.uint8)
    rgb[20:70, x : x + 24] = (220, 200, 60)
    return cv2.GaussianBlur(rgb, (0, 0), blur) if blur else rgb


def test_sharp_frames_go_before_soft_ones_and_blank_ones_are_never_taken() -> None:
    black = np.zeros((96, 128, 3), np.uint8)
    seen = [see(p) for p in (black, picture(0, 3.0), picture(5), picture(60, 3.0), picture(90), black)]
    assert best(seen, 2) == [2, 4]
    assert best(seen, 3) == [2, 3, 4] and best(seen, 9) == [1, 2, 3, 4]
    assert best([see(black)], 1) == [] == best(seen, 0)


def test_of_one_drawing_the_frame_in_the_middle_is_taken_once() -> None:
    assert best([see(picture(10))] * 5, 3) == [2]
