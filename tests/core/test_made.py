"""What a video was made from: it stands in the file, survives it, and what is no such file is a sentence."""

from pathlib import Path

import numpy as np
import pytest

from sakuga.core.errors import SakugaError
from sakuga.core.made import Lora, Made, read_made
from sakuga.core.media.clip import write_clip
from sakuga.core.media.film import frames

MADE = Made(
    version="0.1.0", model="tiny-experts", prompt='MyStyle. "ein Mädchen" läuft; 海辺\nzweite Zeile', negative="色调艳丽", seed=7,
    width=96, height=64, frames=9, steps=4, shift=3.0, guidance={"high": 4.0, "low": 3.0}, sampler="unipc",
    experts=["high", "high", "high", "low"], loras=[Lora(expert="high", file="a b.safetensors", sha256="00", strength=0.5)],
)  # fmt: skip
PICTURES = np.random.default_rng(1).integers(0, 255, (3, 64, 96, 3), np.uint8)


def test_it_stands_in_the_file_and_leaves_the_pictures_alone(tmp_path: Path) -> None:
    write_clip(tmp_path / "told.mp4", PICTURES, 16, comment=MADE.comment())
    write_clip(tmp_path / "plain.mp4", PICTURES, 16)
    assert read_made(tmp_path / "told.mp4") == MADE and MADE.handover == 3
    told, plain = ([rgb for _, rgb in frames(tmp_path / name)] for name in ("told.mp4", "plain.mp4"))
    assert all(np.array_equal(a, b) for a, b in zip(told, plain, strict=True))
    once = (tmp_path / "told.mp4").read_bytes()
    write_clip(tmp_path / "told.mp4", PICTURES, 16, comment=MADE.comment())
    assert (tmp_path / "told.mp4").read_bytes() == once


@pytest.mark.parametrize("comment", ["", "a film", "[1]", '{"other": {}}', "{" * 100_000])
def test_a_video_of_another_is_a_sentence(tmp_path: Path, comment: str) -> None:
    write_clip(tmp_path / "a.mp4", PICTURES, 16, comment=comment)
    with pytest.raises(
        SakugaError, match="a.mp4 does not say what it was made from; only videos of `sakuga generate` do"
    ):
        read_made(tmp_path / "a.mp4")


def test_what_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SakugaError, match="none.mp4 is not there; give a video that `sakuga generate` made"):
        read_made(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(SakugaError, match="text.mp4 is not a video that can be read; give one that"):
        read_made(tmp_path / "text.mp4")
    later = MADE.comment().replace('"steps"', '"stepz"')
    write_clip(tmp_path / "later.mp4", PICTURES, 16, comment=later)
    with pytest.raises(SakugaError, match="later.mp4 was made by another version: "):
        read_made(tmp_path / "later.mp4")
