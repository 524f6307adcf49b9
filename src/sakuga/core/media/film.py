"""Films in: what a file is, the exact time of every frame, and frames as RGB by their index in presentation order.

Frames are counted by decoding; broken spots are stepped over. Interlaced frames are made whole, rotation and mirroring
stored in the file are applied and non-square pixels are squared (the width is scaled), so that every array looks as a
player would show it. Only containers that hold their own pictures are opened: playlists, which name other files or
addresses, are not videos here. Cropping that a container asks for is not told by PyAV and not done.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import dropwhile, islice
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..errors import SakugaError
from .ahead import ahead
from .decoding import Faults, good_frames, seconds_of, why
from .fields import Fields, deinterlaced, find_fields
from .planes import Planes, Shrinker
from .view import Painter, View

AHEAD = 6  # frames that wait to be looked at
MAX_PIXELS = 2**26  # of one coded frame: twice 8K
_CONTAINERS = (
    "matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,avi,flv,mpegts,mpeg,asf,ogg,mpegvideo,h264,hevc,m4v,ivf,gif,nut,rm,mxf,"
    "yuv4mpegpipe,obu,vc1,dv,wtv"
)
_SEEK_FROM = 32  # frames: nearer than this, decoding from the start is as quick
_SEEK_BACK = (0, 10)  # seconds before the wanted frame, tried in turn

Warn = Callable[[str], None]


@dataclass(frozen=True)
class FilmInfo:
    """What a film says of itself. Width and height are as displayed; sizes in pixels, times in seconds."""

    codec: str
    width: int
    height: int
    coded_width: int
    coded_height: int
    sar: Fraction  # width of a coded pixel over its height
    rotation: int  # degrees clockwise to turn the coded picture by, after mirroring it
    mirrored: bool  # left and right are swapped first
    declared: Fraction | None  # frames/s; `timing.snap_rate` says what is true
    tick: Fraction
    duration: Fraction | None
    alpha: bool = False  # it tells how opaque each pixel is


@dataclass(frozen=True)
class Shown:
    """A decoded frame: its index in presentation order, its timestamp (s) as `scan_times` gives it, and its picture."""

    index: int
    time: Fraction
    rgb: np.ndarray  # H W 3, uint8


class _Lost(Exception):
    """After seeking, a frame is not the one that the known timestamps say."""


def probe(path: Path | str) -> FilmInfo:
    """Size, rate and codec of a film; its first frame is decoded, so what passes here can be read."""
    with _opened(path) as (container, stream):
        first = _first_frame(path, container, stream)
        view = View.of(first, stream)
        width, height = view.displayed
        duration = stream.duration * _tick(stream) if stream.duration else None
        if duration is None and container.duration:
            duration = Fraction(container.duration, av.time_base)
        return FilmInfo(
            stream.codec_context.name, width, height, first.width, first.height, view.sar, view.rotation, view.mirrored,
            _declared(stream), _tick(stream), duration, any(part.is_alpha for part in first.format.components),
        )  # fmt: skip


def scan_times(
    path: Path | str, on_frame: Callable[[int, Fraction], None] | None = None, on_error: Warn | None = None
) -> list[Fraction]:
    """The timestamp (s) of every frame, in presentation order, found by decoding all of them.

    `on_frame(index, time)` is called for each. Broken spots are stepped over, and `on_error` is told of them.
    """
    times: list[Fraction] = []
    with _opened(path) as (container, stream):
        clock = _Clock(stream)
        for index, frame in enumerate(_decoded(path, container, stream, on_error)):
            times.append(clock(frame))
            if on_frame is not None:
                on_frame(index, times[-1])
    return times


def scan(path: Path | str, size: tuple[int, int] | None = None, on_error: Warn | None = None) -> Iterator[Shown]:
    """Every frame with its timestamp and picture, in one pass; `size` (width, height) scales what is displayed."""
    with _opened(path) as (container, stream):
        view, fields = _known(path)
        clock, paint = _Clock(stream), Painter(view, size)
        times: list[Fraction] = []

        def timed() -> Iterator[tuple[int, VideoFrame]]:
            for index, frame in enumerate(_decoded(path, container, stream, on_error)):
                times.append(clock(frame))
                yield index, frame

        for index, frame in deinterlaced(timed(), fields) if fields else timed():
            yield Shown(index, times[index], paint(frame))


def look(
    path: Path | str, size: tuple[int, int], on_error: Warn | None = None
) -> Iterator[tuple[int, Fraction, Planes]]:
    """Every frame as (index, timestamp, small planes of `size`), in one pass: the cheapest way to see a whole film.

    Frames are decoded in a thread of their own, while the caller looks at those before.
    """
    return ahead(_looked(path, size, on_error), AHEAD)


def _looked(path: Path | str, size: tuple[int, int], on_error: Warn | None) -> Iterator[tuple[int, Fraction, Planes]]:
    with _opened(path) as (container, stream):
        view, fields = _known(path)
        clock, shrink = _Clock(stream), Shrinker(view, size, one_field=fields is not None)
        for index, frame in enumerate(_decoded(path, container, stream, on_error)):
            yield index, clock(frame), shrink(frame)


def frames(
    path: Path | str,
    wanted: range | Sequence[int] | None = None,
    size: tuple[int, int] | None = None,
    *,
    times: Sequence[Fraction] | None = None,
    on_error: Warn | None = None,
    alpha: bool = False,
) -> Iterator[tuple[int, np.ndarray]]:
    """The wanted frames (ascending indices; None: all) as (index, RGB uint8 array of H x W x 3), in order.

    With `times` (what `scan_times` gave for this file) it starts at a keyframe before the first wanted one; a file
    whose frames after seeking are not those of `times` is decoded from its start. The frames are the same either way. With `alpha`
    a frame is how opaque its pixels are instead, uint8 of H x W.
    """
    todo = None if wanted is None else sorted(set(wanted))
    if todo == []:
        return
    view, fields = _known(path)
    paint = Painter(view, size, alpha=alpha)
    first = todo[0] if todo else 0
    last = todo[-1] if todo else None
    left = None if todo is None else set(todo)
    for back in (*(_SEEK_BACK if times and _SEEK_FROM < first < len(times) else ()), None):
        try:
            with _opened(path) as (container, stream):
                numbered: Iterator[tuple[int, VideoFrame]]
                if back is None or times is None:
                    numbered = _numbered(_decoded(path, container, stream, on_error), stream, times)
                else:
                    numbered = _after_seek(container, stream, times, first - (fields is not None), back)
                if fields is not None:
                    numbered = deinterlaced(numbered, fields)
                for index, frame in numbered:
                    if left is None or index in left:
                        yield index, paint(frame)
                        if left is not None:
                            left.remove(index)
                    if index == last:
                        return
            return
        except _Lost:
            continue


def _numbered(
    decoded: Iterator[VideoFrame], stream: VideoStream, times: Sequence[Fraction] | None
) -> Iterator[tuple[int, VideoFrame]]:
    """Frames with their indices; with `times`, that of the nearest in time, as no two decodings agree on broken spots."""
    if not times:
        yield from enumerate(decoded)
        return
    clock, last, offset = _Clock(stream), -1, None
    for frame in decoded:
        time = clock(frame)
        if offset is None:
            offset = Fraction(0) if time in times else times[0] - time
        after = bisect_left(times, time + offset)
        index = min(range(max(0, after - 1), min(after + 1, len(times))), key=lambda n: abs(times[n] - time - offset))
        if index > last and abs(times[index] - time - offset) <= clock.step / 2:
            last = index
            yield index, frame


def _after_seek(
    container: InputContainer,
    stream: VideoStream,
    times: Sequence[Fraction],
    first: int,
    back: int,
) -> Iterator[tuple[int, VideoFrame]]:
    """Frames from a keyframe at or before `first`; _Lost where the file does not behave as `times` says."""
    target = max(times[0], times[first] - back)
    try:
        container.seek(int(target // _tick(stream)), stream=stream)
    except av.error.FFmpegError as error:
        raise _Lost from error
    index_at = {time: index for index, time in enumerate(times)}
    expected: int | None = None
    faults = Faults(stream)
    for frame in good_frames(container, stream, faults, halt=True, from_key=True):
        index = index_at.get(seconds_of(frame, stream)) if frame.pts is not None else None
        if index is None or index > first if expected is None else index != expected:
            raise _Lost
        assert index is not None
        yield index, frame
        expected = index + 1
    if faults or expected is None or expected <= first:
        raise _Lost


def _known(path: Path | str) -> tuple[View, Fields | None]:
    """How a film is displayed, which its first frame says for all of it, and whether it is interlaced."""
    path = Path(path).absolute()
    state = path.stat() if path.is_file() else None
    return _asked(path, (state.st_size, state.st_mtime_ns) if state else None)


@lru_cache(maxsize=256)
def _asked(path: Path, state: tuple[int, int] | None) -> tuple[View, Fields | None]:
    with _opened(path) as (container, stream):
        view = View.of(_first_frame(path, container, stream), stream)
    with _opened(path) as (container, stream):
        return view, find_fields(container, stream)


@contextmanager
def _opened(path: Path | str, threads: int = 0) -> Iterator[tuple[InputContainer, VideoStream]]:
    path = Path(path)
    if not path.is_file():
        raise SakugaError(f"{path} is not there; check its name and that its disk is mounted")
    if not path.stat().st_size:
        raise _unreadable(path, "it is empty")
    # absolute, because libav reads "a:b.mp4" as an address
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    try:
        container = av.open(str(path.absolute()), options=options, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise _unreadable(path, _why(error)) from error
    with container:
        stream = next((s for s in container.streams.video if not s.disposition & Disposition.attached_pic), None)
        if stream is None or stream.codec_context is None:
            raise _unreadable(path, "it has no video stream")
        if stream.width * stream.height > MAX_PIXELS:
            raise _unreadable(path, f"its pictures of {stream.width}x{stream.height} are larger than Sakuga takes")
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        yield container, stream


def _unreadable(path: Path | str, why: str) -> SakugaError:
    return SakugaError(f"{path} is not a video that can be read: {why}; leave it out or convert it")


def _why(error: Exception) -> str:
    if isinstance(error, av.error.ArgumentError):
        return "it is a file of another kind"  # what libav says of formats that are not on our list
    return why(error)


def _decoded(
    path: Path | str, container: InputContainer, stream: VideoStream, on_error: Warn | None
) -> Iterator[VideoFrame]:
    """Good frames in presentation order; broken spots are stepped over, and `on_error` is told of all of them at the end.

    Threads lose pictures around a broken spot, and how many depends on the machine: from the first one on a film is
    decoded anew without them.
    """
    faults, count = Faults(stream), 0
    last: int | None = None
    for frame in good_frames(container, stream, faults, halt=True):
        yield frame
        count, last = count + 1, frame.pts
    if faults:
        yield from _stepping_over(path, count, last, on_error)
    elif on_error is not None and (told := faults.told(path, count)):
        on_error(told)


def _stepping_over(path: Path | str, count: int, last: int | None, on_error: Warn | None) -> Iterator[VideoFrame]:
    """What comes after the first `count` good frames, the last of which has pts `last`."""
    with _opened(path, threads=1) as (container, stream):
        faults = Faults(stream)
        rest = islice(good_frames(container, stream, faults), count, None)
        for frame in dropwhile(lambda f: last is not None and f.pts is not None and f.pts <= last, rest):
            yield frame
            count += 1
    if on_error is not None and (told := faults.told(path, count)):
        on_error(told)


def _first_frame(path: Path | str, container: InputContainer, stream: VideoStream) -> VideoFrame:
    told: list[str] = []
    for frame in _decoded(path, container, stream, told.append):
        return frame
    raise _unreadable(path, "none of its pictures can be decoded" if told else "it has no frames")


def _tick(stream: VideoStream) -> Fraction:
    return stream.time_base or Fraction(1, av.time_base)


def _declared(stream: VideoStream) -> Fraction | None:
    return next((r for r in (stream.average_rate, stream.guessed_rate, stream.base_rate) if r and r > 0), None)


class _Clock:
    """The timestamp of each frame in turn, always ascending: missing ones and jumps back go on at the declared rate."""

    def __init__(self, stream: VideoStream) -> None:
        self.stream = stream
        self.step = 1 / (_declared(stream) or 1 / _tick(stream))
        self.by_decoding = stream.container.format.name == "avi"  # which keeps no times, but a frame for every tick
        self.last: Fraction | None = None
        self.shift = Fraction(0)

    def __call__(self, frame: VideoFrame) -> Fraction:
        following = Fraction(0) if self.last is None else self.last + self.step
        stamp = frame.dts if self.by_decoding else frame.pts
        if stamp is None:
            self.last = following
            return following
        time = stamp * (frame.time_base or _tick(self.stream)) + self.shift
        if self.last is not None and time <= self.last:
            self.shift += following - time
            time = following
        self.last = time
        return time
