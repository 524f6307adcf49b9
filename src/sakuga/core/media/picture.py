"""Pictures in and out: PNG stills, and any common picture read as RGB the way a viewer shows it."""

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..errors import SakugaError

_VIDEOS = "mp4 mkv webm mov avi m4v mpg mpeg m2v ts m2ts mts vob flv wmv ogv 3gp mxf"
_PICTURES = "png jpg jpeg webp bmp avif tif tiff gif"
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _VIDEOS.split())
PICTURE_SUFFIXES = frozenset(f".{name}" for name in _PICTURES.split())
MAX_PIXELS = 89_000_000  # below Pillow's own limit, which warns before it refuses
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "AVIF", "TIFF", "GIF")
_BROKEN = (  # what Pillow raises on damaged files
    OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError, struct.error,
    Image.DecompressionBombError, RuntimeError,
)  # fmt: skip


def read_picture(path: Path | str) -> np.ndarray:
    """RGB uint8 (H x W x 3): turned as its EXIF says, transparency over white, 16 bits reduced to 8."""
    with opened(path) as picture:
        return np.array(as_rgb(picture))


@contextmanager
def opened(path: Path | str) -> Iterator[Image.Image]:
    """A picture, turned as its EXIF says. Raises SakugaError where it cannot be read, also while it is looked at."""
    path = Path(path)
    if not path.is_file():
        raise SakugaError(f"{path} is not there; check its name and that its disk is mounted")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on damaged tags, and on the size that is checked here
            with Image.open(path, formats=_FORMATS) as picture:
                _check_size(path, picture)
                yield ImageOps.exif_transpose(picture)
    except _BROKEN as error:
        raise SakugaError(f"{path} is not a picture that can be read: {error}; leave it out or save it anew") from error


def _check_size(path: Path, picture: Image.Image) -> None:
    if picture.width * picture.height > MAX_PIXELS:
        size = f"{picture.width}x{picture.height}"
        raise SakugaError(f"{path} has {size} pixels, more than the {MAX_PIXELS} Sakuga takes; save it smaller")


def as_rgb(picture: Image.Image) -> Image.Image:
    """Transparency over white, 16 bits reduced to 8."""
    if picture.mode.startswith(("I", "F")):  # 16-bit grey; Pillow's own conversion would clip at 255
        deep = np.asarray(picture)
        top = 255 if picture.mode == "F" and deep.max(initial=0) <= 255 else 65535
        grey = np.clip(np.round(deep.astype(np.float64) * (255 / top)), 0, 255)
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        over = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    return picture.convert("RGB")


def write_png(path: Path | str, rgb: np.ndarray) -> None:
    """Lossless; the name may end as it likes, so that a temporary one can be given."""
    Image.fromarray(rgb).save(Path(path), format="PNG", compress_level=4)
