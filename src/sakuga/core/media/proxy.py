"""A film at 48x27 pixels: what a shot-change network looks at, kept so that it never decodes the film itself.

Frames stand side by side on sheets, one sheet to a frame of the file: a call of the encoder costs more than so few pixels.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter

from .planes import Planes, shrunk

SIZE = (48, 27)  # width, height
SHEET = (6, 6)  # frames across and down: 288 x 162 pixels
_RATE = Fraction(24)  # nominal: frames are counted


class ProxyWriter:
    """Encodes small planes frame by frame; a context manager."""

    def __init__(self, path: Path) -> None:
        self._container = av.open(str(path.absolute()), "w", format="mp4", container_options={"fflags": "+bitexact"})
        options = {"crf": "8", "preset": "ultrafast", "x264-params": "threads=1:bframes=0:keyint=100"}
        self._stream = self._container.add_stream("libx264", rate=_RATE, options=options)
        self._stream.width, self._stream.height = (side * count for side, count in zip(SIZE, SHEET, strict=True))
        self._stream.pix_fmt = "yuv444p"
        self._stream.codec_context.color_range = ColorRange.JPEG
        self._sheet = np.full((3, self._stream.height, self._stream.width), 128, np.uint8)
        self._count = 0

    def __enter__(self) -> "ProxyWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            if self._count % (SHEET[0] * SHEET[1]):
                self._write_sheet()
            self._container.mux(self._stream.encode())
        self._container.close()

    def write(self, planes: Planes) -> None:
        down, across = divmod(self._count % (SHEET[0] * SHEET[1]), SHEET[0])
        top, left = down * SIZE[1], across * SIZE[0]
        for place, plane in zip(self._sheet, (planes.luma, planes.blue, planes.red), strict=True):
            place[top : top + SIZE[1], left : left + SIZE[0]] = shrunk(plane, SIZE)
        self._count += 1
        if self._count % (SHEET[0] * SHEET[1]) == 0:
            self._write_sheet()

    def _write_sheet(self) -> None:
        frame = VideoFrame.from_ndarray(self._sheet, format="yuv444p")
        frame.color_range = ColorRange.JPEG
        frame.pts, frame.time_base = (self._count - 1) // (SHEET[0] * SHEET[1]), 1 / _RATE
        self._container.mux(self._stream.encode(frame))


def read_proxy(path: Path, count: int) -> Iterator[np.ndarray]:
    """The `count` frames of a film in turn, RGB uint8 [27, 48, 3]."""
    return islice(_read(path), count)


def _read(path: Path) -> Iterator[np.ndarray]:
    reformatter = VideoReformatter()
    with av.open(str(path.absolute())) as container:
        for sheet in container.decode(video=0):
            rgb = reformatter.reformat(sheet, format="rgb24", threads=1).to_ndarray()
            for top in range(0, rgb.shape[0], SIZE[1]):
                for left in range(0, rgb.shape[1], SIZE[0]):
                    yield rgb[top : top + SIZE[1], left : left + SIZE[0]]
