"""The film of 48x27 pixels gives back every frame in its turn, and no more."""

from pathlib import Path

import numpy as np
import pytest

from sakuga.core.media.planes import Planes
from sakuga.core.media.proxy import ProxyWriter, read_proxy


@pytest.mark.parametrize("count", [1, 35, 36, 37, 75])
def test_every_frame_comes_back(tmp_path: Path, count: int) -> None:
    levels = np.random.default_rng(1).integers(20, 236, (count, 3))
    with ProxyWriter(tmp_path / "p.mp4") as writer:
        for luma, blue in levels[:, :2].tolist():
            planes = [np.full((144, 256), luma, np.uint8), *np.full((2, 72, 128), 96 + blue // 4, np.uint8)]
            writer.write(Planes(*planes, planes[0], 8))
    frames = list(read_proxy(tmp_path / "p.mp4", count))
    assert len(frames) == count and frames[0].shape == (27, 48, 3)
    seen = [float((rgb @ (0.299, 0.587, 0.114)).mean()) for rgb in frames]
    assert (
        np.abs(np.array(seen) - levels[:, 0]).max() < 8 and np.abs(np.array(seen) - levels[:, 0]).mean() < 2
    )  # neighbours of any colour
    assert len(list(read_proxy(tmp_path / "p.mp4", count - 1))) == count - 1
