"""What happens in a picture: the facts that a caption says, and a seed for everything that it does not say."""

from dataclasses import dataclass

import numpy as np

SUBJECTS = ("ball", "car", "robot", "bird", "balloon")
COLOURS = ("red", "yellow", "green", "blue", "purple")
TIMES = ("day", "sunset", "night")
PLACES = ("meadow", "desert", "town", "snow")
DIRECTIONS = ("left", "right")
CAMERAS = ("still", "follow", "zoom")


@dataclass(frozen=True)
class Scene:
    """One shot of the world. `seed` varies size, height, speed, props, clouds and stars."""

    subject: str
    colour: str
    time: str
    place: str
    direction: str
    camera: str
    seed: int


def random_scene(rng: np.random.Generator) -> Scene:
    """Every fact drawn evenly and independently."""
    tables = (SUBJECTS, COLOURS, TIMES, PLACES, DIRECTIONS, CAMERAS)
    subject, colour, time, place, direction, camera = (str(rng.choice(names)) for names in tables)
    return Scene(subject, colour, time, place, direction, camera, int(rng.integers(2**31)))
