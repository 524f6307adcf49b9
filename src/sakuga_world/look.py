"""How the world is drawn: a look is some strengths and a palette, all continuous, so that two looks can be mixed."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from .shapes import Rgb


@dataclass(frozen=True)
class Look:
    """Strengths are 0..1 and lengths fractions of the frame's height unless said otherwise; colours are RGB 0..255."""

    shade: float  # how strongly bodies go from light to dark
    posterise: float  # 0 smooth gradients, 1 a few flat tones
    glow: float  # light that spreads from the sun, lamps and everything bright
    rim: float  # a lit edge on the subject
    shadow: float  # how dark the subject's shadow is
    softness: float  # 0 a hard-edged shadow, 1 a blurred one
    outline: float  # width of the drawn line
    ink: Rgb  # its colour
    subjects: tuple[Rgb, ...]  # by COLOURS
    accents: tuple[Rgb, ...]  # dark (tyres), metal, glass, cream, orange (beak, wicker)
    skies: tuple[tuple[Rgb, Rgb], ...]  # by TIMES: top, horizon
    lights: tuple[Rgb, ...]  # by TIMES: what ground and props are multiplied by, 255 is unchanged
    orbs: tuple[Rgb, ...]  # by TIMES: sun, low sun, moon
    clouds: tuple[Rgb, ...]  # by TIMES
    hills: tuple[Rgb, ...]  # by PLACES
    grounds: tuple[tuple[Rgb, Rgb], ...]  # by PLACES: far, near
    props: tuple[tuple[Rgb, Rgb], ...]  # by PLACES: leaves and trunk, cactus and rock, wall and roof, pine and snow


BASE = Look(
    shade=0.85, posterise=0.0, glow=1.0, rim=0.8, shadow=0.55, softness=1.0, outline=0.0, ink=(30, 30, 40),
    subjects=((222, 34, 36), (255, 208, 20), (8, 138, 66), (24, 92, 236), (142, 44, 196)),
    accents=((38, 40, 52), (176, 186, 200), (176, 224, 248), (250, 244, 228), (246, 148, 36)),
    skies=(((74, 156, 236), (206, 236, 252)), ((120, 74, 140), (255, 178, 110)), ((10, 16, 50), (44, 66, 120))),
    lights=((255, 255, 252), (255, 196, 160), (112, 126, 178)),
    orbs=((255, 236, 140), (255, 214, 120), (240, 244, 255)),
    clouds=((255, 255, 255), (255, 190, 170), (66, 80, 128)),
    hills=((112, 172, 116), (204, 122, 84), (132, 158, 196), (176, 200, 228)),
    grounds=(((190, 216, 104), (140, 190, 68)), ((246, 208, 152), (230, 174, 112)),
             ((172, 176, 186), (128, 132, 144)), ((236, 243, 253), (192, 213, 241))),
    props=(((46, 128, 62), (116, 76, 46)), ((70, 140, 88), (176, 104, 70)),
           ((240, 214, 178), (186, 84, 66)), ((34, 104, 92), (246, 250, 255))),
)  # fmt: skip

CEL = Look(
    shade=0.35, posterise=1.0, glow=0.0, rim=0.0, shadow=0.28, softness=0.0, outline=0.027, ink=(44, 34, 62),
    subjects=((244, 92, 100), (255, 220, 74), (72, 190, 124), (62, 122, 240), (172, 112, 226)),
    accents=((82, 76, 104), (206, 208, 222), (206, 242, 246), (255, 250, 240), (255, 178, 104)),
    skies=(((150, 218, 236), (226, 246, 238)), ((232, 148, 176), (255, 218, 176)), ((52, 54, 112), (94, 96, 160))),
    lights=((255, 255, 255), (255, 204, 198), (142, 142, 190)),
    orbs=((255, 240, 160), (255, 238, 170), (255, 248, 214)),
    clouds=((255, 255, 255), (255, 226, 214), (120, 122, 184)),
    hills=((168, 220, 190), (240, 178, 156), (186, 190, 226), (198, 216, 242)),
    grounds=(((198, 234, 164), (198, 234, 164)), ((252, 220, 178), (252, 220, 178)),
             ((212, 208, 222), (212, 208, 222)), ((246, 250, 255), (246, 250, 255))),
    props=(((112, 190, 150), (176, 128, 116)), ((126, 196, 158), (222, 156, 138)),
           ((255, 234, 208), (232, 138, 138)), ((104, 176, 176), (255, 255, 255))),
)  # fmt: skip

WOODCUT = Look(
    shade=0.5, posterise=1.0, glow=0.0, rim=0.0, shadow=0.45, softness=0.0, outline=0.037, ink=(62, 34, 20),
    subjects=((196, 52, 36), (246, 190, 36), (58, 134, 64), (52, 98, 152), (126, 70, 164)),
    accents=((70, 46, 34), (190, 172, 146), (226, 216, 180), (248, 232, 196), (222, 128, 44)),
    skies=(((238, 206, 142), (250, 230, 184)), ((214, 110, 62), (246, 178, 92)), ((58, 52, 64), (104, 86, 84))),
    lights=((255, 252, 244), (244, 196, 156), (148, 132, 142)),
    orbs=((252, 238, 186), (252, 222, 130), (244, 230, 190)),
    clouds=((252, 240, 212), (250, 204, 150), (122, 104, 104)),
    hills=((198, 150, 76), (196, 112, 66), (186, 142, 104), (200, 192, 172)),
    grounds=(((192, 180, 112), (192, 180, 112)), ((228, 170, 104), (228, 170, 104)),
             ((204, 180, 146), (204, 180, 146)), ((244, 234, 212), (244, 234, 212))),
    props=(((206, 102, 40), (104, 62, 38)), ((146, 138, 66), (164, 92, 54)),
           ((236, 206, 156), (164, 70, 44)), ((110, 112, 72), (250, 240, 220))),
)  # fmt: skip


def between(a: Look, b: Look, t: float) -> Look:
    """Every strength and colour on the straight way from `a` (t = 0) to `b` (t = 1)."""
    return Look(*(_mapped(lambda x, y: x + (y - x) * t, getattr(a, f.name), getattr(b, f.name)) for f in fields(Look)))


def _mapped(rule: Callable[[float, float], float], a: Any, b: Any) -> Any:
    """The rule applied to two numbers, or to two nests of tuples of one shape."""
    if isinstance(a, tuple):
        return tuple(_mapped(rule, x, y) for x, y in zip(a, b, strict=True))
    return float(rule(a, b))


def random_look(rng: np.random.Generator) -> Look:
    """Any style: a mix of the named looks, its colours pushed far about, its strengths drawn anew."""
    known = (BASE, CEL, WOODCUT)
    first, second = rng.choice(len(known), 2)
    mixed = between(known[first], known[second], float(rng.uniform()))
    push = float(rng.uniform(0.1, 0.75))
    palette: dict[str, Any] = {
        f.name: _repainted(getattr(mixed, f.name), rng, push) for f in fields(Look) if f.name in _COLOURED
    }
    outlined, flat = rng.uniform(size=2) < (0.6, 0.5)
    strengths = {
        "shade": rng.uniform(0, 1),
        "posterise": 1.0 if flat else rng.uniform(0, 0.5),
        "glow": 0.0 if flat else rng.uniform(0, 1.2),
        "rim": 0.0 if flat else rng.uniform(0, 1),
        "shadow": rng.uniform(0, 0.7),
        "softness": 0.0 if flat else rng.uniform(0, 1),
        "outline": rng.uniform(0.01, 0.04) if outlined else 0.0,
    }
    return replace(mixed, **palette | {name: float(number) for name, number in strengths.items()})


_COLOURED = ("ink", "subjects", "accents", "skies", "lights", "orbs", "clouds", "hills", "grounds", "props")


def _repainted(value: Any, rng: np.random.Generator, push: float) -> Any:
    """Colours moved by `push` of the way towards random ones."""
    return _mapped(lambda x, _: x + (rng.uniform(0, 255) - x) * push, value, value)
