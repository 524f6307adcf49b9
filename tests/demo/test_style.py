"""The style measure: 0 at the base's look, 1 at the film's, rising on the way between, and blind to what is drawn."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from sakuga.demo import style
from sakuga_world.draw import draw
from sakuga_world.look import BASE, CEL, WOODCUT, Look, between
from sakuga_world.scene import Scene, random_scene

FILM = {"cel": CEL, "woodcut": WOODCUT}


@cache
def scenes(seed: int, count: int = 16) -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [random_scene(rng) for _ in range(count)]


@cache
def drawn(seed: int, look: Look) -> list[np.ndarray]:
    return [draw(scene, look, 0.3) for scene in scenes(seed)]


@cache
def scale(name: str) -> style.Scale:
    return style.make_scale(drawn(1, BASE), drawn(1, FILM[name]), drawn(1, FILM[name]))


@pytest.mark.parametrize("name", FILM)
def test_other_scenes_of_the_base_are_near_0_and_of_the_film_near_1(name: str) -> None:
    assert abs(scale(name).score(drawn(2, BASE)).mean()) < 0.15
    assert abs(scale(name).score(drawn(2, FILM[name])).mean() - 1) < 0.15


@pytest.mark.parametrize("name", FILM)
@pytest.mark.parametrize("blend", ["of looks", "of pixels"])
def test_looks_between_the_two_rise_from_one_to_the_other(name: str, blend: str) -> None:
    steps = np.linspace(0, 1, 5)
    if blend == "of pixels":
        pairs = list(zip(drawn(2, BASE), drawn(2, FILM[name]), strict=True))
        blended = [[((1 - t) * a + t * b).astype(np.uint8) for a, b in pairs] for t in steps]
    else:
        blended = [drawn(2, between(BASE, FILM[name], t)) for t in steps]
    scores = [scale(name).score(pictures).mean() for pictures in blended]
    assert all(np.diff(scores) > 0.05), scores


def test_each_measure_alone_tells_the_looks_apart() -> None:
    base, film = (scale("cel").score(drawn(2, look)) for look in (BASE, CEL))
    assert (film.mean(axis=0) - base.mean(axis=0) > 0.8).all()


def test_a_scale_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "looks.json"
    path.write_text(json.dumps({"cel": scale("cel").as_json()}))
    read = style.read_scales(path)["cel"]
    pictures = drawn(2, CEL)[:3]
    assert np.allclose(read.score(pictures), scale("cel").score(pictures), atol=1e-3)
