"""Faces and people, measured where the truth is known: portraits like photographs, and drawn films with what is found there.

    python benchmarks/footage_subjects.py [--films FOLDER] [--count 12]

- portraits: one to three people in soft light at known sizes: share of the faces found, of the shot sizes and numbers told
  rightly, by the true size
- drawn: of the drawn world, in its looks, share of the pictures in which anything at all is found (there are no people)
- real: with --films, a folder with popeye-1.mkv and popeye-2.mkv, how many pictures of each show people, as a person counted
  them every two seconds (`PEOPLE`), in how many of these a face or a part is found, and what else is
- time: milliseconds of processor time for a picture
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import machine
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from portraits import portrait
from sakuga.core.media import film as media
from sakuga.signals.look import look_size
from sakuga.signals.subjects import FACE, HEADS, SURE, Detector, face_height, nudity, parts_detector, people, shot_size
from sakuga_world.draw import draw
from sakuga_world.look import CEL, WOODCUT
from sakuga_world.scene import random_scene

SIZE = (256, 192)
SMALLEST = 0.05  # of the height: a face in a long shot
EVERY = 48  # frames
# Frames of the real films, of those at every two seconds, that show people (or giants) large enough to be seen by eye.
PEOPLE = {
    "popeye-1": {768, 816, 912, 1008, 1104, 1248, 1296, 1344, 1392},
    "popeye-2": {*range(0, 577, 48), 624, 672, 720, 768, 816, 864, 912, 960, *range(1008, 1440, 48)},
}


def portraits(detect: Detector, count: int, rng: np.random.Generator) -> dict[str, Any]:
    """For each size of a shot `count` pictures of one, two or three people."""
    told: dict[str, list[tuple[bool, bool, bool]]] = defaultdict(list)
    heads = [0.95, *(most for most, _ in HEADS), FACE / SMALLEST]
    for least, most in pairwise(heads):
        for n in range(count):
            face = FACE / rng.uniform(least, most)
            number = 1 + n % 3 if face < 0.25 else 1
            places = [
                ((k + 0.5) / number + rng.uniform(-0.03, 0.03), rng.uniform(0.4, 0.5), face) for k in range(number)
            ]
            found = detect(portrait(SIZE, places))
            seen = face_height(found)
            told[shot_size(face)].append((seen > 0, shot_size(seen) == shot_size(face), people(found) == number))
    names = ("face", "size", "people")
    return {size: dict(zip(names, np.mean(rows, axis=0).round(2).tolist(), strict=True)) for size, rows in told.items()}


def drawn(detect: Detector, count: int, rng: np.random.Generator) -> dict[str, Any]:
    """Pictures of the drawn world, half of them in each of two looks."""
    found = [detect(draw(random_scene(rng), (CEL, WOODCUT)[n % 2], 1.0, SIZE)) for n in range(4 * count)]
    sure = [[part for part in parts if part.score >= SURE] for parts in found]
    bare = round(max(map(nudity, found)), 2)
    return {"pictures": len(found), "with_anything": sum(map(bool, sure)), "barest": bare}


def real(detect: Detector, film: Path) -> dict[str, Any]:
    """What is found in a picture of every two seconds."""
    info = media.probe(film)
    size = look_size(info.width, info.height)
    found = {}
    for index, rgb in media.frames(film):
        if index % EVERY == 0:
            found[index] = detect(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))
    sure = {index: [p.label for p in parts if p.score >= SURE] for index, parts in found.items()}
    there = PEOPLE[film.stem] & found.keys()
    return {
        "pictures": len(found), "with_people": len(there), "found_there": sum(bool(sure[index]) for index in there),
        "found_elsewhere": sum(bool(labels) for index, labels in sure.items() if index not in there),
        "barest": round(max(map(nudity, found.values())), 2),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=Path, help="folder of the real films")
    parser.add_argument("--count", type=int, default=12, help="portraits of each size")
    options = parser.parse_args()
    detect, rng = parts_detector(), np.random.default_rng(1)
    figures: dict[str, Any] = {"portraits": portraits(detect, options.count, rng)}
    figures["drawn"] = drawn(detect, options.count, rng)
    if options.films:
        figures["real"] = {name: real(detect, options.films / f"{name}.mkv") for name in PEOPLE}
    for name, picture in (("with_face", portrait(SIZE, [(0.5, 0.45, 0.35)])), ("without", portrait(SIZE, []))):
        started = time.process_time()
        for _ in range(10):
            detect(picture)
        figures[f"cpu_ms_{name}"] = round(100 * (time.process_time() - started), 1)
    sys.stdout.write(f"{json.dumps(figures)}\n{machine.write('footage-subjects', figures)}\n")


if __name__ == "__main__":
    main()
