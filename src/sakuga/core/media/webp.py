"""Pictures that are WebP already, joined to an animation without coding them anew (RFC 9649)."""

import struct
from collections.abc import Sequence

from ..errors import SakugaError

_ANIMATED = 0x02  # flag of VP8X
_OVER = 0x02  # flag of ANMF: draw over what was there, without blending


def animation(pictures: Sequence[bytes], size: tuple[int, int], milliseconds: int) -> bytes:
    """An endless loop of lossy WebP `pictures`, all of `size` (width, height), each shown for `milliseconds`."""
    extended = struct.pack("<B3x", _ANIMATED) + _three(size[0] - 1) + _three(size[1] - 1)
    body = _chunk(b"VP8X", extended) + _chunk(b"ANIM", struct.pack("<IH", 0, 0))
    place = _three(0) + _three(0) + _three(size[0] - 1) + _three(size[1] - 1) + _three(milliseconds) + bytes([_OVER])
    for picture in pictures:
        body += _chunk(b"ANMF", place + _coded(picture))
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def _coded(picture: bytes) -> bytes:
    """The chunk of a simple WebP file that holds its picture."""
    if picture[:4] != b"RIFF" or picture[8:16] != b"WEBPVP8 ":
        raise SakugaError("a kept picture is damaged; run `sakuga shots` after removing the folder cache/looks")
    size = struct.unpack("<I", picture[16:20])[0]
    return picture[12 : 20 + size + size % 2]  # chunks begin at even places


def _chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of even length, as all of ours are."""
    return name + struct.pack("<I", len(data)) + data


def _three(number: int) -> bytes:
    return struct.pack("<I", number)[:3]
