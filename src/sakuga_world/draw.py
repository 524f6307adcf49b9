"""A scene in a look at a moment, as a picture; and a clip of it.

Composed in fractions of the frame's height, drawn some times larger with OpenCV, then averaged down.
"""

from functools import lru_cache

import cv2
import numpy as np

from .backdrop import backdrop, tinted
from .look import Look
from .motion import AIRBORNE, ASPECT, Pose, course, pose
from .paint import View, bloom, group, halo, mix
from .scene import COLOURS, TIMES, Scene
from .shapes import Part
from .subjects import SUBJECT

_FEET = 0.9  # where an airborne subject's shadow falls


def draw(scene: Scene, look: Look, seconds: float, size: tuple[int, int] = (96, 64)) -> np.ndarray:
    """One frame, uint8 H x W x 3 RGB, of `size` (width, height)."""
    times = 3 if size[1] <= 128 else 2
    view = View(ASPECT / 2, 0.5, float(size[1] * times), size[0] * times, size[1] * times)
    at = pose(scene, seconds)
    canvas = _behind(scene, look, view, at)
    seen = view._replace(x=at.camera_x, y=at.camera_y, scale=view.scale * at.zoom)
    _shadow(canvas, scene, look, seen, at)
    _subject(canvas, scene, look, seen, at)
    picture = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    return bloom(picture, look.glow) if look.glow > 0.01 else picture


def draw_clip(
    scene: Scene,
    look: Look,
    frames: int = 9,
    rate: float = 16,
    size: tuple[int, int] = (96, 64),
    start: float = 0.0,
) -> np.ndarray:
    """Frames at `rate` a second from `start` seconds, uint8 F x H x W x 3. What stands still is drawn once."""
    return np.stack([draw(scene, look, start + index / rate, size) for index in range(frames)])


def _behind(scene: Scene, look: Look, view: View, at: Pose) -> np.ndarray:
    """The backdrop as the camera sees it: kept while the camera stays, enlarged while it zooms."""
    offset = at.camera_x - ASPECT / 2
    canvas = backdrop(scene, look, view, offset) if offset else _resting(scene, look, view).copy()
    if at.zoom == 1.0:
        return canvas
    middle = ((at.camera_y - 0.5) * view.scale + view.height / 2) * at.zoom
    move = np.array([(at.zoom, 0, view.width / 2 * (1 - at.zoom)), (0, at.zoom, view.height / 2 - middle)])
    return cv2.warpAffine(canvas, move, (view.width, view.height), borderMode=cv2.BORDER_REPLICATE)


@lru_cache(maxsize=4)
def _resting(scene: Scene, look: Look, view: View) -> np.ndarray:
    return backdrop(scene, look, view, 0.0)


def _shadow(canvas: np.ndarray, scene: Scene, look: Look, view: View, at: Pose) -> None:
    way = course(scene)
    high = scene.subject in AIRBORNE
    x, y = view.pixels(np.array([[at.x + 0.03, _FEET if high else way.foot]]))[0]
    wide = way.reach * (0.7 if high else 1.1) * (1 + 0.35 * look.softness) * view.scale
    rgb = mix((24, 20, 48), look.ink, 0.4)
    strength = look.shadow * (0.6 if high else 1.0)
    halo(canvas, x, y, wide, (0.032 + 0.02 * look.softness) * view.scale, rgb, strength, look.softness)


def _subject(canvas: np.ndarray, scene: Scene, look: Look, view: View, at: Pose) -> None:
    """The subject keeps most of its own colour at night, so that the colour can be named."""
    way = course(scene)
    rgb = tinted(look.subjects[COLOURS.index(scene.colour)], look, scene.time, 0.16)
    accents = [tinted(accent, look, scene.time, 0.3) for accent in look.accents]
    groups = SUBJECT[scene.subject](rgb, accents, at.travelled)
    placed = [
        [part._replace(points=part.points * (way.size * way.way, way.size) + (at.x, at.y)) for part in parts]
        for parts in groups
    ]
    for parts in placed:
        group(canvas, parts, view, look)
    if look.rim > 0.05:
        _rim(canvas, [part for parts in placed for part in parts], scene, look, view)


def _rim(canvas: np.ndarray, parts: list[Part], scene: Scene, look: Look, view: View) -> None:
    """A lit edge towards the upper left, in the colour of the sun or the moon."""
    points = [view.pixels(part.points) for part in parts]
    low = np.maximum(np.floor(np.min([p.min(0) for p in points], 0)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(np.max([p.max(0) for p in points], 0)).astype(int) + 3, canvas.shape[1::-1])
    if (high <= low).any():
        return
    mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
    for some in points:
        cv2.fillPoly(mask, [np.rint((some - low) * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
    step = 0.022 * view.scale
    inner = cv2.warpAffine(mask, np.array([(1, 0, step), (0, 1, step)]), mask.shape[::-1])
    edge = cv2.blur(cv2.subtract(mask, inner), (3, 3))
    edge = cv2.min(edge, mask)
    rgb = look.orbs[TIMES.index(scene.time)]
    target = canvas[low[1] : high[1], low[0] : high[0]]
    glow = np.full((*mask.shape, 3), np.rint(np.array(rgb) * 0.42 * look.rim), np.uint8)
    target[:] = cv2.add(target, cv2.multiply(glow, cv2.merge((edge, edge, edge)), scale=1 / 255))
