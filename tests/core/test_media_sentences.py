"""What is said of films, clips and pictures that cannot be read or written: the whole sentence, with its remedy."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from films import numbered_film
from sakuga.core.errors import SakugaError
from sakuga.core.media import film, picture
from sakuga.core.media.clip import write_clip

GREY = np.full((48, 64, 3), 127, np.uint8)


def said(call: Callable[[], object]) -> str:
    with pytest.raises(SakugaError) as caught:
        call()
    return str(caught.value)


def test_a_film_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    assert said(lambda: film.probe(path)) == f"{path} is not there; check its name and that its disk is mounted"


def test_a_film_that_was_begun_and_holds_no_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    wanted = f"{path} is not a video that can be read: it has no frames; leave it out or convert it"
    assert said(lambda: film.probe(path)) == wanted


def test_a_film_of_pictures_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = numbered_film(tmp_path / "a.mkv", 3, 24)
    monkeypatch.setattr(film, "MAX_PIXELS", 128 * 96 - 1)
    why = "its pictures of 128x96 are larger than Sakuga takes"
    assert (
        said(lambda: film.probe(path)) == f"{path} is not a video that can be read: {why}; leave it out or convert it"
    )


@pytest.mark.parametrize(
    ("pictures", "sentence"),
    [
        ([], "a.mp4 would have no frames, so it was not written; choose a longer span"),
        ([GREY[:, :1]], "a.mp4 would be 1x48, a clip needs 2x2 pixels or more"),
        ([GREY, GREY[:, :32]], "a.mp4: frame 1 is 32x48, the first was not"),
    ],
)
def test_a_clip_that_cannot_be_written(tmp_path: Path, pictures: list[np.ndarray], sentence: str) -> None:
    assert said(lambda: write_clip(tmp_path / "a.mp4", pictures, 16)) == sentence


def test_a_picture_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    assert (
        said(lambda: picture.read_picture(path)) == f"{path} is not there; check its name and that its disk is mounted"
    )


def test_a_picture_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("no picture", "utf-8")
    sentence = said(lambda: picture.read_picture(path))
    assert sentence.startswith(f"{path} is not a picture that can be read: cannot identify image file")
    assert sentence.endswith("; leave it out or save it anew")


def test_a_picture_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    picture.write_png(path, GREY)
    monkeypatch.setattr(picture, "MAX_PIXELS", 64 * 48 - 1)
    assert (
        said(lambda: picture.read_picture(path))
        == f"{path} has 64x48 pixels, more than the 3071 Sakuga takes; save it smaller"
    )
