"""Where the subject and the camera are at each moment. Lengths are fractions of the frame's height, time in seconds."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .scene import Scene

ASPECT = 1.5  # the world is composed for 3:2; other shapes show more or less at the sides
_SIZE = {"ball": 0.32, "car": 0.28, "robot": 0.43, "bird": 0.30, "balloon": 0.42}  # height; the seed adds to +- 8 %
_REACH = {"ball": 0.5, "car": 0.92, "robot": 0.46, "bird": 1.05, "balloon": 0.42}  # half width in heights
_SPEED = (0.33, 0.42)  # 10-13 px in 0.5 s and 15-18 px in 0.7 s at 64 px high
AIRBORNE = ("bird", "balloon")


class Course(NamedTuple):
    """What the seed decided: size, foot line, speed, start and the step's way (-1 left, 1 right)."""

    size: float
    foot: float
    speed: float
    start: float
    way: int
    reach: float


class Pose(NamedTuple):
    """The subject's foot in the world, how far it came (in its heights), and what the camera sees."""

    x: float
    y: float
    travelled: float
    camera_x: float
    camera_y: float
    zoom: float


@lru_cache(maxsize=64)
def course(scene: Scene) -> Course:
    rng = np.random.default_rng([scene.seed, 1])
    size = _SIZE[scene.subject] * rng.uniform(0.92, 1.08)
    reach = _REACH[scene.subject] * size
    speed = rng.uniform(*_SPEED)
    way = 1 if scene.direction == "right" else -1
    foot = rng.uniform(0.44, 0.54) if scene.subject in AIRBORNE else rng.uniform(0.86, 0.91)
    room = ASPECT - 2 * reach - 0.06 - speed * 0.72  # a clip of 12 frames at 16 fits wholly in the frame
    ahead = rng.uniform(0, max(room, 0.0)) + reach + 0.03
    if scene.camera != "still":
        ahead = ASPECT / 2 - speed * 0.35 + rng.uniform(-0.06, 0.06)
    return Course(size, foot, speed, ahead if way > 0 else ASPECT - ahead, way, reach)


def pose(scene: Scene, seconds: float) -> Pose:
    """A still camera lets the subject leave and come back from the other side; the others keep it in view."""
    way = course(scene)
    gone = way.speed * seconds
    x = way.start + way.way * gone
    camera_x, camera_y, zoom = ASPECT / 2, 0.5, 1.0
    if scene.camera == "still":
        period = ASPECT + 2 * way.reach
        x = (x + way.reach) % period - way.reach
    elif scene.camera == "follow":
        camera_x += way.way * gone
    else:
        zoom = 1 + 0.5 * (1 - np.exp(-0.42 * seconds))
        camera_y += (way.foot - way.size / 2 - 0.5) * (1 - 1 / zoom)
        camera_x += way.way * way.speed * _set_off(seconds)
    lift = 0.0
    if scene.subject in AIRBORNE:
        lift = 0.015 * float(np.sin(2.6 * seconds + scene.seed % 7))
    elif scene.subject == "robot":
        lift = 0.012 * abs(float(np.cos(gone / way.size * 5.5)))
    return Pose(float(x), way.foot - lift, gone / way.size, float(camera_x), float(camera_y), float(zoom))


def _set_off(seconds: float, start: float = 0.5, over: float = 0.6) -> float:
    """Seconds travelled by a camera that rests until `start`, then gathers speed."""
    since = seconds - start
    return 0.0 if since <= 0 else since**2 / (2 * over) if since < over else since - over / 2


def seconds_in_view(scene: Scene) -> float:
    """How long the whole subject stays in the frame from second 0."""
    if scene.camera != "still":
        return float("inf")
    way = course(scene)
    left = ASPECT - way.reach - way.start if way.way > 0 else way.start - way.reach
    return max(0.0, left / way.speed)
