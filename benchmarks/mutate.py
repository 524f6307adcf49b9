"""Damaged and hostile media: mutated films and pictures, read as the stages read them.

    python benchmarks/mutate.py [--count 500] [--seed 1]

Each file is read in a worker process. It must end as read, or as set aside with a reason of one line; the command must
live, and no file may take longer than the limit. What ended how is counted by kind of file.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import machine
import numpy as np
from reading import read

from sakuga.core.processes import in_processes
from sakuga.core.progress import Silent
from sakuga.core.settings import Settings
from sakuga.core.stage import Item

SLOW_SECONDS = 20.0


def bases(folder: Path) -> list[Path]:
    """A sound file of each kind that people have."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from PIL import Image

    import films

    folder.mkdir()
    made = [films.numbered_film(folder / "h264.mp4", 40, 24), films.numbered_film(folder / "h264.mkv", 40, 24)]
    for name, codec in (
        ("mpeg4.avi", "mpeg4"),
        ("hevc.mp4", "libx265"),
        ("vp9.webm", "libvpx-vp9"),
        ("mpeg2.ts", "mpeg2video"),
    ):
        made.append(films.numbered_film(folder / name, 24, 24, codec=codec, options={}))
    picture = Image.fromarray((np.random.default_rng(1).random((60, 80, 3)) * 255).astype(np.uint8))
    for name in ("png", "jpg", "webp", "gif", "tiff", "bmp", "avif"):
        picture.save(folder / f"picture.{name}")
        made.append(folder / f"picture.{name}")
    return made


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A few of: bytes changed, a stretch zeroed, cut short, doubled, shuffled; headers more often than bodies."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(max(1, min(len(out), 600 if chance.random() < 0.5 else len(out))))
        size = chance.randint(1, max(1, len(out) // 8))
        kind = chance.randrange(6)
        if kind <= 1:
            for _ in range(chance.randint(1, 20)):
                out[chance.randrange(at, min(at + 64, len(out)) or 1) if at < len(out) else 0] = chance.randrange(256)
        elif kind == 2:
            out[at : at + size] = bytes(len(out[at : at + size]))
        elif kind == 3 and len(out) > 16:
            del out[chance.randrange(8, len(out)) :]
        elif kind == 4:
            out[at:at] = out[at : at + size]
        else:
            out[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"))
    return bytes(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    ended: dict[str, Counter[str]] = {}
    faults: list[str] = []
    slowest = 0.0
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        sound = bases(Path(home) / "sound")
        items = []
        for number in range(options.count):
            base = sound[number % len(sound)]
            path = Path(home) / f"{number:04}-{base.name}"
            path.write_bytes(mutated(base.read_bytes(), chance))
            items.append(Item(str(number), {}, {"path": str(path), "kind": base.name}))
        for item, outcome in in_processes(read, Settings(), items, Path(home) / "scratch", 2, Silent()):
            how = (
                "read"
                if not outcome.reason
                else "died"
                if "the process that read it died" in outcome.reason
                else "set aside"
            )
            ended.setdefault(item.facts["kind"], Counter())[how] += 1
            slowest = max(slowest, outcome.seconds)
            if how == "set aside" and ("\n" in outcome.reason.strip() or "SakugaError" not in outcome.traceback):
                faults.append(f"{item.facts['path'].rpartition('/')[2]}: {outcome.reason[:300]}")
            if outcome.seconds > SLOW_SECONDS:
                faults.append(f"{item.facts['kind']}: took {outcome.seconds:.0f} s")
    figures = {
        "files": options.count, "seed": options.seed, "ended": {kind: dict(counts) for kind, counts in sorted(ended.items())},
        "slowest_seconds": round(slowest, 2), "seconds": round(time.monotonic() - started, 1), "faults": faults,
    }  # fmt: skip
    total = sum((Counter(c) for c in ended.values()), Counter())
    sys.stdout.write(f"{dict(total)}, slowest {slowest:.2f} s\n" + "".join(f"FAULT {f}\n" for f in faults[:20]))
    sys.stdout.write(f"{machine.write('mutate', figures)}\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
