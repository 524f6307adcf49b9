"""Scenes told twice in other words, as two captioners do: for what compares their captions."""

import random
from typing import NamedTuple

WHO = (
    ("young woman", "girl"), ("old man", "elderly man"), ("boy", "child"), ("soldier", "guard"), ("fisherman", "sailor"),
    ("nurse", "woman"), ("dog", "puppy"), ("tall man", "man"),
)  # fmt: skip
WEARS = (
    "red coat",
    "straw hat",
    "green scarf",
    "leather jacket",
    "white apron",
    "blue uniform",
    "striped shirt",
    "black cape",
)
DOES = (("walks", "is walking"), ("waits", "is waiting"), ("runs", "is running"), ("kneels", "is kneeling"))
WHERE = ("a stone bridge", "the harbour", "a wheat field", "a narrow alley", "a snowy forest", "a train platform", "a kitchen",
         "an old library", "a rooftop", "a desert road")  # fmt: skip
LIGHT = ("at dusk", "under a bright sky", "by lamplight", "in thick fog", "at dawn")


class Scene(NamedTuple):
    """The words of one captioner, and those of another."""

    first: str
    second: str


def scenes(count: int, seed: int = 1) -> list[Scene]:
    """`count` scenes; neighbours may share a place or a person, as the shots of a film do."""
    draw = random.Random(seed)
    made: list[Scene] = []
    where = WHERE[0]
    for _ in range(count):
        who, other = draw.choice(WHO)
        does, doing = draw.choice(DOES)
        wears, light = draw.choice(WEARS), draw.choice(LIGHT)
        where = where if draw.random() < 0.4 else draw.choice(WHERE)
        made.append(
            Scene(
                f"MyStyle. A {who} with a {wears} {does} across {where} {light}. Medium shot.",
                f"In {where} a {other} {doing}, wearing a {wears}. The scene is {light}, and nobody else is there.",
            )
        )
    return made
