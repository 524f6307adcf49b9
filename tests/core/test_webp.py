"""An animation joined from WebP pictures is what an encoder would have made of them."""

from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image, ImageSequence

from sakuga.core.errors import SakugaError
from sakuga.core.media.webp import animation


def picture(level: int, quality: int) -> bytes:
    rgb = np.full((40, 64, 3), level, np.uint8)
    rgb[:, :level] = 255 - level
    return bytes(cv2.imencode(".webp", rgb, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes())


def test_every_picture_is_shown_in_turn_for_its_time() -> None:
    made = [picture(20 * n, 40 + 7 * n) for n in range(1, 6)]
    joined = Image.open(BytesIO(animation(made, (64, 40), 250)))
    assert joined.format == "WEBP" and joined.size == (64, 40) and joined.info["loop"] == 0
    shown = [(np.asarray(frame.convert("RGB")), frame.info["duration"]) for frame in ImageSequence.Iterator(joined)]
    assert [duration for _, duration in shown] == [250] * 5
    for (rgb, _), data in zip(shown, made, strict=True):
        assert np.array_equal(rgb, np.asarray(Image.open(BytesIO(data)).convert("RGB")))


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(SakugaError, match=r"a kept picture is damaged; run `sakuga shots`"):
        animation([b"RIFF1234WEBPVP8L"], (64, 40), 250)
