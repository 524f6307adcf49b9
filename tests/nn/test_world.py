"""Sharing work out, and a world of one."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sakuga.nn.world import ALONE, shared_out


@given(st.lists(st.integers(1, 9), max_size=12), st.integers(1, 5))
def test_work_is_shared_out_evenly(weights: list[int], size: int) -> None:
    takers = shared_out(weights, size)
    loads = [sum(w for w, taker in zip(weights, takers, strict=True) if taker == n) for n in range(size)]
    assert sum(loads) == sum(weights)
    assert max(loads) - min(loads) <= max(weights, default=0)


def test_alone_there_is_nobody_to_ask() -> None:
    tensors = [torch.ones(2), torch.zeros(3)]
    ALONE.add_up(tensors)
    ALONE.hand_out(tensors)
    assert ALONE.tell("x") == "x" and ALONE.leads and tensors[0].tolist() == [1, 1]
