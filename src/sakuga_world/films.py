"""Episodes of a cartoon as real video files, with what real episodes have: an opening, cuts, a dissolve, bars, captions.

An episode is planned first (which shots, of what, from which frame to which), then drawn and encoded. The same number
gives the same film.
"""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter

from .draw import draw
from .look import CEL, Look
from .motion import seconds_in_view
from .scene import Scene, random_scene
from .shapes import Rgb

SHORTEST, LONGEST, LONGEST_STILL = 1.5, 5.0, 2.4  # seconds; a still camera holds only while the subject stays in view
FADE = 12  # frames of a dissolve
BAR = 0.09  # of the height, above and below
HOLD = 2  # frames that show one drawing: animation "on twos"
TITLE, CREDIT = "ROUND AND ROUND", "a very small cartoon"
OPENING = (
    (4.5, Scene("balloon", "red", "day", "meadow", "right", "follow", 21), TITLE),
    (3.5, Scene("car", "yellow", "sunset", "town", "left", "follow", 8), CREDIT),
)
LINES = (
    "Where are we going?", "It is not far now.", "Did you hear that?", "Wait for me!", "I have been here before.",
    "What a lovely evening.", "Nobody told me about this.", "Turn back, turn back!",
)  # fmt: skip


class Shot(NamedTuple):
    """Frames first..last (both in it). `kind` is opening, shot, captioned or dissolve (its first `fade` frames mix)."""

    first: int
    last: int
    scene: Scene
    kind: str
    words: str = ""  # burned in
    bars: bool = False
    fade: int = 0


def write_film(
    path: Path | str, episode: int, look: Look = CEL, seconds: float = 90, size: tuple[int, int] = (384, 256),
    rate: int = 24,
) -> list[Shot]:  # fmt: skip
    """Write an episode as H.264, and say which shots it has."""
    shots = plan(episode, seconds, rate)
    form = {".mkv": "matroska", ".mov": "mov"}.get(Path(path).suffix.lower(), "mp4")
    with av.open(str(Path(path).absolute()), "w", format=form, container_options={"fflags": "+bitexact"}) as container:
        stream = _stream(container, size, rate)
        reformatter = VideoReformatter()
        for index, picture in enumerate(_pictures(shots, look, size, rate)):
            frame = reformatter.reformat(
                av.VideoFrame.from_ndarray(picture, format="rgb24"), format="yuv420p",
                dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, threads=1,
            )  # fmt: skip
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return shots


def plan(episode: int, seconds: float = 90, rate: int = 24) -> list[Shot]:
    """The shots of an episode. Every third one (2, 5, ...) has bars from the end of its opening on."""
    rng = np.random.default_rng([episode, 77])
    shots: list[Shot] = []
    for length, scene, words in OPENING:
        _append(shots, round(length * rate), Shot(0, 0, scene, "opening", words))
    left = round(seconds * rate) - shots[-1].last - 1
    while left > 0:
        scene = _next_scene(rng, shots[-1].scene)
        frames = round(rng.uniform(SHORTEST, LONGEST_STILL if scene.camera == "still" else LONGEST) * rate)
        least = round(SHORTEST * rate)
        if left < 2 * least:
            scene, frames = replace(scene, camera="follow"), left
        frames = min(frames, left - least) if frames < left else left
        captioned = rng.uniform() < 0.25
        words = str(rng.choice(LINES)) if captioned else ""
        _append(shots, frames, Shot(0, 0, scene, "captioned" if captioned else "shot", words, episode % 3 == 2))
        left -= frames
    return _with_dissolve(shots)


def _append(shots: list[Shot], frames: int, shot: Shot) -> None:
    first = shots[-1].last + 1 if shots else 0
    shots.append(shot._replace(first=first, last=first + frames - 1))


def _next_scene(rng: np.random.Generator, before: Scene) -> Scene:
    """Somewhere else than the shot before, so that a cut is a cut; a still camera only where the subject stays seen."""
    while True:
        scene = random_scene(rng)
        if scene.place != before.place and seconds_in_view(scene) >= LONGEST_STILL:
            return scene


def _with_dissolve(shots: list[Shot]) -> list[Shot]:
    """One plain shot past the middle begins by dissolving out of the shot before it."""
    for index in range(max(len(shots) * 2 // 3, len(OPENING) + 1), len(shots)):
        if shots[index].kind == "shot":
            dissolving = shots[index]._replace(kind="dissolve", fade=FADE)
            return [*shots[:index], dissolving, *shots[index + 1 :]]
    return shots


def _pictures(shots: list[Shot], look: Look, size: tuple[int, int], rate: int) -> Iterator[np.ndarray]:
    for shot, before in zip(shots, [None, *shots], strict=False):
        picture = None
        for index in range(shot.last - shot.first + 1):
            if picture is None or index % HOLD == 0:
                picture = _picture(shot, index, look, size, rate)
            if before is not None and index < shot.fade:
                past = _picture(before, before.last - before.first + 1 + index, look, size, rate)
                part = (index + 1) / (shot.fade + 1)
                yield cv2.addWeighted(picture, part, past, 1 - part, 0)
            else:
                yield picture


def _picture(shot: Shot, index: int, look: Look, size: tuple[int, int], rate: int) -> np.ndarray:
    picture = draw(shot.scene, look, index // HOLD * HOLD / rate, size)
    if shot.bars:
        bar = round(BAR * size[1])
        picture[:bar] = picture[-bar:] = 0
    if shot.kind == "opening":
        _title(picture, shot.words, look)
    elif shot.words:
        _subtitle(picture, shot.words)
    return picture


def _title(picture: np.ndarray, words: str, look: Look) -> None:
    """Fat letters with an outline, in the middle of the upper half."""
    height = picture.shape[0]
    scale = height / 256 * (1.05 if words.isupper() else 0.8)
    width, around = max(1, round(3 * height / 256)), max(1, round(3 * height / 256))
    for turn in np.arange(12) * np.pi / 6:  # the outline: OpenCV 5 draws its own font and no thicker than bold
        shift = (round(around * float(np.cos(turn))), round(around * float(np.sin(turn))))
        _letters(picture, words, 0.3, scale, look.ink, width, shift)
    _letters(picture, words, 0.3, scale, look.accents[3], width)


def _subtitle(picture: np.ndarray, words: str) -> None:
    """White words on a dark translucent strip near the lower edge."""
    height = picture.shape[0]
    strip = picture[round(0.83 * height) : round(0.95 * height)]
    strip[:] = cv2.addWeighted(strip, 0.3, np.zeros_like(strip), 0.7, 0)
    _letters(picture, words, 0.91, height / 256 * 0.55, (255, 255, 255), max(1, round(height / 256)))


def _letters(
    picture: np.ndarray, words: str, y: float, scale: float, rgb: Rgb, width: int, shift: tuple[int, int] = (0, 0)
) -> None:
    font = cv2.FONT_HERSHEY_DUPLEX
    (wide, _), _ = cv2.getTextSize(words, font, scale, width)
    start = ((picture.shape[1] - wide) // 2 + shift[0], round(y * picture.shape[0]) + shift[1])
    cv2.putText(picture, words, start, font, scale, rgb, width, cv2.LINE_AA)


def _stream(container: av.container.OutputContainer, size: tuple[int, int], rate: int) -> av.VideoStream:
    options = {"crf": "16", "preset": "veryfast", "x264-params": "threads=2:lookahead-threads=1:keyint=96"}
    stream = container.add_stream("libx264", rate=rate, options=options)
    stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
    codec = stream.codec_context
    codec.time_base = Fraction(1, rate)
    codec.colorspace, codec.color_range = 1, ColorRange.MPEG  # 1 is BT.709
    codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return stream
