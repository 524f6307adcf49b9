"""Sound out of films: in step with the pictures whatever the container says, silent where there is none."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from films import numbered_film
from sakuga.core.media.film import scan_times
from sakuga.core.media.sound import mono
from tunes import tune, write_sounding_film

RATE = 8000
BLACK = [np.zeros((48, 64, 3), np.uint8)] * 144  # six seconds
TUNE = tune(1, 6, RATE)


def heard(path: Path, start: Fraction = Fraction(0)) -> np.ndarray:
    return np.concatenate([np.empty(0, np.float32), *mono(path, RATE, start)])


def starts(sound: np.ndarray) -> float:
    """When (s) the middle of the tune is heard, less when it is played."""
    part = TUNE[2 * RATE : 4 * RATE]
    return float(np.argmax(np.correlate(sound, part, "valid"))) / RATE - 2


@pytest.mark.parametrize("name, codec", [("a.mp4", "aac"), ("a.mkv", "libopus"), ("a.ts", "aac"), ("a.mkv", "flac")])
@pytest.mark.parametrize("late", [0.0, 0.75])
def test_sound_is_in_step_with_the_pictures(tmp_path: Path, name: str, codec: str, late: float) -> None:
    path = write_sounding_film(tmp_path / name, BLACK, 24, TUNE, RATE, codec=codec, late=late)
    sound = heard(path, scan_times(path)[0])
    assert sound.dtype == np.float32 and len(sound) == pytest.approx((6 + late) * RATE, abs=0.2 * RATE)
    assert starts(sound) == pytest.approx(late, abs=0.02)
    assert np.abs(sound[: round(0.7 * late * RATE)]).max(initial=0) < 0.01


def test_what_sounds_before_the_first_picture_is_left_out(tmp_path: Path) -> None:
    path = write_sounding_film(tmp_path / "a.mkv", BLACK, 24, TUNE, RATE)
    assert starts(heard(path, Fraction(3, 2))) == pytest.approx(-1.5, abs=0.02)


def test_a_film_without_sound_gives_nothing(tmp_path: Path) -> None:
    assert list(mono(numbered_film(tmp_path / "a.mp4", 12, 24), RATE)) == []


def test_broken_and_missing_packets_are_silent_and_what_follows_stays_in_step(tmp_path: Path) -> None:
    whole, broken = write_sounding_film(tmp_path / "a.mkv", BLACK, 24, TUNE, RATE), tmp_path / "b.mkv"
    with av.open(str(whole)) as source, av.open(str(broken), "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is None:
                continue
            sounding = packet.stream.type == "audio" and packet.pts is not None
            now = float(packet.pts * packet.time_base) if sounding else 9.0
            if 0.5 < now < 1.0:
                continue  # lost
            index = packet.stream.index
            if 1.0 < now < 1.5:
                packet = _damaged(packet)
            packet.stream = streams[index]
            target.mux(packet)
    sound = heard(broken)
    assert starts(sound) == pytest.approx(0, abs=0.02)
    assert np.abs(sound[round(0.7 * RATE) : round(0.95 * RATE)]).max() < 0.01


def _damaged(packet: av.Packet) -> av.Packet:
    damaged = av.Packet(b"\xff" * packet.size)
    damaged.pts, damaged.dts, damaged.time_base = packet.pts, packet.dts, packet.time_base
    return damaged
