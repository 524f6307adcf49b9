"""A training in two processes, as torchrun starts them on two cards: the same LoRA within rounding, by one leader."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import sakuga
from sakuga import api
from sakuga.core.project import Project
from sakuga.nn.lora import load_lora

ASKED: dict[str, Any] = {
    "rank": 4,
    "learning_rate": 1e-2,
    "steps": 4,
    "accumulation": 4,
    "dropout": 0.2,
    "device": "cpu",
}


def together(project: Project, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """`sakuga train` in two processes."""
    options = [w for key, value in ASKED.items() for w in (f"--{key.replace('_', '-')}", str(value))]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "sakuga",
        "train",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(sakuga.__file__).parents[1])}
    return subprocess.run(
        [*command, "--name", name, *options, *words, "-p", str(project.folder)], env=environment, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip


def test_two_processes_train_what_one_trains(cached: Project) -> None:
    alone = api.train(cached, name="alone", **ASKED)
    run = together(cached, "two")
    assert run.returncode == 0, run.stderr
    assert len(re.findall("two is done", run.stdout)) == 1, "the leader alone tells"
    (row,) = cached.rows("SELECT file FROM checkpoint JOIN run_expert ON id = run_expert WHERE run = 2 AND step = 4")
    ours, theirs = (load_lora(path).tensors for path in (cached.path(row["file"]), alone.checkpoints["full"]))
    for name, layer in theirs.items():
        torch.testing.assert_close(ours[name].B, layer.B, atol=1e-4, rtol=1e-3)
    losses = [r["loss"] for r in cached.rows("SELECT loss FROM item_loss ORDER BY run_expert, step, part")]
    assert losses[16:] == pytest.approx(losses[:16], rel=1e-3) and len(losses) == 32


def test_what_the_leader_cannot_do_ends_all(cached: Project) -> None:
    run = together(cached, "no", "--optimizer", "nobody")
    assert run.returncode != 0 and "'nobody'" in run.stderr
    assert cached.rows("SELECT state FROM run") in ([], [{"state": "stopped"}])
