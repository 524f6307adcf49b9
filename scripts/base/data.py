"""Draws the cartoon world once, to arrays on disk that training maps into memory.

Sets: `base` (the base look, what the transformer learns), `mixed` (all other looks, which the VAE and the
describers see as well) and `held` (BASE, CEL and WOODCUT, apart by seed, for measuring only) show a scene from its first
instant. `later` (any look, for the describers) and `held-later` begin anywhere in a shot of a film, and every third clip is
cut out between bars, as an export does. Each is NAME.npy, uint8 [clips, 9 frames, 64, 96, 3], beside NAME.json with
scene, look and captions of every clip.
"""

import argparse
import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sakuga_world.draw import draw_clip
from sakuga_world.films import BAR, LONGEST, LONGEST_STILL
from sakuga_world.look import BASE, CEL, WOODCUT, Look, between, random_look
from sakuga_world.motion import seconds_in_view
from sakuga_world.scene import CAMERAS, COLOURS, DIRECTIONS, PLACES, SUBJECTS, TIMES, Scene, random_scene
from sakuga_world.words import caption

FRAMES, WIDTH, HEIGHT = 9, 96, 64
RATE = 16
FACTS = {"subject": SUBJECTS, "colour": COLOURS, "time": TIMES, "place": PLACES, "direction": DIRECTIONS,
         "camera": CAMERAS}  # fmt: skip
CLASSES = {fact: len(values) for fact, values in FACTS.items() if fact != "camera"}  # what a describer tells
NAMED = {"base": BASE, "cel": CEL, "woodcut": WOODCUT}
MIXED = {"cel": 0.25, "woodcut": 0.17, "between": 0.17, "random": 0.41}  # with 40 % of `base` in a batch: the goal's
CLIPS = {"base": 6000, "mixed": 4800, "held": 720, "later": 6000, "held-later": 720}
LATER_BASE, BARRED = 0.3, 1 / 3  # shares of `later`: clips of the base look, clips out of a letterbox
WORDINGS = 6  # captions of a clip


def look_of(rng: np.random.Generator, name: str, at: int) -> tuple[str, Look]:
    """The look of clip `at` of a set, and what it is called."""
    if name == "base" or (name == "later" and rng.uniform() < LATER_BASE):
        return "base", BASE
    if name.startswith("held"):
        kind = list(NAMED)[at % len(NAMED)]
        return kind, NAMED[kind]
    kind = str(rng.choice(list(MIXED), p=list(MIXED.values())))
    if kind == "between":
        first, second = rng.permutation(len(NAMED))[:2]
        looks = list(NAMED.values())
        return kind, between(looks[first], looks[second], float(rng.uniform(0.2, 0.8)))
    return kind, NAMED[kind] if kind in NAMED else random_look(rng)


def drawn(job: tuple[str, int, int]) -> tuple[np.ndarray, dict[str, Any]]:
    """One clip, a pure function of (set, clip, seed)."""
    name, at, seed = job
    rng = np.random.default_rng([seed, list(CLIPS).index(name), at])
    kind, look = look_of(rng, name, at)
    if name.endswith("later"):
        scene, clip = _somewhere(rng, look)
    else:
        scene = random_scene(rng)
        clip = draw_clip(scene, look, frames=FRAMES, rate=RATE, size=(WIDTH, HEIGHT))
    captions = sorted({caption(scene, rng) for _ in range(WORDINGS)})
    return clip, {"look": kind, "scene": asdict(scene), "captions": captions}


def _somewhere(rng: np.random.Generator, look: Look) -> tuple[Scene, np.ndarray]:
    """A clip from anywhere in a shot of a film, where a still camera has not lost its subject."""
    scene = random_scene(rng)
    while seconds_in_view(scene) < LONGEST_STILL:
        scene = random_scene(rng)
    longest = LONGEST_STILL if scene.camera == "still" else LONGEST
    start = rng.uniform(0, longest - FRAMES / RATE)
    keep = 1 - 2 * BAR if rng.uniform() < BARRED else 1.0  # of the height; as much of the width is lost at the sides
    size = (round(WIDTH / keep), round(HEIGHT / keep))
    clip = draw_clip(scene, look, frames=FRAMES, rate=RATE, size=size, start=start)
    left, top = (size[0] - WIDTH) // 2, (size[1] - HEIGHT) // 2
    return scene, clip[:, top : top + HEIGHT, left : left + WIDTH]


def draw_set(name: str, folder: Path, seed: int, clips: int) -> None:
    partial = folder / f"{name}.npy.part"
    pixels = np.lib.format.open_memmap(
        partial, mode="w+", dtype=np.uint8, shape=(clips, FRAMES, HEIGHT, WIDTH, 3)
    )  # fmt: skip
    rows = []
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        for at, (clip, row) in enumerate(pool.map(drawn, [(name, i, seed) for i in range(clips)], chunksize=16)):
            pixels[at] = clip
            rows.append(row)
    pixels.flush()
    (folder / f"{name}.json").write_text(json.dumps(rows))
    partial.replace(folder / f"{name}.npy")


class Clips:
    """A drawn set: `pixels` as stored, `rows` with look, scene and captions."""

    def __init__(self, folder: Path, name: str) -> None:
        self.pixels = np.load(folder / f"{name}.npy", mmap_mode="r")
        self.rows: list[dict[str, Any]] = json.loads((folder / f"{name}.json").read_text())

    def labels(self, fact: str) -> np.ndarray:
        """The class of each clip: the place of its word in the world's list."""
        return np.array([FACTS[fact].index(row["scene"][fact]) for row in self.rows])

    def of(self, look: str) -> list[int]:
        return [i for i, row in enumerate(self.rows) if row["look"] == look]


def batches(rng: np.random.Generator, count: int, size: int) -> Iterator[np.ndarray]:
    """Endless batches of indices, every index once before any comes again."""
    while True:
        order = rng.permutation(count)
        for at in range(0, count - size + 1, size):
            yield order[at : at + size]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="of the clips, for a trial")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, clips in CLIPS.items():
        if not (args.out / f"{name}.npy").exists():
            draw_set(name, args.out, args.seed, int(clips * args.share))
            print(f"{name}: {int(clips * args.share)} clips", flush=True)


if __name__ == "__main__":
    main()
