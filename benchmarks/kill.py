"""Kills every command at every point where it changes a file, starts it again, and compares with the undisturbed result.

    python benchmarks/kill.py [--commands add,shots] [--random 200] [--every 1]      # Linux with gcc

A small library (kill_at.c) is preloaded into the command and its workers. It counts write, fsync, rename, unlink,
truncate and mkdir calls below the project folder; at the n-th it kills the whole process group (mode `kill`), or lets
writing fail from then on (`full`: ENOSPC) or once (`broken`: EIO). Then the command runs again, undisturbed, and rows
and files must be those of a project that was never disturbed. A command that met a failing disk must have said so in one
line. Commands run in forks of this process, which has everything imported, so that a point costs little.
"""

import argparse
import ctypes
import errno
import hashlib
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
COMMANDS = {
    "add": ["add", "{film}"],
    "shots": ["shots"],
    "pick": ["pick", "--auto"],
    "export": ["export"],
    "adopt": ["adopt", "{adopted}"],
    "caption": ["caption"],
    "check": ["check"],
    "plan": ["plan"],
    "cache": ["cache"],
    "train": ["train", "--name", "kill", "--steps", "4", "--save-every", "2", "--validate-every", "4"],
    "generate": ["generate", "Kill. a scene", "--steps", "2", "--out", "scene.mp4"],
    "publish": ["publish"],
}
MODES = {"kill": 0, "full": errno.ENOSPC, "broken": errno.EIO}
VOLATILE = {"added", "made", "ended", "seconds", "started", "mtime", "traceback", "path", "relative"}
UNCOMPARED = {"lock", "file_hash", "sqlite_sequence"}
NOT_OURS = ("tensorboard", "sakuga.db", ".scratch")  # TensorBoard's logs carry times in their names


class Control(ctypes.Structure):
    """The mapped block that kill_at.c shares with us."""

    _fields_ = (
        ("armed", ctypes.c_long), ("count", ctypes.c_long), ("target", ctypes.c_long), ("error", ctypes.c_long),
        ("root", ctypes.c_char * 1024),
    )  # fmt: skip


def begin_again_preloaded(folder: Path) -> None:
    """Compile the library and start this script anew with it preloaded, unless it is already."""
    if os.environ.get("KILL_CONTROL"):
        return
    library = folder / "kill_at.so"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, HERE / "kill_at.c", "-ldl"], check=True)
    control = folder / "control"
    control.write_bytes(bytes(ctypes.sizeof(Control)))
    extra = {
        "LD_PRELOAD": str(library),
        "KILL_CONTROL": str(control),
        "KILL_FOLDER": str(folder),
        "OMP_NUM_THREADS": "1",
    }
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | extra)


def run_forked(words: list[str], project: Path, errors: Path) -> int:
    """Run a command in a fork of this process, in a process group of its own. Returns its exit code, -9 when killed."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(project)
        with errors.open("w") as stderr, Path(os.devnull).open("w") as nothing:
            os.dup2(stderr.fileno(), 2)
            os.dup2(nothing.fileno(), 1)
            from sakuga.cli import run

            code = run(words)
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def result_of(project: Path) -> dict[str, Any]:
    """Rows and files of a project, without what differs between any two runs (times, places)."""
    import sqlite3

    db = sqlite3.connect(project / "sakuga.db")
    found: dict[str, Any] = {}
    for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        if table in UNCOMPARED:
            continue
        cursor = db.execute(f"SELECT * FROM {table}")
        names = [column[0] for column in cursor.description]
        # ids count attempts; captions are a history, whose newest row counts
        kept = [n for n, name in enumerate(names) if name not in VOLATILE and not (name == "id" and table == "caption")]
        found[table] = sorted({repr([row[n] for n in kept]) for row in cursor.fetchall()})
    db.close()
    for path in sorted(p for p in project.rglob("*") if p.is_file()):
        name = path.relative_to(project).as_posix()
        if not any(part in name for part in NOT_OURS):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def difference(expected: dict[str, Any], found: dict[str, Any]) -> str:
    """The first thing that differs, or an empty string."""
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            return f"{key}: {str(expected.get(key))[:300]} != {str(found.get(key))[:300]}"
    return ""


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder, self.project, self.errors = folder, folder / "project", folder / "errors.txt"
        file = (folder / "control").open("r+b")
        self.control = Control.from_buffer(mmap.mmap(file.fileno(), ctypes.sizeof(Control)))
        self.control.root = str(self.project).encode()
        self.faults: list[str] = []

    def arm(self, target: int, error: int) -> None:
        self.control.count, self.control.target, self.control.error, self.control.armed = 0, target, error, 1

    def disarm(self) -> int:
        self.control.armed = 0
        return int(self.control.count)

    def restore(self, base: Path) -> None:
        shutil.rmtree(self.project, ignore_errors=True)
        shutil.copytree(base, self.project)

    def undisturbed(self, words: list[str]) -> tuple[int, dict[str, Any]]:
        """How many points the command has, and its result."""
        self.arm(0, 0)
        code = run_forked(words, self.project, self.errors)
        points = self.disarm()
        if code:
            sys.exit(f"{words} fails undisturbed: {self.errors.read_text()}")
        return points, result_of(self.project)

    def point(self, name: str, words: list[str], base: Path, expected: dict[str, Any], at: int, mode: str) -> None:
        """Disturb the command at one point, run it again, compare."""
        self.restore(base)
        self.arm(at, MODES[mode])
        code = run_forked(words, self.project, self.errors)
        reached = self.disarm() >= at  # workers race: now and then a run has a call less
        said = self.errors.read_text()
        what = f"{name} {mode} at {at}"
        if mode == "kill" and reached and code != -signal.SIGKILL:
            self.faults.append(f"{what}: it was not killed (exit code {code})")
        if mode != "kill" and code not in (0, 1):
            self.faults.append(f"{what}: exit code {code}: {said[-400:]}")
        if mode != "kill" and code == 1 and ("Traceback" in said or "sakuga: " not in said):
            self.faults.append(f"{what}: not one sentence: {said[-400:]}")
        code = run_forked(words, self.project, self.errors)
        if code:
            self.faults.append(f"{what}: the second start fails: {self.errors.read_text()[-400:]}")
        elif wrong := difference(expected, result_of(self.project)):
            self.faults.append(f"{what}: {wrong}")


def prepare(folder: Path) -> dict[str, Path]:
    """A film of a few shots, a folder of a clip and a picture with their captions, and a new project for them."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    from PIL import Image

    import films
    import sakuga

    films.cartoon_film(folder / "film.mp4", 3, shots=3)
    adopted = folder / "adopted"
    adopted.mkdir()
    films.numbered_film(adopted / "clip.mp4", 20, 25)
    Image.fromarray(films.number_picture(7)).save(adopted / "still.png")
    for name in ("clip", "still"):
        (adopted / f"{name}.txt").write_text(f"numbers, a {name}", "utf-8")
    sakuga.new(folder / "project", "tiny", "Kill").close()
    import sakuga.stages.generate
    import sakuga.stages.publish
    import sakuga.stages.train

    for stage in sakuga.api.STAGES:
        sakuga.api.stage(stage)
    return {"film": folder / "film.mp4", "adopted": adopted}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--every", type=int, default=1, help="take only each n-th point")
    parser.add_argument(
        "--random", type=int, default=200, help="points drawn at random, over all commands, beside these"
    )
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so long, and say what was left")
    options = parser.parse_args()
    home = Path(os.environ.get("KILL_FOLDER") or tempfile.mkdtemp(prefix="kill-"))
    begin_again_preloaded(home)

    sources = prepare(home)
    bench = Bench(home)
    started, done, left = time.monotonic(), {}, 0
    chosen = options.commands.split(",")
    everywhere: list[tuple[Callable[[int, str], None], int]] = []
    for name, words in COMMANDS.items():
        base = home / f"before-{name}"
        shutil.copytree(bench.project, base)
        words = [word.format(**sources) for word in words]
        points, expected = bench.undisturbed(words)
        shutil.copytree(bench.project, home / "next")
        if name in chosen:
            disturb = lambda at, mode, n=name, w=words, b=base, e=expected: bench.point(n, w, b, e, at, mode)  # noqa: E731
            everywhere.append((disturb, points))
            for mode in options.modes.split(","):
                tried = range(1, points + 1, options.every)
                count = 0
                for at in tried:
                    if time.monotonic() - started > options.minutes * 60:
                        left += 1
                        continue
                    disturb(at, mode)
                    count += 1
                done[f"{name} {mode}"] = {"points": points, "tried": count}
                seconds = round(time.monotonic() - started)
                sys.stdout.write(f"{seconds} s {name} {mode}: {count} of {points} points, {len(bench.faults)} faults\n")
                sys.stdout.flush()
        bench.restore(home / "next")
        shutil.rmtree(home / "next")
    chance = random.Random(1)
    drawn = 0
    while everywhere and drawn < options.random and time.monotonic() - started < options.minutes * 60:
        disturb, points = chance.choice(everywhere)
        disturb(chance.randint(1, points), "kill")
        drawn += 1
    for fault in bench.faults[:20]:
        sys.stdout.write(f"FAULT {fault}\n")
    figures = {"disturbed": done, "random": drawn, "left": left, "faults": bench.faults}
    figures["seconds"] = round(time.monotonic() - started)  # type: ignore[assignment]
    import machine

    sys.stdout.write(f"{machine.write('disturbed-' + options.modes.replace(',', '-'), figures)}\n")
    shutil.rmtree(home, ignore_errors=True)
    sys.exit(bool(bench.faults))


if __name__ == "__main__":
    main()
