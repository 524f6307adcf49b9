"""A state file that cannot be gone on from says what is odd about it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from sakuga.core.errors import SakugaError
from sakuga.stages.train.state import MOMENTS, load_state

SOUND = '{"step": 1, "alphas": {"q": 1.0}}'


def tensors(**changed: Tensor) -> dict[str, Tensor]:
    """A state of one layer of rank 1, as it is saved."""
    halves = {"A.q": torch.ones(1, 4), "B.q": torch.ones(3, 1)}
    moments = {
        f"moment.{number}.{key}": torch.tensor(1.0) if key == "step" else torch.zeros_like(half)
        for number, half in enumerate(halves.values())
        for key in MOMENTS
    }
    return halves | moments | changed


@pytest.mark.parametrize(
    ("changed", "told", "why"),
    [
        ({}, '{"step": 0, "alphas": {"q": 1.0}}', "its step or its alphas cannot be"),
        ({}, '{"step": 1, "alphas": {"q": Infinity}}', "its step or its alphas cannot be"),
        ({"moment.1.exp_avg": torch.zeros(2, 1)}, SOUND, "the moments of q have other shapes than it has"),
        ({"moment.0.step": torch.tensor(0.0)}, SOUND, "the moments of q are not the numbers of an optimizer"),
        (
            {"moment.0.exp_avg_sq": torch.zeros(1, 4).half()},
            SOUND,
            "the moments of q are not the numbers of an optimizer",
        ),
    ],
)
def test_what_is_odd_is_said(tmp_path: Path, changed: dict[str, Tensor], told: str, why: str) -> None:
    path = tmp_path / "state-full.safetensors"
    path.write_bytes(save(tensors(), {"state": SOUND}))
    assert load_state(path).step == 1 and load(path.read_bytes()).keys() == tensors().keys()
    path.write_bytes(save(tensors(**changed), {"state": told}))
    with pytest.raises(SakugaError) as raised:
        load_state(path)
    assert str(raised.value) == f"{path} is not the state of a run ({why}); start a new run with another --name"


def test_equal_states_are_equal_bytes_in_every_process(tmp_path: Path) -> None:
    code = """
import sys, torch
import subprocess
import sys
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
