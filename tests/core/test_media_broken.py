"""Films with broken spots: what is whole is used, at its true time, on every way to it; the rest is left out and told."""

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from films import number_picture, write_film
from sakuga.core.media import film as media
from sakuga.core.media.film import frames, look, probe, scan, scan_times

COUNT, GOP = 90, 12


def pictures() -> Iterable[np.ndarray]:
    """Numbers on blocks that move: a picture built on a wrong one differs."""
    blocks = np.random.default_rng(0).integers(0, 255, (30, 40, 3)).astype(np.uint8)
    noise = np.repeat(np.repeat(blocks, 8, 0), 8, 1)
    return [np.roll(noise, 3 * n, 1) // 2 + number_picture(n, (320, 240)) // 2 for n in range(COUNT)]


def hurt(path: Path, packets: Iterable[int], damage: Callable[[bytearray], None]) -> Path:
    """A copy of a film, some of its packets damaged."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        spans = [(p.pos, p.size) for p in container.demux(video=0) if p.pos is not None and p.size]
    for start, size in (spans[n] for n in packets):
        part = data[start : start + size]
        damage(part)
        data[start : start + size] = part
    target = path.with_name(f"hurt-{path.name}")
    target.write_bytes(data)
    return target


def wipe(part: bytearray) -> None:
    part[:] = b"\xff" * len(part)


def scratch(part: bytearray) -> None:
    rng = np.random.default_rng(1)
    for place in rng.integers(len(part) // 3, len(part), max(3, len(part) // 20)):
        part[place] = rng.integers(256)


KINDS: dict[str, dict[str, Any]] = {
    "a.mp4": {},
    "b.mkv": {},
    "c.mkv": {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": "log-level=none:bframes=3"}},
    "d.avi": {"codec": "mpeg4", "options": {"bf": "0"}},
    "e.ts": {"codec": "mpeg2video", "options": {"bf": "2"}},
    "f.ts": {},
    "g.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
}


@pytest.fixture(scope="module", params=KINDS)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / request.param
    return write_film(path, pictures(), 24, gop=GOP, **KINDS[request.param])


def numbers_at(path: Path, times: list[Fraction]) -> list[int]:
    """Which frames of the whole film are shown at these times."""
    shown = scan_times(path)
    return [min(range(COUNT), key=lambda n: abs(shown[n] - time)) for time in times]


def test_what_is_whole_is_used_and_nothing_else(whole: Path) -> None:
    true = [rgb for _, rgb in frames(whole)]
    path = hurt(whole, [30, 31, 60], wipe)
    told: list[str] = []
    times = scan_times(path, on_error=told.append)
    numbers = numbers_at(whole, times)
    assert numbers[0] == 0 and numbers[-1] == COUNT - 1  # it goes on to the end
    assert 60 <= len(numbers) < COUNT and len(set(numbers)) == len(numbers)
    got = list(frames(path))
    assert [index for index, _ in got] == list(range(len(times)))
    assert all(np.array_equal(true[n], rgb) for n, (_, rgb) in zip(numbers, got, strict=True))
    assert len(told) == 1 and str(path) in told[0]
    assert "is broken from 0:01." in told[0] and ": the pictures there are left out (" in told[0]


def test_every_way_to_a_frame_agrees(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = hurt(whole, [30, 31, 60], wipe)
    times = scan_times(path)
    got = dict(frames(path))
    told: list[str] = []
    shown = list(scan(path, on_error=told.append))
    assert [s.time for s in shown] == times and len(told) == 1
    assert all(np.array_equal(s.rgb, got[s.index]) for s in shown)
    assert [(index, time) for index, time, _ in look(path, (64, 48))] == list(enumerate(times))
    monkeypatch.setattr(media, "_SEEK_FROM", 0)
    for first in (1, 24, len(times) // 2, len(times) - 6):
        part = dict(frames(path, range(first, first + 5), times=times))
        assert list(part) == list(range(first, first + 5))
        assert all(np.array_equal(part[n], got[n]) for n in part)


@pytest.mark.parametrize("name", ["a.mp4", "d.avi", "e.ts", "f.ts"])
def test_damage_that_the_decoder_notices_is_left_out(tmp_path: Path, name: str) -> None:
    """Not all is noticed by all decoders: VP9 and HEVC show wrong data as they find it."""
    path = write_film(tmp_path / name, pictures(), 24, gop=GOP, bframes=0, **KINDS[name])
    true = [rgb for _, rgb in frames(path)]
    hurt_path = hurt(path, [40], scratch)
    numbers = numbers_at(path, scan_times(hurt_path))
    assert 0 < COUNT - len(numbers) <= GOP and numbers[-1] == COUNT - 1
    assert all(np.array_equal(true[n], rgb) for n, (_, rgb) in zip(numbers, frames(hurt_path), strict=True))


def test_a_frame_of_the_known_times_is_found_where_others_are_missing(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", pictures(), 24, gop=GOP)
    true, times = dict(frames(path)), scan_times(path)
    damaged = hurt(path, [30], wipe)
    got = dict(frames(damaged, [5, 80, 85], times=times))  # as if the damage had not been there at first
    assert list(got) == [5, 80, 85] and all(np.array_equal(got[n], true[n]) for n in got)
    fewer = [time for n, time in enumerate(times) if n not in range(20, 30)]  # as if there had been more of it
    got = dict(frames(path, [5, 19, 20, 70], times=fewer))
    assert all(np.array_equal(got[n], true[n if n < 20 else n + 10]) for n in (5, 19, 20, 70))


@pytest.mark.parametrize("name", ["a.mkv", "b.mp4", "c.avi"])
def test_a_film_that_is_cut_short_says_so(tmp_path: Path, name: str) -> None:
    options = {"crf": "20", "preset": "veryfast"}
    how = {"codec": "mpeg4", "options": {"bf": "0"}} if name == "c.avi" else {"options": options}
    path = write_film(tmp_path / name, pictures(), 24, gop=GOP, **how)  # type: ignore[arg-type]
    if name == "b.mp4":
        faststart(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    told: list[str] = []
    times = scan_times(path, on_error=told.append)
    assert 20 < len(times) < 60 and probe(path).codec
    assert len(told) == 1 and f"breaks off after frame {len(times)}: the frames before it are used (" in told[0]
    assert [index for index, _ in frames(path)] == list(range(len(times)))


def faststart(path: Path) -> None:
    """The same packets, the table of contents first."""
    whole = path.rename(path.with_name("end.mp4"))
    with av.open(str(whole)) as source, av.open(str(path), "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)


def test_a_steady_film_with_nothing_wrong_says_nothing(whole: Path) -> None:
    told: list[str] = []
    assert len(scan_times(whole, on_error=told.append)) == COUNT
    assert list(frames(whole, range(3), on_error=told.append)) and told == []


def test_a_variable_rate_is_no_damage(tmp_path: Path) -> None:
    stamps = [k * 40 + (300 * (k // 10)) for k in range(60)]
    path = write_film(tmp_path / "a.mkv", list(pictures())[:60], 25, pts=stamps, time_base=Fraction(1, 1000))
    told: list[str] = []
    assert len(scan_times(path, on_error=told.append)) == 60 and told == []
