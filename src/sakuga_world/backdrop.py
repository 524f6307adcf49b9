"""Everything behind the subject: sky, hills, ground and the things that stand on it.

The sky never moves. Hills, props and ground slide by as the camera travels, the nearer the faster.
"""

from functools import lru_cache

import cv2
import numpy as np

from .look import Look
from .motion import ASPECT
from .paint import View, fill, group, halo, lit, mix, tones
from .props import PROP, ground_marks
from .scene import PLACES, TIMES, Scene
from .shapes import Part, Points, Rgb, moved, oval, poly, turned

_FAR, _MIDDLE = 0.25, 0.85  # how fast hills and props slide by, relative to the ground at the subject's feet
_PERIOD = 2.4  # the world repeats after this many frame heights
HORIZON = 0.64
_SPOTS = (0.32, 1.22, 1.98)  # where props stand, before the seed moves them


def backdrop(scene: Scene, look: Look, view: View, offset: float) -> np.ndarray:
    """The scene without its subject, for a camera that has travelled `offset` to the right."""
    canvas = _sky(scene.time, scene.seed, look, view).copy()
    rng = np.random.default_rng([scene.seed, 3])
    _hills(canvas, scene, look, view, offset, rng)
    _ground(canvas, scene, look, view)
    _marks(canvas, scene, look, view, offset)
    _props(canvas, scene, look, view, offset, rng)
    return canvas


def tinted(rgb: Rgb, look: Look, time: str, strength: float = 1.0) -> Rgb:
    """A colour as it is at this time of day; at night some of the sky lies over everything."""
    dimmed = lit(rgb, mix((255, 255, 255), look.lights[TIMES.index(time)], strength))
    return mix(dimmed, look.skies[2][1], 0.3 * strength) if time == "night" else dimmed


@lru_cache(maxsize=8)
def _sky(time: str, seed: int, look: Look, view: View) -> np.ndarray:
    when = TIMES.index(time)
    rng = np.random.default_rng([seed, 2])
    _, rows = _span(view)
    ramp = tones(np.clip(rows / HORIZON, 0, 1) ** 1.2, look.posterise, 3)[:, None]
    top, low = (np.array(rgb) for rgb in look.skies[when])
    column = np.rint(np.clip(top + (low - top) * ramp, 0, 255)).astype(np.uint8)
    canvas = np.repeat(column[:, None], view.width, 1)
    if time == "night":
        _stars(canvas, look, view, rng)
    _orb(canvas, time, look, view, rng)
    count = 2 if time == "night" else 3
    for index in range(count):
        x, y, size = (index + rng.uniform(0.1, 0.9)) * ASPECT / count, rng.uniform(0.08, 0.36), rng.uniform(0.06, 0.1)
        _cloud(canvas, x, y, size, look.clouds[when], look, view)
    return canvas


def _span(view: View) -> tuple[np.ndarray, np.ndarray]:
    """The world's x of every column and y of every row of the canvas."""
    columns = (np.arange(view.width) + 0.5 - view.width / 2) / view.scale + view.x
    return columns, (np.arange(view.height) + 0.5 - view.height / 2) / view.scale + view.y


def _stars(canvas: np.ndarray, look: Look, view: View, rng: np.random.Generator) -> None:
    for _ in range(13):
        x, y, r = rng.uniform(0, ASPECT), rng.uniform(0.02, 0.5), rng.uniform(0.008, 0.014)
        points = view.pixels(oval(x, y, r))
        fill(canvas, points, mix(look.skies[2][0], look.orbs[2], 0.85))


def _orb(canvas: np.ndarray, time: str, look: Look, view: View, rng: np.random.Generator) -> None:
    """The sun high, the sun low and large, or a crescent moon; its light spreads where the look glows."""
    x = rng.uniform(0.2, ASPECT - 0.2)
    y, r = {"day": (rng.uniform(0.13, 0.2), 0.085), "sunset": (HORIZON - 0.07, 0.15), "night": (0.19, 0.095)}[time]
    rgb = look.orbs[TIMES.index(time)]
    px, py = view.pixels(np.array([[x, y]]))[0]
    for reach, strength in ((6.0, 0.3), (2.6, 0.45)):
        halo(canvas, px, py, r * reach * view.scale, r * reach * view.scale, rgb, strength * look.glow, 1.0)
    disc = oval(x, y, r)
    if time == "night":
        disc = moved(_crescent(r), x, y)
    group(canvas, [Part(disc, rgb, 0.15)], view, look, 0.7 if time != "sunset" else 0.0)


def _crescent(r: float) -> Points:
    """A moon open to the lower right: most of a circle, and back along a circle through the same two horns."""
    arc = np.linspace(0.75, 2 * np.pi - 0.75, 30)
    outer = np.stack([np.cos(arc), np.sin(arc)], 1) * r
    middle = np.array([0.62 * r, 0.0])
    horn = outer[0] - middle
    back = np.linspace(2 * np.pi - np.arctan2(horn[1], horn[0]), np.arctan2(horn[1], horn[0]), 24)[1:-1]
    inner = np.stack([np.cos(back), np.sin(back)], 1) * float(np.hypot(*horn)) + middle
    return turned(np.concatenate([outer, inner]), 0.6)


def _cloud(canvas: np.ndarray, x: float, y: float, size: float, rgb: Rgb, look: Look, view: View) -> None:
    puffs = ((-1.15, 0.1, 0.55, 0.42), (-0.35, -0.22, 0.8, 0.68), (0.55, -0.02, 0.7, 0.52), (1.3, 0.18, 0.45, 0.32))
    parts = [Part(oval(x + dx * size, y + dy * size, rx * size, ry * size), rgb, 0.18) for dx, dy, rx, ry in puffs]
    group(canvas, parts, view, look, 0.55)


def _hills(canvas: np.ndarray, scene: Scene, look: Look, view: View, offset: float, rng: np.random.Generator) -> None:
    """Two ranges: rolling, flat-topped in the desert, a skyline in town, peaks in snow."""
    columns, _ = _span(view)
    base = look.hills[PLACES.index(scene.place)]
    horizon = look.skies[TIMES.index(scene.time)][1]
    for depth, height, haze in ((0.6, 0.2, 0.45), (1.0, 0.12, 0.1)):
        shift = rng.uniform(0, _PERIOD)
        at = (np.arange(columns[0] - 0.05, columns[-1] + 0.08, 0.025) + offset * _FAR * depth + shift) / _PERIOD
        rise = _RIDGE[scene.place](at * 2 * np.pi)
        xs = np.arange(columns[0] - 0.05, columns[-1] + 0.08, 0.025)[: len(at)]
        ridge = np.stack([xs, HORIZON - height * (0.35 + 0.65 * rise)], 1)
        points = np.concatenate([ridge, [(xs[-1], HORIZON + 0.1), (xs[0], HORIZON + 0.1)]])
        rgb = mix(tinted(base, look, scene.time), horizon, haze)
        group(canvas, [Part(points, rgb, 0.25 * (1 - look.posterise))], view, look, 0.5)


_RIDGE = {
    "meadow": lambda a: 0.5 + 0.32 * np.sin(2 * a) + 0.18 * np.sin(5 * a + 1),
    "desert": lambda a: np.clip(0.5 + 1.6 * np.sin(3 * a) + 0.5 * np.sin(7 * a), 0.1, 0.9),
    "town": lambda a: 0.45 + 0.3 * np.sin(2 * a) + 0.15 * np.sin(3 * a + 2),
    "snow": lambda a: np.abs(np.arcsin(np.sin(3 * a)) / 1.6) * 0.8 + np.abs(np.arcsin(np.sin(5 * a + 1)) / 1.6) * 0.4,
}


def _ground(canvas: np.ndarray, scene: Scene, look: Look, view: View) -> None:
    columns, rows = _span(view)
    far, near = (np.array(tinted(rgb, look, scene.time)) for rgb in look.grounds[PLACES.index(scene.place)])
    start = int(np.searchsorted(rows, HORIZON))
    ramp = tones(np.clip((rows[start:] - HORIZON) / (1 - HORIZON), 0, 1), look.posterise, 2)[:, None]
    canvas[start:] = np.rint(np.clip(far + (near - far) * ramp, 0, 255)).astype(np.uint8)[:, None]
    width = look.outline * 0.6 * view.scale
    if width > 0.5:
        edge = view.pixels(poly((columns[0], HORIZON), (columns[-1], HORIZON)))
        ink = mix(tuple(far), look.ink, min(1.0, look.outline / 0.012))
        line = np.rint(edge).astype(np.int32)
        cv2.line(canvas, line[0].tolist(), line[1].tolist(), ink, max(1, round(width)))


def _marks(canvas: np.ndarray, scene: Scene, look: Look, view: View, offset: float) -> None:
    """Grass, dunes, road marks or drifts near the feet: they show how fast the ground passes."""
    near = tinted(look.grounds[PLACES.index(scene.place)][1], look, scene.time)
    columns, _ = _span(view)
    for x, parts in ground_marks(scene.place, scene.seed, near, _PERIOD):
        for place in _repeats(x - offset, columns, 0.7):
            for part in parts:
                fill(canvas, view.pixels(moved(part.points, place, 0)), part.rgb)


def _repeats(x: float, columns: np.ndarray, reach: float) -> list[float]:
    """Where something that recurs every period shows up in the frame."""
    first = x + _PERIOD * np.ceil((columns[0] - reach - x) / _PERIOD)
    return [float(place) for place in np.arange(first, columns[-1] + reach, _PERIOD)]


def _props(canvas: np.ndarray, scene: Scene, look: Look, view: View, offset: float, rng: np.random.Generator) -> None:
    main, second = (tinted(rgb, look, scene.time) for rgb in look.props[PLACES.index(scene.place)])
    columns, _ = _span(view)
    for spot in _SPOTS:
        x, size, kind = spot + rng.uniform(-0.12, 0.12), rng.uniform(0.85, 1.15), int(rng.integers(3))
        parts = PROP[scene.place](main, second, look, scene.time, kind)
        for place in _repeats(x - offset * _MIDDLE, columns, 0.5):
            _stand(canvas, parts, place, size, look, view)


def _stand(canvas: np.ndarray, parts: list[list[Part]], x: float, size: float, look: Look, view: View) -> None:
    """A prop with its foot a little below the horizon, and its shadow."""
    foot = HORIZON + 0.045
    px, py = view.pixels(np.array([[x + 0.04, foot]]))[0]
    halo(canvas, px, py, 0.2 * size * view.scale, 0.03 * size * view.scale, mix((40, 36, 60), look.ink, 0.5),
         look.shadow * 0.7, look.softness)  # fmt: skip
    for some in parts:
        group(canvas, [part._replace(points=part.points * size + (x, foot)) for part in some], view, look, 0.8)
