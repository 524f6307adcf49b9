"""The small planes that a film is looked at with are the picture that is exported: the same luma, the same way up."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace

from sakuga.core.media.film import frames, look, probe, scan_times

BT601 = np.array([0.299, 0.587, 0.114])
SIZE = (64, 48)


def smooth(width: int = 128, height: int = 96) -> np.ndarray:
    """Colours within what YUV can hold, no two corners alike."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / width * 6 + k) + np.cos(y / height * 5 + 2 * k) for k in range(3)]
    return np.stack([127 + 45 * wave for wave in waves], axis=2).astype(np.uint8)


def write(
    path: Path,
    pictures: Iterable[np.ndarray],
    codec: str,
    form: str,
    full: bool,
    rotation: int = 0,
    mirrored: bool = False,
) -> Path:
    levels = ColorRange.JPEG if full else ColorRange.MPEG
    quality = {"libx264": {"crf": "2", "preset": "ultrafast"}, "mjpeg": {"qscale": "1"}}
    with av.open(str(path), "w") as container:
        stream = None
        for number, rgb in enumerate(pictures):
            if stream is None:
                stream = container.add_stream(codec, rate=24, options=quality.get(codec, {}))
                stream.width, stream.height, stream.pix_fmt = rgb.shape[1], rgb.shape[0], form
                stream.codec_context.color_range = levels
                if rotation or mirrored:
                    stream.set_display_rotation(rotation, hflip=mirrored)
            frame = VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
                format=form, dst_colorspace=Colorspace.ITU601, dst_color_range=levels
            )
            frame.pts, frame.color_range = number, levels
            container.mux(stream.encode(frame))
        assert stream is not None
        container.mux(stream.encode())
    return path


def check(path: Path, size: tuple[int, int] = SIZE, chroma: float = 12) -> None:
    """All planes of a film against its pictures."""
    shown = dict(frames(path, size=size))
    for index, _, planes in look(path, size):
        luma = shown[index] @ BT601
        assert planes.luma.shape == luma.shape == (size[1], size[0])
        assert planes.blue.shape == planes.red.shape == (size[1] // 2, size[0] // 2)
        assert np.abs(planes.luma - luma).max() <= 2
        assert abs(planes.luma.mean() - luma.mean()) < 0.3
        assert np.abs(planes.rgb().astype(float) - shown[index]).max() <= chroma


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("form", [f"yuv{kind}p{deep}" for kind in (420, 422, 444) for deep in ("", "10le")])
def test_limited_and_full_range_in_8_and_10_bits(tmp_path: Path, form: str, full: bool) -> None:
    check(write(tmp_path / "a.mkv", [smooth()] * 2, "libx264", form, full))


@pytest.mark.parametrize(
    ("codec", "suffix", "form"),
    [
        ("libx264", "mkv", "gray"), ("libx264", "mkv", "gray10le"), ("libx264", "mp4", "nv12"), ("ffv1", "mkv", "gray"),
        ("ffv1", "mkv", "yuv411p"), ("ffv1", "mkv", "yuv420p12le"), ("ffv1", "mkv", "yuv420p16le"),
        ("ffv1", "mkv", "yuva420p"), ("libx264rgb", "mkv", "rgb24"), ("prores_ks", "mov", "yuv422p10le"),
        ("mjpeg", "avi", "yuvj420p"), ("png", "mov", "rgba"), ("rawvideo", "avi", "yuyv422"),
    ],
)  # fmt: skip
def test_other_ways_to_keep_a_picture(tmp_path: Path, codec: str, suffix: str, form: str) -> None:
    check(write(tmp_path / f"a.{suffix}", [smooth()], codec, form, full=False))


@pytest.mark.parametrize(("codec", "form"), [("libx264", "yuv444p"), ("ffv1", "yuv420p"), ("ffv1", "yuv422p10le")])
def test_odd_sizes(tmp_path: Path, codec: str, form: str) -> None:
    check(write(tmp_path / "a.mkv", [smooth(127, 95)], codec, form, full=False))
    check(tmp_path / "a.mkv", (126, 94))


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
@pytest.mark.parametrize("mirrored", [False, True])
def test_rotated_and_mirrored(tmp_path: Path, rotation: int, mirrored: bool) -> None:
    path = write(tmp_path / "a.mp4", [smooth()], "libx264", "yuv420p", False, rotation, mirrored)
    check(path, SIZE[::-1] if rotation % 180 else SIZE)


@pytest.mark.parametrize("full", [False, True])
def test_a_scaled_picture_is_no_darker(tmp_path: Path, full: bool) -> None:
    path = write(tmp_path / "a.mkv", [smooth()], "libx264", "yuv420p", full)
    large, small = next(frames(path))[1], next(frames(path, size=SIZE))[1]
    assert np.abs(large.mean(axis=(0, 1)) - small.mean(axis=(0, 1))).max() < 0.3
    assert np.abs(small.mean(axis=(0, 1)) - smooth().mean(axis=(0, 1))).max() < 1


def joined(folder: Path, sizes: Iterable[tuple[int, int]]) -> Path:
    """A raw stream whose pictures change their size."""
    path = folder / "joined.h264"
    with path.open("wb") as file:
        for number, (width, height) in enumerate(sizes):
            part = write(folder / f"{number}.h264", [smooth(width, height)] * 40, "libx264", "yuv420p", False)
            file.write(part.read_bytes())
    return path


def test_a_size_that_changes_on_the_way(tmp_path: Path) -> None:
    """All of it is shown in the size it begins with, also where the reading begins behind the change."""
    path = joined(tmp_path, [(128, 96), (64, 64), (320, 180)])
    info, times = probe(path), scan_times(path)
    assert (info.width, info.height) == (128, 96) and len(times) == 120
    assert all(a < b for a, b in pairwise(times))
    shown = dict(frames(path))
    assert {rgb.shape for rgb in shown.values()} == {(96, 128, 3)}
    for index in (0, 50, 100):
        assert np.abs(shown[index].astype(float) - smooth()).mean() < 4
        assert np.array_equal(next(frames(path, [index], times=times))[1], shown[index])
    assert {planes.luma.shape for _, _, planes in look(path, SIZE)} == {(48, 64)}
    assert Fraction(1, 60) < times[1] - times[0] < Fraction(1, 12)


def test_a_large_picture(tmp_path: Path) -> None:
    """8K: 7680 by 4320."""
    path = write(tmp_path / "a.mp4", [np.full((4320, 7680, 3), 90, np.uint8)] * 2, "libx264", "yuv420p", False)
    assert probe(path).width == 7680
    assert [planes.luma.shape for _, _, planes in look(path, (256, 144))] == [(144, 256)] * 2
    assert [rgb.shape for _, rgb in frames(path, size=(256, 144))] == [(144, 256, 3)] * 2
