"""Small films for tests: one whose frames carry their number in pixels, one that is cut like a cartoon."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

BITS = 12


def number_picture(number: int, size: tuple[int, int] = (128, 96)) -> np.ndarray:
    """`number` as black and white blocks, 4 x 3, the highest bit first, on any size."""
    width, height = size
    bits = np.array([(number >> (BITS - 1 - b)) & 1 for b in range(BITS)], dtype=np.uint8).reshape(3, 4)
    rows, cols = np.arange(height) * 3 // height, np.arange(width) * 4 // width
    return np.repeat((bits[rows][:, cols] * 255)[:, :, None], 3, axis=2).astype(np.uint8)


def read_number(rgb: np.ndarray) -> int:
    """The number that `number_picture` drew, after compression and scaling."""
    height, width = rgb.shape[:2]
    number = 0
    for row in range(3):
        for col in range(4):
            y, x = (2 * row + 1) * height // 6, (2 * col + 1) * width // 8
            patch = rgb[y - height // 12 : y + height // 12 + 1, x - width // 16 : x + width // 16 + 1]
            number = number * 2 + int(patch.mean() > 127)
    return number


def write_film(
    path: Path,
    pictures: Iterable[np.ndarray],
    rate: Fraction | int,
    *,
    codec: str = "libx264",
    gop: int = 12,
    bframes: int = 2,
    sar: Fraction | None = None,
    rotation: float = 0,
    mirrored: bool = False,
    pts: list[int] | None = None,
    time_base: Fraction | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode pictures as a film. `pts` in units of `time_base` makes the rate variable."""
    rate = Fraction(rate)
    with av.open(str(path), "w") as container:
        stream = None
        for n, rgb in enumerate(pictures):
            if stream is None:
                stream = container.add_stream(codec, rate=rate, options=options or {"crf": "20", "preset": "veryfast"})
                stream.height, stream.width = rgb.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.gop_size = gop
                if codec == "libx264":
                    stream.codec_context.max_b_frames = bframes
                stream.codec_context.time_base = time_base or 1 / rate
                if sar is not None:
                    stream.codec_context.sample_aspect_ratio = sar
                if rotation or mirrored:
                    stream.set_display_rotation(rotation, hflip=mirrored)
            frame = VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")
            frame.pts = pts[n] if pts else n
            frame.time_base = time_base or 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def cut_film(source: Path, target: Path, skip: int = 0, late: Fraction = Fraction(0)) -> Path:
    """The packets of a film as they are, without those before keyframe `skip`, all `late` (s) later."""
    with av.open(str(source)) as whole, av.open(str(target), "w") as part:
        stream = part.add_stream_from_template(whole.streams.video[0])
        keys = -1
        for packet in whole.demux(video=0):
            keys += packet.is_keyframe
            if packet.pts is None or keys < skip:
                continue
            offset = int(late / packet.time_base)
            packet.pts, packet.stream = packet.pts + offset, stream
            if packet.dts is not None:  # Matroska keeps none of its own
                packet.dts += offset
            part.mux(packet)
    return target


def numbered_film(
    path: Path,
    frames: int,
    rate: Fraction | int,
    size: tuple[int, int] = (128, 96),
    codec: str = "libx264",
    gop: int = 12,
    bframes: int = 2,
    **more: object,
) -> Path:
    """A film whose frame n shows n."""
    pictures = (number_picture(n, size) for n in range(frames))
    return write_film(path, pictures, rate, codec=codec, gop=gop, bframes=bframes, **more)  # type: ignore[arg-type]


def cartoon_film(
    path: Path, seconds: float, rate: Fraction | int = 24, size: tuple[int, int] = (128, 96), shots: int = 4
) -> list[int]:
    """A film of `shots` shots in flat colours; returns the first frame of every shot but the first."""
    total = round(seconds * rate)
    firsts = [total * n // shots for n in range(shots)]
    pictures = (_cartoon(sum(f <= n for f in firsts) - 1, n, n / total, size) for n in range(total))
    write_film(path, pictures, rate)
    return firsts[1:]


_SKIES = ((40, 90, 200), (230, 180, 60), (30, 120, 50), (190, 60, 70), (120, 60, 160), (210, 210, 200))


def _cartoon(shot: int, n: int, progress: float, size: tuple[int, int]) -> np.ndarray:
    """A sky, a ground at a height of its own, and a disc that travels; drawn on twos."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    sky = np.array(_SKIES[shot % len(_SKIES)], dtype=np.float64)
    picture = sky * (0.75 + 0.25 * y / height)[:, :, None]
    ground = height * (0.55 + 0.1 * (shot % 4))
    picture[y > ground + height * 0.05 * np.sin(x / width * 6 + shot * 2)] = sky[::-1] * 0.6
    phase = (n // 2 * 2) / 48 + shot * 0.37
    cx, cy = width * (0.5 + 0.35 * np.sin(phase * 3)), height * (0.4 + 0.2 * np.cos(phase * 2 + shot))
    picture[(x - cx) ** 2 + (y - cy) ** 2 < (height * (0.12 + 0.03 * (shot % 3))) ** 2] = 255 - sky
    return np.clip(picture, 0, 255).astype(np.uint8)
