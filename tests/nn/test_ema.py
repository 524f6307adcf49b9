"""The running mean of what is trained."""

import pytest
import torch
from torch import nn

from sakuga.nn.ema import Ema


def test_it_is_the_mean_by_its_formula() -> None:
    parameter = nn.Parameter(torch.tensor([1.0]))
    ema, expected = Ema([parameter], 0.5), 1.0
    for n, value in enumerate([2.0, 4.0, -3.0, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0], start=1):
        with torch.no_grad():
            parameter.fill_(value)
        ema.update()
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
        assert float(ema.shadow[0]) == pytest.approx(expected, rel=1e-6)
    assert ema.count == 10


def test_swapped_shows_the_mean_and_gives_back_the_very_values() -> None:
    layer = nn.Linear(4, 4)
    ema = Ema(list(layer.parameters()), 0.9)
    with torch.no_grad():
        layer.weight.add_(1)
    ema.update()
    before, mean = layer.weight.detach().clone(), ema.shadow[0].clone()
    with pytest.raises(ZeroDivisionError), ema.swapped():
        assert torch.equal(layer.weight, mean) and not torch.equal(mean, before)
        assert torch.equal(layer(torch.eye(4)), mean.T + layer.bias)
        1 / 0  # noqa: B018
    assert torch.equal(layer.weight, before) and torch.equal(ema.shadow[0], mean)


def test_a_saved_mean_is_taken_over() -> None:
    layer = nn.Linear(2, 2)
    ema = Ema(list(layer.parameters()), 0.9)
    ema.load([torch.ones(2, 2), torch.zeros(2)], 7)
    assert ema.count == 7 and torch.equal(ema.shadow[0], torch.ones(2, 2))
    with pytest.raises(ValueError):
        ema.load([torch.ones(2, 2)], 7)
