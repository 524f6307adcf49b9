"""Outlines as points: every shape of the world is a closed polygon, N x 2 float, x to the right and y down."""

from typing import NamedTuple

import numpy as np

Points = np.ndarray
Rgb = tuple[float, float, float]


class Part(NamedTuple):
    """A filled shape. `form` 1 is shaded as a round body, 0 stays flat whatever the look; `line` scales its outline."""

    points: Points
    rgb: Rgb
    form: float = 1.0
    line: float = 1.0


def _circle(count: int) -> Points:
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([np.cos(turn), np.sin(turn)], 1)


_UNIT = _circle(40)
_TURNS = (np.array([[2], [3], [0], [1]]) + np.linspace(0, 1, 6)).ravel() * np.pi / 2
_CORNERS = np.stack([np.cos(_TURNS), np.sin(_TURNS)], 1)  # upper left, upper right, lower right, lower left


def oval(x: float, y: float, rx: float, ry: float | None = None) -> Points:
    """An ellipse, or a circle where one radius is given."""
    return _UNIT * (rx, rx if ry is None else ry) + (x, y)


def box(x0: float, y0: float, x1: float, y1: float, corner: float = 0.0) -> Points:
    """A rectangle, its corners rounded by a radius."""
    if corner <= 0:
        return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)
    corner = min(corner, (x1 - x0) / 2, (y1 - y0) / 2)
    middles = np.repeat([(x0 + corner, y0 + corner), (x1 - corner, y0 + corner),
                         (x1 - corner, y1 - corner), (x0 + corner, y1 - corner)], 6, 0)  # fmt: skip
    return _CORNERS * corner + middles


def poly(*points: tuple[float, float]) -> Points:
    """The polygon through these points."""
    return np.array(points, float)


def smooth(*points: tuple[float, float], steps: int = 6) -> Points:
    """The closed Catmull-Rom curve through these points."""
    p1 = np.array(points, float)
    p0, p2, p3 = np.roll(p1, 1, 0), np.roll(p1, -1, 0), np.roll(p1, -2, 0)
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    curve = 2 * p1 + t * (p2 - p0) + t**2 * (2 * p0 - 5 * p1 + 4 * p2 - p3) + t**3 * (3 * p1 - p0 - 3 * p2 + p3)
    return (curve / 2).transpose(1, 0, 2).reshape(-1, 2)


def limb(x0: float, y0: float, x1: float, y1: float, width: float) -> Points:
    """A thick straight stroke between two points."""
    along = np.array([x1 - x0, y1 - y0])
    across = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6) * width / 2
    start, end = np.array([x0, y0]), np.array([x1, y1])
    return np.stack([start - across, end - across, end + across, start + across])


def moved(points: Points, x: float, y: float) -> Points:
    """Points shifted by (x, y)."""
    return points + np.array((x, y))


def turned(points: Points, angle: float, x: float = 0.0, y: float = 0.0) -> Points:
    """Points turned about (x, y) by an angle in radians, clockwise on the screen."""
    cos, sin = np.cos(angle), np.sin(angle)
    return (points - (x, y)) @ np.array([[cos, sin], [-sin, cos]]) + (x, y)
