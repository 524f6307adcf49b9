"""Decoding that goes on after broken spots: what cannot be decoded, and what was built on it, is left out and told.

A picture is built on pictures before it, and a B picture on one after it too. So from a broken spot on nothing is good
until a key picture that lies behind it, and B pictures count as good only when the picture they lead up to has come.
What tells a broken spot: an error, a picture that the decoder itself calls corrupt, a packet that the demuxer does,
or packets that never became pictures although a hole in time shows where they were. A hole without packets closes
nothing, for rates vary; in a film of an otherwise steady rate it is told.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

READS_FAILED = 64  # in a row; then nothing more comes from this file
HELD = 16  # B pictures in a row; some encoders write nothing else
HOLE = Fraction(3, 2)  # frames' steps: two pictures further apart than this have a hole between them
REORDERED = 1  # s that a picture may be decoded before its turn; further back, time has begun anew
LATE = 10  # steps of a frame: the last picture may stay for longer than the others
FEW_HOLES = 0.01  # of the pictures: with more holes than this a film's rate varies
FEW_FLAGS = 0.1  # of the packets: with more than this called corrupt, it is the muxer that is odd
MISSING, DAMAGED = "data is missing", "damaged data"
PLACES = 3  # broken spots that are named; of the others the number is told


@dataclass(frozen=True)
class Fault:
    """A picture that is not there, at `pts` where that is known."""

    pts: int | None
    why: str


class Faults:
    """Where a film is broken: between which good pictures (s since the first; None: to its end), and why."""

    def __init__(self, stream: VideoStream) -> None:
        self.spots: list[tuple[Fraction, Fraction | None]] = []
        self._holes: list[tuple[Fraction, Fraction | None]] = []
        rate = stream.average_rate or stream.guessed_rate
        self._promised = _promised(stream)
        self._count = 0
        self._widest = HOLE / rate if rate else None  # s from one picture to the next
        self.why = ""
        self._broken = False
        self._first: Fraction | None = None
        self._last = Fraction(0)

    def __bool__(self) -> bool:
        return bool(self.why)

    def broke(self, why: str) -> None:
        self.why = self.why or why
        self._broken = True

    def good(self, time: Fraction) -> None:
        """A good picture came, with this timestamp (s)."""
        self._first = time if self._first is None else self._first
        last, self._last = self._last, time - self._first
        if self._broken:
            self.spots.append((last, max(last, self._last)))  # time may begin anew
        elif self._widest and self._last - last > self._widest:
            self._holes.append((last, self._last))
        self._broken = False
        self._count += 1

    def end(self) -> None:
        """No more comes. A header may promise more: of a copy that was cut short."""
        late = max(Fraction(1), LATE * self._last / max(1, self._count))
        short = self._promised is not None and self._promised - self._last > late
        if self._broken or short:
            self.spots.append((self._last, None))

    def told(self, path: object, count: int) -> str:
        """One sentence for the film at `path`, of which `count` frames are good; empty where nothing is broken."""
        holes = self._holes if len(self._holes) <= max(2, FEW_HOLES * count) else []
        spots = sorted([*self.spots, *holes], key=lambda spot: spot[0])
        inner = [f"{clock(begin)} to {clock(end)}" for begin, end in spots if end is not None]
        told = []
        if inner:
            more = f" and in {len(inner) - PLACES} more places" if len(inner) > PLACES else ""
            told.append(f"is broken from {', '.join(inner[:PLACES])}{more}: the pictures there are left out")
        if len(inner) < len(spots):
            told.append(f"breaks off after frame {count}: the frames before it are used")
        return f"{path} {', and '.join(told)} ({self.why or MISSING})" if told else ""


def clock(seconds: Fraction) -> str:
    """A time as people write it: 1:02:03.4, or 2:03.4."""
    tenths = int(seconds * 10)
    hours, minutes = tenths // 36000, tenths // 600 % 60
    rest = f"{tenths % 600 // 10:02d}.{tenths % 10}"
    return f"{hours}:{minutes:02d}:{rest}" if hours else f"{minutes}:{rest}"


def why(error: Exception) -> str:
    """What libav says of an error."""
    return str(getattr(error, "strerror", None) or error).lower()


def good_frames(
    container: InputContainer, stream: VideoStream, faults: Faults, *, halt: bool = False, from_key: bool = False
) -> Iterator[VideoFrame]:
    """Good frames in presentation order; `faults` learns where others were.

    With `halt` it ends at the first fault. `from_key`: nothing is good, and nothing a fault, before a key picture.
    """
    held: deque[VideoFrame] = deque()
    gate = _Gate(stream)
    begun = not from_key
    for event in _events(container, stream):
        begun = begun or (not isinstance(event, Fault) and _starts(event) and not event.is_corrupt)
        if not begun:
            continue
        if isinstance(event, Fault) or event.is_corrupt:
            fault = event if isinstance(event, Fault) else Fault(event.pts, DAMAGED)
            gate.close(fault.pts)
            faults.broke(fault.why)
            held.clear()
            if halt:
                return
        elif gate.lets_through(event):
            held.append(event)
            leads_up = event.pict_type == PictureType.B
            while len(held) > (HELD if leads_up else 0):
                faults.good(seconds_of(held[0], stream))
                yield held.popleft()
    for frame in held:
        faults.good(seconds_of(frame, stream))
        yield frame
    if not from_key:
        faults.end()


def _promised(stream: VideoStream) -> Fraction | None:
    """How long (s) the header says that the pictures last; None where it is a guess."""
    if not stream.container.format.name.startswith(("matroska", "mov", "avi")):
        return None
    if stream.duration and stream.time_base:
        return stream.duration * stream.time_base
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")  # Matroska
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    except ValueError:
        return None


def seconds_of(frame: VideoFrame, stream: VideoStream) -> Fraction:
    """A frame's timestamp (s); 0 where it has none."""
    return (frame.pts or 0) * (frame.time_base or stream.time_base or Fraction(1, av.time_base))


def _starts(frame: VideoFrame) -> bool:
    """Whether a picture is built on no other. A P picture that begins an intra refresh is called a key picture too."""
    return bool(frame.key_frame) and frame.pict_type == PictureType.I


class _Gate:
    """Closed from a broken spot until a picture that needs nothing from before it."""

    def __init__(self, stream: VideoStream) -> None:
        self._open = True
        self._reordered = REORDERED / stream.time_base if stream.time_base else 0
        self._behind: int | None = None  # pts of the furthest broken picture
        self._sweeps = 0  # intra refreshes begun since: after a whole one every part of the picture is new

    def close(self, pts: int | None) -> None:
        self._open, self._sweeps = False, 0
        if pts is not None:
            self._behind = pts if self._behind is None else max(pts, self._behind)

    def lets_through(self, frame: VideoFrame) -> bool:
        if self._open:
            return True
        behind = self._behind is not None and frame.pts is not None and frame.pts <= self._behind
        if behind and self._behind - frame.pts <= self._reordered:  # type: ignore[operator]
            return False
        self._sweeps += bool(frame.key_frame)
        if _starts(frame) or self._sweeps > 1:
            self._open, self._behind = True, None
        return self._open


def _events(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame | Fault]:
    """Each picture in presentation order, and a fault for what did not become one."""
    lost = _Lost(stream)
    packets = flagged = 0
    for packet in _packets(container, stream):
        if isinstance(packet, Fault):
            yield packet
            continue
        if packet is not None:
            packets += 1
            flagged += packet.is_corrupt
            if packet.is_corrupt and flagged <= max(1, FEW_FLAGS * packets):
                yield Fault(packet.pts, DAMAGED)
        try:
            lost.sent(packet)
            decoded = stream.decode(packet)
        except EOFError:  # it was flushed already
            continue
        except (av.error.FFmpegError, OSError) as error:
            yield Fault(packet.pts if packet is not None else None, why(error))
            continue
        for frame in decoded:
            if (before := lost.before(frame)) is not None:
                yield before
            yield frame
    if (after := lost.at_end()) is not None:
        yield after


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet | Fault | None]:
    """The packets of a stream, then None; reading goes on after an error, which is given in its place."""
    failed = 0
    while failed < READS_FAILED:
        try:
            for packet in container.demux(stream):
                failed = 0
                if packet.size:  # an empty one would end the decoding
                    yield packet
            break
        except IndexError:
            break  # PyAV ends so when streams appear after the opening (MPEG-TS, FLV)
        except (av.error.FFmpegError, OSError) as error:
            failed += 1
            yield Fault(None, why(error))
    yield None


class _Lost:
    """Finds packets that never became pictures: those whose time lies in a hole between two pictures."""

    def __init__(self, stream: VideoStream) -> None:
        rate, tick = stream.average_rate or stream.guessed_rate, stream.time_base
        told = stream.container.format.name != "avi"  # which keeps no times: they are those of the decoding order
        self._step = 1 / (rate * tick) if rate and tick and told else None  # ticks from one picture to the next
        self._open: set[int] = set()
        self._last: int | None = None

    def sent(self, packet: Packet | None) -> None:
        if packet is not None and packet.pts is not None and not packet.is_discard:
            self._open.add(packet.pts)

    def before(self, frame: VideoFrame) -> Fault | None:
        """What is missing between the picture before and this one."""
        if frame.pts is None:
            return None
        last, self._last = self._last, frame.pts
        self._open.discard(frame.pts)
        passed = [pts for pts in self._open if pts < frame.pts]
        self._open.difference_update(passed)
        missing = [pts for pts in passed if last is not None and pts > last]
        if self._step is None or last is None or not missing or frame.pts - last <= HOLE * self._step:
            return None
        return Fault(max(missing), MISSING)

    def at_end(self) -> Fault | None:
        """What is missing after the last picture. The second field of that may have a packet of its own."""
        if self._step is None or self._last is None:
            return None
        missing = [pts for pts in self._open if pts > self._last + self._step * HOLE / 2]
        return Fault(max(missing), MISSING) if missing else None
