"""What stands in a place (one unit is the frame's height, the foot at (0, 0)) and what lies on its ground."""

from collections.abc import Callable, Iterator

import numpy as np

from .look import Look
from .paint import mix
from .shapes import Part, Rgb, box, limb, oval, poly, smooth

Groups = list[list[Part]]
_DARK: Rgb = (24, 20, 40)


def tree(leaves: Rgb, trunk: Rgb, look: Look, time: str, kind: int) -> Groups:
    """A broad crown of three puffs, or a tall one."""
    wide, tall = ((0.15, 0.13), (0.13, 0.16), (0.17, 0.12))[kind]
    crown = [
        Part(oval(-wide * 0.62, -0.25, wide * 0.68, tall * 0.78), leaves),
        Part(oval(wide * 0.66, -0.26, wide * 0.66, tall * 0.74), leaves),
        Part(oval(0, -0.34, wide * 0.86, tall), leaves),
    ]
    return [[Part(poly((-0.035, -0.22), (0.035, -0.22), (0.05, 0), (-0.05, 0)), trunk, 0.6)], crown]


def cactus(green: Rgb, rock: Rgb, look: Look, time: str, kind: int) -> Groups:
    """A tall cactus with one or two arms and a rock beside it."""
    arms = [
        Part(box(-0.14, -0.27, -0.075, -0.13, 0.032), green),
        Part(limb(-0.11, -0.155, 0, -0.155, 0.06), green, 0.3),
    ]
    if kind:
        arms += [Part(box(0.08, -0.33, 0.14, -0.2, 0.03), green), Part(limb(0, -0.225, 0.11, -0.225, 0.06), green, 0.3)]
    stone = [Part(smooth((0.07, 0.01), (0.09, -0.07), (0.16, -0.09), (0.24, -0.05), (0.26, 0.01)), rock)]
    return [[*arms, Part(box(-0.048, -0.42, 0.048, 0.0, 0.048), green)], stone]


def house(wall: Rgb, roof: Rgb, look: Look, time: str, kind: int) -> Groups:
    """A house with a pitched roof, door and windows; the windows are lit at night."""
    wide, high = ((0.15, 0.24), (0.18, 0.2), (0.13, 0.31))[kind]
    pane = look.orbs[1] if time == "night" else look.accents[2]
    windows = [box(-wide * 0.68, -high * 0.8, -wide * 0.14, -high * 0.46),
               box(wide * 0.14, -high * 0.8, wide * 0.68, -high * 0.46)]  # fmt: skip
    front = mix(wall, (255, 255, 255), 0.15 * (kind == 1))
    return [
        [Part(box(-wide, -high, wide, 0), front, 0.5)],
        [Part(poly((-wide - 0.035, -high), (0, -high - 0.15), (wide + 0.035, -high)), roof, 0.6)],
        [Part(window, pane, 0.0) for window in windows],
        [Part(box(-0.035, -high * 0.36, 0.035, 0.0), mix(roof, _DARK, 0.4), 0.0)],
    ]


def pine(green: Rgb, snow: Rgb, look: Look, time: str, kind: int) -> Groups:
    """A pine of three tiers, snow on each."""
    high = (0.36, 0.42, 0.3)[kind]
    groups = [[Part(box(-0.03, -0.08, 0.03, 0), mix(green, (90, 50, 40), 0.6), 0.3)]]
    for level, half in ((0.0, 0.17), (0.3, 0.135), (0.58, 0.095)):
        y, top = -0.05 - level * high, -0.05 - min(level + 0.46, 1.0) * high
        groups.append([Part(poly((-half, y), (0, top), (half, y)), green, 0.8)])
        cap = (y + (top - y) * 0.52, half * 0.48)
        groups.append([Part(poly((-cap[1], cap[0]), (0, top), (cap[1], cap[0])), snow, 0.3)])
    return groups


PROP: dict[str, Callable[[Rgb, Rgb, Look, str, int], Groups]] = {
    "meadow": tree, "desert": cactus, "town": house, "snow": pine,
}  # fmt: skip


def ground_marks(place: str, seed: int, near: Rgb, period: float) -> Iterator[tuple[float, list[Part]]]:
    """Where along the ground something lies, and its parts; it all recurs after `period`."""
    rng = np.random.default_rng([seed, 4])
    dark, pale = mix(near, _DARK, 0.2), mix(near, (255, 255, 255), 0.3)
    if place == "town":
        yield from _road(near, pale, period)
        return
    for spot in np.arange(6) * period / 6:
        x, y = float(spot + rng.uniform(-0.1, 0.1)), rng.uniform(0.76, 0.97)
        if place == "meadow":
            tuft = poly((-0.05, y), (-0.045, y - 0.05), (-0.015, y - 0.02), (0, y - 0.07), (0.02, y - 0.02),
                        (0.045, y - 0.05), (0.05, y))  # fmt: skip
            yield x, [Part(tuft, dark)]
        elif place == "desert":
            yield x, [Part(oval(0, y, rng.uniform(0.1, 0.2), 0.014), dark)]
        else:
            yield x, [Part(oval(0, y, rng.uniform(0.14, 0.24), 0.03), dark), Part(oval(0, y + 0.012, 0.2, 0.03), pale)]


def _road(near: Rgb, pale: Rgb, period: float) -> Iterator[tuple[float, list[Part]]]:
    """A dark street, in pieces that join, with broad dashes along its middle."""
    tar = mix(near, _DARK, 0.42)
    for spot in np.arange(4) * period / 4:
        yield float(spot), [Part(box(-0.01, 0.77, period / 4 + 0.01, 0.98), tar)]
    for spot in np.arange(6) * period / 6:
        yield float(spot), [Part(box(0, 0.925, 0.18, 0.95), pale)]
