"""Sizes to train footage of some shape at, and what an item loses or is stretched by at one of them."""

from typing import NamedTuple

from ..family import Member
from .buckets import bucket_for

AREAS = ((256, 256), (384, 384), (512, 512), (832, 480), (1280, 720))  # that people train at, each at most


class Size(NamedTuple):
    """A width and height the model takes, and the tokens of a still and of a clip of the model's own length at it."""

    width: int
    height: int
    still_tokens: int
    clip_tokens: int


def suggested(width: int, height: int, member: Member) -> list[Size]:
    """The sizes for footage of `width` x `height` pixels, from small to large; none is larger than the footage."""
    areas = (*AREAS, *member.sizes)
    found = {bucket_for(width, height, *area, member.side_step, False) for area in areas}
    sizes = sorted(found, key=lambda size: size[0] * size[1])
    return [Size(w, h, member.tokens(w, h, 1), member.tokens(w, h, member.frames)) for w, h in sizes]


def enlarged(width: int, height: int, to_width: int, to_height: int) -> float:
    """By how much a picture is scaled so that it covers a size; above 1 it is enlarged, which invents nothing new."""
    return max(to_width / width, to_height / height)


def cropped(width: int, height: int, to_width: int, to_height: int) -> float:
    """The share (0..1) of a picture that is cut off where it is scaled to cover a size."""
    scale = enlarged(width, height, to_width, to_height)
    return 1 - to_width * to_height / (scale * scale * width * height)
