"""Films, clips and pictures: exact frames, true colours, the right way up, and one sentence for what cannot be read."""

import struct
import wave
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from films import cartoon_film, number_picture, numbered_film, read_number, write_film
from sakuga.core.errors import SakugaError
from sakuga.core.media import film as media
from sakuga.core.media import picture as pictures
from sakuga.core.media.clip import ClipInfo, write_clip
from sakuga.core.media.film import frames, probe, scan, scan_times
from sakuga.core.media.fit import fit
from sakuga.core.media.picture import read_picture, write_png


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(np.float64) - b) ** 2)))


def smooth(width: int = 128, height: int = 96, phase: float = 0) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 19 + phase) + np.cos(y / 23 + k) for k in range(3)]
    return np.stack([127 + 55 * w for w in waves], axis=2).astype(np.uint8)


# films


def test_probe(tmp_path: Path) -> None:
    info = probe(numbered_film(tmp_path / "a.mkv", 24, Fraction(24000, 1001)))
    assert (info.codec, info.width, info.height, info.rotation, info.sar) == ("h264", 128, 96, 0, 1)
    assert (info.declared, info.tick) == (Fraction(24000, 1001), Fraction(1, 1000))
    assert info.duration is not None and abs(info.duration - 1) < Fraction(1, 100)


def test_times_are_counted_by_decoding(tmp_path: Path) -> None:
    path = numbered_film(tmp_path / "a.mp4", 30, 25)
    seen: list[tuple[int, Fraction]] = []
    times = scan_times(path, lambda n, t: seen.append((n, t)))
    assert times == [Fraction(n, 25) for n in range(30)]
    assert seen == list(enumerate(times))


def test_scan_gives_time_and_picture_in_one_pass(tmp_path: Path) -> None:
    path = numbered_film(tmp_path / "a.mp4", 10, 25)
    shown = list(scan(path, (64, 48)))
    assert [(s.index, s.time, read_number(s.rgb)) for s in shown] == [(n, Fraction(n, 25), n) for n in range(10)]
    assert shown[0].rgb.shape == (48, 64, 3) and shown[0].rgb.dtype == np.uint8


def test_only_the_wanted_frames_in_order(tmp_path: Path) -> None:
    path = numbered_film(tmp_path / "a.mp4", 40, 24)
    for wanted in (range(5, 9), [0, 3, 17, 39], [39], [], [38, 200]):
        got = [(n, read_number(rgb)) for n, rgb in frames(path, wanted)]
        assert got == [(n, n) for n in wanted if n < 40]
    assert [n for n, _ in frames(path)] == list(range(40))


def noisy_pictures(count: int) -> list[np.ndarray]:
    """Every pixel moves, so that a frame decoded from the wrong references differs."""
    noise = np.random.default_rng(0).integers(0, 255, (96, 128, 3)).astype(np.uint8)
    return [np.roll(noise, 3 * n, 1) // 2 + number_picture(n) // 2 for n in range(count)]


def x264(**more: str) -> dict[str, Any]:
    return {"options": {"crf": "30", "preset": "veryfast", **more}, "gop": 10, "bframes": 3}


SEEKABLE: dict[str, tuple[str, bool, dict[str, Any]]] = {  # file, whether a seek can succeed at all, how to write it
    "closed": ("a.mp4", True, x264()),
    "open": ("b.mkv", True, x264(**{"x264-params": "open-gop=1:scenecut=0"})),
    "refresh": ("c.mkv", False, x264(**{"x264-params": "intra-refresh=1:bframes=0:keyint=12"})),
    "stream": ("d.ts", False, x264()),
    "avi": ("e.avi", False, {"codec": "mpeg4", "gop": 10, "options": {"bf": "2"}}),
    "hevc": ("f.mkv", True, {"codec": "libx265", "gop": 10, "options": {
        "preset": "ultrafast", "x265-params": "open-gop=1:bframes=3:log-level=none"}}),
}  # fmt: skip


@pytest.mark.parametrize("kind", SEEKABLE)
def test_seeking_gives_the_frames_of_a_full_decode(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, seeks, how = SEEKABLE[kind]
    path = write_film(tmp_path / name, noisy_pictures(70), 24, **how)
    full = dict(frames(path))
    times = scan_times(path)
    assert len(full) == len(times) == 70
    monkeypatch.setattr(media, "_SEEK_FROM", 0)
    landed = spy_on_seeks(monkeypatch)
    for first in (1, 9, 10, 11, 29, 36, 40, 58, 66):
        wanted = range(first, min(first + 4, 70))
        got = dict(frames(path, wanted, times=times))
        assert list(got) == list(wanted)
        assert all(np.array_equal(got[n], full[n]) for n in wanted), first
    if seeks:
        assert max(landed) >= 30  # it did start in the middle


def spy_on_seeks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The first frame that each seek gave."""
    landed: list[int] = []
    inner = media._after_seek

    def spy(*args: Any) -> Any:
        for place, (index, frame) in enumerate(inner(*args)):
            if place == 0:
                landed.append(index)
            yield index, frame

    monkeypatch.setattr(media, "_after_seek", spy)
    return landed


def test_times_of_another_file_do_not_mislead(tmp_path: Path) -> None:
    path = numbered_film(tmp_path / "a.mp4", 80, 24)
    wrong = [t + Fraction(1, 7) for t in scan_times(path)]
    assert [(n, read_number(rgb)) for n, rgb in frames(path, [50, 60], times=wrong)] == [(50, 50), (60, 60)]


def test_times_that_differ_further_on_do_not_mislead(tmp_path: Path) -> None:
    path = numbered_film(tmp_path / "a.mp4", 80, 24)
    wrong = scan_times(path)
    wrong[62] += Fraction(1, 1000)
    wanted = list(range(55, 70))
    assert [(n, read_number(rgb)) for n, rgb in frames(path, wanted, times=wrong)] == [(n, n) for n in wanted]


def test_timestamps_always_ascend() -> None:
    stream = SimpleNamespace(average_rate=Fraction(10), guessed_rate=None, base_rate=None, time_base=Fraction(1, 100))
    stream.container = SimpleNamespace(format=SimpleNamespace(name="mpegts"))
    clock = media._Clock(stream)  # type: ignore[arg-type]
    stamps = [500, 510, None, 535, 0, 7, 7, None, 40]  # two films in one stream, the second from 0; a repeat; two gaps
    got = [clock(SimpleNamespace(pts=pts, time_base=None)) * 100 for pts in stamps]  # type: ignore[arg-type]
    assert got == [500, 510, 520, 535, 545, 552, 562, 572, 595]


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_avi_keeps_its_rate_though_it_keeps_no_times(tmp_path: Path, codec: str) -> None:
    path = numbered_film(tmp_path / "a.avi", 40, 24, codec=codec, options={"bf": "2"})
    told: list[str] = []
    times = scan_times(path, on_error=told.append)
    assert {b - a for a, b in pairwise(times)} == {Fraction(1, 24)} and len(times) == 40 and not told
    assert [read_number(rgb) for _, rgb in frames(path, times=times)] == list(range(40))


def test_streams_that_appear_late_lose_no_frames(tmp_path: Path) -> None:
    data = bytearray(numbered_film(tmp_path / "a.ts", 30, 25).read_bytes())
    tables = [at for at in range(0, len(data), 188) if data[at + 1] & 31 == 0 and data[at + 2] == 0]
    data[tables[-1] + 2] = 80  # the last table of contents becomes a packet of a stream nobody announced
    (tmp_path / "b.ts").write_bytes(data)
    assert [read_number(rgb) for _, rgb in frames(tmp_path / "b.ts")] == list(range(30))


def test_missing_timestamps_follow_the_declared_rate(tmp_path: Path) -> None:
    numbered_film(tmp_path / "a.mp4", 20, 25, options={"preset": "veryfast"})
    raw = tmp_path / "a.h264"
    with av.open(str(tmp_path / "a.mp4")) as source, av.open(str(raw), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    times = scan_times(raw)
    assert len(times) == 20
    assert {b - a for a, b in pairwise(times)} == {1 / probe(raw).declared}  # type: ignore[operator]
    assert [read_number(rgb) for _, rgb in frames(raw)] == list(range(20))


# the displayed picture


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_square_pixels(tmp_path: Path, suffix: str) -> None:
    path = numbered_film(tmp_path / f"a.{suffix}", 3, 24, sar=Fraction(4, 3))
    info = probe(path)
    assert (info.width, info.height, info.coded_width, info.sar) == (171, 96, 128, Fraction(4, 3))
    assert [(rgb.shape, read_number(rgb)) for _, rgb in frames(path)] == [((96, 171, 3), n) for n in range(3)]
    assert next(frames(path, size=(64, 36)))[1].shape == (36, 64, 3)


def quadrants() -> np.ndarray:
    """Black, dark, light, white: every way of turning it looks different."""
    picture = np.zeros((96, 128, 3), np.uint8)
    picture[:48, 64:], picture[48:, :64], picture[48:, 64:] = 80, 160, 240
    return picture


TURNS: dict[tuple[int, bool], Callable[[np.ndarray], np.ndarray]] = {  # as PyAV writes them: degrees counterclockwise
    (90, False): lambda p: np.rot90(p, 1),
    (180, False): lambda p: np.rot90(p, 2),
    (-90, False): lambda p: np.rot90(p, -1),
    (0, True): lambda p: p[:, ::-1],
}


@pytest.mark.parametrize("turn", TURNS)
def test_rotation_and_mirroring_are_applied(tmp_path: Path, turn: tuple[int, bool]) -> None:
    path = write_film(tmp_path / "a.mp4", [quadrants()] * 2, 24, rotation=turn[0], mirrored=turn[1])
    expected = TURNS[turn](quadrants())
    info = probe(path)
    assert (info.height, info.width) == expected.shape[:2]
    _, rgb = next(frames(path))
    assert rgb.flags["C_CONTIGUOUS"] and rgb.shape == expected.shape
    assert np.abs(rgb.astype(int) - expected).max() < 8
    assert next(frames(path, size=(48, 64)))[1].shape == (64, 48, 3)


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_display_matrix_is_obeyed(tmp_path: Path, degrees: int, mirrored: bool) -> None:
    path = write_film(tmp_path / "a.mp4", [quadrants()], 24, rotation=degrees or 360, mirrored=mirrored)
    with av.open(str(path)) as container:
        raw = next(container.decode(video=0)).side_data.get("DISPLAYMATRIX")
    matrix = np.frombuffer(bytes(raw), np.int32).reshape(3, 3)[:2, :2] / 65536 if raw else np.eye(2)  # type: ignore[arg-type]
    _, rgb = next(frames(path))
    middle = np.array([rgb.shape[1], rgb.shape[0]]) / 2
    for x, y in ((-32, -24), (32, -24), (-32, 24), (32, 24)):  # from the middle of the coded picture
        to_x, to_y = (np.array([x, y]) @ matrix + middle).astype(int)
        assert abs(int(rgb[to_y, to_x, 0]) - int(quadrants()[48 + y, 64 + x, 0])) < 8


def film_of_matrix(path: Path, height: int, matrix: Colorspace, spc: int | None, wide: bool = False) -> np.ndarray:
    """A strongly coloured film encoded with a matrix, tagged with `spc` or not at all; returns the true picture."""
    rgb = np.empty((height, 96, 3), np.uint8)
    rgb[:] = (200, 40, 60)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "1", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 96, height, "yuv420p"
        stream.codec_context.color_range = ColorRange.JPEG if wide else ColorRange.MPEG
        if spc is not None:
            stream.codec_context.colorspace = spc
        frame = VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=matrix, dst_color_range=ColorRange.JPEG if wide else ColorRange.MPEG
        )
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return rgb


@pytest.mark.parametrize(
    ("height", "matrix", "spc", "wide"),
    [
        (96, Colorspace.ITU709, 1, False),
        (96, Colorspace.ITU601, 6, False),
        (720, Colorspace.ITU601, 5, False),
        (96, Colorspace.ITU601, None, False),
        (720, Colorspace.ITU709, None, False),
        (96, Colorspace.ITU709, 1, True),
    ],
)
def test_colours_are_true(tmp_path: Path, height: int, matrix: Colorspace, spc: int | None, wide: bool) -> None:
    true = film_of_matrix(tmp_path / "a.mp4", height, matrix, spc, wide)
    _, rgb = next(frames(tmp_path / "a.mp4"))
    assert np.abs(rgb.astype(int) - true).max() <= 3


# what cannot be read


def hls(path: Path) -> None:
    numbered_film(path.with_name("inner.mp4"), 2, 24)
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\ninner.mp4\n#EXT-X-ENDLIST\n")


def concat(path: Path) -> None:
    numbered_film(path.with_name("inner.mp4"), 2, 24)
    path.write_text("ffconcat version 1.0\nfile inner.mp4\n")


def sound(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(8000))


def sound_in_mp4(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def half(path: Path) -> None:
    numbered_film(path, 30, 24)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


UNREADABLE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda path: None, "is not there"),
    "folder": (lambda path: path.mkdir(), "is not there"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "text": (lambda path: path.write_text("hello " * 200), "is not a video that can be read"),
    "hls": (hls, "is not a video that can be read"),
    "concat": (concat, "file of another kind"),
    "sound": (sound, "file of another kind"),
    "sound in mp4": (sound_in_mp4, "it has no video stream"),
    "half": (half, "is not a video that can be read"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, kind: str) -> None:
    make, words = UNREADABLE[kind]
    path = tmp_path / "a.mp4"
    make(path)
    for read in (probe, scan_times, lambda p: list(frames(p)), lambda p: list(scan(p))):
        with pytest.raises(SakugaError, match=words) as error:
            read(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value) and ";" in str(error.value)


def test_a_picture_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = numbered_film(tmp_path / "a.mp4", 2, 24)
    monkeypatch.setattr(media, "MAX_PIXELS", 128 * 96 - 1)
    with pytest.raises(SakugaError, match="128x96"):
        probe(path)


def damaged(path: Path) -> Path:
    """An uncompressed-enough film whose last packets are not H.264 any more."""
    write_film(path, noisy_pictures(60), 24, gop=60, bframes=0)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        spans = [(p.pos, p.size) for p in container.demux(video=0) if p.pos is not None]
    for start, size in spans[30:]:
        data[start : start + size] = b"\xff" * size
    path.write_bytes(data)
    return path


def test_a_film_that_breaks_off_gives_the_frames_before(tmp_path: Path) -> None:
    path = damaged(tmp_path / "a.mp4")
    errors: list[str] = []
    times = scan_times(path, on_error=errors.append)
    assert 0 < len(times) <= 30
    assert len(errors) == 1 and "breaks off" in errors[0] and str(path) in errors[0]
    assert [n for n, _ in frames(path, on_error=errors.append)] == list(range(len(times)))
    assert len(errors) == 2


def test_damage_anywhere_never_crashes(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    path = tmp_path / "damaged"
    for suffix in ("mp4", "mkv", "ts", "flv"):
        whole = numbered_film(tmp_path / f"a.{suffix}", 16, 24).read_bytes()
        for _ in range(12):
            data = bytearray(whole[: rng.integers(1, len(whole) + 1)] if rng.random() < 0.3 else whole)
            for place in rng.integers(0, len(data), rng.integers(1, 20)):
                data[place] = rng.integers(256)
            path.write_bytes(data)
            try:
                times = scan_times(path)
                assert all(a < b for a, b in pairwise(times))
                assert [n for n, _ in frames(path)] == list(range(len(times)))
            except SakugaError as error:
                assert "damaged" in str(error)


# clips


@pytest.mark.parametrize("count", [1, 2, 45, 49])
def test_a_clip_has_exactly_its_frames(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.part"  # a temporary name says nothing of the format
    assert write_clip(path, (number_picture(n) for n in range(count)), 16) == ClipInfo(count, 128, 96)
    assert scan_times(path) == [Fraction(n, 16) for n in range(count)]
    assert [read_number(rgb) for _, rgb in frames(path)] == list(range(count))


@pytest.mark.parametrize("grain", [False, True])
def test_a_clip_looks_like_what_went_in(tmp_path: Path, grain: bool) -> None:
    given = [smooth(phase=n / 3) for n in range(20)]
    if grain:
        noise = np.random.default_rng(0).normal(0, 6, (20, 96, 128, 1))
        given = [np.clip(np.round(a + b), 0, 255).astype(np.uint8) for a, b in zip(given, noise, strict=True)]
    write_clip(tmp_path / "a.mp4", given, 16)
    got = [rgb for _, rgb in frames(tmp_path / "a.mp4")]
    worst = min(psnr(a, b) for a, b in zip(given, got, strict=True))
    assert worst >= 45
    assert abs(np.mean([b.astype(float) - a for a, b in zip(given, got, strict=True)])) < 0.5  # no shift of level


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    given = noisy_pictures(20)
    for name in ("a.mp4", "b.mp4"):
        write_clip(tmp_path / name, given, Fraction(24000, 1001))
    data = (tmp_path / "a.mp4").read_bytes()
    assert data == (tmp_path / "b.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # plays before it is loaded
    assert probe(tmp_path / "a.mp4").declared == Fraction(24000, 1001)


def test_a_clip_names_its_colours(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", [smooth()] * 2, 16)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc) == (1, 1, 1, 1)
    assert frame.format.name == "yuv420p"


def test_an_odd_side_loses_one_pixel(tmp_path: Path) -> None:
    assert write_clip(tmp_path / "a.mp4", [smooth(63, 49)] * 3, 16) == ClipInfo(3, 62, 48)
    assert psnr(next(frames(tmp_path / "a.mp4"))[1], smooth(63, 49)[:48, :62]) > 40


def test_a_clip_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SakugaError, match="no frames"):
        write_clip(tmp_path / "a.mp4", [], 16)
    with pytest.raises(SakugaError, match="2x2"):
        write_clip(tmp_path / "a.mp4", [smooth(1, 8)], 16)
    with pytest.raises(SakugaError, match="frame 1 is 64x96"):
        write_clip(tmp_path / "a.mp4", [smooth(), smooth(64)], 16)


# pictures


def test_png_is_lossless(tmp_path: Path) -> None:
    write_png(tmp_path / "a.part", noisy_pictures(1)[0])
    assert np.array_equal(read_picture(tmp_path / "a.part"), noisy_pictures(1)[0])


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise
    Image.fromarray(quadrants()).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_picture(tmp_path / "a.png"), np.rot90(quadrants(), -1))


def test_transparency_is_over_white(tmp_path: Path) -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:, :2, 3], rgba[:, 2:, 3] = 255, 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    got = read_picture(tmp_path / "a.png")
    assert (got[:, :2] == 0).all() and (got[:, 2:] == 255).all()
    palette = Image.new("P", (4, 4))
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.save(tmp_path / "b.png", transparency=0)
    assert (read_picture(tmp_path / "b.png") == 255).all()


def test_sixteen_bits_are_reduced(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    got = read_picture(tmp_path / "a.png")
    assert got.dtype == np.uint8 and got.shape == (8, 8, 3)
    assert np.abs(got[:, :, 0] - ramp / 257).max() <= 0.5


def bomb(path: Path) -> None:
    """A PNG that says it is 60000 x 60000."""
    Image.new("RGB", (2, 2)).save(path, format="PNG")
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 60000, 60000)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "make",
    [lambda p: p.write_bytes(b""), lambda p: p.write_text("no"), bomb, lambda p: None],
    ids=["empty", "text", "bomb", "missing"],
)
def test_a_picture_that_cannot_be_read_is_one_sentence(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    path = tmp_path / "a.png"
    make(path)
    with pytest.raises(SakugaError, match=r"a\.png") as error:
        read_picture(path)
    assert "\n" not in str(error.value)


def test_a_picture_above_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_png(tmp_path / "a.png", smooth())
    monkeypatch.setattr(pictures, "MAX_PIXELS", 128 * 96 - 1)
    with pytest.raises(SakugaError, match="128x96"):
        read_picture(tmp_path / "a.png")


def test_damaged_pictures_never_crash(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    path = tmp_path / "a.bin"
    for name in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF"):
        Image.fromarray(smooth(40, 30)).save(path, format=name)
        whole = path.read_bytes()
        for _ in range(30):
            data = bytearray(whole)
            for place in rng.integers(0, min(len(data), 400), 4):
                data[place] = rng.integers(256)
            path.write_bytes(data)
            try:
                assert read_picture(path).ndim == 3
            except SakugaError as error:
                assert "a.bin" in str(error)


# fitting


def test_fit_covers_and_crops_the_centre() -> None:
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[:, 100:200] = 255
    assert (fit(wide, 100, 100) == 255).all()
    assert (fit(np.rot90(wide), 100, 100) == 255).all()
    assert np.array_equal(fit(wide, 300, 100), wide)


@pytest.mark.parametrize("size", [(64, 48), (832, 480), (48, 64), (129, 97), (16, 16)])
def test_fit_has_the_size_and_the_look(size: tuple[int, int]) -> None:
    got = fit(smooth(), *size)
    assert got.shape == (size[1], size[0], 3) and got.dtype == np.uint8
    assert abs(float(got.mean()) - float(smooth().mean())) < 25


def test_shrinking_averages() -> None:
    noisy = noisy_pictures(1)[0]
    means = noisy.reshape(48, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(fit(noisy, 64, 48) - means).max() <= 1


# the makers of test films


def test_cartoon_cuts_where_it_says(tmp_path: Path) -> None:
    cuts = cartoon_film(tmp_path / "a.mp4", 2, 24)
    shown = [rgb.astype(float) for _, rgb in frames(tmp_path / "a.mp4")]
    jumps = [float(np.abs(b - a).mean()) for a, b in pairwise(shown)]
    assert cuts == [12, 24, 36]
    assert sorted(np.argsort(jumps)[-3:] + 1) == cuts
    assert min(jumps[c - 1] for c in cuts) > 3 * sorted(jumps)[-4]
