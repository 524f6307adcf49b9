"""Brushes: polygons filled, shaded and outlined on an RGB canvas with OpenCV, all positions sub-pixel.

A canvas is some times larger than the picture, which is then averaged down: that and LINE_AA are the anti-aliasing.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from .look import Look
from .shapes import Part, Points, Rgb

_SHIFT = 4  # OpenCV takes sixteenths of a pixel
_SIDE = 24  # of the small textures that are stretched over a shape


class View(NamedTuple):
    """Where the camera looks: the world's point at the middle of the canvas, and canvas pixels per frame height."""

    x: float
    y: float
    scale: float
    width: int
    height: int

    def pixels(self, points: Points) -> Points:
        return (points - (self.x, self.y)) * self.scale + (self.width / 2, self.height / 2)


def mix(a: Rgb, b: Rgb, t: float) -> Rgb:
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


def lit(rgb: Rgb, light: Rgb) -> Rgb:
    """A colour under a light; 255 leaves it as it is."""
    return (rgb[0] * light[0] / 255, rgb[1] * light[1] / 255, rgb[2] * light[2] / 255)


def group(canvas: np.ndarray, parts: Sequence[Part], view: View, look: Look, line: float = 1.0) -> None:
    """Parts that share one outline: the line is drawn round all of them first, then they are filled.

    `line` scales the outline's width (0: none). A line thinner than half a pixel fades into the fill's colour.
    """
    placed = [(view.pixels(part.points), part) for part in parts]
    placed = [
        (points, part) for points, part in placed if points[:, 0].max() > -9 and points[:, 0].min() < view.width + 9
    ]
    edge = cv2.LINE_8 if view.height <= 200 else cv2.LINE_AA  # a quarter of a small frame's time, averaged away there
    for points, part in placed:
        width = look.outline * line * part.line * view.scale
        if width > 0.25:
            rgb = mix(part.rgb, look.ink, min(1.0, look.outline / 0.012))
            cv2.polylines(canvas, [_fixed(points)], True, rgb, max(1, round(width * 2 - 1)), edge, _SHIFT)
    for points, part in placed:
        fill(canvas, points, part.rgb, look.shade * part.form, look.posterise)


def fill(canvas: np.ndarray, points: Points, rgb: Rgb, shade: float = 0.0, posterise: float = 0.0) -> None:
    """A polygon in canvas pixels, flat or shaded from its upper left to its lower right."""
    if shade < 0.01:
        cv2.fillPoly(canvas, [_fixed(points)], rgb, cv2.LINE_AA, _SHIFT)
        return
    low, high = np.floor(points.min(0)).astype(int) - 1, np.ceil(points.max(0)).astype(int) + 2
    x0, y0 = np.maximum(low, 0)
    x1, y1 = np.minimum(high, canvas.shape[1::-1])
    if x1 <= x0 or y1 <= y0:
        return
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillPoly(mask, [_fixed(points - (x0, y0))], 255, cv2.LINE_AA, _SHIFT)
    texture = _texture(_key(rgb), round(shade, 2), round(posterise, 2))
    size = high - low
    stretched = cv2.resize(texture, (int(size[0]), int(size[1])), interpolation=cv2.INTER_LINEAR)
    blend(canvas[y0:y1, x0:x1], stretched[y0 - low[1] : y1 - low[1], x0 - low[0] : x1 - low[0]], mask)


def blend(target: np.ndarray, colours: np.ndarray, mask: np.ndarray) -> None:
    """Lay colours over the target, in place, by an 8-bit mask."""
    cover = cv2.merge((mask, mask, mask))
    over = cv2.multiply(colours, cover, scale=1 / 255)
    under = cv2.multiply(target, cv2.bitwise_not(cover), scale=1 / 255)
    target[:] = cv2.add(over, under)


def halo(canvas: np.ndarray, x: float, y: float, rx: float, ry: float, rgb: Rgb, strength: float, soft: float) -> None:
    """An ellipse (canvas pixels) laid over with its edge hard (soft 0) or fading from its middle (soft 1)."""
    x0, y0 = max(0, int(x - rx)), max(0, int(y - ry))
    x1, y1 = min(canvas.shape[1], int(x + rx) + 1), min(canvas.shape[0], int(y + ry) + 1)
    if x1 <= x0 or y1 <= y0 or strength <= 0.01:
        return
    across = (np.arange(x0, x1, dtype=np.float32) + 0.5 - x) / rx
    down = (np.arange(y0, y1, dtype=np.float32) + 0.5 - y) / ry
    reach = 1 - np.sqrt(down[:, None] ** 2 + across[None] ** 2)
    mask = np.clip(reach / max(soft, 1.5 / max(rx, 1.0)), 0, 1)
    mask = (mask * mask * (3 - 2 * mask) * (min(strength, 1.0) * 255)).astype(np.uint8)
    blend(canvas[y0:y1, x0:x1], np.full((*mask.shape, 3), np.rint(rgb), np.uint8), mask)


def bloom(picture: np.ndarray, strength: float) -> np.ndarray:
    """What is bright spreads its light, over about a tenth of the height; done small, since it is smooth."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (48, max(1, round(48 * height / width))), interpolation=cv2.INTER_AREA)
    bright = cv2.GaussianBlur(cv2.subtract(small, (110, 110, 110, 0)), (0, 0), 2.2)
    spread = cv2.resize(bright, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.addWeighted(picture, 1.0, spread, 0.3 * strength, 0)


def tones(ramp: np.ndarray, posterise: float, steps: int) -> np.ndarray:
    """A ramp 0..1 pulled towards a few even steps."""
    return ramp + (np.floor(np.clip(ramp, 0, 0.999) * steps) / max(steps - 1, 1) - ramp) * posterise


def _fixed(points: Points) -> np.ndarray:
    return np.rint(points * (1 << _SHIFT)).astype(np.int32)


def _key(rgb: Rgb) -> tuple[int, int, int]:
    return (round(rgb[0]), round(rgb[1]), round(rgb[2]))


@lru_cache(maxsize=4096)
def _texture(rgb: tuple[int, int, int], shade: float, posterise: float) -> np.ndarray:
    """Light to dark over a square: the highlight in the upper left, a cool dark in the lower right."""
    grid = (np.arange(_SIDE) + 0.5) / _SIDE
    reach = np.hypot(grid[None, :] - 0.34, grid[:, None] - 0.26) / 0.9
    ramp = np.clip(1.06 - 1.12 * reach, 0, 1)
    ramp = (ramp + (np.where(ramp > 0.32, 0.5, 0.12) - ramp) * posterise)[..., None]
    colour = np.array(rgb, float)
    light = colour + (np.array((255, 252, 236)) - colour) * 0.62 * shade
    dark = colour * (1 - 0.62 * shade) + np.array((14, 10, 40)) * 0.6 * shade
    up, down = np.maximum(2 * ramp - 1, 0), np.maximum(1 - 2 * ramp, 0)
    return np.clip(colour + (light - colour) * up + (dark - colour) * down, 0, 255).astype(np.uint8)
