"""A state file that cannot be gone on from says what is odd about it."""

import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from sakuga.core.errors import SakugaError
from sakuga.core.settings import TrainSettings
from sakuga.nn.ema import Ema
from sakuga.nn.lora import LoraSet, inject
from sakuga.nn.optimizers import make_optimizer
from sakuga.stages.train.state import load_state, restore, save_state

NEW_RUN = "start a new run with another --name"


def adapters(rank: int = 1, width: int = 4) -> LoraSet:
    model = nn.Module()
    model.blocks = nn.ModuleList([nn.Module()])
    model.blocks[0].ffn = nn.Sequential(nn.Linear(width, 4))
    return inject(model, rank, rank, 0)


def stepped(lora: LoraSet, **settings: Any) -> torch.optim.Optimizer:
    optimizer = make_optimizer(lora, TrainSettings(**settings))
    for parameter in lora.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    lora = adapters()
    save_state(tmp_path / "state-full.safetensors", 1, lora, stepped(lora))
    return tmp_path / "state-full.safetensors"


def said(call: Any) -> str:
    with pytest.raises(SakugaError) as raised:
        call()
    return str(raised.value)


def test_what_is_no_state_is_said(path: Path) -> None:
    assert load_state(path).step == 1
    tensors = load(path.read_bytes())
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert said(lambda: load_state(path)) == (
        f"{path} is not the state of a run (its content is not what was written); {NEW_RUN}"
    )
    path.write_bytes(save(tensors))
    assert said(lambda: load_state(path)) == f"{path} is not the state of a run ('state'); {NEW_RUN}"
    path.write_bytes(whole[:100])
    assert said(lambda: load_state(path)).startswith(f"{path} is not the state of a run (")


def test_a_state_of_another_training(path: Path) -> None:
    state, lora = load_state(path), adapters()
    assert said(lambda: restore(state, lora, stepped(lora, optimizer="automagic"))) == (
        "the saved state is of another optimizer (torch.optim.adamw.AdamW, here it is sakuga.nn.automagic.Automagic, or with "
        f"other groups); set train.optimizer and train.lora_plus as they were, or {NEW_RUN}"
    )
    assert "or with other groups" in said(lambda: restore(state, lora, stepped(lora, lora_plus=4.0)))
    assert said(lambda: restore(state, lora, stepped(lora), Ema(lora.parameters(), 0.9))) == (
        "the saved state and this training do not both keep a running mean; set train.ema as it was, or " + NEW_RUN
    )
    other = adapters(rank=2)
    assert "rank 1 at blocks.0.ffn.0, this one 2" in said(lambda: restore(state, other, stepped(other)))
    wide = adapters(width=6)
    assert said(lambda: restore(state, wide, stepped(wide))) == (
        "the saved LoRA is of another model: its blocks.0.ffn.0 is 4 x 4, this one's 4 x 6"
    )


def test_an_optimizer_that_remembers_objects_is_refused(path: Path) -> None:
    lora = adapters()
    optimizer, before = stepped(lora), path.read_bytes()
    optimizer.state[lora.parameters()[0]]["history"] = deque([1])
    assert said(lambda: save_state(path, 2, lora, optimizer)) == (
        "the optimizer remembers a deque (memory.state.0.history), which no state can hold; choose another train.optimizer"
    )
    assert path.read_bytes() == before


def test_equal_states_are_equal_bytes_in_every_process(tmp_path: Path) -> None:
    code = """
import sys, torch
from pathlib import Path
from sakuga.nn.lora import inject
from sakuga.stages.train.state import save_state
model = torch.nn.Module()
model.blocks = torch.nn.ModuleList([torch.nn.Module()])
model.blocks[0].ffn = torch.nn.Sequential(torch.nn.Linear(4, 4))
adapters = inject(model, 1, 1, 0)
for n in range(8):
    save_state(Path(sys.argv[1]) / f"{sys.argv[2]}-{n}", 1, adapters, torch.optim.AdamW(adapters.parameters()))
"""
    for process in ("a", "b"):
        subprocess.run([sys.executable, "-c", code, str(tmp_path), process], check=True)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1 and len(list(tmp_path.iterdir())) == 16
