"""Scores and look-alikes, measured where the truth is known: on drawn films, and on real ones with planted flashbacks.

    python benchmarks/footage_alike.py [--films FOLDER] [--shots 30000]

- drawings: drawings a second of films on ones to fours under grain and x264, and what is called static of them
- spoiled: sharpness under growing blur, damage under growing compression
- flashbacks: shots shown again, coded anew and cropped by 3 %; and how many unlike shots are taken for one another
- outliers: how well shots of another look are told from the rest (area under the ROC curve)
- coverage: share of the kinds of scene that a small choice has, beside chance and an even choice in time
- time: seconds for many shots, with hashes and layouts as random as they come

With --films, a folder with popeye-1.mkv, popeye-2.mkv and cuts.json, flashbacks and spoiling are measured there too.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import machine
import numpy as np

from sakuga.core.media import film as media
from sakuga.signals import alike
from sakuga.signals.look import Look, Watcher, look_size
from sakuga.signals.scores import Scores, score
from sakuga_world.draw import draw
from sakuga_world.look import CEL, WOODCUT
from sakuga_world.look import Look as Style
from sakuga_world.scene import Scene, random_scene

RATE = 24
SIZE = (480, 320)
CROP = 0.03


def encode(path: Path, pictures: Iterable[np.ndarray], crf: int = 20) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": str(crf), "preset": "veryfast"})
        for n, rgb in enumerate(pictures):
            even = np.ascontiguousarray(rgb[: rgb.shape[0] // 2 * 2, : rgb.shape[1] // 2 * 2])
            if not n:
                stream.height, stream.width = even.shape[:2]
                stream.pix_fmt = "yuv420p"
            frame = av.VideoFrame.from_ndarray(even, format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def watched(path: Path) -> Look:
    info = media.probe(path)
    watcher = Watcher(look_size(info.width, info.height), keep_every=RATE // 2)
    for index, _, planes in media.look(path, watcher.size):
        watcher.feed(planes.luma, planes.blue, planes.red)
        if index % watcher.keep_every == 0:
            watcher.keep(index, planes.rgb(), planes.whole())
    return watcher.look()


def scored(look: Look) -> Scores:
    return score(look, 0, len(look) - 1, RATE)


def seen(look: Look, first: int, last: int) -> alike.Seen:
    span = slice(first, last + 1)
    return alike.Seen(RATE, look.hashes[span], look.local[span], alike.layout(look.tiny[span], look.tint[span]))


def whole(look: Look) -> alike.Seen:
    return seen(look, 0, len(look) - 1)


def scene_of(seed: int) -> Scene:
    return random_scene(np.random.default_rng(seed))


def drawn(
    scene: Scene, hold: int = 2, grain: float = 0, frames: int = 48, style: Style = CEL, start: int = 0
) -> Iterable[np.ndarray]:
    rng = np.random.default_rng(scene.seed)
    for n in range(start, start + frames):
        picture = draw(scene, style, n // hold * hold / RATE, SIZE)
        noise = rng.normal(0, grain, (*picture.shape[:2], 1)) if grain else 0
        yield np.clip(picture + noise, 0, 255).astype(np.uint8)


def cropped(pictures: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    for picture in pictures:
        rim_y, rim_x = (round(side * CROP / 2) for side in picture.shape[:2])
        yield picture[rim_y : picture.shape[0] - rim_y, rim_x : picture.shape[1] - rim_x]


def drawings(folder: Path) -> dict[str, Any]:
    rows = []
    for hold in (1, 2, 3, 4):
        for grain, crf in ((0, 18), (0, 28), (6, 18), (6, 28), (12, 18), (12, 28)):
            scene = scene_of(100 * hold + grain + crf)
            told = scored(watched(encode(folder / "a.mp4", drawn(scene, hold, grain), crf)))
            rows.append({"hold": hold, "grain": grain, "crf": crf, "camera": scene.camera, "wanted": RATE / hold,
                         "drawings": round(told.drawings, 2), "static": told.static})  # fmt: skip
    errors = [abs(row["drawings"] / row["wanted"] - 1) for row in rows]
    return {
        "films": len(rows), "worst_error": round(max(errors), 3), "within_10_percent": sum(e <= 0.1 for e in errors),
        "static_claimed": sum(row["static"] > 0 for row in rows),
        "off": [row for row, error in zip(rows, errors, strict=True) if error > 0.1],
    }  # fmt: skip


def spoiled(folder: Path, pictures: list[np.ndarray]) -> dict[str, Any]:
    blurs, crfs = (0.01, 0.7, 1, 1.5, 2, 3, 4, 6), (18, 23, 28, 33, 39, 45)

    def blurred(sigma: float) -> Iterable[np.ndarray]:
        return (cv2.GaussianBlur(picture, (0, 0), sigma) for picture in pictures)

    sharp = [scored(watched(encode(folder / "a.mp4", blurred(sigma), 16))).sharpness for sigma in blurs]
    damaged = [scored(watched(encode(folder / "a.mp4", pictures, crf))).damage for crf in crfs]
    return {
        "sharpness_by_blur": dict(zip(map(str, blurs), np.round(sharp, 3).tolist(), strict=True)),
        "sharpness_falls": sharp == sorted(sharp, reverse=True),
        "damage_by_crf": dict(zip(map(str, crfs), np.round(damaged, 2).tolist(), strict=True)),
        "damage_grows": damaged == sorted(damaged),
    }


def found(shots: list[alike.Seen], again: dict[int, alike.Seen]) -> dict[str, Any]:
    """`shots` are all unlike; `again`: copies of some of them, by their index."""
    between = alike.twins(shots)
    told = alike.twins([*shots, *again.values()])
    pairs = {(twin.shot, twin.original) for twin in told}
    hits = [
        (len(shots) + n, wanted) in pairs or (wanted, len(shots) + n) in pairs for n, wanted in enumerate(again)
    ]  # fmt: skip
    return {
        "shots": len(shots), "pairs": len(shots) * (len(shots) - 1) // 2, "taken_for_another": len(between),
        "planted": len(again), "found": sum(hits),
        "missed": [wanted for wanted, hit in zip(again, hits, strict=True) if not hit],
    }  # fmt: skip


def drawn_flashbacks(folder: Path) -> dict[str, Any]:
    scenes = [scene_of(seed) for seed in range(40)]
    shots = [whole(watched(encode(folder / "a.mp4", drawn(scene)))) for scene in scenes]
    again = {
        n: whole(watched(encode(folder / "b.mp4", cropped(drawn(scenes[n], frames=40, start=4)), 30)))
        for n in range(0, 40, 4)
    }
    return found(shots, again)


def real_flashbacks(folder: Path, films: Path) -> dict[str, Any]:
    known = json.loads((films / "cuts.json").read_text(encoding="utf-8"))
    shots: list[alike.Seen] = []
    again: dict[int, alike.Seen] = {}
    for name, truth in known.items():
        look = watched(films / name)
        cuts = [0, *truth["cuts"], len(look)]
        for first, after in pairwise(cuts):
            shots.append(seen(look, first, after - 1))
            inside = range(first + 8, min(after - 2, first + 80))
            pictures = (rgb for _, rgb in media.frames(films / name, inside, (720, 536)))
            again[len(shots) - 1] = whole(watched(encode(folder / "b.mp4", cropped(pictures), 28)))
    return found(shots, again)


def outlying(folder: Path) -> dict[str, Any]:
    """Shots of another look among many of one."""
    styles = [(scene_of(1000 + n), WOODCUT if n % 12 == 5 else CEL) for n in range(72)]
    told = []
    for scene, style in styles:
        look = watched(encode(folder / "a.mp4", drawn(scene, frames=12, style=style)))
        told.append(alike.style(look, 0, len(look) - 1))
    scores = alike.outliers({name: np.stack([t[name] for t in told]) for name in told[0]}).score
    other = np.array([style is WOODCUT for _, style in styles])
    above = scores[other][:, None] > scores[~other]
    return {"shots": len(styles), "of_another_look": int(other.sum()), "auc": round(float(above.mean()), 3),
            "others_above_all_of_them": int((scores[~other] > scores[other].min()).sum())}  # fmt: skip


def coverage() -> dict[str, Any]:
    """Films of 300 shots of kinds (place and time of day) of which some are common, in runs as in a film; means over 20."""
    scenes = [scene_of(seed) for seed in range(360)]
    layouts = np.stack([_layout(scene) for scene in scenes])
    kinds = sorted({(scene.place, scene.time) for scene in scenes})
    pools = [[n for n, scene in enumerate(scenes) if (scene.place, scene.time) == kind] for kind in kinds]
    weights = 1 / np.arange(1, len(kinds) + 1) ** 1.2
    rng = np.random.default_rng(1)
    told: dict[str, list[tuple[float, float]]] = {}
    for _ in range(20):
        of: list[int] = []
        while len(of) < 300:
            of += [int(rng.choice(len(kinds), p=weights / weights.sum()))] * int(rng.integers(1, 6))
        of = of[:300]
        film = layouts[[int(rng.choice(pools[kind])) for kind in of]]
        for times in (1, 2, 3):
            count = times * len(kinds)
            choices = {
                "cover": alike.cover(film, count),
                "evenly_in_time": [(2 * k + 1) * 300 // (2 * count) for k in range(count)],
                "random": rng.choice(300, count, replace=False).tolist(),
            }
            for name, chosen in choices.items():
                apart = np.linalg.norm(film[:, None] - film[chosen][None], axis=2).min(axis=1).mean()
                share = len({of[n] for n in chosen}) / len(set(of))
                told.setdefault(f"{count} by {name}", []).append((share, float(apart)))
    means = {name: np.mean(values, axis=0).round(3).tolist() for name, values in told.items()}
    return {"kinds": len(kinds), "share_of_kinds_and_distance_in_levels": means}


def _layout(scene: Scene) -> np.ndarray:
    picture = draw(scene, CEL, 0.5, (256, 170))
    luma, red, blue = cv2.split(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb))
    tiny = cv2.resize(luma, (16, 12), interpolation=cv2.INTER_AREA)
    tint = np.stack([cv2.resize(c, (8, 6), interpolation=cv2.INTER_AREA) for c in (blue, red)])
    return alike.layout(tiny[None], tint[None])


def many(count: int) -> dict[str, Any]:
    """Shots of one to six seconds on twos, every fiftieth a copy; layouts around 1,500 places."""
    rng = np.random.default_rng(1)
    shots = []
    places = rng.normal(128, 20, (1500, 72)).astype(np.float32)
    for n in range(count):
        if n % 50 == 49:
            shots.append(shots[-1])
            continue
        frames = int(rng.integers(RATE, 6 * RATE))
        flips = np.bitwise_or.reduce(
            np.uint64(1) << rng.integers(0, 64, (frames // 2 + 1, 3)).astype(np.uint64), axis=1
        )
        hashes = (rng.integers(0, 2**63, dtype=np.uint64) ^ np.bitwise_xor.accumulate(flips)).repeat(2)[:frames]
        local = np.where(np.arange(frames) % 2, 0, rng.uniform(0.1, 0.9, frames)).astype(np.float32)
        layout = places[rng.integers(1500)] + rng.normal(0, 0.8, 72).astype(np.float32)
        shots.append(alike.Seen(RATE, hashes, local, layout))
    layouts = np.stack([shot.layout for shot in shots])
    steps: dict[str, Callable[[], int]] = {
        "twins": lambda: len(alike.twins(shots)),
        "clusters": lambda: len(np.unique(alike.clusters(layouts, alike.LOOKS_ALIKE))),
        "cover_300": lambda: len(alike.cover(layouts, 300)),
    }
    told: dict[str, Any] = {"shots": count}
    for name, step in steps.items():
        started, worked = time.perf_counter(), time.process_time()
        result = step()
        told[name] = {"result": result, "seconds": round(time.perf_counter() - started, 1),
                      "cpu_seconds": round(time.process_time() - worked, 1)}  # fmt: skip
    return told | {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=Path, help="folder of the real films")
    parser.add_argument("--shots", type=int, default=30_000, help="how many shots the time is measured on")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "coverage": coverage,
            "drawings": lambda: drawings(folder),
            "spoiled_drawn": lambda: spoiled(folder, list(drawn(scene_of(1), frames=24))),
            "outliers": lambda: outlying(folder),
            "flashbacks_drawn": lambda: drawn_flashbacks(folder),
            "time": lambda: many(options.shots),
        }
        if options.films:
            real = [rgb for _, rgb in media.frames(options.films / "popeye-1.mkv", range(340, 364))]
            parts["spoiled_real"] = lambda: spoiled(folder, real)
            parts["flashbacks_real"] = lambda: real_flashbacks(folder, options.films)
        for part, measure in parts.items():
            figures[part] = measure()
            sys.stdout.write(f"{part}: {json.dumps(figures[part])}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{machine.write('footage-alike', figures)}\n")


if __name__ == "__main__":
    main()
