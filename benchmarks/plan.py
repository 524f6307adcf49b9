"""How long a plan of many items takes: a dataset of rows alone, planned for Wan 2.2 with its two usual sections.

    python benchmarks/plan.py [--items 100000]

The first plan counts and writes every sample; the second finds nothing changed and reads them. Beside them the floor: as
many rows written to a bare SQLite file and read back.
"""

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine

from sakuga import api
from sakuga.core import store
from sakuga.core.project import Project

SIZES = ((1920, 1040), (1920, 1080), (1440, 1080))


def fill(project: Project, count: int) -> None:
    """Clips of 17 to 86 frames and half as many stills, of a few sizes."""
    with store.transaction(project.db):
        for n in range(count):
            kind, (width, height) = ("clip" if n % 3 else "still"), SIZES[n % 50 == 0]
            row: dict[str, Any] = {"name": f"{kind}s/film{n // 300:04}_{n:06}", "source": str(n), "kind": kind}
            row |= {"file": f"dataset/{n}", "sha256": "", "width": width, "height": height, "shot": f"shot{n}"}
            row |= {"frames": 17 + n % 70 if kind == "clip" else 1, "fps": "16" if kind == "clip" else "0"}
            store.insert(project.db, "item", row)


def floor(path: Path, count: int) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE sample (a TEXT PRIMARY KEY, b TEXT, c TEXT, d, e, f, g, h)")
    rows = ((f"clips/film_{n:06}@0:512x288x45", "clips", f"film_{n:06}", 0, 45, 512, 288, 1) for n in range(count))
    with db:
        db.executemany("INSERT INTO sample VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    db.execute("SELECT * FROM sample").fetchall()
    db.close()


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return round(time.perf_counter() - started, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    count = parser.parse_args().items
    with tempfile.TemporaryDirectory() as folder, api.new(Path(folder) / "p", "wan2.2-t2v-a14b", "Bench") as project:
        fill(project, count)
        first = seconds(lambda: api.plan(project))
        again = seconds(lambda: api.plan(project))
        samples = api.plan(project).samples
        bare = seconds(lambda: floor(Path(folder) / "bare.db", samples))
    figures = {"items": count, "samples": samples, "seconds": {"first": first, "again": again, "bare_rows": bare}}
    print(machine.write("plan", figures))
    print(figures)


if __name__ == "__main__":
    main()
