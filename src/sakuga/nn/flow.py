"""The training objective (rectified flow), and the randomness of what training draws. Noise levels: core/noise.py.

Every random value is a pure function of names and numbers (seed, epoch, step, sample), never of a generator's state: a
resumed run, a second card and a preview in between all see the values that an uninterrupted run sees.

Shapes: B batch, C channels, F latent frames, H W latent size. t is in (0, 1], 1 is pure noise; u is uniform in (0, 1).
"""

import hashlib
import operator
import struct
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor

from ..core.family import TRAIN_TIMESTEPS

Time = TypeVar("Time", float, Tensor)


# The objective: Lipman et al. 2022 (flow matching), Liu et al. 2022 (rectified flow)


def noise_latents(x_BCFHW: Tensor, noise_BCFHW: Tensor, t: float | Tensor) -> Tensor:
    """x_t = (1 - t) x + t e. `t` is a number or a Tensor [B], or [B, F] with one for each latent frame."""
    t = _per_sample(t, x_BCFHW)
    return (1 - t) * x_BCFHW + t * noise_BCFHW


def target(x_BCFHW: Tensor, noise_BCFHW: Tensor) -> Tensor:
    """The velocity dx_t/dt = e - x that the transformer learns."""
    return noise_BCFHW - x_BCFHW


def denoised(x_BCFHW: Tensor, velocity_BCFHW: Tensor, t: float | Tensor) -> Tensor:
    """The clean latents that a velocity at noise level `t` implies: x = x_t - t v."""
    return x_BCFHW - _per_sample(t, x_BCFHW) * velocity_BCFHW


def model_time(t: Time) -> Time:
    """The timestep that the transformer is given for noise level `t`."""
    return TRAIN_TIMESTEPS * t


def flow_loss(predicted_BCFHW: Tensor, target_BCFHW: Tensor, t: Tensor | None = None) -> Tensor:
    """Mean squared error of each sample, [B], in fp32 whatever the inputs are.

    With `t` [B, F] frames at t = 0 do not count: they are given clean, and nothing in them tells of the noise.
    """
    error_BCFHW = (predicted_BCFHW.float() - target_BCFHW.float()).square()
    if t is None or t.ndim == 1:
        return error_BCFHW.flatten(1).mean(1)
    counts_BF = (t > 0).float()
    return (error_BCFHW.mean((1, 3, 4)) * counts_BF).sum(1) / counts_BF.sum(1)


def _per_sample(t: float | Tensor, like: Tensor) -> float | Tensor:
    """[B] -> [B, 1, 1, ...] and [B, F] -> [B, 1, F, 1, ...], so that it multiplies a sample or a latent frame each."""
    if not isinstance(t, Tensor) or t.ndim not in (1, 2):
        return t
    t_B1F = t[:, None] if t.ndim == 2 else t
    return t_B1F.view(*t_B1F.shape, *[1] * (like.ndim - t_B1F.ndim))


# Randomness


def key_seed(*parts: int | str) -> int:
    """A seed of 63 bits from names and numbers, the same on every machine and in every version."""
    return int.from_bytes(hashlib.blake2b(_key(parts), digest_size=8).digest(), "little") >> 1


def uniform_for(*parts: int | str) -> float:
    """A number in the open interval (0, 1), a pure function of `parts`."""
    return ((key_seed(*parts) >> 11) + 0.5) / 2**52


def noise_for(shape: tuple[int, ...] | torch.Size, *parts: int | str) -> Tensor:
    """Normal noise in fp32, a pure function of `parts`; drawn on the CPU so that every device sees the same."""
    generator = torch.Generator("cpu").manual_seed(key_seed(*parts))
    return torch.randn(shape, generator=generator, dtype=torch.float32)


def order_for(count: int, *parts: int | str) -> list[int]:
    """A permutation of range(count), a pure function of `parts`: Fisher-Yates on a SHAKE-256 stream.

    Our own, because library shuffles have changed between versions and a resumed run must not.
    """
    order = list(range(count))
    draws = struct.unpack(f"<{count}Q", hashlib.shake_256(_key(parts)).digest(8 * count))
    for i in range(count - 1, 0, -1):
        j = draws[i] % (i + 1)
        order[i], order[j] = order[j], order[i]
    return order


def stratified_u(seed: int, epoch: int, position: int, count: int, expert: str, *part: int) -> float:
    """Draw `position` of the `count` that an epoch makes: one from each of `count` equal strata, in random order.

    An epoch so covers the noise levels evenly, where independent draws leave gaps and heaps.
    """
    jitter = uniform_for("jitter", seed, epoch, position, expert, *part)
    return (_strata(seed, epoch, count, expert, *part)[position] + jitter) / count


@lru_cache(maxsize=16)
def _strata(seed: int, epoch: int, count: int, expert: str, *part: int) -> tuple[int, ...]:
    return tuple(order_for(count, "strata", seed, epoch, expert, *part))


def _key(parts: tuple[int | str, ...]) -> bytes:
    """Kind, length and text of each part: no two different keys have the same bytes."""
    texts = [("s", p) if isinstance(p, str) else ("i", str(operator.index(p))) for p in parts]
    return "".join(f"{kind}{len(text)}:{text}" for kind, text in texts).encode()
