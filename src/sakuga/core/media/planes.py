"""Decoded frames as small luma and chroma planes: all that looking at a film needs, without a way through full-size RGB.

Planes are halved as often as possible before they are scaled to the wanted size: averaging two by two is many times
faster than averaging areas of any size, and no detail aliases.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from .view import View

_PLANAR = {  # format: bits of a sample
    "yuv420p": 8, "yuvj420p": 8, "yuv422p": 8, "yuvj422p": 8, "yuv444p": 8, "yuvj444p": 8, "yuv440p": 8, "yuv411p": 8,
    "yuv420p10le": 10, "yuv422p10le": 10, "yuv444p10le": 10, "yuv420p12le": 12, "yuv422p12le": 12, "yuv444p12le": 12,
}  # fmt: skip


@dataclass(frozen=True)
class Planes:
    """A frame as displayed: luma [H, W] and the two chromas [H/2, W/2], uint8 in full range (0 black, 255 white; 128 grey)."""

    luma: np.ndarray
    blue: np.ndarray
    red: np.ndarray
    coded: np.ndarray  # luma in full size and in its own bits and range, unturned: the decoder's memory, not a copy
    bits: int

    def whole(self) -> np.ndarray:
        """The luma in full size, uint8, in its own range and unturned."""
        return self.coded if self.bits == 8 else cv2.convertScaleAbs(self.coded, alpha=1 / 2 ** (self.bits - 8))

    def rgb(self) -> np.ndarray:
        """The picture [H, W, 3] uint8, for eyes: BT.601 weights whatever the film's are."""
        height, width = self.luma.shape
        chroma = [cv2.resize(c, (width, height), interpolation=cv2.INTER_LINEAR) for c in (self.red, self.blue)]
        return cv2.cvtColor(cv2.merge((self.luma, *chroma)), cv2.COLOR_YCrCb2RGB)


class Shrinker:
    """Gives the frames of one stream as planes of `size` (width, height, both even), as displayed.

    Of an interlaced film (`one_field`) only the upper field is looked at. A picture whose size changes on the way is
    still scaled to `size`.
    """

    def __init__(self, view: View, size: tuple[int, int], *, one_field: bool = False) -> None:
        self.view = view
        self.size = size
        self.one_field = one_field
        self.reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> Planes:
        width, height = self.size
        if self.view.rotation % 180:
            width, height = height, width
        bits = _PLANAR.get(frame.format.name)
        if bits is None:
            frame, bits = self._as_yuv(frame, width, height), 8
        step = 2 if self.one_field and frame.height > height else 1
        full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
        luma, blue, red = (
            self._turned(_level(shrunk(_thinned(_plane(frame, n, bits)[::step], size), size), bits, full, chroma=n > 0))
            for n, size in enumerate(((width, height), (width // 2, height // 2), (width // 2, height // 2)))
        )
        return Planes(luma, blue, red, _plane(frame, 0, bits)[::step], bits)

    def _as_yuv(self, frame: VideoFrame, width: int, height: int) -> VideoFrame:
        return self.reformatter.reformat(frame, width, height, "yuv420p", interpolation=Interpolation.AREA, threads=1)

    def _turned(self, plane: np.ndarray) -> np.ndarray:
        if self.view.mirrored:
            plane = plane[:, ::-1]
        turns = self.view.rotation // 90
        return np.ascontiguousarray(np.rot90(plane, -turns)) if turns or self.view.mirrored else plane


def luma_plane(frame: VideoFrame) -> np.ndarray | None:
    """The luma [H, W] of a frame as it is coded, uint8; None for a format without such a plane."""
    bits = _PLANAR.get(frame.format.name)
    if bits is None:
        return None
    plane = _plane(frame, 0, bits)
    return plane if bits == 8 else (plane >> (bits - 8)).astype(np.uint8)


def _plane(frame: VideoFrame, number: int, bits: int) -> np.ndarray:
    plane = frame.planes[number]
    kind: np.dtype[np.unsignedinteger] = np.dtype(np.uint8 if bits == 8 else np.uint16)
    line = plane.line_size // kind.itemsize
    whole = np.frombuffer(memoryview(plane), kind, count=plane.height * line)
    return whole.reshape(plane.height, line)[:, : plane.width]


def _thinned(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Every second row of a plane four times as high as wanted: reading all of a large one costs more than the rest."""
    return plane[::2] if plane.shape[0] >= 4 * size[1] else plane


def shrunk(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A plane [H, W] at a smaller `size` (width, height): halved as often as it can be, then scaled."""
    while plane.shape[1] >= 2 * size[0] and plane.shape[0] >= 2 * size[1]:
        half = (plane.shape[1] // 2, plane.shape[0] // 2)
        plane = cv2.resize(plane[: 2 * half[1], : 2 * half[0]], half, interpolation=cv2.INTER_AREA)
    if plane.shape[::-1] == size:
        return np.ascontiguousarray(plane)
    return cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)


def _level(plane: np.ndarray, bits: int, full: bool, *, chroma: bool) -> np.ndarray:
    """8 bits in full range."""
    if bits > 8:
        plane = cv2.convertScaleAbs(plane, alpha=1 / 2 ** (bits - 8))
    return plane if full else cv2.LUT(plane, _CHROMA if chroma else _LUMA)


def _table(low: float, high: float, zero: float, middle: float) -> np.ndarray:
    levels = (np.arange(256) - zero) * 255 / (high - low) + middle
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


_LUMA = _table(16, 235, 16, 0)
_CHROMA = _table(16, 240, 128, 128)
