"""Interlaced films: told from their pictures, made whole one for one, the same on every way to a frame."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from films import write_film
from sakuga.core.media import fields
from sakuga.core.media import film as media
from sakuga.core.media.film import frames, look, scan, scan_times

COUNT = 24


def scene(time: float, width: int = 352, height: int = 288) -> np.ndarray:
    """Texture, a disc that travels and posts that pass, at any moment (s)."""
    y, x = np.mgrid[:height, :width].astype(float)
    grey = 90 + 60 * np.sin(x / 17 + 3 * np.sin(y / 29)) + 40 * np.cos(y / 13)
    centre = width * (0.5 + 0.35 * np.sin(time * 2.1)), height * (0.5 + 0.3 * np.cos(time * 1.3))
    disc = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < (height * 0.17) ** 2
    grey[disc] = 230 - 60 * np.sin((x[disc] - centre[0]) / 3)
    grey[:, (x[0] + time * 160).astype(int) % 97 < 4] = 20
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def weave(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    woven = upper.copy()
    woven[1::2] = lower[1::2]
    return woven


def interlaced(upper_first: bool) -> list[np.ndarray]:
    pairs = [(scene(n / 25), scene((n + 0.5) / 25)) for n in range(COUNT)]
    return [weave(*pair) if upper_first else weave(*pair[::-1]) for pair in pairs]


def whole() -> list[np.ndarray]:
    return [scene(n / 25) for n in range(COUNT)]


def repeated_fields() -> list[np.ndarray]:
    """24 pictures a second as 30: of five pictures two are woven from neighbours."""
    made: list[np.ndarray] = []
    for n in range(0, COUNT - 4, 4):
        a, b, c, d = (scene((n + k) / 24) for k in range(4))
        made += [a, b, weave(b, c), weave(c, d), d]
    return made


def x264(more: str = "") -> dict[str, str]:
    return {"preset": "veryfast", "crf": "16", "x264-params": more}


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


@pytest.mark.parametrize("flag", ["", "interlaced=1:tff=1", "interlaced=1:bff=1"])
@pytest.mark.parametrize("upper_first", [True, False])
def test_an_interlaced_film_is_made_whole_whatever_its_flags_say(tmp_path: Path, flag: str, upper_first: bool) -> None:
    path = write_film(tmp_path / "a.mkv", interlaced(upper_first), 25, options=x264(flag))
    known = media._known(path)[1]
    assert known is not None and known.upper_first is upper_first and known.mostly
    got = [rgb for _, rgb in frames(path)]
    assert len(got) == len(scan_times(path)) == COUNT
    assert scan_times(path) == [Fraction(n, 25) for n in range(COUNT)]
    woven = interlaced(upper_first)
    assert min(psnr(rgb, true) for rgb, true in zip(got, whole(), strict=True)) > 28
    assert np.mean([psnr(a, b) for a, b in zip(woven, whole(), strict=True)]) < 24  # what it was before


@pytest.mark.parametrize("flag", ["", "interlaced=1:tff=1"])
@pytest.mark.parametrize("picture", ["moving", "on twos", "still", "stripes"])
def test_a_film_that_is_not_interlaced_is_left_as_it_is(tmp_path: Path, flag: str, picture: str) -> None:
    stripes = np.repeat((np.arange(288) % 2 * 200).astype(np.uint8)[:, None, None], 352, axis=1).repeat(3, axis=2)
    make: dict[str, Callable[[int], np.ndarray]] = {
        "moving": lambda n: scene(n / 25),
        "on twos": lambda n: scene(n // 2 / 12),
        "still": lambda n: scene(0),
        "stripes": lambda n: np.roll(stripes, 3 * n, axis=1),
    }
    path = write_film(tmp_path / "a.mkv", [make[picture](n) for n in range(COUNT)], 25, options=x264(flag))
    with media._opened(path) as (container, stream):
        paint = media.Painter(media._known(path)[0], None)
        coded = [paint(frame) for frame in container.decode(stream)]
    assert all(np.array_equal(a, rgb) for a, (_, rgb) in zip(coded, frames(path), strict=True))


def test_of_repeated_fields_only_the_woven_pictures_are_replaced(tmp_path: Path) -> None:
    made = repeated_fields()
    path = write_film(tmp_path / "a.mp4", made, 25, options=x264())
    like = [psnr(a, rgb) for a, (_, rgb) in zip(made, frames(path), strict=True)]
    assert {n for n, value in enumerate(like) if value < 30} == {n for n in range(len(made)) if n % 5 in (2, 3)}


@pytest.mark.parametrize("name", ["a.mp4", "b.mkv", "c.ts"])
def test_every_way_to_an_interlaced_frame_agrees(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_film(tmp_path / name, interlaced(True), 25, gop=8, options=x264("interlaced=1:tff=1"))
    times, got = scan_times(path), dict(frames(path))
    assert all(np.array_equal(s.rgb, got[s.index]) and s.time == times[s.index] for s in scan(path))
    monkeypatch.setattr(media, "_SEEK_FROM", 0)
    for first in (1, 7, 8, 9, 16, COUNT - 1):
        part = dict(frames(path, range(first, min(first + 3, COUNT)), times=times))
        assert len(part) == min(3, COUNT - first)
        assert all(np.array_equal(part[n], got[n]) for n in part), first


def test_the_small_planes_of_an_interlaced_film_show_one_moment(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mkv", interlaced(True), 25, options=x264())
    got = [planes.luma.astype(float) for _, _, planes in look(path, (88, 72))]
    true = [planes.mean(axis=2) for _, planes in frames(path, size=(88, 72))]
    assert len(got) == COUNT and max(np.abs(a - b).mean() for a, b in zip(got, true, strict=True)) < 4


def test_teeth() -> None:
    flat, high = np.full((4, 8), 10, np.int16), np.full((4, 8), 90, np.int16)
    assert (fields.teeth(flat, high, flat) == 80).all() and (fields.teeth(high, flat, high) == 80).all()
    assert not fields.teeth(flat, high, high).any() and not fields.teeth(flat, flat, high).any()


def test_pictures_too_small_or_of_two_sizes_do_not_tell() -> None:
    small, large = np.zeros((12, 12), np.uint8), np.zeros((96, 128), np.uint8)
    assert fields.combed(small, small) == fields.combed(large, large[:48]) == fields.combed(large, large) == (0, 0.0)
