"""A training that goes on from its state equals one that was never interrupted, bit for bit, with every optimizer."""

import resource
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sakuga.core.errors import SakugaError
from sakuga.core.settings import TrainSettings
from sakuga.nn.ema import Ema
from sakuga.nn.lora import LoraSet, inject
from sakuga.nn.optimizers import KNOWN, make_optimizer, set_rates
from sakuga.stages.train.state import State, load_state, restore, save_state, snapshot
from sakuga.stages.train.writer import Writer


class Small:
    """A small training: four layers, dropout, a running mean, a schedule."""

    def __init__(self, **settings: Any) -> None:
        self.settings = TrainSettings(**{"learning_rate": 0.01, **settings})
        self.model = nn.Module()
        self.model.blocks = nn.ModuleList(nn.Module() for _ in range(2))
        generator = torch.Generator().manual_seed(1)
        for block in self.model.blocks:
            block.ffn = nn.Sequential(nn.Linear(64, 72), nn.GELU(), nn.Linear(72, 64))
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 8)
        self.lora: LoraSet = inject(self.model, 64, 64, seed=0, dropout=0.1)
        self.optimizer = make_optimizer(self.lora, self.settings)
        self.ema = Ema(self.lora.parameters(), 0.5)

    def step(self, number: int) -> None:
        torch.manual_seed(number)
        x = y = torch.randn(8, 64)
        for block in self.model.blocks:
            y = block.ffn(y)
        (y - x).square().mean().backward()
        set_rates(self.optimizer, number / 6)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.ema.update()

    def values(self) -> list[Tensor]:
        return [p.detach().clone() for p in (*self.lora.parameters(), *self.ema.shadow)]


OPTIMIZERS = [
    *({"optimizer": name} for name in KNOWN),
    {"optimizer": "adamw", "lora_plus": 16.0},
    {"optimizer": "adamw", "optimizer_args": {"amsgrad": True, "foreach": True}},
    {"optimizer": "prodigy", "optimizer_args": {"slice_p": 3, "safeguard_warmup": True, "d0": 1e-4}},
    {"optimizer": "torch.optim.Adafactor"},
    {"optimizer": "torch.optim.NAdam"},
    {"optimizer": "torch.optim.SGD", "optimizer_args": {"momentum": 0.9}},
    {"optimizer": "optimi.Lion"},
]


@pytest.mark.parametrize("settings", OPTIMIZERS, ids=str)
def test_three_steps_and_three_equal_six(tmp_path: Path, settings: dict[str, Any]) -> None:
    through = Small(**settings)
    for number in range(1, 7):
        through.step(number)
        if number == 3:
            save_state(tmp_path / "s", 3, through.lora, through.optimizer, through.ema)
    again = Small(**settings)
    state = load_state(tmp_path / "s")
    restore(state, again.lora, again.optimizer, again.ema)
    for number in range(state.step + 1, 7):
        again.step(number)
    assert all(map(torch.equal, through.values(), again.values()))
    for training in (through, again):
        save_state(tmp_path / f"end-{training is through}", 6, training.lora, training.optimizer, training.ema)
    assert (tmp_path / "end-True").read_bytes() == (tmp_path / "end-False").read_bytes()
    assert any(not torch.equal(p, q) for p, q in zip(through.values(), Small(**settings).values(), strict=True))


def test_what_is_kept_in_other_types_comes_back_in_them(tmp_path: Path) -> None:
    training = Small()
    training.step(1)
    first = training.lora.parameters()[0]
    odd = {"count": torch.tensor(2**40 + 1), "seen": torch.tensor([True, False]), "half": torch.ones(3).bfloat16()}
    odd |= {"exact": torch.tensor([1 / 3], dtype=torch.float64), "none": torch.zeros(0)}
    training.optimizer.state[first] |= odd | {"words": [None, "a", (1, 2.5)], "rest": {"deep": torch.ones(1)}}
    save_state(tmp_path / "s", 1, training.lora, training.optimizer)
    again = Small()
    restore(load_state(tmp_path / "s"), again.lora, again.optimizer)
    held = again.optimizer.state[again.lora.parameters()[0]]
    assert all(held[key].dtype == value.dtype and torch.equal(held[key], value) for key, value in odd.items())
    assert held["words"] == [None, "a", (1, 2.5)] and torch.equal(held["rest"]["deep"], torch.ones(1))


def test_another_machine_goes_on_in_its_own_way(tmp_path: Path) -> None:
    there = Small(optimizer_args={"fused": False})
    there.step(1)
    save_state(tmp_path / "s", 1, there.lora, there.optimizer)
    here = Small()
    restore(load_state(tmp_path / "s"), here.lora, here.optimizer)
    assert here.optimizer.param_groups[0]["fused"] is True
    there.step(2), here.step(2)
    for one, other in zip(there.lora.parameters(), here.lora.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_checkpoint_holds_the_running_mean() -> None:
    training = Small()
    training.step(1)
    state = snapshot(1, training.lora, training.optimizer, training.ema)
    first = next(iter(state.best))
    assert torch.equal(state.best[first].A, training.ema.shadow[0])
    assert torch.equal(state.lora[first].A, training.lora.parameters()[0])
    assert not torch.equal(state.best[first].A, state.lora[first].A)
    assert snapshot(1, training.lora, training.optimizer).best.keys() == state.lora.keys()


def held_up(state: State, path: Path, gate: threading.Event) -> None:
    gate.wait(20)
    state.write(path)


def test_training_goes_on_while_a_snapshot_is_written(tmp_path: Path) -> None:
    training = Small()
    training.step(1)
    save_state(tmp_path / "wanted", 1, training.lora, training.optimizer, training.ema)
    state = snapshot(1, training.lora, training.optimizer, training.ema)
    gate, noted = threading.Event(), list[int]()
    with Writer() as writer:
        writer.submit("the state", lambda: held_up(state, tmp_path / "s", gate), lambda: noted.append(1))
        for number in (2, 3, 4):
            training.step(number)
            writer.check()
        assert not noted and not (tmp_path / "s").exists()
        gate.set()
    assert noted == [1]  # once it is on disk, by the thread that asks
    assert (tmp_path / "s").read_bytes() == (tmp_path / "wanted").read_bytes()


def test_a_full_disk_is_told_at_the_next_step_and_the_last_state_stays(tmp_path: Path) -> None:
    training, path = Small(), tmp_path / "state-full.safetensors"
    training.step(1)
    save_state(path, 1, training.lora, training.optimizer)
    before = path.read_bytes()
    training.step(2)
    state, noted = snapshot(2, training.lora, training.optimizer), list[int]()
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(SakugaError) as raised, Writer() as writer:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, most[1]))
        try:
            writer.submit("step 2 of high", lambda: state.write(path), lambda: noted.append(2))
            writer.finish()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert str(raised.value) == (
        "step 2 of high could not be written (File too large); what was saved before is whole: make room, then run the same "
        "command again"
    )
    assert not noted and path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == [path.name]
    assert load_state(path).step == 1


def test_an_error_of_the_training_goes_before_one_of_writing(tmp_path: Path) -> None:
    noted = list[str]()
    with pytest.raises(ZeroDivisionError), Writer() as writer:
        writer.submit("a", lambda: None, lambda: noted.append("a"))
        writer.submit("b", lambda: (tmp_path / "no" / "b").write_bytes(b""), lambda: noted.append("b"))
        1 / 0  # noqa: B018
    assert noted == ["a"]
