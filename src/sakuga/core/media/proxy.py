"""A film at 48x27 pixels: what a shot-change network looks at, kept so that it never decodes the film itself."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter

from .planes import Planes

SIZE = (48, 27)  # width, height
_RATE = Fraction(24)  # nominal: frames are counted


class ProxyWriter:
    """Encodes small planes frame by frame; a context manager."""

    def __init__(self, path: Path) -> None:
        self._container = av.open(str(path.absolute()), "w", format="mp4", container_options={"fflags": "+bitexact"})
        options = {"crf": "8", "preset": "ultrafast", "x264-params": "threads=1:bframes=0:keyint=100"}
        self._stream = self._container.add_stream("libx264", rate=_RATE, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = *SIZE, "yuv444p"
        self._stream.codec_context.color_range = ColorRange.JPEG
        self._count = 0

    def __enter__(self) -> "ProxyWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._container.mux(self._stream.encode())
        self._container.close()

    def write(self, planes: Planes) -> None:
        small = [cv2.resize(p, SIZE, interpolation=cv2.INTER_AREA) for p in (planes.luma, planes.blue, planes.red)]
        frame = VideoFrame.from_ndarray(np.stack(small), format="yuv444p")
        frame.color_range = ColorRange.JPEG
        frame.pts, frame.time_base = self._count, 1 / _RATE
        self._count += 1
        self._container.mux(self._stream.encode(frame))


def read_proxy(path: Path) -> Iterator[np.ndarray]:
    """The frames in turn, RGB uint8 [27, 48, 3]."""
    reformatter = VideoReformatter()
    with av.open(str(path.absolute())) as container:
        for frame in container.decode(video=0):
            yield reformatter.reformat(frame, *SIZE, "rgb24", threads=1).to_ndarray()
