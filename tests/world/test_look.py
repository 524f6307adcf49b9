"""Looks are far apart, can be mixed, and random ones are any style."""

from dataclasses import astuple

import cv2
import numpy as np

from sakuga_world.draw import draw
from sakuga_world.look import BASE, CEL, WOODCUT, between, random_look
from sakuga_world.scene import random_scene

SCENES = [random_scene(np.random.default_rng(seed)) for seed in range(6)]


def pictures(look) -> np.ndarray:
    return np.stack([draw(scene, look, 0.2) for scene in SCENES])


def outlined(look) -> float:
    """The share of pixels that a dark thin line covers: the 5 x 5 black top-hat of luma above 45."""
    luma = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures(look)]
    return float(np.mean([cv2.morphologyEx(y, cv2.MORPH_BLACKHAT, np.ones((5, 5))) > 45 for y in luma]))


def flat(look) -> float:
    """The share of pixels without a gradient: Sobel / 8 under 1.5."""
    luma = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) for picture in pictures(look)]
    steep = [np.hypot(cv2.Sobel(y, -1, 1, 0), cv2.Sobel(y, -1, 0, 1)) / 8 for y in luma]
    return float(np.mean([s < 1.5 for s in steep]))


def distance(a, b) -> float:
    return float(np.abs(pictures(a).astype(int) - pictures(b)).mean())


def test_film_looks_are_flat_and_outlined_and_the_base_is_not() -> None:
    assert min(outlined(CEL), outlined(WOODCUT)) > 3 * outlined(BASE)
    assert min(flat(CEL), flat(WOODCUT)) > 1.35 * flat(BASE)


def test_looks_differ() -> None:
    assert min(distance(BASE, CEL), distance(BASE, WOODCUT), distance(CEL, WOODCUT)) > 20


def test_between_goes_steadily_from_one_look_to_the_other() -> None:
    for a, b in ((BASE, CEL), (CEL, WOODCUT)):
        mixed = [between(a, b, t) for t in (0, 0.25, 0.5, 0.75, 1)]
        assert distance(a, mixed[0]) == 0 == distance(b, mixed[-1])
        assert np.all(np.diff([distance(a, look) for look in mixed]) > 2)
        assert np.all(np.diff([distance(b, look) for look in mixed]) < -2)
    drawn = [outlined(between(BASE, CEL, t)) for t in (0.2, 0.5, 1)]
    assert drawn == sorted(drawn)


def numbers(value) -> list[float]:
    return [x for part in value for x in numbers(part)] if isinstance(value, tuple) else [value]


def test_random_looks_are_valid_repeatable_and_varied() -> None:
    looks = [random_look(np.random.default_rng(seed)) for seed in range(30)]
    assert looks[3] == random_look(np.random.default_rng(3))
    assert all(0 <= x <= 255 for look in looks for x in numbers(astuple(look)))
    assert {look.outline > 0 for look in looks} == {True, False} == {look.posterise == 1 for look in looks}
    assert np.mean([distance(looks[0], look) for look in looks[1:]]) > 30
