"""Golden losses: a refactoring must leave them as they are. `python tests/test_golden.py` writes them anew, on purpose only.

The pictures are drawn and stored without loss, so that nothing but Sakuga decides the numbers.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import sakuga
from random_model import make_tiny
from sakuga.core import store
from sakuga.core.files import file_sha256
from sakuga.core.media.picture import write_png

GOLDEN = Path(__file__).parent / "golden" / "losses-tiny.txt"
STEPS = 12
TOLERANCE = 1e-5  # across machines; on one machine they are equal


def losses(folder: Path) -> list[float]:
    """The losses of a short training on six drawn stills."""
    with sakuga.new(folder / "golden", "tiny", "Golden") as project:
        make_tiny(project.member, project.folder / "models")
        y, x = np.mgrid[:64, :96]
        for n in range(6):
            picture = np.stack([127 + 120 * np.sin(x / (9 + n) + n), 127 + 120 * np.cos(y / (7 + n)), x + y], axis=-1)
            file = f"dataset/stills/{n}.png"
            project.path(file).parent.mkdir(parents=True, exist_ok=True)
            write_png(project.path(file), picture.astype(np.uint8))
            row = {
                "name": f"stills/{n}",
                "source": f"drawn:{n}",
                "kind": "still",
                "file": file,
                "fps": "0",
                "frames": 1,
            }
            sha256 = file_sha256(project.path(file))
            store.insert(project.db, "item", row | {"sha256": sha256, "width": 96, "height": 64})
            words = {
                "item": f"stills/{n}",
                "text": f"Golden. waves, number {n}",
                "origin": "person",
                "made": time.time(),
            }
            store.insert(project.db, "caption", words)
        run = sakuga.train(project, steps=STEPS, rank=4, learning_rate=1e-3, accumulation=2, warmup=4, seed=3)
        return run.losses["full"] + [run.validation["full"][0], run.validation["full"][STEPS]]


def test_losses_are_golden(tmp_path: Path) -> None:
    golden = [float(line) for line in GOLDEN.read_text(encoding="utf-8").split()]
    assert losses(tmp_path) == pytest.approx(golden, abs=TOLERANCE)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        found = losses(Path(home))
    GOLDEN.write_text("".join(f"{loss:.7f}\n" for loss in found), encoding="utf-8")
    sys.stdout.write(f"{len(found)} losses written to {GOLDEN}\n")
