"""Shared measures: where the subject's pixels are."""

from collections.abc import Callable

import numpy as np
import pytest

import sakuga_world.draw as drawing
from sakuga_world.look import Look
from sakuga_world.scene import Scene


@pytest.fixture
def masks(monkeypatch: pytest.MonkeyPatch) -> Callable[[Scene, Look, int], np.ndarray]:
    """F x H x W bool: what the subject covers, from the same clip drawn without it."""

    def measured(scene: Scene, look: Look, frames: int) -> np.ndarray:
        full = drawing.draw_clip(scene, look, frames).astype(int)
        with monkeypatch.context() as patch:
            patch.setattr(drawing, "_subject", lambda *_: None)
            bare = drawing.draw_clip(scene, look, frames).astype(int)
        return np.abs(full - bare).max(-1) > 24

    return measured
