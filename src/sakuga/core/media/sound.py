"""Sound of a film: its first sound track as mono samples, in step with the pictures."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer

from .film import _opened

SLACK = 0.05  # seconds that a timestamp may be off before silence is put in, or samples are left out
LONGEST_GAP = 3600  # seconds: what is to be silent for longer is a broken timestamp


def mono(path: Path | str, rate: int, start: Fraction = Fraction(0)) -> Iterator[np.ndarray]:
    """The first sound track, block by block, float32 at `rate` samples/s, -1..1; nothing where there is none.

    The first sample is of `start`, the timestamp (s) of the film's first picture. Gaps between timestamps, and what
    cannot be decoded, are silent.
    """
    with _opened(path) as (container, _):
        if not container.streams.audio:
            return
        given = 0
        for time, block in _blocks(container, container.streams.audio[0], rate):
            ahead = 0 if time is None else round((time - start) * rate) - given
            if SLACK * rate < ahead <= LONGEST_GAP * rate:
                block = np.concatenate([np.zeros(ahead, np.float32), block])
            elif ahead < -SLACK * rate:
                block = block[-ahead:]
            given += len(block)
            yield block


def _blocks(container: InputContainer, stream: AudioStream, rate: int) -> Iterator[tuple[Fraction | None, np.ndarray]]:
    """When each frame begins (s, container's clock; None: where the one before ended), and its samples."""
    resampler, form = None, None
    for frame in _decoded(container, stream):
        time = None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
        if form != (form := (frame.format.name, frame.layout.name, frame.sample_rate)):  # broadcasts change it midway
            resampler = AudioResampler(format="flt", layout="mono", rate=rate)
        assert resampler is not None
        for part in resampler.resample(frame):
            yield time, part.to_ndarray()[0]
            time = None


def _decoded(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """All that can be decoded: a broken packet is a gap, and what cannot be read on is the end."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
            frames = stream.decode(packet)
        except (StopIteration, IndexError, EOFError):  # PyAV ends by the second when streams appear late (MPEG-TS, FLV)
            return
        except (av.error.FFmpegError, OSError):
            continue
        yield from frames
