"""Music for tests, notes at random from a scale with a drum, the same seed giving the same tune; and films with sound."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.frame import VideoFrame

SCALE = (0, 2, 4, 5, 7, 9, 11)


def tune(seed: int, seconds: float, rate: int) -> np.ndarray:
    """Mono samples, float32, -1..1."""
    rng = np.random.default_rng(seed)
    out = np.zeros(round((seconds + 4) * rate), np.float32)
    root, beat, time = rng.integers(45, 60), 60 / rng.uniform(90, 150), 0.0
    while time < seconds:
        for octave in range(3):
            note = root + 12 * octave + rng.choice(SCALE)
            _add(out, time, _tone(440 * 2 ** ((note - 69) / 12), beat * rng.choice([0.75, 1.5, 3.0]), rate), rate)
        drum = rng.normal(0, 0.15, rate // 10) * np.exp(-np.arange(rate // 10) / rate * 40)
        _add(out, time, drum, rate)
        time += beat * rng.choice([0.5, 0.5, 1.0])
    return np.clip(out[: round(seconds * rate)], -1, 1)


def _tone(pitch: float, seconds: float, rate: int) -> np.ndarray:
    x = np.arange(round(seconds * rate)) / rate
    overtones = [h for h in range(1, 7) if h * pitch < rate / 2]
    waves = sum(np.sin(2 * np.pi * h * pitch * x) / h**1.2 for h in overtones)
    return np.asarray(0.12 * waves * np.exp(-5 * x / seconds))


def _add(out: np.ndarray, time: float, sound: np.ndarray, rate: int) -> None:
    start = round(time * rate)
    out[start : start + len(sound)] += sound[: len(out) - start]


def write_sounding_film(
    path: Path,
    pictures: Iterable[np.ndarray],
    rate: Fraction | int,
    sound: np.ndarray,
    sound_rate: int,
    *,
    codec: str = "aac",
    bit_rate: int = 96_000,
    late: float = 0.0,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode pictures (RGB uint8 [H, W, 3]) and mono samples (float32) as one film, the sound `late` s after the pictures."""
    rate = Fraction(rate)
    left = iter(pictures)
    first = next(left)
    with av.open(str(path), "w") as container:
        shown = container.add_stream("libx264", rate=rate, options=options or {"crf": "24", "preset": "veryfast"})
        shown.height, shown.width = first.shape[:2]
        shown.pix_fmt = "yuv420p"
        heard = container.add_stream(codec, rate=48_000 if codec == "libopus" else sound_rate, layout="mono")
        heard.bit_rate = bit_rate
        for packet in _heard(heard, sound, sound_rate, late):
            container.mux(packet)
        for n, rgb in enumerate(chain([first], left)):
            frame = VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = n, 1 / rate
            container.mux(shown.encode(frame))
        container.mux(shown.encode())
    return path


def _heard(stream: AudioStream, sound: np.ndarray, rate: int, late: float) -> Iterator[Packet]:
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(sound[None], np.float32), format="fltp", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(late * rate)
    context = stream.codec_context
    context.open()
    resampler = AudioResampler(
        format=context.format, layout="mono", rate=context.sample_rate, frame_size=context.frame_size
    )
    for part in (*resampler.resample(frame), *resampler.resample(None)):
        yield from stream.encode(part)
    yield from stream.encode()
