"""A state file that cannot be gone on from says what is odd about it."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from sakuga.core.errors import SakugaError
from sakuga.stages.train.state import MOMENTS, load_state


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
    ("changed", "metadata", "why"),
    [
        ({}, {"step": "0", "alphas": '{"q": 1.0}'}, "its step or its alphas cannot be"),
        ({}, {"step": "1", "alphas": '{"q": Infinity}'}, "its step or its alphas cannot be"),
        ({"moment.1.exp_avg": torch.zeros(2, 1)}, {}, "the moments of q have other shapes than it has"),
        ({"moment.0.step": torch.tensor(0.0)}, {}, "the moments of q are not the numbers of an optimizer"),
        ({"moment.0.exp_avg_sq": torch.zeros(1, 4).half()}, {}, "the moments of q are not the numbers of an optimizer"),
    ],
)
def test_what_is_odd_is_said(tmp_path: Path, changed: dict[str, Tensor], metadata: dict[str, str], why: str) -> None:
    path = tmp_path / "state-full.safetensors"
    sound = {"step": "1", "alphas": '{"q": 1.0}'}
    path.write_bytes(save(tensors(), sound))
    assert load_state(path).step == 1 and load(path.read_bytes()).keys() == tensors().keys()
    path.write_bytes(save(tensors(**changed), sound | metadata))
    with pytest.raises(SakugaError) as raised:
        load_state(path)
    assert str(raised.value) == f"{path} is not the state of a run ({why}); start a new run with another --name"
