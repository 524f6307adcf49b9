"""How well the second look tells a clip of one shot from a clip with a break: rendered clips, half with a break.

    python benchmarks/footage_clips.py [--count 200] [--seed 1] [--film FOLDER]

Clips of 17-81 frames at 16 fps, of the demo's world in random looks, each written by x264 as an export is and read
back. `count` of them hold a cut, a dissolve of 4-20 frames or a fade (black or white) somewhere, and `count` hold none,
but what is easily taken for one: flashes, impact frames, held drawings, pans, zooms, something large that enters,
explosions, a shaking camera, lights that go down. A break counts as caught where the look tells one that touches it.
`--film` names a folder of films with a cuts.json: clips across its cuts and clips between them are looked at too.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import machine
import numpy as np

from sakuga.core.media.clip import write_clip
from sakuga.core.media.film import frames, probe
from sakuga.signals.oneshot import LOOK_SIZE, Break, breaks
from sakuga_world.draw import draw, draw_clip
from sakuga_world.look import random_look
from sakuga_world.scene import PLACES, random_scene

SIZE = (192, 128)
RATE = 16
SHORTEST, LONGEST = 17, 81
Rng = np.random.Generator
Clip = np.ndarray  # F H W 3, uint8
Kind = Callable[[Rng], tuple[Clip, tuple[int, int] | None]]  # a clip, and the first and last frame of its break


def length(rng: Rng) -> int:
    return int(rng.integers((SHORTEST - 1) // 4, (LONGEST - 1) // 4 + 1)) * 4 + 1


def shot(rng: Rng, count: int, camera: str | None = None) -> Clip:
    scene = random_scene(rng)
    if camera:
        scene = replace(scene, camera=camera)
    return draw_clip(scene, random_look(rng), count, RATE, SIZE)


def pair(rng: Rng, first: int, second: int) -> tuple[Clip, Clip]:
    """Two shots of one film: one look, another place."""
    look, one, other = random_look(rng), random_scene(rng), random_scene(rng)
    if one.place == other.place:
        other = replace(other, place=PLACES[(PLACES.index(one.place) + 1) % len(PLACES)])
    return draw_clip(one, look, first, RATE, SIZE), draw_clip(other, look, second, RATE, SIZE, float(rng.uniform(0, 2)))


# -- with a break


def cut(rng: Rng) -> tuple[Clip, tuple[int, int]]:
    count = length(rng)
    at = int(rng.integers(1, count))
    one, other = pair(rng, at, count - at)
    return np.concatenate([one, other]), (at - 1, at)


def dissolve(rng: Rng) -> tuple[Clip, tuple[int, int]]:
    count, mixed = length(rng), int(rng.integers(4, 21))
    mixed = min(mixed, count - 2)
    at = int(rng.integers(1, count - mixed))
    one, other = pair(rng, at + mixed, count - at)
    return np.concatenate([one[:at], _mixed(one[at:], other[:mixed]), other[mixed:]]), (at - 1, at + mixed)


def fade_out(rng: Rng) -> tuple[Clip, tuple[int, int]]:
    """To black or white, and some frames of that, at the end."""
    count, mixed, rest = length(rng), int(rng.integers(4, 13)), int(rng.integers(0, 5))
    clip = shot(rng, count)
    flat = np.full_like(clip, 0 if rng.uniform() < 0.5 else 255)
    at = max(1, count - mixed - rest)
    clip = np.concatenate([clip[:at], _mixed(clip[at:], flat[at:], mixed)])
    return clip, (at - 1, count - 1)


def fade_in(rng: Rng) -> tuple[Clip, tuple[int, int]]:
    clip, (first, last) = fade_out(rng)
    return clip[::-1].copy(), (len(clip) - 1 - last, len(clip) - 1 - first)


def fade_through(rng: Rng) -> tuple[Clip, tuple[int, int]]:
    """Down to black or white, and up to another shot."""
    count = max(length(rng), 21)
    mixed, rest = int(rng.integers(3, 9)), int(rng.integers(0, 3))
    at = int(rng.integers(1, count - 2 * mixed - rest))
    one, other = pair(rng, at + mixed, count - at - mixed - rest)
    level = 0 if rng.uniform() < 0.5 else 255
    down = _mixed(one[at:], np.full_like(one[at:], level))
    up = _mixed(other[:mixed][::-1], np.full_like(other[:mixed], level))[::-1]
    flat = np.full((rest, *one.shape[1:]), level, np.uint8)
    return np.concatenate([one[:at], down, flat, up, other[mixed:]]), (at - 1, at + 2 * mixed + rest)


def _mixed(one: Clip, other: Clip, over: int | None = None) -> Clip:
    """From `one` to `other` over so many frames, linear; the last step but one shows the most of `other`, the end all."""
    over = over or len(one) + 1
    part = np.clip((np.arange(len(one)) + 1) / over, 0, 1)[:, None, None, None]
    return np.rint(one * (1 - part) + other * part).astype(np.uint8)


# -- of one shot


def still(rng: Rng) -> tuple[Clip, None]:
    return shot(rng, length(rng), "still"), None


def follow(rng: Rng) -> tuple[Clip, None]:
    return shot(rng, length(rng), "follow"), None


def zoom(rng: Rng) -> tuple[Clip, None]:
    return shot(rng, length(rng), "zoom"), None


def held(rng: Rng) -> tuple[Clip, None]:
    """Drawings that stay for two to four frames, or all along."""
    clip = shot(rng, length(rng))
    hold = int(rng.choice((2, 3, 4, len(clip))))
    return clip[np.arange(len(clip)) // hold * hold], None


def flash(rng: Rng) -> tuple[Clip, None]:
    """Lightning: one to three frames go towards white, once or twice."""
    clip = shot(rng, length(rng)).astype(np.float32)
    for _ in range(int(rng.integers(1, 3))):
        at, lasts = int(rng.integers(1, len(clip) - 5)), int(rng.integers(1, 4))
        for k in range(lasts):
            part = float(rng.uniform(0.5, 1.0)) * (1 - k / (lasts + 1))
            clip[at + k] += (255 - clip[at + k]) * part
    return clip.astype(np.uint8), None


def impact(rng: Rng) -> tuple[Clip, None]:
    """One or two frames in black and white or inverted, where something hits."""
    clip = shot(rng, length(rng))
    at = int(rng.integers(2, len(clip) - 4))
    for k in range(int(rng.integers(1, 3))):
        grey = clip[at + k].mean(2, keepdims=True) > 128
        clip[at + k] = 255 - clip[at + k] if rng.uniform() < 0.5 else np.where(grey, 255, 0)
    return clip, None


def whip(rng: Rng) -> tuple[Clip, None]:
    """A pan over up to two widths, as quick as a sixth of the width in a frame, blurred by its motion."""
    count = length(rng)
    wide = draw(random_scene(rng), random_look(rng), 0.0, (SIZE[0] * 3, SIZE[1]))
    step = float(rng.uniform(0.02, 0.17)) * SIZE[0]
    far = min(2 * SIZE[0] - 1, step * (count - 4))
    start = int(rng.integers(0, max(1, count - int(far / step))))
    places = np.clip((np.arange(count) - start) * step, 0, far)
    clip = []
    for index, place in enumerate(places):
        blur = int(abs(place - places[max(index - 1, 0)]) / 2) // 2 * 2 + 1
        seen = cv2.blur(wide, (blur, 1))[:, round(place) : round(place) + SIZE[0]]
        clip.append(seen)
    whole = np.stack(clip)
    return (whole if rng.uniform() < 0.5 else whole[:, :, ::-1].copy()), None


def snap_zoom(rng: Rng) -> tuple[Clip, None]:
    """A zoom to two times within a third of a second to two seconds, in or out."""
    count = length(rng)
    large = draw(random_scene(rng), random_look(rng), 0.0, (SIZE[0] * 2, SIZE[1] * 2))
    over, start = int(rng.integers(5, 33)), int(rng.integers(1, count // 2 + 1))
    part = np.clip((np.arange(count) - start) / over, 0, 1)
    scale = 2.0**part
    at = rng.uniform(0.3, 0.7, 2) * (SIZE[0] * 2, SIZE[1] * 2)
    clip = []
    for s in scale:
        middle = np.array(SIZE) + (at - np.array(SIZE)) * (1 - 1 / s) * 0.9
        w, h = SIZE[0] * 2 / s, SIZE[1] * 2 / s
        x, y = np.clip(middle - (w / 2, h / 2), 0, np.array(SIZE) * 2 - (w, h))
        move = np.array([[SIZE[0] / w, 0, -x * SIZE[0] / w], [0, SIZE[1] / h, -y * SIZE[1] / h]])
        clip.append(cv2.warpAffine(large, move, SIZE, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE))
    whole = np.stack(clip)
    return (whole if rng.uniform() < 0.5 else whole[::-1].copy()), None


def enters(rng: Rng) -> tuple[Clip, None]:
    """Somebody comes near the camera, over up to half of the picture, and stays or leaves."""
    clip = shot(rng, length(rng))
    width, height = SIZE
    radius = float(rng.uniform(0.25, 0.5)) * height
    colour, line = rng.integers(0, 256, 3).tolist(), rng.integers(0, 80, 3).tolist()
    speed = float(rng.uniform(0.02, 0.1)) * width
    rests = width * float(rng.uniform(0.3, 1.6))
    start = int(rng.integers(0, len(clip) // 2))
    for index, picture in enumerate(clip):
        x = min((index - start) * speed, rests + radius) - radius
        _face(picture, x, height - radius * 0.7, radius, colour, line)
    return (clip if rng.uniform() < 0.5 else clip[:, :, ::-1].copy()), None


def _face(picture: np.ndarray, x: float, y: float, radius: float, colour: list[int], line: list[int]) -> None:
    at = (round(x), round(y))
    cv2.circle(picture, at, round(radius), colour, -1, cv2.LINE_AA)
    cv2.circle(picture, at, round(radius), line, 3, cv2.LINE_AA)
    for side in (-0.35, 0.35):
        eye = (round(x + side * radius), round(y - 0.25 * radius))
        cv2.circle(picture, eye, round(radius * 0.16), (250, 250, 250), -1, cv2.LINE_AA)
        cv2.circle(picture, eye, round(radius * 0.08), line, -1, cv2.LINE_AA)


def explosion(rng: Rng) -> tuple[Clip, None]:
    """A ball of fire grows over the picture within some frames, and goes out."""
    clip = shot(rng, max(length(rng), 25)).astype(np.float32)
    at = int(rng.integers(2, len(clip) - 18))
    grows, goes = int(rng.integers(2, 6)), int(rng.integers(4, 11))
    middle = rng.uniform(0.3, 0.7, 2) * SIZE
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    away = np.hypot(x - middle[0], y - middle[1])
    fire = np.array((255, rng.uniform(150, 255), rng.uniform(40, 200)), np.float32)
    reach = float(rng.uniform(0.5, 1.2)) * SIZE[0]
    for k in range(grows + goes):
        radius = reach * min(1, (k + 1) / grows)
        strength = min(1.0, 1 - (k - grows) / goes)
        cover = np.clip((radius - away) / (0.1 * radius) + 1, 0, 1)[..., None] * strength
        clip[at + k] = clip[at + k] * (1 - cover) + fire * cover
    return clip.astype(np.uint8), None


def shakes(rng: Rng) -> tuple[Clip, None]:
    """The camera shakes by up to an eighth of the height."""
    clip = shot(rng, length(rng))
    at, lasts, strength = int(rng.integers(0, len(clip) // 2)), int(rng.integers(4, 12)), float(rng.uniform(4, 16))
    for index in range(at, min(len(clip), at + lasts)):
        dx, dy = rng.uniform(-strength, strength, 2)
        move = np.array([[1, 0, dx], [0, 1, dy]])
        clip[index] = cv2.warpAffine(clip[index], move, SIZE, borderMode=cv2.BORDER_REFLECT)
    return clip, None


def dims(rng: Rng) -> tuple[Clip, None]:
    """The light goes down to about a half, or up."""
    clip = shot(rng, length(rng))
    low, over, at = float(rng.uniform(0.4, 0.8)), int(rng.integers(1, 16)), int(rng.integers(1, len(clip) - 1))
    part = np.clip((np.arange(len(clip)) - at) / over, 0, 1)[:, None, None, None]
    clip = (clip * (1 - (1 - low) * part)).astype(np.uint8)
    return (clip if rng.uniform() < 0.5 else clip[::-1].copy()), None


BROKEN: tuple[Kind, ...] = (cut, dissolve, cut, dissolve, fade_out, fade_in, fade_through)
WHOLE: tuple[Kind, ...] = (
    still, follow, zoom, held, flash, impact, whip, snap_zoom, enters, explosion, shakes, dims,
)  # fmt: skip


# -- looked at


def looked_at(clip: Clip, crf: int = 8) -> tuple[list[Break], float]:
    """The breaks of a clip as an export writes it and reads it back, and how long (s) the look took."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_clip(path, clip, RATE, crf)
        pictures = [rgb for _, rgb in frames(path, size=LOOK_SIZE)]
    started = time.perf_counter()
    told = breaks(pictures)
    return told, time.perf_counter() - started


def one(job: tuple[bool, int, int]) -> dict[str, Any]:
    broken, index, seed = job
    kinds = BROKEN if broken else WHOLE
    kind = kinds[index % len(kinds)]
    clip, planted = kind(np.random.default_rng([seed, index, len(kinds)]))
    told, seconds = looked_at(clip)
    caught = planted is not None and any(t.first < planted[1] and planted[0] < t.last for t in told)
    return {"kind": kind.__name__, "frames": len(clip), "planted": planted, "caught": caught, "told": told} | {
        "seconds": seconds
    }


def world(count: int, seed: int) -> dict[str, Any]:
    jobs = [(broken, index, seed) for broken in (True, False) for index in range(count)]
    with ProcessPoolExecutor(2) as pool:
        seen = list(pool.map(one, jobs, chunksize=4))
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for s in seen:
        wrong = bool(s["told"]) if s["planted"] is None else not s["caught"]
        counts["broken" if s["planted"] else "whole"][s["kind"]] += 1
        counts["missed" if s["planted"] else "false"][s["kind"]] += wrong
        if wrong:
            sys.stderr.write(f"{s['kind']} of {s['frames']} frames, planted {s['planted']}: {s['told']}\n")
    shares = {
        "caught_share": 1 - counts["missed"].total() / counts["broken"].total(),
        "false_share": counts["false"].total() / counts["whole"].total(),
    }
    looked = sum(s["seconds"] for s in seen) / sum(s["frames"] for s in seen)
    return {"seed": seed, **shares, **counts, "milliseconds_a_frame": round(1000 * looked, 1)}


# -- the real film


def film(folder: Path) -> dict[str, Any]:
    """Clips of 33 and 65 frames across each cut, at three places of the clip, and end to end between the cuts."""
    across, inside, missed, false = 0, 0, [], []
    for name, known in json.loads((folder / "cuts.json").read_text("utf-8")).items():
        info = probe(folder / name)
        size = (480, round(480 * info.height / info.width / 2) * 2)
        every = [rgb for _, rgb in frames(folder / name, size=size)]
        at = [k * 3 // 2 for k in range(len(every) * 2 // 3)]  # 24 -> 16
        cuts = [next(k for k, index in enumerate(at) if index >= cut) for cut in known["cuts"]]
        for cut, where in zip(known["cuts"], cuts, strict=True):
            for part in (0.2, 0.5, 0.8):
                start = max(0, round(where - part * 49))
                told, _ = looked_at(np.stack([every[k] for k in at[start : start + 49]]))
                across += 1
                if not any(t.first <= where - start <= t.last for t in told):
                    missed.append((name, cut, part))
        for first, after in zip([0, *cuts], [*cuts, len(at)], strict=True):
            for start in range(first + 1, after - 33, 48):
                told, _ = looked_at(np.stack([every[k] for k in at[start : min(start + 49, after - 1)]]))
                inside += 1
                if told:
                    false.append((name, at[start], [(at[start + t.first], at[start + t.last], t.kind) for t in told]))
    return {"across": across, "missed": missed, "inside": inside, "false": false}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="clips with a break, and as many without")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--film", type=Path, help="folder of films with a cuts.json")
    options = parser.parse_args()
    figures: dict[str, Any] = {"world": world(options.count, options.seed)}
    if options.film:
        figures["film"] = film(options.film)
    sys.stdout.write(f"{json.dumps(figures)}\n{machine.write('footage-clips', figures)}\n")


if __name__ == "__main__":
    main()
