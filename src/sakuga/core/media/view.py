"""How a coded frame becomes the picture a player shows: colours, square pixels, mirroring and rotation."""

from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import numpy as np
from av.buffer import Buffer
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream

_KNOWN_MATRICES = frozenset({1, 4, 5, 6, 7, 9, 10})  # AVCOL_SPC values that swscale knows for YUV
_STEADY = Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_SHRINK = Interpolation.AREA | _STEADY | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
_KEEP = Interpolation.BICUBIC | _STEADY | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP


@dataclass(frozen=True)
class View:
    """How a coded picture becomes the displayed one: squared pixels, then mirrored, then turned clockwise."""

    squared: tuple[int, int]
    sar: Fraction
    rotation: int
    mirrored: bool

    @classmethod
    def of(cls, frame: VideoFrame, stream: VideoStream) -> "View":
        sar = stream.sample_aspect_ratio or Fraction(1)
        if not Fraction(1, 8) <= sar <= 8:  # nonsense in the header
            sar = Fraction(1)
        rotation, mirrored = _orientation(frame)
        return cls((max(1, round(frame.width * sar)), frame.height), sar, rotation, mirrored)

    @property
    def displayed(self) -> tuple[int, int]:
        width, height = self.squared
        return (height, width) if self.rotation % 180 else (width, height)


def _orientation(frame: VideoFrame) -> tuple[int, bool]:
    """Clockwise degrees (0, 90, 180, 270) and whether left and right are swapped before, from the display matrix."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 0, False
    a, b, _, c, d = np.frombuffer(bytes(cast(Buffer, data))[:20], dtype=np.int32).astype(float)
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    # x to the right goes to (a, b), y downwards: the angle is clockwise on the screen
    return round(float(np.degrees(np.arctan2(b, a))) / 90) % 4 * 90, bool(mirrored)


class Painter:
    """Turns the decoded frames of one film into RGB arrays of one size, as displayed, also where the coded size changes.

    With `alpha` the arrays [H, W] are how opaque pixels are instead.
    """

    def __init__(self, view: View, size: tuple[int, int] | None, *, alpha: bool = False) -> None:
        self.view = view
        self.alpha = alpha
        self.size = size
        self.reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        view = self.view
        width, height = self.size or view.displayed
        if view.rotation % 180:
            width, height = height, width
        smaller = width < frame.width and height <= frame.height
        rgb: np.ndarray = self.reformatter.reformat(
            frame, width, height, "rgba" if self.alpha else "rgb24", src_colorspace=_matrix(frame), threads=1,
            interpolation=_SHRINK if smaller else _KEEP,
        ).to_ndarray()  # fmt: skip
        if self.alpha:
            rgb = np.ascontiguousarray(rgb[:, :, 3])
        if view.mirrored:
            rgb = rgb[:, ::-1]
        return np.ascontiguousarray(np.rot90(rgb, -(view.rotation // 90))) if view.rotation or view.mirrored else rgb


def _matrix(frame: VideoFrame) -> Colorspace | None:
    """None where the file names its matrix; else BT.709 for high definition and BT.601 below, as players do."""
    if frame.colorspace in _KNOWN_MATRICES or frame.format.name.startswith(("rgb", "bgr", "gbr", "pal")):
        return None
    return Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601
