"""How fast a film is looked at, held against the floor (bare decoding) and against PySceneDetect, in one run.

    python benchmarks/footage.py --films FOLDER [--rounds 3]

Each film is decoded by PyAV alone, looked at by the whole pass (signals of every frame, kept pictures, proxy), and gone
through by PySceneDetect's adaptive detector with its own reader, in turn, `rounds` times; the medians are compared. Films:
those of the folder, and drawn ones of 1080p and 480p. Then shots are derived anew from the look of a film of 24 minutes.

How right the shots, clips, frames, borders, repeats and look-alikes are is measured by the other scripts named
footage_*.py.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import machine
import numpy as np

from sakuga.core.media import film as media
from sakuga.core.settings import Settings, ShotSettings
from sakuga.core.stage import Scratch
from sakuga.core.timeline import pack
from sakuga.signals.look import Look
from sakuga.stages import look, shots
from sakuga_world.films import write_film

DRAWN = {"1080p": ((1920, 1080), 12.0), "480p": ((854, 480), 40.0)}  # size, seconds
MINUTES = 24


def bare(path: Path) -> int:
    """Frames that PyAV decodes, on all cores."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        return sum(1 for _ in container.decode(video=0))


def whole_pass(path: Path, folder: Path) -> int:
    rows = look.STAGE.work({"name": path.stem, "path": str(path)}, Settings(), Scratch(folder))
    return int(rows["timeline"][0]["frames"])


def adaptive(path: Path) -> int:
    """PySceneDetect's adaptive detector as its users run it."""
    from scenedetect import AdaptiveDetector, SceneManager, open_video

    video, manager = open_video(str(path)), SceneManager()
    manager.add_detector(AdaptiveDetector())
    return int(manager.detect_scenes(video))


def seconds(work: Callable[[], int]) -> tuple[float, int]:
    begun = time.perf_counter()
    count = work()
    return time.perf_counter() - begun, count


def rates(path: Path, rounds: int, folder: Path) -> dict[str, Any]:
    ways: dict[str, Callable[[], int]] = {
        "bare": lambda: bare(path), "pass": lambda: whole_pass(path, folder), "adaptive": lambda: adaptive(path),
    }  # fmt: skip
    took: dict[str, list[float]] = {name: [] for name in ways}
    counts: dict[str, int] = {}
    for _ in range(rounds):
        for name, work in ways.items():
            spent, counts[name] = seconds(work)
            took[name].append(counts[name] / spent)
    assert counts["bare"] == counts["pass"], f"{path.name}: {counts}"
    fps = {name: round(statistics.median(each), 1) for name, each in took.items()}
    info = media.probe(path)
    told = {"film": path.name, "codec": info.codec, "size": f"{info.width}x{info.height}", "frames_per_second": fps}
    return told | {
        "of_bare": round(fps["pass"] / fps["bare"], 3), "times_adaptive": round(fps["pass"] / fps["adaptive"], 2),
    }  # fmt: skip


def derived(path: Path, folder: Path) -> dict[str, Any]:
    """The time it takes to derive shots from the look of a film as long as an episode."""
    whole_pass(path, folder)
    files = {file.suffix: file for file in folder.iterdir()}
    seen = Look.load(files[".npz"])
    count = MINUTES * 60 * 24
    times = -(-count // len(seen))
    long = {}
    for each in fields(Look):
        values = getattr(seen, each.name)
        if each.name == "size":
            continue
        if each.name in ("kept", "looked", "words_in"):
            long[each.name] = np.concatenate([values + n * len(seen) for n in range(times)])
        else:
            long[each.name] = np.concatenate([values] * times)
    whole = replace(seen, **long)
    whole.save(folder / "long.npz")
    pictures = _repeated(files[".zip"], folder / "long.zip", len(seen), times)
    facts = {
        "film": "long",
        "look": str(folder / "long.npz"),
        "pictures": str(pictures),
        "probabilities": None,
        "note": "",
    }
    facts |= {"rate": "24", "times": pack([Fraction(n, 24) for n in range(len(whole))])}
    scratch = Scratch(folder / "shots")
    spent, found = seconds(lambda: len(shots.STAGE.work(facts, ShotSettings(), scratch)["shot"]))
    return {"frames": len(whole), "shots": found, "seconds": round(spent, 2)}


def _repeated(source: Path, target: Path, frames: int, times: int) -> Path:
    import zipfile

    with zipfile.ZipFile(source) as kept, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as long:
        names = kept.namelist()
        for n in range(times):
            for name in names:
                long.writestr(f"{int(Path(name).stem) + n * frames:06d}.webp", kept.read(name))
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=Path, help="folder of real films")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = sorted(args.films.glob("*.mkv")) if args.films else []
        for name, (size, length) in DRAWN.items():
            write_film(folder / f"{name}.mp4", 40, seconds=length, size=size)
            paths.append(folder / f"{name}.mp4")
        figures = []
        for path in paths:
            figures.append(rates(path, args.rounds, folder / "pass"))
            print(figures[-1], file=sys.stderr, flush=True)
        again = derived(folder / "480p.mp4", folder / "derived")
        print(again, file=sys.stderr, flush=True)
    print(machine.write("footage", {"films": figures, "derived": again}))


if __name__ == "__main__":
    main()
