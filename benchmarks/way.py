"""The whole way, command by command, timed: from a film to a published LoRA with the tiny model.

    python benchmarks/way.py FILM [--steps 20]

Each command is a process of its own, as a person runs it. Decoding alone is timed too: it is the floor of `shots`.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine

COMMANDS = (
    "shots", "pick --auto", "export", "caption", "check", "plan", "train --steps {steps}",
    "generate 'BenchStyle. a bright scene'", "publish",
)  # fmt: skip


def timed(words: list[str], folder: Path) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "sakuga", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def decode_rate(film: Path) -> tuple[int, float]:
    """Frames, and frames a second of decoding alone in a process of its own, as the stage decodes."""
    from sakuga.core.media.film import scan_times

    started = time.perf_counter()
    frames = len(scan_times(film))
    return frames, frames / (time.perf_counter() - started)


def main() -> None:
    import shlex

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("film", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "bench"
        seconds["new"] = timed(["new", str(home), "--model", "tiny", "--trigger", "BenchStyle"], Path(folder))
        seconds["add"] = timed(["add", str(options.film.resolve())], home)
        for command in COMMANDS:
            words = shlex.split(command.format(steps=options.steps))
            seconds[words[0]] = timed(words, home)
    frames, rate = decode_rate(options.film)
    figures = {
        "film": options.film.name,
        "frames": frames,
        "steps": options.steps,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "total_seconds": round(sum(seconds.values()), 1),
        "decode_frames_per_second": round(rate, 1),
        "shots_over_decoding": round(seconds["shots"] * rate / frames, 2),
    }
    sys.stdout.write(f"{figures}\n{machine.write('way', figures)}\n")


if __name__ == "__main__":
    main()
