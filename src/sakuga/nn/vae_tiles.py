"""How a video is cut for the VAE: tiles with the margins that make them seamless, chunks of frames, the memory of both.

The pixel side of the VAE is a row of stages, each at half or twice the size of the one before. Whatever is cut off at the
border of a tile spoils as many pixels there as the convolutions reach. So a tile enters a stage with a margin that holds
all that is spoilt until the end, and is cropped to the next stage's margin behind each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

COPIES = 7.0  # of a stage's widest features that live at once (measured at the geometry of both VAEs: up to 7.1)
LEAST_SIDE = 8  # latent pixels of a tile, below which it is nearly all margin

Span = tuple[int, int]  # from, to


@dataclass(frozen=True)
class Level:
    """A stage. Sizes are those of its input."""

    scale: int  # pixels of a side for each latent pixel
    frames: int  # for each latent frame
    reach: int  # pixels to each side that its convolutions of that size see
    width: int  # channels of its widest features
    kept: int  # channels times frames that its convolutions remember


@dataclass(frozen=True)
class Cut:
    """Tiles as rows and columns in latent pixels, and chunks in latent frames; the first frame is a chunk of its own."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]
    chunks: tuple[Span, ...]

    def tiles(self) -> Iterator[tuple[Span, Span]]:
        return ((row, column) for row in self.rows for column in self.columns)


def margins_down(levels: Sequence[Level]) -> list[int]:
    """The margin at each stage's input where every step halves: even, for a step takes pixels two by two.

    Of a step's output, pixel p sees 2p to 2p + 2.
    """
    margin, found = levels[-1].reach, [levels[-1].reach]
    for level in reversed(levels[:-1]):
        margin = 2 * margin + 2 + level.reach
        margin += margin % 2
        found.insert(0, margin)
    return found


def margins_up(levels: Sequence[Level]) -> list[int]:
    """The margin at each stage's input where every step doubles: its output sees one doubled pixel to each side."""
    margin, found = levels[-1].reach, [levels[-1].reach]
    for level in reversed(levels[:-1]):
        margin = (margin + 2) // 2 + level.reach
        found.insert(0, margin)
    return found


def widened(core: Span, scale: int, margin: int, size: int) -> Span:
    """A span of latent pixels at another scale, with a margin as far as the frame goes (`size` latent pixels)."""
    return max(0, core[0] * scale - margin), min(size * scale, core[1] * scale + margin)


def path(core: Span, size: int, levels: Sequence[Level], margins: Sequence[int]) -> tuple[Span, list[slice]]:
    """Along one side: what of the first stage's input a tile sees, and what is kept of the output of each stage.

    `core` is in latent pixels, of `size`; the last stage's output is cropped to it.
    """
    scales = [*(level.scale for level in levels), levels[-1].scale]
    spans = [widened(core, scale, margin, size) for scale, margin in zip(scales, [*margins, 0], strict=True)]
    kept = []
    for (scale, seen), (next_scale, wanted) in pairwise(zip(scales, spans, strict=True)):
        start = wanted[0] - seen[0] * next_scale // scale
        kept.append(slice(start, start + wanted[1] - wanted[0]))
    return spans[0], kept


def numbers(
    levels: Sequence[Level], margins: Sequence[int], tile: tuple[int, int], size: tuple[int, int], frames: int
) -> float:
    """Numbers held at the peak while `frames` latent frames of a tile go through, beside what goes in and comes out."""
    kept = live = 0.0
    for level, margin in zip(levels, margins, strict=True):
        sides = (min(s * level.scale, t * level.scale + 2 * margin) for s, t in zip(size, tile, strict=True))
        pixels = next(sides) * next(sides)
        kept += level.kept * pixels
        live = max(live, COPIES * level.width * frames * level.frames * pixels)
    return kept + live


def cut(levels: Sequence[Level], margins: Sequence[int], size: tuple[int, int], frames: int, most: float) -> Cut:
    """The fewest tiles, and then the longest chunks, that hold at most `most` numbers at once."""
    parts = [1, 1]

    def held(chunk: int) -> float:
        tile = -(-size[0] // parts[0]), -(-size[1] // parts[1])
        return numbers(levels, margins, tile, size, chunk)

    while held(1) > most:
        longer = max((0, 1), key=lambda axis: size[axis] / parts[axis])
        if size[longer] / (parts[longer] + 1) < LEAST_SIDE:
            break
        parts[longer] += 1
    chunk = next(n for n in range(max(1, frames - 1), 0, -1) if n == 1 or held(n) <= most)
    rows, columns = (tuple(pairwise(i * s // p for i in range(p + 1))) for s, p in zip(size, parts, strict=True))
    bounds = [0, *range(1, frames, chunk), frames]
    return Cut(rows, columns, tuple(pairwise(bounds)))
