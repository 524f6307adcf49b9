"""The five subjects, each facing right, one unit high, standing (or hanging) with its foot at (0, 0).

A subject is a list of groups; the parts of a group share one outline, and later groups lie over earlier ones.
`phase` is how far it has travelled, in its own heights: it turns wheels, swings legs and flaps wings.
"""

from collections.abc import Callable, Sequence

import numpy as np

from .paint import mix
from .shapes import Part, Rgb, box, limb, moved, oval, poly, smooth, turned

Groups = list[list[Part]]
Accents = Sequence[Rgb]  # dark, metal, glass, cream, orange
_DARK, _METAL, _GLASS, _CREAM, _ORANGE = range(5)


def ball(rgb: Rgb, accents: Accents, phase: float) -> Groups:
    """A ball with one broad stripe, rolling without slipping."""
    half = 0.36
    arc = np.concatenate([np.linspace(-half, half, 8), np.pi + np.linspace(-half, half, 8)])
    band = np.stack([np.cos(arc), np.sin(arc)], 1) * 0.5 + (0, -0.5)
    return [[Part(oval(0, -0.5, 0.5), rgb)], [Part(turned(band, phase * 2 + 0.5, 0, -0.5), accents[_CREAM], 0.55, 0.8)]]


def car(rgb: Rgb, accents: Accents, phase: float) -> Groups:
    """A rounded saloon: cabin, two windows, two wheels, a lamp in front."""
    dark = mix(rgb, (20, 16, 30), 0.35)
    body = [
        Part(smooth((-0.56, -0.56), (-0.42, -0.92), (-0.1, -1.0), (0.2, -0.95), (0.5, -0.56)), rgb),
        Part(box(-0.9, -0.64, 0.9, -0.2, 0.2), rgb),
    ]
    panes = [
        Part(poly((-0.43, -0.62), (-0.33, -0.87), (-0.07, -0.9), (-0.07, -0.62)), accents[_GLASS], 0.3, 0.6),
        Part(poly((0.04, -0.62), (0.04, -0.9), (0.17, -0.87), (0.37, -0.62)), accents[_GLASS], 0.3, 0.6),
    ]
    trim = [Part(box(-0.88, -0.3, 0.88, -0.18, 0.05), dark, 0.2, 0.0)]
    lamp = [Part(oval(0.8, -0.46, 0.09, 0.1), accents[_CREAM], 0.2, 0.7)]
    return [body, panes, trim, lamp, *(_wheel(x, 0.235, accents, phase) for x in (-0.5, 0.5))]


def _wheel(x: float, radius: float, accents: Accents, phase: float) -> list[Part]:
    spoke = moved(box(-0.035, -radius * 0.5, 0.035, radius * 0.5), x, -radius)
    return [
        Part(oval(x, -radius, radius), accents[_DARK], 0.4),
        Part(oval(x, -radius, radius * 0.54), accents[_METAL], 0.5, 0.0),
        Part(turned(spoke, phase / radius, x, -radius), accents[_DARK], 0.0, 0.0),
    ]


def robot(rgb: Rgb, accents: Accents, phase: float) -> Groups:
    """A walking robot: square head with a visor towards the front, antenna, swinging arms and legs."""
    swing = float(np.sin(phase * 5.5))
    dark = mix(rgb, (20, 16, 30), 0.3)
    return [
        [Part(limb(0.12, -0.5, *_hand(0.14, swing), 0.12), dark, 0.5)],
        _leg(0.11, -swing, dark, accents),
        _leg(-0.11, swing, rgb, accents),
        [Part(limb(0.0, -0.82, -0.03, -0.93, 0.05), accents[_METAL], 0.2)],
        [Part(oval(-0.03, -0.945, 0.065), accents[_ORANGE])],
        [Part(box(-0.25, -0.58, 0.25, -0.2, 0.08), rgb), Part(box(-0.27, -0.88, 0.28, -0.58, 0.09), rgb)],
        [Part(box(0.0, -0.48, 0.2, -0.31, 0.03), accents[_CREAM], 0.3, 0.5)],
        [Part(box(-0.08, -0.81, 0.31, -0.65, 0.07), accents[_DARK], 0.2, 0.5)],
        [Part(oval(x, -0.73, 0.052), accents[_GLASS], 0.0, 0.0) for x in (0.05, 0.2)],
        [Part(limb(-0.16, -0.5, *_hand(-0.18, -swing), 0.12), rgb, 1.0, 0.6),
         Part(oval(*_hand(-0.18, -swing), 0.075), accents[_METAL], 1.0, 0.6)],
    ]  # fmt: skip


def _leg(x: float, swing: float, rgb: Rgb, accents: Accents) -> list[Part]:
    foot = x + 0.16 * swing
    lift = 0.05 * max(0.0, -swing)
    return [
        Part(limb(x, -0.24, foot, -0.08 - lift, 0.15), rgb, 0.6),
        Part(box(foot - 0.11, -0.11 - lift, foot + 0.17, 0 - lift, 0.05), accents[_METAL], 0.8),
    ]


def _hand(x: float, swing: float) -> tuple[float, float]:
    return x + 0.18 * swing, -0.25


def bird(rgb: Rgb, accents: Accents, phase: float) -> Groups:
    """A plump bird: tail, body and head in one line, a beak, one wing that beats."""
    beat = float(np.sin(phase * 8.0))
    pale, dark = mix(rgb, accents[_CREAM], 0.62), mix(rgb, (20, 16, 30), 0.3)
    body = [
        Part(smooth((-0.42, -0.5), (-0.98, -0.72), (-0.9, -0.5), (-0.98, -0.32), (-0.4, -0.3)), dark),
        Part(smooth((-0.62, -0.46), (-0.2, -0.72), (0.3, -0.74), (0.6, -0.5), (0.3, -0.12), (-0.2, -0.1)), rgb),
        Part(oval(0.5, -0.72, 0.29), rgb),
    ]
    belly = [Part(smooth((-0.2, -0.2), (0.15, -0.34), (0.48, -0.4), (0.28, -0.15), (0.0, -0.12)), pale, 0.4, 0.0)]
    beak = [Part(poly((0.74, -0.86), (1.1, -0.68), (0.74, -0.58)), accents[_ORANGE], 0.5)]
    eye = [
        Part(oval(0.58, -0.79, 0.085), accents[_CREAM], 0.0, 0.5),
        Part(oval(0.6, -0.79, 0.06), accents[_DARK], 0.0, 0.0),
    ]
    tip = -0.5 - 0.56 * beat
    feather = [(0.22, -0.56), (0.0, -0.5 - 0.42 * beat), (-0.42, tip - 0.06 * beat), (-0.5, tip + 0.12), (-0.3, -0.42)]
    return [beak, body, belly, eye, [Part(smooth(*feather), dark, 1.0, 0.8)]]


def balloon(rgb: Rgb, accents: Accents, phase: float) -> Groups:
    """A hot-air balloon with pale gores, a basket on ropes, and a pennant that trails behind."""
    wave = 0.03 * float(np.sin(phase * 9.0))
    envelope = smooth((0, -1.0), (0.29, -0.91), (0.4, -0.66), (0.27, -0.38), (0.1, -0.24), (-0.1, -0.24),
                      (-0.27, -0.38), (-0.4, -0.66), (-0.29, -0.91))  # fmt: skip
    gore = smooth((0, -1.0), (0.12, -0.9), (0.16, -0.66), (0.1, -0.4), (0.04, -0.24), (-0.04, -0.24),
                  (-0.1, -0.4), (-0.16, -0.66), (-0.12, -0.9))  # fmt: skip
    ropes = [Part(limb(x, -0.25, x * 1.05, -0.12, 0.035), accents[_DARK], 0.0) for x in (-0.09, 0.09)]
    pennant = poly((-0.12, -0.14), (-0.42, -0.12 + wave), (-0.34, -0.06), (-0.42, 0.0 - wave), (-0.12, -0.04))
    return [
        ropes,
        [Part(pennant, accents[_CREAM], 0.3, 0.7)],
        [Part(envelope, rgb)],
        [Part(gore, accents[_CREAM], 0.7, 0.8)],
        [Part(box(-0.14, -0.16, 0.14, 0.0, 0.04), accents[_ORANGE], 0.8)],
    ]


SUBJECT: dict[str, Callable[[Rgb, Accents, float], Groups]] = {
    "ball": ball, "car": car, "robot": robot, "bird": bird, "balloon": balloon,
}  # fmt: skip
