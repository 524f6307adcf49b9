"""Recurring parts: are planted ones found, to half a second, and nothing else; and how long many films take.

    python benchmarks/footage_repeats.py [--folder KEEP] [--only planted|speed] [--films 12 80]

Planted: twelve drawn episodes of one to two and a half minutes, each with a tune of its own and with parts that others
have too: an opening of 30 s in all twelve, parts of 90, 60 and 15 s in two to four of them, a song of 40 s that three
play over pictures of their own, and eight seconds that two of them show twice. Every episode is encoded another way:
size, rate, quality, brightness, crop, sound codec, bit rate and level. They go through the real stages.

Speed: hashes and prints of films of 24 minutes, made up as drawn films and music have them, with an opening and an
ending of 90 s; the stage compares all of them, then one more.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import machine
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from sakuga import api
from sakuga.core import store
from sakuga.core.media.sound import mono
from sakuga.core.timeline import pack
from sakuga.signals.sound import RATE, TICK, sound_prints
from sakuga_world.films import OPENING, _pictures, plan
from sakuga_world.look import CEL
from tunes import tune, write_sounding_film

DRAWN = (240, 160)  # width, height
DRAWINGS = 12  # a second
SOUND_RATE = 16_000
OWN = 60.0  # seconds of its own that every episode has
TOLERANCE = 0.5  # seconds that an end may be off


class Piece(NamedTuple):
    """Some seconds of an episode: which pictures, which tune, and whether they are planted."""

    seconds: float
    pictures: int  # the seed
    sound: int
    planted: str = ""  # a name; "song" is planted by its sound alone


class Copy(NamedTuple):
    """How an episode is encoded."""

    size: tuple[int, int]
    rate: Fraction
    crf: int
    brightness: float
    crop: float  # of each side
    codec: str
    bit_rate: int
    level: float


SIZES = ((192, 128), (160, 120), (240, 160), (208, 118))
RATES = (Fraction(24), Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001))


def copy_of(episode: int) -> Copy:
    codec, bit_rate = (("aac", 96_000), ("libopus", 48_000), ("aac", 64_000))[episode % 3]
    return Copy(
        SIZES[episode % 4], RATES[episode * 3 // 2 % 4], 18 + 5 * (episode % 4), 1 + 0.05 * (episode % 4 - 1),
        0.01 * (episode % 3), codec, bit_rate, 0.9 ** (episode % 7),
    )  # fmt: skip


PLANTED = {"opening": Piece(30, 900, 900, "opening"), "long": Piece(90, 901, 901, "long"),
           "ending": Piece(60, 902, 902, "ending"), "short": Piece(15, 903, 903, "short")}  # fmt: skip
WHERE = {"long": (0, 1), "ending": (2, 3), "short": (4, 5, 6, 7)}
SONG, TWICE = (7, 8, 9), (10, 11)


def episode(number: int) -> list[Piece]:
    """A cold opening of its own length, the opening, and its own pictures with what is planted in them."""
    rng = np.random.default_rng([number, 5])
    cold = float(rng.uniform(2, 12))
    own = iter(range(1000 * (number + 1), 1000 * (number + 2)))

    def new(seconds: float) -> Piece:
        seed = next(own)
        return Piece(seconds, seed, seed)

    pieces = [new(cold), PLANTED["opening"], new(float(rng.uniform(10, 30)))]
    pieces += [PLANTED[name] for name, films in WHERE.items() if number in films]
    if number in SONG:
        pieces += [new(4), Piece(40, next(own), 904, "song")]
    if number in TWICE:
        again = new(8)
        pieces = [*pieces[:2], again._replace(planted="twice"), *pieces[2:], new(35), again._replace(planted="twice")]
    return [*pieces, new(max(5.0, OWN - sum(p.seconds for p in pieces if not p.planted)))]


@cache
def drawn(seed: int, seconds: float) -> list[np.ndarray]:
    """DRAWINGS pictures a second; those of planted pieces are asked for again and again."""
    shots = plan(seed, 8 + seconds, 2 * DRAWINGS)[len(OPENING) :]
    return list(_pictures(shots, CEL, DRAWN, 2 * DRAWINGS))[::2]


def pictures(pieces: list[Piece], copy: Copy) -> Iterator[np.ndarray]:
    """The frames of a copy: each shows what is drawn for its moment."""
    ends = np.cumsum([piece.seconds for piece in pieces])
    at, frame = 0, 0
    while (now := float(frame / copy.rate)) < ends[-1]:
        while now >= ends[at]:
            drawn.cache_clear() if not pieces[at].planted else None
            at += 1
        drawings = drawn(pieces[at].pictures, pieces[at].seconds)
        index = int((now - ends[at] + pieces[at].seconds) * DRAWINGS)
        yield changed(drawings[min(index, len(drawings) - 1)], copy)
        frame += 1


def changed(picture: np.ndarray, copy: Copy) -> np.ndarray:
    y, x = (round(side * copy.crop) for side in picture.shape[:2])
    inner = picture[y : picture.shape[0] - y, x : picture.shape[1] - x]
    shrunk = cv2.resize(inner, copy.size, interpolation=cv2.INTER_AREA)
    return np.clip(shrunk * copy.brightness, 0, 255).astype(np.uint8)


def write(path: Path, pieces: list[Piece], copy: Copy) -> None:
    sound = np.concatenate([tune(piece.sound, piece.seconds, SOUND_RATE) for piece in pieces]) * copy.level
    write_sounding_film(
        path, pictures(pieces, copy), copy.rate, sound, SOUND_RATE, codec=copy.codec, bit_rate=copy.bit_rate,
        options={"crf": str(copy.crf), "preset": "veryfast", "threads": "2"},
    )  # fmt: skip


class Place(NamedTuple):
    """A row as it should be, or is: from, to (s) of a film, and where in which other."""

    film: str
    first: float
    last: float
    other: str
    other_first: float
    by: str


def expected(films: dict[str, list[Piece]]) -> list[Place]:
    """Every planted piece, once for every other film that has it; what stands twice in one film, the second time."""
    stands: dict[str, list[tuple[str, float, float]]] = {}
    for name, pieces in films.items():
        start = 0.0
        for piece in pieces:
            key = piece.planted if piece.planted != "twice" else f"twice in {name}"
            if key:
                stands.setdefault(key, []).append((name, start, start + piece.seconds))
            start += piece.seconds
    rows = []
    for key, places in stands.items():
        by = "sound" if key == "song" else "both"
        for film, first, last in places:
            for other, other_first, _ in places:
                if film != other:
                    rows.append(Place(film, first, last, other, other_first, by))
                elif first > other_first:
                    rows.append(Place(film, first, last, other, other_first, "picture"))
    return rows


def off(one: Place, two: Place) -> float:
    """By how much the worst of their times differs (s)."""
    if (one.film, one.other) != (two.film, two.other):
        return float("inf")
    return max(
        abs(a - b) for a, b in ((one.first, two.first), (one.last, two.last), (one.other_first, two.other_first))
    )


def planted(folder: Path) -> dict[str, Any]:
    """Draw, encode, look, compare; then hold what was found against what was planted."""
    films = {f"e{number:02d}": episode(number) for number in range(12)}
    for number, (name, pieces) in enumerate(films.items()):
        if not (folder / f"{name}.mkv").exists():
            write(folder / f"{name}.mkv", pieces, copy_of(number))
    seconds = sum(piece.seconds for pieces in films.values() for piece in pieces)
    with tempfile.TemporaryDirectory() as home:
        project = api.new(Path(home) / "p", model="tiny", trigger="BenchStyle")
        api.add(project, sorted(folder.glob("e*.mkv")))
        started = time.perf_counter()
        with project.writing("shots"):
            api._run(project, "look", {}, None)
            looked = time.perf_counter()
            api._run(project, "repeats", {}, None)
        compared = time.perf_counter()
        rows = project.rows("SELECT * FROM recurrence ORDER BY film, first")
        kinds = {f"{p.film} {p.start_seconds:.1f}+{p.seconds:.1f}": f"{p.kind} ({p.by})" for p in api.parts(project)}
        project.close()
    listening = time.process_time()
    for name in films:
        sound_prints(mono(folder / f"{name}.mkv", RATE))
    listening = time.process_time() - listening
    found = [
        Place(r["film"], r["start_seconds"], r["start_seconds"] + r["seconds"], r["other"], r["other_seconds"], r["by"])
        for r in rows
    ]
    wanted = expected(films)
    near = [min((off(want, row) for row in found), default=float("inf")) for want in wanted]
    false = [row for row in found if min(off(want, row) for want in wanted) > TOLERANCE]
    right = [error for error in near if error <= TOLERANCE]
    return {
        "episodes": len(films), "minutes": round(seconds / 60, 1), "planted": len(wanted), "found": len(right),
        "missed": [want._asdict() for want, error in zip(wanted, near, strict=True) if error > TOLERANCE],
        "false": [row._asdict() for row in false],
        "worst_end_seconds": round(max(right, default=0), 3),
        "mean_end_seconds": round(float(np.mean(right)), 3) if right else None,
        "told_as_planted": sum(
            any(off(want, row) <= TOLERANCE and want.by == row.by for row in found) for want in wanted
        ),
        "parts": kinds,
        "look_seconds": round(looked - started, 1), "compare_seconds": round(compared - looked, 1),
        "listening_processor_seconds_a_minute": round(listening / (seconds / 60), 3),
    }  # fmt: skip


# many films


def film_hashes(rng: np.random.Generator, seconds: float, rate: int = 24) -> np.ndarray:
    """Hashes as a drawn film has them: shots of 1 to 6 s, a third of them held, the others a drawing every 2 to 6 frames."""
    out: list[int] = []
    while len(out) < seconds * rate:
        base = now = int(rng.integers(1, 2**63))
        held = rng.uniform() < 0.3
        until = len(out) + rng.uniform(1, 6) * rate
        while len(out) < until:
            out += [now] * int(rng.choice([2, 2, 3, 3, 4, 6]))
            flips = rng.choice(64, 1 if held else int(rng.integers(1, 8)), replace=False)
            now = (base if held else now) ^ sum(1 << int(bit) for bit in flips)
    return np.array(out[: round(seconds * rate)], dtype=np.uint64)


def music_prints(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Prints whose bits stay for some ticks, as those of music do."""
    fresh, stays = (rng.integers(0, 2**32, round(seconds / TICK), dtype=np.uint32) for _ in range(2))
    for tick in range(1, len(fresh)):
        fresh[tick] ^= (fresh[tick] ^ fresh[tick - 1]) & stays[tick]
    return fresh


def flipped(rng: np.random.Generator, values: np.ndarray, share: float) -> np.ndarray:
    """Each bit turned over with a chance of `share`."""
    width = values.dtype.itemsize
    flips = np.packbits(rng.uniform(size=(len(values), 8 * width)) < share, axis=1).view(values.dtype)[:, 0]
    return np.asarray(values ^ flips)


def season(count: int, minutes: float = 24) -> Iterator[dict[str, Any]]:
    """Rows of the timeline for `count` episodes."""
    rng = np.random.default_rng(0)
    shared = [(film_hashes(rng, 90), music_prints(rng, 90)) for _ in range(2)]
    stamps = pack([Fraction(n, 24) for n in range(round(minutes * 60 * 24))])
    for number in range(count):
        cold = float(rng.integers(1, 120))
        hashes, prints = film_hashes(rng, minutes * 60), music_prints(rng, minutes * 60)
        for (pictures, sound), at in zip(shared, (cold, minutes * 60 - 90), strict=True):
            frame, tick = round(at * 24), round(at / TICK)
            hashes[frame : frame + len(pictures)] = flipped(rng, pictures, 0.03)
            prints[tick : tick + len(sound)] = flipped(rng, sound, 0.06)
        row = {"film": f"e{number:03d}", "source": "made up", "frames": len(hashes), "rate": "24", "times": stamps}
        yield row | {"hashes": hashes.tobytes(), "sound": prints.tobytes()}


def speed(count: int) -> dict[str, Any]:
    """Compare `count` films of 24 minutes, then add one."""
    *films, late = season(count + 1)
    with tempfile.TemporaryDirectory() as home:
        project = api.new(Path(home) / "p", model="tiny", trigger="BenchStyle")
        seconds, busy = [], []
        for rows in (films, [late]):
            with project.writing("shots"):
                with store.transaction(project.db):
                    for row in rows:
                        store.insert(project.db, "timeline", row)
                started, worked = time.perf_counter(), time.process_time()
                summary = api._run(project, "repeats", {}, None)
                seconds.append(round(time.perf_counter() - started, 1))
                busy.append(round(time.process_time() - worked, 1))
                assert not summary.failed
        parts = api.parts(project)
        project.close()
    return {
        "films": count, "minutes_each": 24, "comparisons": count * (count + 1) // 2, "seconds": seconds[0],
        "processor_seconds": busy[0], "one_more_film_seconds": seconds[1], "one_more_film_processor_seconds": busy[1],
        "parts_a_film": round(len(parts) / (count + 1), 2),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the episodes are written, and kept")
    parser.add_argument("--only", choices=("planted", "speed"))
    parser.add_argument("--films", type=int, nargs="+", default=[12, 80])
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    if options.only != "planted":
        figures["speed"] = [speed(count) for count in options.films]
    if options.only != "speed":
        with tempfile.TemporaryDirectory() as temporary:
            folder = options.folder or Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            figures["planted"] = planted(folder)
    name = f"footage-repeats-{options.only}" if options.only else "footage-repeats"
    sys.stdout.write(f"{figures}\n{machine.write(name, figures)}\n")


if __name__ == "__main__":
    main()
