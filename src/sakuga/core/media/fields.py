"""Interlaced films: which pictures are woven from two moments, and the same film without them.

An interlaced picture holds two fields, the even and the odd lines, taken one after the other. Flags in the file say so,
and often lie both ways, so the pictures themselves are asked: where something moves, lines of two moments stand apart
like the teeth of a comb, and weaving a field with the one before or after it, of the neighbouring picture, is no worse.
Only pictures that are combed are replaced, one for one (libav's bwdif): of films that were slowed from 24 to 30 pictures
by repeating fields, three in five stay as they are.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .planes import luma_plane

TALLEST = 1152  # coded lines: no interlaced format has more
SPOTS = 8  # places of a film that are looked at, at most
SECONDS_A_SPOT = 10
PICTURES_A_SPOT = 6
LEAST_COMBED = 0.05  # of the pictures that can be told
TILE = (8, 16)  # lines of a field, pixels
COLUMNS = 360  # pixels of a line that are looked at, about: more would not tell more
MOVING = 2.0  # levels of 255, from one picture to the next
TEETH = 3.0  # levels; less is noise
ASYMMETRY = 1.2  # how much nearer one field order is than the other


@dataclass(frozen=True)
class Fields:
    """How a film is interlaced. `upper_first`: the order of the fields, None where only the flags can tell."""

    upper_first: bool | None
    mostly: bool  # a picture that does not tell counts as combed

    @property
    def parity(self) -> str:
        return "auto" if self.upper_first is None else "tff" if self.upper_first else "bff"


def teeth(above: np.ndarray, lines: np.ndarray, below: np.ndarray) -> np.ndarray:
    """How far `lines` stand apart from those above and below them, where from both to the same side."""
    up, down = lines - above, lines - below
    return np.maximum(np.minimum(up, down), 0) - np.minimum(np.maximum(up, down), 0)


def _woven(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    return _tiles(teeth(upper[:-2], lower[:-2], upper[1:-1]))


def _within(field: np.ndarray) -> np.ndarray:
    return _tiles(teeth(field[:-2], field[1:-1], field[2:]))


def _split(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two fields; of a wide picture only some columns."""
    height, step = picture.shape[0] // 2 * 2, max(1, picture.shape[1] // COLUMNS)
    return picture[0:height:2, ::step].astype(np.int16), picture[1:height:2, ::step].astype(np.int16)


def _tiles(values: np.ndarray) -> np.ndarray:
    rows, cols = values.shape[0] // TILE[0], values.shape[1] // TILE[1]
    inside = values[: rows * TILE[0], : cols * TILE[1]].astype(np.float32)
    return cv2.resize(inside, (cols, rows), interpolation=cv2.INTER_AREA)


def combed(one: np.ndarray, two: np.ndarray) -> tuple[int, float]:
    """Whether picture `one` [H, W] is combed, told from another right before or after it, by the tiles that move.

    First: 1 for combed, -1 for whole, 0 where it cannot be told. Second: how much nearer its lower field is to the
    upper field of `two` than its upper field is to the lower of `two` (negative: farther), in levels.
    """
    if one.shape != two.shape:
        return 0, 0.0
    (upper, lower), (other_upper, other_lower) = _split(one), _split(two)
    if min((upper.shape[0] - 2) // TILE[0], upper.shape[1] // TILE[1]) < 1:
        return 0, 0.0
    own, late, early = _woven(upper, lower), _woven(other_upper, lower), _woven(upper, other_lower)
    within = np.maximum(_within(upper), _within(lower))
    moving = _tiles(np.abs(upper - other_upper)[1:-1]) > MOVING
    nearest = np.minimum(late, early)
    woven = moving & (own > TEETH + 1.5 * within) & (own > 0.8 * nearest)
    whole = moving & (nearest > TEETH + 1.5 * own)
    told = int(woven.sum()), int(whole.sum())
    lean = float((early - late)[woven].sum()) if told[0] else 0.0
    return (1 if told[0] > max(1, told[1]) else -1 if told[1] > told[0] else 0), lean


def find_fields(container: InputContainer, stream: VideoStream) -> Fields | None:
    """Whether and how a film is interlaced, from a few places of it; None where it is not."""
    if not 2 * TILE[0] + 4 <= stream.height <= TALLEST:
        return None
    votes: list[tuple[int, float]] = []
    flagged = False
    for pictures in _samples(container, stream):
        flagged = flagged or any(frame.interlaced_frame for frame in pictures)
        planes = [plane for frame in pictures if (plane := luma_plane(frame)) is not None]
        votes += [combed(one, two) for one, two in pairwise(planes)]
    woven, whole = sum(vote > 0 for vote, _ in votes), sum(vote < 0 for vote, _ in votes)
    if woven < 2 or woven < LEAST_COMBED * (woven + whole):
        return Fields(None, mostly=False) if flagged else None
    lean = sum(lean for vote, lean in votes if vote > 0)
    return Fields(lean > 0, mostly=woven > whole)


def _samples(container: InputContainer, stream: VideoStream) -> Iterator[list[VideoFrame]]:
    """A few successive pictures from each of some places of a film."""
    length = Fraction(container.duration or 0, av.time_base)
    spots = int(min(SPOTS, 1 + length // SECONDS_A_SPOT))
    for spot in range(spots):
        pictures: list[VideoFrame] = []
        try:
            if spot:
                container.seek(int(length * spot / spots * av.time_base))
            for frame in container.decode(stream):
                pictures.append(frame)
                if len(pictures) == PICTURES_A_SPOT:
                    break
        except (av.error.FFmpegError, OSError, IndexError):
            continue
        finally:
            yield pictures


def deinterlaced(numbered: Iterable[tuple[int, VideoFrame]], fields: Fields) -> Iterator[tuple[int, VideoFrame]]:
    """The same frames, those that are combed replaced. Of the first its neighbour before is not known."""
    filtering: _Filter | None = None
    for index, frame in numbered:
        if filtering is None or not filtering.takes(frame):
            if filtering is not None:
                yield from filtering.end()
            filtering = _Filter(frame, fields)
        yield from filtering.feed(index, frame)
    if filtering is not None:
        yield from filtering.end()


class _Filter:
    """bwdif, and the pictures that go through it: each comes out when the next has come."""

    def __init__(self, frame: VideoFrame, fields: Fields) -> None:
        self.fields, self.shape = fields, _shape(frame)
        self.waiting: deque[tuple[int, VideoFrame]] = deque()
        self.before: np.ndarray | None = None
        self.graph = Graph()
        source = self.graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 90000)
        )
        bwdif = self.graph.add("bwdif", f"mode=send_frame:parity={fields.parity}:deint=all")
        self.graph.link_nodes(source, bwdif, self.graph.add("buffersink"))
        self.graph.configure()

    def takes(self, frame: VideoFrame) -> bool:
        return _shape(frame) == self.shape

    def feed(self, index: int, frame: VideoFrame) -> Iterator[tuple[int, VideoFrame]]:
        self.waiting.append((index, frame))
        self.graph.push(frame)
        if len(self.waiting) > 1:
            yield self._out(luma_plane(frame))

    def end(self) -> Iterator[tuple[int, VideoFrame]]:
        self.graph.push(None)
        if self.waiting:
            yield self._out(None)

    def _out(self, after: np.ndarray | None) -> tuple[int, VideoFrame]:
        index, frame = self.waiting.popleft()
        replaced = self.graph.vpull()
        plane = luma_plane(frame)
        votes = [combed(plane, other)[0] for other in (self.before, after) if plane is not None and other is not None]
        self.before = plane
        if 1 in votes or (self.fields.mostly and -1 not in votes):
            return index, replaced
        return index, frame


def _shape(frame: VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name
