"""A studio's project walked the whole way: 300 films of about 100 shots, every command timed, with its largest process.

    python benchmarks/studio.py [--films 300] [--folder DIR]

The films are real files, small and all of the same pictures, so that `add` and `export` decode. What the pass over them would
have kept is put together instead of decoded: shots of one drawn film in another order for each, with hashes, light and
colours of their own, and sounds. Every film has the same opening of ten shots, and some of its shots stand in
another film too: how many of those are told again is counted. The network that judges doubtful cuts is off. Each
command is a process of its own, as a person runs it. With --folder the project stays there.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import cv2
import machine
import numpy as np

from sakuga import api
from sakuga.core import files
from sakuga.core.project import Project
from sakuga.core.settings import Settings
from sakuga.core.stage import Rows, Scratch, run
from sakuga.core.timeline import pack
from sakuga.signals.look import WORDS_EVERY, Look, Pictures
from sakuga.signals.recurring import PLAIN
from sakuga.signals.sound import TICK
from sakuga.stages import look as look_stage
from sakuga_world import films as world

SEED = 5
RATE, SIZE, FRAMES = 24, (128, 72), 7200  # of each film
POOL_SECONDS, POOL_SIZE = 240, (256, 144)  # of the drawn film whose shots are put together anew
KEEP_EVERY = 12
OPENING, OPENING_SHOTS = 10**6, 10
DUPLICATES = 0.03  # of the shots are shown in another film too
SETUPS = 3000  # places and lights that shots are shared out among
COMMANDS = {
    "shots": "shots",
    "shots again, nothing to do": "shots",
    "set": "set shots.sensitivity 0.7",
    "shots at another threshold": "shots",
    "pick": "pick --auto --count 300",
    "drops": "drops",
    "drops --json": "drops --json",
    "restore": "restore {dropped}",
    "shots --report": "shots --report",
    "status": "status",
    "export": "export",
    "plan": "plan",
    "caption": "caption",
    "check": "check",
    "status again": "status",
    "add one film": "add {more}",
}


@dataclass(frozen=True)
class Pool:
    """The drawn film: what was kept of it, its WebP pictures by frame, and its shots (first, last)."""

    look: Look
    pictures: dict[int, bytes]
    shots: list[tuple[int, int]]
    proxy: bytes


def make_pool(folder: Path) -> None:
    """Draw a film, and look at it as the stage does."""
    folder.mkdir()
    shots = world.write_film(folder / "drawn.mp4", 1, seconds=POOL_SECONDS, size=POOL_SIZE, rate=RATE)
    scratch = Scratch(folder)
    look_stage.STAGE.work({"path": str(folder / "drawn.mp4"), "name": "pool"}, Settings(), scratch)
    for final, path in scratch.files.items():
        path.rename(folder / Path(final).name)
    plain = [(shot.first, shot.last) for shot in shots if shot.kind in ("shot", "captioned")]
    (folder / "shots.json").write_text(json.dumps(plain))


@cache
def read_pool(folder: Path) -> Pool:
    look = Look.load(folder / "pool.npz")
    pictures = Pictures(folder / "pool.zip")
    kept = {int(frame): pictures.webp(int(frame)) for frame in look.kept}
    shots = [tuple(shot) for shot in json.loads((folder / "shots.json").read_text())]
    return Pool(look, kept, shots, (folder / "pool.mp4").read_bytes())


def make_films(folder: Path, numbers: range) -> None:
    """Films of one slow picture without a cut, each a file of its own content."""
    folder.mkdir(exist_ok=True)
    first = folder.parent / "pictures.mp4"
    if not first.exists():
        _encode(first)
    for number in numbers:
        box = b"\0\0\0\x10free%08d" % number  # what players skip
        (folder / f"e{number:03d}.mp4").write_bytes(first.read_bytes() + box)


def _encode(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "34", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.gop_size = 48
        across, down = np.arange(SIZE[0])[None, :] / SIZE[0], np.arange(SIZE[1])[:, None] / SIZE[1]
        for n in range(FRAMES):
            light = 120 + 60 * np.sin(5 * across + n / 40) * np.cos(3 * down)
            light[(across - 0.5 - 0.3 * np.sin(n / 30)) ** 2 + (down - 0.5) ** 2 < 0.02] = 230
            picture = np.dstack([light, 0.8 * light, 200 - 0.5 * light]).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = n, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def planted(number: int) -> list[tuple[int, int]]:
    """The shots of a film by what is shown: (film, n) of its own, another film's, or the opening's."""
    rng = np.random.default_rng([SEED, number])
    before = int(rng.integers(0, 4))
    keys: list[tuple[int, int]] = []
    for n in range(200):
        if before <= n < before + OPENING_SHOTS:
            keys.append((OPENING, n - before))
        elif number and rng.uniform() < DUPLICATES:
            keys.append((int(rng.integers(0, number)), int(rng.integers(20, 90))))
        else:
            keys.append((number, n))
    return keys


def arranged(number: int, pool: Pool) -> list[tuple[tuple[int, int], int, int, int]]:
    """A film's shots: what is shown, its first frame in the pool, its first frame here, and its length."""
    told, at = [], 0
    for key in planted(number):
        first, last = pool.shots[np.random.default_rng([SEED, *key]).integers(len(pool.shots))]
        length = min(last - first + 1, FRAMES - at)
        told.append((key, first, at, length))
        at += length
        if at >= FRAMES - RATE:
            break
    key, first, at, length = told[-1]
    last = len(pool.look) - 1
    told[-1] = key, min(first, last - (FRAMES - at) + 1), at, FRAMES - at
    return told


def synthesise(facts: Mapping[str, Any], settings: Settings, scratch: Scratch) -> Rows:
    """What the pass over a film would have kept, in place of `look`'s own work."""
    name, path = facts["name"], Path(facts["path"])
    number, pool = int(name[1:]), read_pool(path.parent.parent / "pool")
    shots = arranged(number, pool)
    look, source = _look(number, shots, pool)
    kept = {kind: f"cache/looks/{name}.{kind}" for kind in ("npz", "zip", "mp4")}
    look.save(scratch.file(kept["npz"]))
    with zipfile.ZipFile(scratch.file(kept["zip"]), "w", zipfile.ZIP_STORED) as archive:
        for frame, picture in zip(look.kept, source[look.kept] // KEEP_EVERY * KEEP_EVERY, strict=True):
            archive.writestr(f"{frame:06d}.webp", pool.pictures[int(picture)])
    scratch.file(kept["mp4"]).write_bytes(pool.proxy)
    row = {"film": name, "frames": FRAMES, "rate": str(RATE), "note": "", "hashes": look.hashes.tobytes()}
    row |= {"times": pack([Fraction(n, RATE) for n in range(FRAMES)])}
    row |= {
        "look": kept["npz"],
        "pictures": kept["zip"],
        "proxy": kept["mp4"],
        "sound": _sound(number, shots).tobytes(),
    }
    return {"timeline": [row | {"look_sha256": files.file_sha256(scratch.files[kept["npz"]])}]}


def _look(number: int, shots: list[tuple[tuple[int, int], int, int, int]], pool: Pool) -> tuple[Look, np.ndarray]:
    """The frames of the pool in another order, every shot with hashes, light and colours of its own; and which they are."""
    source = np.concatenate([np.arange(first, first + length) for _, first, _, length in shots])
    told = {}
    for field in fields(Look):
        values = getattr(pool.look, field.name)
        told[field.name] = values[source] if len(values) == len(pool.look) else values
    other = np.random.default_rng([SEED, number, 1])
    for key, _, at, length in shots:
        span, rng = slice(at, at + length), np.random.default_rng([SEED, *key, 2])
        mask = rng.integers(0, 2**64, dtype=np.uint64)
        coded = np.bitwise_or.reduce(np.uint64(1) << other.integers(0, 64, 2).astype(np.uint64))
        hashes = told["hashes"][span]
        told["hashes"][span] = np.where(hashes == PLAIN, hashes, hashes ^ mask ^ coded)
        setup = np.random.default_rng([SEED, int(rng.integers(SETUPS)), 3])
        _shift(told["tiny"][span], cv2.resize(setup.uniform(-40, 40, (3, 4)) + rng.normal(0, 4, (3, 4)), (16, 12)))
        _shift(told["tint"][span], setup.uniform(-20, 20, (2, 1, 1)))
    kept = np.arange(0, FRAMES, KEEP_EVERY, dtype=np.int32)
    looked = np.arange(0, FRAMES, WORDS_EVERY, dtype=np.int32)
    told |= {"kept": kept, "looked": looked}
    told |= {name: getattr(pool.look, name)[source[kept] // KEEP_EVERY] for name in ("fine", "blocks")}
    lines = [pool.look.words[pool.look.words_in == source[frame] // WORDS_EVERY * WORDS_EVERY] for frame in looked]
    told |= {"words": np.concatenate(lines), "words_in": np.repeat(looked, [len(line) for line in lines])}
    return Look(**told), source


def _shift(pictures: np.ndarray, by: np.ndarray) -> None:
    pictures[...] = (pictures + by).clip(0, 255).astype(np.uint8)


def _sound(number: int, shots: list[tuple[tuple[int, int], int, int, int]]) -> np.ndarray:
    prints = _prints(number, round(FRAMES / RATE / TICK))
    opening = [(at, at + length) for key, _, at, length in shots if key[0] == OPENING]
    first, last = (round(frame / RATE / TICK) for frame in (opening[0][0], opening[-1][1]))
    prints[first:last] = _prints(OPENING, last - first)
    return prints


def _prints(number: int, ticks: int) -> np.ndarray:
    """Prints of which neighbours have most bits in common."""
    bits = np.random.default_rng([SEED, number, 4]).integers(0, 32, (ticks, 6))
    flips = np.bitwise_or.reduce(np.uint32(1) << bits.astype(np.uint32), axis=1)
    return np.bitwise_xor.accumulate(flips)


def look_at(home: Path) -> float:
    """Let the stage run with what is put together in place of decoding; seconds."""
    started = time.perf_counter()
    work = import_module("studio").synthesise  # by a name that other processes know
    with Project(home) as project, project.writing("shots"):
        failed = run(replace(look_stage.STAGE, work=work), project, Settings()).failed
    assert not failed, failed
    return time.perf_counter() - started


# a small process between: the memory of a new process counts from that of the one that began it
LAUNCH = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[2:])
state, usage = os.wait4(process.pid, 0)[1:]
with open(sys.argv[1], "w") as told:
    told.write(f"{state} {usage.ru_utime + usage.ru_stime} {usage.ru_maxrss}")
"""


def timed(words: list[str], home: Path) -> dict[str, Any]:
    """Seconds, processor seconds of all its processes, and MiB of the largest of them."""
    told = home.parent / "usage"
    started = time.perf_counter()
    command = [sys.executable, "-S", "-c", LAUNCH, str(told), sys.executable, "-m", "sakuga", *words]
    lines = subprocess.run(command, cwd=home, stdout=subprocess.PIPE, check=True).stdout.count(b"\n")
    seconds = time.perf_counter() - started
    state, processor, kib = map(float, told.read_text().split())
    assert state == 0, words
    used = {"seconds": seconds, "processor_seconds": processor, "peak_mib": kib / 1024}
    return {name: round(value, 1) for name, value in used.items()} | {"lines": lines}


def counted(home: Path) -> dict[str, Any]:
    """What the project holds, and how much of what was planted is told."""
    pool = read_pool(home.parent / "pool")
    with Project(home) as project:
        rows = {
            table: project.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"]
            for table in ("film", "shot", "recurrence", "overlay", "work", "item")
        }
        copies = {row["shot"] for row in project.rows("SELECT shot FROM shot_group WHERE duplicate_of IS NOT NULL")}
        shots = {row["name"] for row in project.rows("SELECT name FROM shot")}
        films = [row["name"] for row in project.rows("SELECT name FROM film ORDER BY name")]
    seen: Counter[tuple[int, int]] = Counter()
    again = []
    for film in films:
        for key, _, at, _ in arranged(int(film[1:]), pool)[:-1]:
            seen[key] += 1
            if seen[key] > 1 and f"{film}_{at:06d}" in shots:
                again.append(f"{film}_{at:06d}")
    pages = [page.stat().st_size for page in (home / "report" / "films").glob("*.html")]
    page = {"first_page_kib": (home / "report" / "shots.html").stat().st_size // 1024, "pages": len(pages)}
    told = {"duplicates_planted": len(again), "duplicates_told": len(copies.intersection(again)), "copies": len(copies)}
    return {"rows": rows, **told, **page, "largest_page_kib": max(pages) // 1024}


def walk(home: Path, films: int) -> dict[str, Any]:
    make_pool(home.parent / "pool")
    make_films(home.parent / "films", range(films))
    api.new(home, "tiny", "StudioStyle").close()
    figures = {"add": timed(["add", str(home.parent / "films")], home)}
    timed(["set", "shots.judge", "off"], home)
    sys.stdout.write(f"put together in {look_at(home):.0f} s\n")
    for name, command in COMMANDS.items():
        make_films(home.parent / "more", range(films, films + 1))
        with Project(home) as project:
            dropped = project.rows("SELECT min(shot) AS shot FROM pick WHERE rule = 'count'")[0]["shot"]
        words = shlex.split(command.format(dropped=dropped, more=home.parent / "more"))
        figures[name] = timed(words, home)
        sys.stdout.write(f"{name}: {figures[name]}\n")
        sys.stdout.flush()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=300)
    parser.add_argument("--folder", type=Path, help="put the project there, and leave it")
    options = parser.parse_args()
    with nullcontext(options.folder) if options.folder else tempfile.TemporaryDirectory() as folder:
        home = Path(folder).resolve() / "studio"
        home.parent.mkdir(parents=True, exist_ok=True)
        commands = walk(home, options.films)
        look_at(home)
        commands["shots with one film more"] = timed(["shots"], home)
        figures = {"films": options.films, "frames": FRAMES, "commands": commands, **counted(home)}
    sys.stdout.write(f"{json.dumps(figures, indent=1)}\n{machine.write('studio', figures)}\n")


if __name__ == "__main__":
    main()
