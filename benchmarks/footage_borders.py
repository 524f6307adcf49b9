"""Borders, corners and marks planted into films: how exactly they are told, and what is told where nothing is.

    python benchmarks/footage_borders.py [--films FOLDER] [--crf 23 ...] [--rate 6] [--episodes 2]

Drawn episodes get bars (letterbox, pillarbox, window box, of several darknesses, greys and colours, with grain and with
subtitles in them) or rounded corners, are encoded by x264, decoded as the pass over a film does, and cropped as an
export does. A cut is exact when it takes no bar's row in, and at most two rows of the picture away. Marks go over
pictures of drawn episodes and, with --films, of the real ones (cuts.json says which shots they have).
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import machine
import numpy as np

from sakuga.core.media import film as media
from sakuga.signals.borders import (
    RADIUS,
    Borders,
    crop_box,
    dark_edges,
    over_shot,
    settle,
    unchanging,
    unlike,
    with_corners,
)  # fmt: skip
from sakuga.signals.look import look_size
from sakuga.signals.marks import find_marks, stretches
from sakuga.signals.measures import luma
from sakuga.signals.recurring import picture_hash
from sakuga_world.films import _pictures, plan
from sakuga_world.look import CEL

WIDTH, HEIGHT, SECONDS = 480, 270, 14
MOST = 2  # rows of the picture that a cut may take
BARS = {"letterbox": (36, 36, 0, 0), "thin": (8, 8, 0, 0), "pillarbox": (0, 0, 60, 60), "window": (22, 22, 46, 46)}
BARS |= {"none": (0, 0, 0, 0)}
SCENES: dict[str, dict[str, object]] = {
    "plain": {}, "dark": {"dark": 0.25}, "grain": {"sigma": 8.0}, "lifted": {"level": (28, 28, 28), "sigma": 4.0},
    "grey": {"level": (48, 48, 48)}, "coloured": {"level": (20, 30, 120)}, "subtitle": {"subtitle": True},
}  # fmt: skip
MARKS = ("text", "disc", "frame")


class Looked(NamedTuple):
    edges: np.ndarray
    hashes: list[int]  # of the kept pictures
    kept: list[int]
    lumas: np.ndarray


def looked(path: Path, every: int) -> Looked:
    """What the pass over a film keeps, as far as it is needed here."""
    info, edges, hashes, kept, lumas = media.probe(path), [], [], [], []
    for index, _, planes in media.look(path, look_size(info.width, info.height)):
        light = planes.luma.astype(np.float32) / 255
        edges.append(dark_edges(light))
        if index % every == 0:
            hashes.append(picture_hash(light))
            kept.append(index)
            lumas.append(webp(planes.rgb()))
    return Looked(np.array(edges), hashes, kept, np.stack(lumas))


def webp(rgb: np.ndarray) -> np.ndarray:
    """The luma of a picture that was kept as WebP."""
    data = cv2.imencode(".webp", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, 75])[1]
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2GRAY)


def encode(path: Path, pictures: Sequence[np.ndarray], rate: int, crf: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "veryfast"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for index, rgb in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def planted(
    pictures: np.ndarray, bars: tuple[int, int, int, int], dark: float = 1.0, sigma: float = 0.0,
    level: tuple[int, int, int] = (0, 0, 0), subtitle: bool = False, radius: int = 0,
) -> list[np.ndarray]:  # fmt: skip
    """Pictures made smaller, with bars of `level` around them, or with rounded corners."""
    top, bottom, left, right = bars
    rng, out = np.random.default_rng(1), []
    size = WIDTH - left - right, HEIGHT - top - bottom
    y, x = np.mgrid[: size[1], : size[0]] + 0.5
    off = [np.maximum(0, radius - np.minimum(a, length - a)) for a, length in ((x, size[0]), (y, size[1]))]
    round_off = (np.hypot(*off) > radius)[..., None]
    for index, picture in enumerate(pictures):
        inner = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) * dark
        whole = np.empty((HEIGHT, WIDTH, 3))
        whole[:] = level
        whole[top : HEIGHT - bottom, left : WIDTH - right] = np.where(round_off, level, inner)
        if subtitle and index % 20 < 12:
            whole = whole.astype(np.uint8)  # all that OpenCV writes on
            cv2.putText(whole, "I have been here before.", (110, HEIGHT - bottom // 2 + 5), cv2.FONT_HERSHEY_DUPLEX, 0.6,
                        (255, 255, 255), 2, cv2.LINE_AA)  # fmt: skip
        out.append(np.clip(whole + rng.normal(0, sigma, whole.shape) if sigma else whole, 0, 255).astype(np.uint8))
    return out


def cuts(path: Path, spans: list[tuple[int, int]], rate: int) -> Iterator[tuple[int, int, int, int]]:
    """Rows and columns cut off each shot: top, bottom, left, right."""
    seen = looked(path, max(1, rate // 2))
    chosen = unlike(seen.hashes, 96)
    told = [over_shot(seen.edges[first : last + 1], look_size(WIDTH, HEIGHT)) for first, last in spans]
    lumas = seen.lumas[chosen]
    settled = settle([(t, s[1] - s[0] + 1) for t, s in zip(told, spans, strict=True)], unchanging(lumas))
    shot_of = np.searchsorted([s[0] for s in spans], [seen.kept[n] for n in chosen], side="right") - 1
    full = {index: luma(rgb) for index, rgb in media.frames(path)}
    for borders, (first, last) in zip(with_corners(settled, lumas, shot_of.tolist()), spans, strict=True):
        at = np.linspace(first, last, 5).round().astype(int)
        box = crop_box(borders, [full[n] for n in at]) if any(borders) else (0, 0, WIDTH, HEIGHT)
        yield box[1], HEIGHT - box[3], box[0], WIDTH - box[2]


def measure_borders(folder: Path, crfs: list[int], rate: int, episodes: int) -> dict[str, list[int]]:
    """Of each kind: shots cut exactly, shots."""
    counts: dict[str, list[int]] = {}
    for episode in range(episodes):
        shots = plan(episode, SECONDS, rate)
        spans = [(shot.first, shot.last) for shot in shots]
        pictures = np.stack(list(_pictures(shots, CEL, (WIDTH, HEIGHT), rate)))
        cases = [(b, s, BARS[b], SCENES[s]) for b in BARS for s in SCENES if s != "subtitle" or BARS[b][1] > 20]
        cases += [("corners", str(level), (0, 0, 0, 0), {"radius": 30, "level": (level,) * 3}) for level in (0, 36)]
        for number, (bars, scene, sides, more) in enumerate(cases):
            crf = crfs[number % len(crfs)]
            encode(folder / "b.mp4", planted(pictures, sides, **more), rate, crf)  # type: ignore[arg-type]
            least = round(30 / RADIUS) - 1 if bars == "corners" else 0
            most = MOST + (least + 2 if bars == "corners" else 0)
            for cut in cuts(folder / "b.mp4", spans, rate):
                exact = all(
                    least <= c - s <= (most if any(sides) or least else 0) for c, s in zip(cut, sides, strict=True)
                )
                tally = counts.setdefault(f"{bars}, {scene}", [0, 0])
                tally[0] += exact
                tally[1] += 1
    return counts


def stamp(kind: str, width: int, height: int) -> np.ndarray:
    """The coverage 0..1 of a mark in one corner, drawn large and made small as a film is."""
    large = np.zeros((4 * height, 4 * width), np.uint8)
    if kind == "text":
        cv2.putText(large, "ANIME TV", (4 * width - 320, 74), cv2.FONT_HERSHEY_DUPLEX, 1.6, 255, 4, cv2.LINE_AA)
    elif kind == "disc":
        cv2.circle(large, (80, 4 * height - 80), 40, 255, -1, cv2.LINE_AA)
        cv2.putText(large, "7", (62, 4 * height - 62), cv2.FONT_HERSHEY_DUPLEX, 1.6, 50, 6, cv2.LINE_AA)
    else:
        cv2.rectangle(large, (60, 60), (160, 120), 255, 8)
        cv2.putText(large, "HD", (75, 108), cv2.FONT_HERSHEY_DUPLEX, 1.4, 255, 4, cv2.LINE_AA)
    return cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA) / np.float32(255)


def shared(box: tuple[int, ...], coverage: np.ndarray) -> float:
    """Intersection over union of a box and that of what was stamped."""
    rows, columns = (np.flatnonzero((coverage > 0.1).any(axis=axis)) for axis in (1, 0))
    here, there = (np.zeros(coverage.shape, bool) for _ in range(2))
    here[box[1] : box[3], box[0] : box[2]] = True
    there[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return float((here & there).sum() / (here | there).sum())


def drawn(episode: int) -> tuple[np.ndarray, list[int]]:
    """Kept pictures of a drawn episode of 60 s, one every half second, and the shot of each."""
    shots = plan(episode, 60, 2)
    pictures = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in _pictures(shots, CEL, (256, 170), 2)]
    return np.stack(pictures), [n for n, shot in enumerate(shots) for _ in range(shot.first, shot.last + 1)]


def real(films: Path) -> tuple[np.ndarray, list[int]]:
    """The same of the real films, one after the other."""
    lumas: list[np.ndarray] = []
    numbers: list[int] = []
    for name, truth in json.loads((films / "cuts.json").read_text("utf-8")).items():
        info = media.probe(films / name)
        shot = max(numbers, default=-1) + 1
        for index, _, planes in media.look(films / name, look_size(info.width, info.height)):
            if index % 12 == 0:
                lumas.append(cv2.cvtColor(planes.rgb(), cv2.COLOR_RGB2GRAY))
                numbers.append(shot + int(np.searchsorted(truth["cuts"], index, side="right")))
    return np.stack(lumas), numbers


def told(pictures: np.ndarray, shots: list[int]) -> list[tuple[int, ...]]:
    """The boxes of the marks that a film is said to have."""
    kept = np.stack([webp(np.repeat(p[..., None], 3, axis=2)) for p in pictures])
    hashes = [picture_hash(p / np.float32(255)) for p in kept]
    chosen = unlike(hashes, 96)
    number_of = {shot: n for n, shot in enumerate(sorted(set(shots)))}
    settled = [Borders()] * len(number_of)
    borders = with_corners(settled, kept[chosen], [number_of[shots[n]] for n in chosen])
    marks = find_marks(kept, [number_of[s] for s in shots], hashes, borders)
    return [mark[:4] for mark in marks if stretches(mark.seen, np.arange(len(kept)) / 2)]


def measure_marks(films: dict[str, tuple[np.ndarray, list[int]]]) -> dict[str, object]:
    found: dict[str, list[float]] = {}
    false: dict[str, int] = {}
    further = 0
    rng = np.random.default_rng(2)
    for name, (pictures, shots) in films.items():
        false[name] = len(told(pictures, shots))
        height, width = pictures.shape[1:]
        for kind in MARKS:
            for strength in (1.0, 0.5, 0.25):
                for part in (1.0, 0.5):
                    coverage = stamp(kind, width, height)
                    has = np.arange(len(pictures)) >= (1 - part) * len(pictures)
                    over = has[:, None, None] * coverage * strength
                    marked = pictures * (1 - over) + 235 * over + rng.normal(0, 1.5, pictures.shape)
                    boxes = told(np.clip(marked, 0, 255).astype(np.uint8), shots)
                    best = max((shared(box, coverage) for box in boxes), default=0.0)
                    further += sum(shared(box, coverage) == 0 for box in boxes) - false[name]
                    found.setdefault(f"strength {strength:g}, {part:.0%} of the film", []).append(round(best, 2))
    flat = [value for values in found.values() for value in values]
    good = sum(value >= 0.7 for value in flat)
    return {"iou": found, "iou_0.7": [good, len(flat)], "false_on_clean_films": false, "false_further": further}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=Path, help="folder of the real films and their cuts.json")
    parser.add_argument("--crf", type=int, nargs="+", default=[18, 23, 28], help="used in turn")
    parser.add_argument("--rate", type=int, default=6, help="frames a second of the films with bars")
    parser.add_argument("--episodes", type=int, default=2, help="how many drawn ones")
    options = parser.parse_args()
    started = time.perf_counter()
    films = {f"drawn-{n}": drawn(n) for n in range(options.episodes)} | (
        {"real": real(options.films)} if options.films else {}
    )
    marks = measure_marks(films)
    with tempfile.TemporaryDirectory() as folder:
        borders = measure_borders(Path(folder), options.crf, options.rate, options.episodes)
    exact = [sum(tally[n] for tally in borders.values()) for n in (0, 1)]
    figures = {"exact": exact, "borders": borders, "marks": marks, "crf": options.crf, "rate": options.rate}
    figures["seconds"] = round(time.perf_counter() - started)
    sys.stdout.write(f"{json.dumps(figures)}\n{machine.write('footage-borders', figures)}\n")


if __name__ == "__main__":
    main()
