"""Logos and subtitles planted over films: how exactly their place and time are told, and what is told where nothing is.

    python benchmarks/footage_overlays.py [--films FOLDER] [--seconds 45] [--keep FOLDER]

Logos (letters, a plate, a ring; opaque and at two strengths) stand in one of the four corners of drawn episodes, of a
cartoon full of flashes and dissolves and, with --films, of the real films: all along, in the middle third, from the fifth
shot on. Subtitles of one and two lines (Latin, bold and thin, Japanese where OpenCV draws it; white, yellow and black,
outlined and not; 4.5 to 9 % of the height; below and above) come and go. Each film is encoded by x264 at 640x360 and goes
through the stages as they are. Of each planted logo or line: intersection over union (IoU) with the best box found that
shares its time, and the IoU of the times. What is found and lies on nothing planted is false; films as they are must
have nothing.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import av
import cartoon
import cv2
import machine
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sakuga.core.media import film as media
from sakuga.core.settings import OverlaySettings, Settings, ShotSettings
from sakuga.core.stage import Scratch
from sakuga.stages import look, overlays, shots
from sakuga_world.films import _pictures, plan
from sakuga_world.look import CEL, WOODCUT

SIZE = WIDTH, HEIGHT = 640, 360
SLOW, FAST = 6, 24  # frames a second of films with logos, of which the kept pictures matter, and with subtitles
GOOD = 0.7
LOGOS = ("letters", "plate", "ring")
STRENGTHS = (1.0, 0.6, 0.35)
PARTS = ("whole", "middle third", "from shot 5")
LATIN = ("Where are we going?", "It is not far now, only over there.", "Did you hear that?", "I have been here before.")
JAPANESE = ("もうすぐ着きますよ", "東京動画株式会社", "明日また会いましょう")
WHITE, YELLOW, BLACK = (255, 255, 255), (255, 225, 40), (0, 0, 0)

Picture = np.ndarray
Pictures = Callable[[int], Iterator[Picture]]  # of a film, at so many frames a second


class Planted(NamedTuple):
    """What stands at `box` (left, top, right, bottom in pixels) over frames first..last; drawn by `layer` [H, W, 4]."""

    name: str
    kind: str
    first: int
    last: int
    box: tuple[int, int, int, int]
    layer: np.ndarray


class Film(NamedTuple):
    name: str
    pictures: Pictures
    cuts: list[float]  # seconds
    seconds: float


def episode(number: int, seconds: float) -> Film:
    """A drawn episode without its own words."""

    def drawn(rate: int) -> Iterator[Picture]:
        bare = [shot._replace(words="", kind="shot", bars=False) for shot in plan(number, seconds, rate)]
        return _pictures(bare, (CEL, WOODCUT)[number % 2], SIZE, rate)

    return Film(f"episode-{number}", drawn, [shot.first / SLOW for shot in plan(number, seconds, SLOW)], seconds)


def flashing(seed: int, seconds: float) -> Film:
    @cache
    def composed() -> tuple[list[Picture], list[cartoon.Truth]]:
        return cartoon.compose(np.random.default_rng([seed, 5]), CEL, seconds)

    def drawn(rate: int) -> Iterator[Picture]:
        return (cv2.resize(p, SIZE, interpolation=cv2.INTER_LINEAR) for p in composed()[0][:: cartoon.RATE // rate])

    return Film(f"cartoon-{seed}", drawn, [0.0, *(truth.first / cartoon.RATE for truth in composed()[1])], seconds)


def real(folder: Path) -> Film:
    """The real films, one after the other, as one of twelve shots."""
    known = json.loads((folder / "cuts.json").read_text("utf-8"))

    def drawn(rate: int) -> Iterator[Picture]:
        for name in known:
            for shown in islice(media.scan(folder / name, SIZE), 0, None, 24 // rate):
                yield shown.rgb

    cuts = [n * 60 + cut / 24 for n, told in enumerate(known.values()) for cut in [0, *told["cuts"]]]
    return Film("real", drawn, cuts, 120.0)


def logo(kind: str, corner: int, strength: float) -> tuple[tuple[int, int, int, int], np.ndarray]:
    """A logo in one of the corners: its box and its layer."""
    large = Image.new("RGBA", (4 * WIDTH, 4 * HEIGHT))
    draw, alpha = ImageDraw.Draw(large), round(255 * strength)
    wide, high = {"letters": (340, 84), "plate": (300, 140), "ring": (190, 190)}[kind]
    left = 120 if corner % 2 == 0 else 4 * WIDTH - 120 - wide
    top = 100 if corner < 2 else 4 * HEIGHT - 100 - high
    ends = left, top, left + wide, top + high
    if kind == "letters":
        draw.text(
            (left + wide / 2, top + high / 2),
            "SAKUGA",
            (250, 250, 250, alpha),
            ImageFont.load_default(92),
            "mm",
            stroke_width=3,
        )
    elif kind == "plate":
        draw.rectangle(ends, (200, 30, 40, alpha))
        draw.text(
            (left + wide / 2, top + high / 2),
            "TV 5",
            (255, 255, 255, alpha),
            ImageFont.load_default(100),
            "mm",
            stroke_width=3,
        )
    else:
        draw.ellipse(ends, None, (245, 245, 245, alpha), 26)
        draw.text(
            (left + wide / 2, top + high / 2),
            "7",
            (245, 245, 245, alpha),
            ImageFont.load_default(110),
            "mm",
            stroke_width=4,
        )
    return _reduced(large)


def line(
    text: str, size: float, middle: tuple[float, float], fill: tuple[int, ...], edge: tuple[int, ...] | None
) -> tuple[tuple[int, int, int, int], np.ndarray]:
    """A line of letters whose middle is at these shares of the picture: its box and its layer."""
    large = Image.new("RGBA", (4 * WIDTH, 4 * HEIGHT))
    points, outline = round(size * 4 * HEIGHT), round(0.08 * size * 4 * HEIGHT)
    place = middle[0] * large.width, middle[1] * large.height
    if text.isascii():
        font = ImageFont.load_default(points)
        ImageDraw.Draw(large).text(
            place,
            text,
            (*fill, 255),
            font,
            "mm",
            stroke_width=outline if edge else 0,
            stroke_fill=(*(edge or fill), 255),
        )
        return _reduced(large)
    signs = np.zeros((4 * HEIGHT, 4 * WIDTH, 3), np.uint8)
    start = round(place[0] - len(text) * points / 2), round(place[1] + 0.38 * points)
    cv2.putText(signs, text, start, WHITE, cv2.FontFace("uni"), points, 500)
    inner = signs[..., 0]
    outer = (
        cv2.dilate(inner, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * outline + 1, 2 * outline + 1)))
        if edge
        else inner
    )
    mixed = np.full((*inner.shape, 3), edge or fill) * (1 - inner[..., None] / 255) + np.array(fill) * (
        inner[..., None] / 255
    )
    return _reduced(Image.fromarray(np.dstack((mixed, outer)).astype(np.uint8)))


def _reduced(large: Image.Image) -> tuple[tuple[int, int, int, int], np.ndarray]:
    layer = np.asarray(large.resize(SIZE, Image.Resampling.BOX))
    rows, columns = (np.flatnonzero((layer[..., 3] > 25).any(axis=axis)) for axis in (1, 0))
    return (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1), layer


def with_logo(film: Film, frames: int, number: int) -> Planted:
    """The numbered case: kinds, strengths, corners and parts in turn."""
    kind, strength, part = LOGOS[number % 3], STRENGTHS[(number // 3 + number) % 3], PARTS[number // 3 % 3]
    fifth = round(film.cuts[4] * SLOW)
    first, last = {
        "whole": (0, frames - 1), "middle third": (frames // 3, frames * 2 // 3), "from shot 5": (fifth, frames - 1),
    }[part]  # fmt: skip
    return Planted(f"{part}, {kind}, strength {strength:g}", "logo", first, last, *logo(kind, number % 4, strength))


def with_subtitles(frames: int, seed: int) -> list[Planted]:
    """Subtitles of one and two lines, 1 to 3.5 s long, with pauses."""
    rng, found, at = np.random.default_rng([seed, 9]), [], FAST
    while True:
        length = int(rng.integers(FAST, 3.5 * FAST))
        if at + length >= frames:
            return found
        japanese = hasattr(cv2, "FontFace") and rng.uniform() < 0.25
        size, lines, top = float(rng.choice((0.045, 0.06, 0.09))), int(rng.integers(1, 3)), rng.uniform() < 0.2
        fill, edge = ((WHITE, BLACK), (YELLOW, BLACK), (BLACK, WHITE), (WHITE, None))[
            rng.choice(4, p=(0.5, 0.2, 0.15, 0.15))
        ]
        for n in range(lines):
            y = 0.08 + 1.25 * size * n if top else 0.93 - 1.25 * size * n
            text = str(rng.choice(JAPANESE if japanese else LATIN))
            kind = f"{'Japanese' if japanese else 'Latin'}, size {size:g}, {'outlined' if edge else 'plain'}"
            found.append(Planted(kind, "words", at, at + length - 1, *line(text, size, (0.5, y), fill, edge)))
        at += length + int(rng.integers(0.3 * FAST, 1.5 * FAST))


def over(pictures: Iterable[Picture], planted: list[Planted]) -> Iterator[Picture]:
    for index, picture in enumerate(pictures):
        for it in planted:
            if it.first <= index <= it.last:
                part = it.layer[..., 3:] / np.float32(255)
                picture = (picture * (1 - part) + it.layer[..., :3] * part + 0.5).astype(np.uint8)
        yield picture


def encode(path: Path, pictures: Iterable[Picture], rate: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def told(path: Path, folder: Path) -> list[dict[str, Any]]:
    """The rows that the stages give for a film."""
    scratch = Scratch(folder)
    [row] = look.STAGE.work({"name": path.stem, "path": str(path)}, Settings(), scratch)["timeline"]
    facts = (
        row
        | {name: str(scratch.files[row[name]]) for name in ("look", "pictures")}
        | {"path": str(path), "probabilities": None}
    )
    found = shots.STAGE.work(facts, ShotSettings(), scratch)["shot"]
    rows = overlays.STAGE.work(facts | {"shots": found, "shared": []}, OverlaySettings(), scratch)["overlay"]
    return [dict(row) for row in rows]


def places(row: dict[str, Any], it: Planted) -> float:
    """IoU of the boxes."""
    box = [edge * side for edge, side in zip(json.loads(row["box"]), (*SIZE, *SIZE), strict=True)]
    across, down = (max(0.0, min(box[k + 2], it.box[k + 2]) - max(box[k], it.box[k])) for k in (0, 1))
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, it.box)]
    return across * down / (sum(areas) - across * down)


def times(row: dict[str, Any], it: Planted) -> float:
    """IoU of the times."""
    common = min(row["last"], it.last) - max(row["first"], it.first) + 1
    return max(0, common) / (max(row["last"], it.last) - min(row["first"], it.first) + 1)


def judged(rows: list[dict[str, Any]], planted: list[Planted], rate: int) -> dict[str, Any]:
    """What was found of each planted one; the rows that lie on none."""
    found = []
    for it in planted:
        mine = [row for row in rows if row["kind"] == it.kind and times(row, it) > 0]
        best = max(mine, key=lambda row: places(row, it), default=None)
        off = best and [
            round(e * s - t, 1) for e, s, t in zip(json.loads(best["box"]), (*SIZE, *SIZE), it.box, strict=True)
        ]
        found.append(
            {"name": it.name, "place": round(places(best, it), 2), "time": round(times(best, it), 2), "off": off, "at": it.first}
            if best else {"name": it.name, "place": 0.0, "time": 0.0, "at": it.first}
        )  # fmt: skip
    false = [row for row in rows if not any(places(row, it) > 0 and times(row, it) > 0 for it in planted)]
    told = [f"{r['kind']} {r['first'] / rate:.1f}-{r['last'] / rate:.1f} s {r['box']}" for r in false]
    return {"planted": found, "false": told}


def summed(cases: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Of all planted ones of a kind; by name, IoU of places of those that were not told well."""
    flat = [it for case in cases for it in case["planted"]]
    good = sum(it["place"] >= GOOD for it in flat)
    false = sum(len(case["false"]) for case in cases)
    hit = [it for it in flat if it["place"] > 0.3]
    return {
        "planted": len(flat), "found": len(hit), "iou_0.7": good, "false": false,
        "median_iou": statistics.median(it["place"] for it in hit) if hit else None,
        "median_time_iou": statistics.median(it["time"] for it in hit) if hit else None,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=Path, help="folder of the real films and their cuts.json")
    parser.add_argument("--seconds", type=float, default=45, help="length of the drawn films")
    parser.add_argument("--cases", type=int, default=9, help="logos per film")
    parser.add_argument("--only", choices=("logos", "subtitles", "clean"))
    parser.add_argument("--keep", type=Path, help="folder for the films, which are then not made anew")
    options = parser.parse_args()
    started = time.perf_counter()
    films = [episode(0, options.seconds), episode(1, options.seconds), flashing(100, options.seconds)]
    films += [real(options.films)] if options.films else []
    results: dict[str, list[dict[str, Any]]] = {"logos": [], "subtitles": [], "clean": []}
    with tempfile.TemporaryDirectory() as made:
        folder = options.keep or Path(made)
        for n, film in enumerate(films):
            for kind, number, rate in [
                ("clean", 0, FAST),
                ("subtitles", n, FAST),
                *(("logos", k, SLOW) for k in range(options.cases)),
            ]:
                if options.only not in (None, kind):
                    continue
                path, frames = folder / f"{film.name}-{kind}-{number}.mp4", round(film.seconds * rate)
                planted = (
                    with_subtitles(frames, n)
                    if kind == "subtitles"
                    else [with_logo(film, frames, n + number)]
                    if kind == "logos"
                    else []
                )
                if not path.exists():
                    encode(path, over(film.pictures(rate), planted), rate)
                case = {"film": film.name} | judged(told(path, Path(made) / path.stem), planted, rate)
                results[kind].append(case)
                sys.stderr.write(f"{time.perf_counter() - started:.0f} s {kind} {case}\n")
    figures = {kind: {"sum": summed(cases, kind), "cases": cases} for kind, cases in results.items()}
    sys.stdout.write("".join(f"{kind}: {told['sum']}\n" for kind, told in figures.items()))
    if options.only is None:
        sys.stdout.write(
            f"{machine.write('footage-overlays', {'seconds': round(time.perf_counter() - started), **figures})}\n"
        )


if __name__ == "__main__":
    main()
