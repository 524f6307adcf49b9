"""Generated pictures out, by Pillow: a PNG, a folder of them, or an animated WebP, with words that stand in the file."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

PICTURES = (".png", ".webp")  # endings of what `read_comment` reads
WEBP_QUALITY = 90
_COMMENT = "Comment"  # PNG's own keyword for it
_DESCRIPTION = 0x010E  # EXIF's tag for it, which holds ASCII alone


def write_png(path: Path, picture_HWC: np.ndarray, comment: str = "") -> None:
    """One RGB picture (uint8)."""
    info = PngInfo()
    if comment:
        info.add_itxt(_COMMENT, comment)
    Image.fromarray(picture_HWC).save(path, "PNG", pnginfo=info)


def write_webp(path: Path, pictures_FHWC: Sequence[np.ndarray] | np.ndarray, fps: int, comment: str = "") -> None:
    """An endless loop of RGB pictures (uint8), lossy. `comment` is JSON, and is kept in ASCII."""
    exif = Image.Exif()
    if comment:
        exif[_DESCRIPTION] = json.dumps(json.loads(comment))
    first, *rest = (Image.fromarray(picture) for picture in pictures_FHWC)
    ends = [round(1000 * (n + 1) / fps) for n in range(len(rest) + 1)]
    durations = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]  # whole milliseconds, none lost
    first.save(
        path, "WEBP", save_all=True, append_images=rest, duration=durations, loop=0, quality=WEBP_QUALITY, exif=exif
    )


def read_comment(path: Path) -> str:
    """The words in a picture of ours; empty where there are none. Raises OSError where it is no picture."""
    try:
        with Image.open(path) as picture:
            if picture.format == "PNG":
                return str(getattr(picture, "text", {}).get(_COMMENT, ""))
            return str(picture.getexif().get(_DESCRIPTION, ""))
    except (SyntaxError, ValueError) as error:  # what Pillow raises of damaged ones
        raise OSError(str(error)) from error
