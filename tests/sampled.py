"""Walks through a sampling with a velocity that a test gives."""

from collections.abc import Callable

import pytest
from torch import Tensor

from sakuga.nn import samplers


def walk(
    name: str, velocity: Callable[[Tensor, float, int], Tensor], x: Tensor, sigmas: list[float], timesteps: list[float],
    noise: Callable[[int], Tensor] = lambda step: pytest.fail("no noise was to be asked for"),
) -> list[Tensor]:  # fmt: skip
    """What a sampler makes of x after every step, the clean latents last."""
    sampling, seen = samplers.steps_of(name, x, sigmas, noise), []
    x = next(sampling)
    for i, t in enumerate(timesteps[:-1]):
        x = sampling.send(velocity(x, t, i))
        seen.append(x)
    with pytest.raises(StopIteration) as end:
        sampling.send(velocity(x, timesteps[-1], len(timesteps) - 1))
    return [*seen, end.value.value]
