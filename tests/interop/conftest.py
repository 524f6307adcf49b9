"""What the tests of other trainers' files start from."""

from pathlib import Path

import pytest

from interop_files import Write, clip, still


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of this name and text; returns its path."""

    def made(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return made


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """What H:/sets holds: three clips of 60, 45 and 44 frames and two stills."""
    for n, frames in enumerate((60, 45, 44)):
        clip(tmp_path / f"disk/videos/1920x1040/c{n}.mp4", frames)
    for n in range(2):
        still(tmp_path / f"disk/images/768x768/s{n}.png", n)
    return tmp_path / "disk"
