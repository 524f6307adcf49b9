"""Cartoons with every transition known, full of what is mistaken for one: the films of `footage_cuts.py`.

Shots of the drawn world are put together by cuts, dissolves, fades and flashes. Inside them are held drawings, whip
pans, crash zooms, shakes, flashes, impact frames, lightning, wings that flap before the camera and things that pass it.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np

from sakuga_world.draw import draw
from sakuga_world.look import Look
from sakuga_world.motion import seconds_in_view
from sakuga_world.scene import Scene, random_scene

SIZE, RATE = (256, 172), 24
SHORTEST = 6  # frames of a shot that no transition may touch, and of a transition
Picture = np.ndarray
Event = Callable[[list[Picture], np.random.Generator], range]  # returns when it happens
Join = Callable[[list[Picture], list[Picture], int, np.random.Generator], tuple[int, int]]


class Truth(NamedTuple):
    """A transition: frames first..after-1 belong to both shots or to neither; at a hard cut there are none."""

    first: int
    after: int
    kind: str


def write_cartoon(path: Path, seed: int, look: Look, seconds: float = 60) -> list[Truth]:
    """Write a film of about this length, and say which transitions it has."""
    pictures, truths = compose(np.random.default_rng([seed, 5]), look, seconds)
    with av.open(str(path.absolute()), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "22", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return truths


def compose(rng: np.random.Generator, look: Look, seconds: float) -> tuple[list[Picture], list[Truth]]:
    """Shot after shot, each joined to what is there."""
    film: list[Picture] = []
    calm = 0  # the frame from which on the film may be faded
    truths: list[Truth] = []
    scene = random_scene(rng)
    while len(film) < seconds * RATE:
        shot, busy = _shot(rng, scene, look)
        if film:
            kind = str(rng.choice(list(JOINS), p=[chance for _, chance in JOINS.values()]))
            room = min(len(film) - calm, busy.start) - SHORTEST  # nothing else happens in a transition
            kind = kind if room >= SHORTEST else "cut"
            truths.append(Truth(*JOINS[kind][0](film, shot, room, rng), kind))
        calm = max(len(film) + busy.stop, truths[-1].after if truths else 0)
        film += shot
        scene = _another(rng, scene)
    return film, truths


def _another(rng: np.random.Generator, before: Scene) -> Scene:
    """Another place, or the same one at the same time of day with someone else there, as in a conversation."""
    while True:
        scene = random_scene(rng)
        if rng.uniform() < 0.25:
            scene = replace(scene, place=before.place, time=before.time)
            if scene.subject == before.subject:
                continue
        elif scene.place == before.place:
            continue
        if seconds_in_view(scene) >= 2:
            return scene


def _shot(rng: np.random.Generator, scene: Scene, look: Look) -> tuple[list[Picture], range]:
    """0.6 to 4 s, drawn on ones, twos or threes, with one thing in it, or none, that is mistaken for a cut."""
    frames, hold = round(rng.uniform(0.6, 4) * RATE), int(rng.choice([1, 2, 2, 3, 3]))
    times = np.arange(frames) // hold * hold / RATE
    event = str(rng.choice([*EVENTS, "whip pan"])) if frames > 30 and rng.uniform() < 0.7 else ""
    if event == "whip pan":  # the camera follows a subject that is ten to twenty times as fast for a moment
        scene = replace(scene, camera="follow")
        start, speed = rng.uniform(0.3, 0.6) * frames / RATE, rng.uniform(10, 20)
        times = times + speed * np.clip(times - start, 0, 0.35)
    drawn: dict[float, Picture] = {}
    pictures = [drawn.setdefault(t, draw(scene, look, t, SIZE)) if t not in drawn else drawn[t] for t in times.tolist()]
    pictures = [p.copy() for p in pictures]
    if event == "whip pan":
        return pictures, range(int(start * RATE), int((start + 0.35) * RATE) + hold)
    return pictures, EVENTS[event](pictures, rng) if event else range(frames // 2, frames // 2)


def _start(pictures: list[Picture], rng: np.random.Generator, length: int) -> int:
    return int(rng.integers(6, len(pictures) - length - 6))


def _flash(pictures: list[Picture], rng: np.random.Generator) -> range:
    length = int(rng.integers(1, 4))
    at, strength = _start(pictures, rng, length), rng.uniform(0.75, 1)
    for i in range(at, at + length):
        pictures[i] = cv2.addWeighted(pictures[i], 1 - strength, np.full_like(pictures[i], 255), strength, 0)
    return range(at, at + length)


def _impact(pictures: list[Picture], rng: np.random.Generator) -> range:
    """One to three frames in negative, or lines about a middle on black or white."""
    length, way = int(rng.integers(1, 4)), rng.integers(3)
    at = _start(pictures, rng, length)
    for i in range(at, at + length):
        if way == 0:
            pictures[i] = 255 - pictures[i]
            continue
        ground, ink = (0, 255) if way == 1 else (255, 0)
        pictures[i][:] = ground
        for turn in rng.uniform(0, 2 * np.pi, 40):
            far = np.array([np.cos(turn), np.sin(turn)])
            middle = np.array(SIZE) / 2
            ends = [tuple(np.rint(middle + far * r).astype(int).tolist()) for r in (rng.uniform(30, 60), 200)]
            cv2.line(pictures[i], ends[0], ends[1], (ink, ink, ink), int(rng.integers(1, 5)), cv2.LINE_AA)
    return range(at, at + length)


def _lightning(pictures: list[Picture], rng: np.random.Generator) -> range:
    at = _start(pictures, rng, 9)
    for i in range(at, at + 9):
        if rng.uniform() < 0.5:
            pictures[i] = cv2.convertScaleAbs(pictures[i], alpha=1.0 + rng.uniform(0.4, 1.2), beta=20)
    return range(at, at + 9)


def _shake(pictures: list[Picture], rng: np.random.Generator) -> range:
    at = _start(pictures, rng, 12)
    for i in range(at, at + 12):
        x, y = rng.integers(-16, 17), rng.integers(-14, 15)
        move = np.array([(1.15, 0, x - 0.075 * SIZE[0]), (0, 1.15, y - 0.075 * SIZE[1])])
        pictures[i] = cv2.warpAffine(pictures[i], move, SIZE, borderMode=cv2.BORDER_REPLICATE)
    return range(at, at + 12)


def _crash_zoom(pictures: list[Picture], rng: np.random.Generator) -> range:
    length, most = int(rng.integers(4, 8)), rng.uniform(1.6, 2.4)
    at = _start(pictures, rng, length)
    for i in range(at, len(pictures)):
        zoom = 1 + (most - 1) * min(1, (i - at + 1) / length)
        move = np.array([(zoom, 0, SIZE[0] / 2 * (1 - zoom)), (0, zoom, SIZE[1] / 2 * (1 - zoom))])
        pictures[i] = cv2.warpAffine(pictures[i], move, SIZE)
    return range(at, at + length)


def _wings(pictures: list[Picture], rng: np.random.Generator) -> range:
    """A great wing before the camera, up and down on threes."""
    rgb = rng.integers(0, 256, 3).tolist()
    wide, beat = rng.uniform(0.5, 0.8) * SIZE[0], int(rng.integers(2, 5))
    for i, picture in enumerate(pictures):
        tip = (0.05, 0.5, 0.95, 0.5)[i // beat % 4] * SIZE[1]
        points = np.array([(SIZE[0], 0.3 * SIZE[1]), (SIZE[0] - wide, tip), (SIZE[0] - 0.6 * wide, tip + 0.3 * SIZE[1]),
                           (SIZE[0], 0.9 * SIZE[1])])  # fmt: skip
        cv2.fillPoly(picture, [np.rint(points).astype(np.int32)], rgb, cv2.LINE_AA)
    return range(len(pictures))


def _passing(pictures: list[Picture], rng: np.random.Generator) -> range:
    """Something large and near passes the camera, and hides most of the picture for a moment."""
    length, wide, rgb = int(rng.integers(6, 12)), rng.uniform(0.5, 0.9) * SIZE[0], rng.integers(0, 256, 3).tolist()
    at, way = _start(pictures, rng, length), int(rng.choice([-1, 1]))
    for i in range(at, at + length):
        left = -wide + (i - at + 0.5) / length * (SIZE[0] + wide)
        left = left if way > 0 else SIZE[0] - left - wide
        centre = (round(left + wide / 2), round(0.6 * SIZE[1]))
        cv2.ellipse(pictures[i], centre, (round(wide / 2), round(0.7 * SIZE[1])), 0, 0, 360, rgb, -1, cv2.LINE_AA)
    return range(at, at + length)


EVENTS: dict[str, Event] = {
    "flash": _flash, "impact": _impact, "lightning": _lightning, "shake": _shake, "crash zoom": _crash_zoom,
    "wings": _wings, "passing": _passing,
}  # fmt: skip


def _cut(film: list[Picture], shot: list[Picture], room: int, rng: np.random.Generator) -> tuple[int, int]:
    return len(film), len(film)


def _dissolve(film: list[Picture], shot: list[Picture], room: int, rng: np.random.Generator) -> tuple[int, int]:
    """The last drawing holds while it goes, as the first does while it comes: both go on moving in half the cases."""
    frames = min(int(rng.integers(SHORTEST, 41)), room)
    past = film[-frames:] if rng.uniform() < 0.5 else [film[-frames]] * frames
    del film[-frames:]
    for i in range(frames):
        part = (i + 1) / (frames + 1)
        shot[i] = cv2.addWeighted(shot[i], part, past[i], 1 - part, 0)
    return len(film), len(film) + frames


def _fade(level: int) -> Join:
    def fade(film: list[Picture], shot: list[Picture], room: int, rng: np.random.Generator) -> tuple[int, int]:
        out, back = (min(int(rng.integers(SHORTEST, 25)), room) for _ in range(2))
        blank, between = np.full_like(shot[0], level), int(rng.integers(1, 13))
        for i in range(out):
            film[-1 - i] = cv2.addWeighted(film[-1 - i], (i + 0.5) / out, blank, 1 - (i + 0.5) / out, 0)
        for i in range(back):
            shot[i] = cv2.addWeighted(shot[i], (i + 0.5) / back, blank, 1 - (i + 0.5) / back, 0)
        first = len(film) - out
        film += [blank] * between
        return first, len(film) + back

    return fade


def _cut_in_flash(film: list[Picture], shot: list[Picture], room: int, rng: np.random.Generator) -> tuple[int, int]:
    """White for one to three frames between two shots."""
    length = int(rng.integers(1, 4))
    film += [np.full_like(shot[0], 255)] * length
    return len(film) - length, len(film)


JOINS: dict[str, tuple[Join, float]] = {
    "cut": (_cut, 0.66), "dissolve": (_dissolve, 0.14), "fade to black": (_fade(0), 0.08), "fade to white": (_fade(255), 0.05),
    "cut in a flash": (_cut_in_flash, 0.07),
}  # fmt: skip


def pictures_of(path: Path) -> Iterator[Picture]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")
