"""The running mean of trained parameters (EMA), which is often better than any single state of them.

m <- d m + (1 - d) p after every step, with d = min(decay, (1 + n) / (10 + n)) at update n: a mean that began at values of
chance forgets them quickly (the usual warm start, as in TensorFlow's ExponentialMovingAverage).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """The mean of `parameters`, in their type and on their device; `count` updates were made."""

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float) -> None:
        self.parameters, self.decay, self.count = list(parameters), decay, 0
        self.shadow: list[Tensor] = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the parameters as they are now; after each step of the optimizer."""
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        torch._foreach_lerp_(self.shadow, [p.detach() for p in self.parameters], 1 - decay)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """The parameters are the mean inside, and to the bit what they were after."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def load(self, shadow: Sequence[Tensor], count: int) -> None:
        """Takes over a saved mean of the same parameters."""
        for mine, saved in zip(self.shadow, shadow, strict=True):
            mine.copy_(saved)
        self.count = count

    def _swap(self) -> None:
        for number, parameter in enumerate(self.parameters):
            parameter.data, self.shadow[number] = self.shadow[number], parameter.data
