"""Guidance, and what others found to add to it: each a short function with its source, off unless asked for.

Shapes: B batch, C channels, F latent frames, H W latent size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Of a sampling, the share of its first steps that are never reused (the paper: 7 of 50 for Wan), and of its last.
WARM, COOL = 0.14, 0.02


@dataclass(frozen=True)
class Tricks:
    """What is added to plain sampling. As made, nothing is: the numbers are then those of plain sampling to the last bit."""

    batched: bool = False  # both passes of guidance at once
    cfg_zero: bool = False
    skip_layers: tuple[int, ...] = ()
    skip_span: tuple[float, float] = (0.0, 1.0)  # of the sampling, in which layers are skipped
    reuse: float = 0.0  # the change that a velocity may have missed when it is used again
    attention: str = "torch"
    enhance_video: float = 0.0  # weight of what stands in other frames

    def skipped(self, step: int, steps: int) -> tuple[int, ...]:
        """The layers that the negative pass of a step leaves out."""
        first, last = self.skip_span
        return self.skip_layers if first <= step / steps < last else ()


PLAIN = Tricks()


def guided(v_BCFHW: Tensor, negative_BCFHW: Tensor, guidance: float) -> Tensor:
    """v_negative + g (v - v_negative): classifier-free guidance (Ho and Salimans 2022)."""
    return negative_BCFHW + guidance * (v_BCFHW - negative_BCFHW)


def projected(v_BCFHW: Tensor, negative_BCFHW: Tensor) -> Tensor:
    """s v_negative with s = <v, v_negative> / |v_negative|^2 of each video: CFG-Zero* (Fan et al. 2025, eq. 8).

    Guidance then starts from that multiple of the negative velocity which is nearest to the other.
    """
    v, negative = v_BCFHW.flatten(1), negative_BCFHW.flatten(1)
    s = (v * negative).sum(1) / negative.square().sum(1).clamp_min(torch.finfo(v.dtype).tiny)
    return s.view(-1, 1, 1, 1, 1) * negative_BCFHW


class Reuse:
    """Uses a velocity again as long as little has changed: EasyCache (Zhou et al. 2025, algorithm 1).

    The change that a step would miss is foretold from how the velocity answered to the last change of its input:

        k = |v_n - v_m| / |x_n - x_m|        at the last computed step
        e = e + k |x - x_last| / |v_last|    since then, which may grow to `threshold`

    and a step that is not computed takes v = x + (v_n - x_n). One expert's sampling, from its first step.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.rate: Tensor | None = None  # k
        self.error = torch.zeros(())
        self.x: Tensor | None = None
        self.v: Tensor | None = None  # both of the last step, computed or not
        self.ahead: Tensor | None = None  # v_n - x_n

    def again(self, x: Tensor, step: int, steps: int) -> Tensor | None:
        """The velocity at x if it need not be computed."""
        if self.rate is None or self.x is None or self.v is None or self.ahead is None:
            return None
        self.error = self.error.to(x) + self.rate * _size(x - self.x) / _size(self.v)
        if self.error >= self.threshold or not WARM * steps <= step < steps - max(1, COOL * steps):
            return None
        self.x, self.v = x, x + self.ahead
        return self.v

    def computed(self, x: Tensor, v: Tensor) -> None:
        """Learn from a velocity that was computed."""
        if self.x is not None and self.v is not None:
            self.rate = _size(v - self.v) / _size(x - self.x)
        self.x, self.v, self.ahead, self.error = x, v, v - x, torch.zeros(())


def _size(x: Tensor) -> Tensor:
    return x.abs().mean().clamp_min(torch.finfo(x.dtype).tiny)
