"""Films and lists whose headers are whole and whose content is not what they say."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from films import number_picture, numbered_film, write_film
from sakuga.core.errors import SakugaError
from sakuga.core.listings import read_listing
from sakuga.core.media.film import frames, probe


def test_a_first_frame_that_cannot_be_decoded(tmp_path: Path) -> None:
    path = numbered_film(tmp_path / "a.mp4", 12, 24)
    data = bytearray(path.read_bytes())
    begin = data.index(b"mdat") + 4
    data[begin : data.index(b"moov") - 4] = bytes(data.index(b"moov") - 4 - begin)
    path.write_bytes(data)
    with pytest.raises(SakugaError) as caught:
        probe(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path} is not a video that can be read: ")
    assert sentence.endswith("; leave it out or convert it") and "\n" not in sentence


@pytest.mark.parametrize(("sar", "size"), [(Fraction(1, 2), (64, 96)), (Fraction(1, 20), (128, 96))])
def test_a_pixel_shape_that_is_nonsense_is_square(tmp_path: Path, sar: Fraction, size: tuple[int, int]) -> None:
    path = write_film(tmp_path / "a.mkv", [number_picture(n) for n in range(3)], 24, sar=sar)
    info = probe(path)
    assert (info.width, info.height) == size
    assert next(frames(path))[1].shape == (size[1], size[0], 3)


def test_lines_that_are_not_about_a_file_are_left_alone(tmp_path: Path) -> None:
    lines: list[object] = [{"file_name": "a.mp4", "text": "a boat"}, 3, ["b.mp4", "a hill"], {"version": 2}, None]
    path = tmp_path / "metadata.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n", "utf-8")
    found = read_listing(path)
    assert (found.captions, found.faults) == ({"a.mp4": "a boat"}, [])
