"""Where a film cuts. PySceneDetect's detectors, fed with our own frames so that one decoding pass serves everything."""

from fractions import Fraction

import cv2
import numpy as np
from scenedetect import FrameTimecode, SceneDetector
from scenedetect.detectors import AdaptiveDetector, ContentDetector, HashDetector, HistogramDetector

# detector: (class, the name of its threshold)
DETECTORS: dict[str, tuple[type[SceneDetector], str]] = {
    "adaptive": (AdaptiveDetector, "adaptive_threshold"),
    "content": (ContentDetector, "threshold"),
    "hash": (HashDetector, "threshold"),
    "histogram": (HistogramDetector, "threshold"),
}


class CutFinder:
    """Takes frames one by one; `finish` gives the index of the first frame of every shot but the first.

    A shot of fewer than `min_frames` joins the one before it, or the one after where there is none before.
    """

    def __init__(self, detector: str, threshold: float | None, min_frames: int) -> None:
        kind, name = DETECTORS[detector]
        options = {} if threshold is None else {name: threshold}
        # the detectors' own rule for short shots differs from one to the next, and lets the last be of any length
        self._detector = kind(min_scene_len=1, **options)
        self._min_frames = min_frames
        self._found: list[FrameTimecode] = []
        self._last: FrameTimecode | None = None

    def feed(self, index: int, rgb: np.ndarray) -> None:
        """The frame `index` [H, W, 3] in RGB, small (about 256 wide)."""
        # The rate is nominal: detectors count frames alone.
        self._last = FrameTimecode(index, fps=Fraction(25))
        self._found += self._detector.process_frame(self._last, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))

    def finish(self) -> list[int]:
        if self._last is None:
            return []
        self._found += self._detector.post_process(self._last)
        firsts = sorted({0, *(cut.frame_num for cut in self._found)})
        afters = [*firsts[1:], self._last.frame_num + 1]
        return [f for f, after in zip(firsts, afters, strict=True) if after - f >= self._min_frames][1:]
