"""Which checkpoints stay, and what a disk without room does to a training."""

import errno
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import small
from sakuga import api
from sakuga.core import store
from sakuga.core.errors import SakugaError
from sakuga.core.project import Project
from sakuga.core.settings import TrainSettings
from sakuga.stages.train import record
from sakuga.stages.train.keep import superfluous, tidy


@pytest.mark.parametrize(
    ("keep", "every", "named", "gone"),
    [
        (None, None, (), []),
        (None, 4, (), []),
        (2, None, (), [1, 2, 3, 4]),
        (1, 2, (), [1, 3, 5]),
        (2, 4, {1}, [2, 3]),
        (6, None, (), []),
        (9, None, (), []),
        (1, None, {6}, [1, 2, 3, 4, 5]),
    ],
)
def test_what_is_kept(keep: int | None, every: int | None, named: Any, gone: list[int]) -> None:
    assert superfluous([3, 1, 2, 6, 5, 4], keep, every, set(named)) == gone


def test_a_run_keeps_the_newest_the_best_and_what_is_named(cached: Project) -> None:
    steps: dict[str, Any] = {"name": "r", "rank": 2, "steps": 8, "save_every": 1, "validate_every": 4}
    api.train(cached, **steps)
    (expert,) = cached.rows("SELECT id FROM run_expert")
    checkpoints = cached.folder / "runs" / "r" / "checkpoints"
    cached.db.execute("DELETE FROM validation")
    for step, loss in ((2, 0.5), (3, 0.4), (4, 0.6), (9, 0.1)):  # of step 9 there is none
        for t in (0.2, 0.8):
            row = {"run_expert": expert["id"], "step": step, "t": t, "loss": loss}
            store.insert(cached.db, "validation", row)
    shown = {"run": 1, "expert": "full", "step": 5, "prompt": 0, "text": "", "file": "a.mp4"}
    store.insert(cached.db, "preview", shown)
    api.publish(cached, step=4)
    names = {step: f"full-{step:06d}.safetensors" for step in range(1, 9)}
    made = (
        "MyStyle. a boat",
        {"width": 32, "height": 32, "frames": 1, "steps": 1, "lora": (f"{checkpoints / names[6]}",)},
    )
    api.generate(cached, made[0], **made[1])
    assert cached.rows("SELECT by FROM checkpoint_use ORDER BY by") == [{"by": "generate"}, {"by": "publish"}]
    assert tidy(cached, expert["id"], TrainSettings(keep=1)) == [1, 2, 7]
    kept = [3, 4, 5, 6, 8]
    assert [row["step"] for row in cached.rows("SELECT step FROM checkpoint ORDER BY step")] == kept
    assert sorted(path.name for path in checkpoints.iterdir()) == [names[step] for step in kept]
    assert tidy(cached, expert["id"], TrainSettings(keep=1)) == [] == cached.rows("SELECT * FROM trash")
    api.publish(cached)
    assert tidy(cached, expert["id"], TrainSettings(keep=1, keep_every=2)) == []


def test_row_and_file_go_together(cached: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    api.train(cached, name="r", rank=2, steps=3, save_every=1, validate_every=100)
    (expert,) = cached.rows("SELECT id FROM run_expert")
    first = cached.folder / "runs" / "r" / "checkpoints" / "full-000001.safetensors"
    real = Path.unlink

    def held(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".safetensors":
            raise PermissionError(errno.EACCES, "it is open elsewhere")
        real(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", held)
        assert tidy(cached, expert["id"], TrainSettings(keep=1)) == [1, 2]
    assert first.exists() and len(cached.rows("SELECT * FROM trash")) == 2
    record.note_checkpoint(cached, expert["id"], 1, first)  # the same step is saved again
    api.plan(cached)  # whatever sweeps next takes only what is still to go
    assert sorted(path.name for path in first.parent.iterdir()) == [
        "full-000001.safetensors",
        "full-000003.safetensors",
    ]


FULL = """
import json, resource, sys
import small
from sakuga import api
from sakuga.stages.train import record
from sakuga.core.errors import SakugaError

small.one_thread()
project = api.open_project(sys.argv[1])

def on_step(report):
    if report.step == 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))

try:
    run = record.RunRow(1, "r", project.folder / "runs" / "r", None, False)
    with record.on_a_full_disk(run):
        api.train(project, on_step=on_step, **json.loads(sys.argv[2]))
except SakugaError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are a thing of POSIX")
@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.9, " of full could not be written (File too large); what was saved before is whole"),
        (0.1, " of full could not be written (File too large); what was saved before is whole"),
        (1e-4, "; what r had saved is whole: make room or mend it, then run the same command again"),
    ],
    ids=["the state", "the checkpoint", "the store"],
)
def test_a_disk_that_fills_during_a_training_loses_nothing(
    cached_root: Path, cached: Project, tmp_path: Path, share: float, said: str
) -> None:
    settings: dict[str, Any] = {"name": "r", "rank": 32, "steps": 4, "save_every": 2, "validate_every": 100}
    with small.copy(cached_root, tmp_path / "whole") as whole:
        expected = api.train(whole, **settings).checkpoints["full"].read_bytes()
        size = (whole.folder / "runs" / "r" / "state-full.safetensors").stat().st_size
    home = Path(small.__file__).parent
    tests = os.pathsep.join((str(home), str(home.parent / "scripts" / "base"), os.environ.get("PYTHONPATH", "")))
    command = [sys.executable, "-c", FULL, str(cached.folder), json.dumps(settings), str(int(size * share))]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": tests}, capture_output=True, text=True, check=True)
    folder = cached.folder / "runs" / "r"
    assert said in done.stdout and len(done.stdout.splitlines()) == 1
    assert not list(folder.rglob("*.tmp"))
    run = api.train(cached, **settings)
    assert len(run.losses["full"]) in (2, 4)  # the save of step 2 may have been under way when the disk filled
    assert run.checkpoints["full"].read_bytes() == expected


def test_only_faults_of_the_disk_are_told_so(tmp_path: Path) -> None:
    run = record.RunRow(1, "r", tmp_path, TrainSettings(), True)
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    for fault in (OSError(errno.ENOSPC, "No space left on device"), full):
        with (
            pytest.raises(SakugaError, match="takes no more .*; what r had saved is whole"),
            record.on_a_full_disk(run),
        ):
            raise fault
    for other in (FileNotFoundError(errno.ENOENT, "No such file"), sqlite3.IntegrityError("no")):
        with pytest.raises(type(other)), record.on_a_full_disk(run):
            raise other
