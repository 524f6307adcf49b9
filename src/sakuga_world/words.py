"""What a scene is called: one sentence of at most 18 words that always says subject, colour, time, place and direction."""

import numpy as np

from .scene import Scene

VERBS = {
    "ball": ("rolls", "spins along"),
    "car": ("drives", "speeds"),
    "robot": ("walks", "marches"),
    "bird": ("flies", "flaps along"),
    "balloon": ("floats", "drifts"),
}
PLACE = {
    "meadow": ("past a tree", "across the meadow", "through a meadow"),
    "desert": ("past a cactus", "through the desert", "across the desert"),
    "town": ("past some houses", "through the town", "along a town street"),
    "snow": ("past snowy pines", "across the snow", "through a snowy land"),
}
TIME = {
    "day": ("on a sunny day", "by day", "in daylight"),
    "sunset": ("at sunset", "in the evening sun", "as the sun sets"),
    "night": ("at night", "under the moon", "on a starry night"),
}
WAY = {
    "left": ("to the left", "leftwards"),
    "right": ("to the right", "rightwards"),
}
CAMERA = {
    "still": ("the camera stays still", "a still camera"),
    "follow": ("the camera follows", "the camera moves along"),
    "zoom": ("the camera zooms in", "a slow zoom in"),
}
ORDERS = (
    "a {colour} {subject} {verb} {way} {place} {time}",
    "{time}, a {colour} {subject} {verb} {way} {place}",
    "a {colour} {subject} {verb} {place} {time}, moving {way}",
    "{time}, a {colour} {subject} {verb} {place}, {way}",
)
MOST_WORDS = 18


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """A sentence in one of several orders; about half of them also say what the camera does."""
    with_camera = rng.uniform() < 0.5
    while True:  # a wordy draw is drawn again; most fit
        text = _sentence(scene, rng)
        if with_camera:
            text = f"{text}, {rng.choice(CAMERA[scene.camera])}"
        if len(text.split()) <= MOST_WORDS:
            return text


def _sentence(scene: Scene, rng: np.random.Generator) -> str:
    words = {name: str(rng.choice(table[fact])) for name, table, fact in (
        ("verb", VERBS, scene.subject), ("place", PLACE, scene.place),
        ("time", TIME, scene.time), ("way", WAY, scene.direction))}  # fmt: skip
    return str(rng.choice(ORDERS)).format(colour=scene.colour, subject=scene.subject, **words)
