"""The training objective (rectified flow), and the randomness of what training draws. Noise levels: core/noise.py.

Every random value is a pure function of names and numbers (seed, epoch, step, sample), never of a generator's state: a
resumed run, a second card and a preview in between all see the values that an uninterrupted run sees.

Shapes: B batch, C channels, F latent frames, H W latent size. t is in (0, 1], 1 is pure noise; u is uniform in (0, 1).
"""

import hashlib
import math
import operator
import struct
from functools import lru_cache
from typing import Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from ..core.family import TRAIN_TIMESTEPS

Time = TypeVar("Time", float, Tensor)
Kind = Literal["mse", "huber"]
Weighting = Literal["none", "sigma_sqrt", "cosmap"]

LEAST_COUNT = 1e-6  # of places that count: of a sample where none does, the loss is 0 rather than no number


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


class Losses(NamedTuple):
    """Of each sample, [B] in fp32: what training makes less, and the mean squared error that measures are told in."""

    loss: Tensor
    mse: Tensor


def losses(
    velocity_BCFHW: Tensor, target_BCFHW: Tensor, t: Tensor, *, kind: Kind = "mse", delta: float = 1.0,
    weighting: Weighting = "none", mask_B1FHW: Tensor | None = None,
) -> Losses:  # fmt: skip
    """The loss of each sample at its noise level `t` [B], or [B, F]: frames at t = 0 are given clean and do not count.

    `mask_B1FHW` (0..1, latent resolution) says how much each place counts: the loss is the mean over what counts, and 0
    for a sample of which nothing does. `delta` is Huber's. The mse has neither Huber's form nor the level's weight.
    """
    error_BCFHW = velocity_BCFHW.float() - target_BCFHW.float()
    counts = _counts(t, mask_B1FHW)
    mse_B = _mean(error_BCFHW.square(), counts)
    loss_B = mse_B if kind == "mse" else _mean(huber(error_BCFHW, delta), counts)
    if weighting != "none":
        level_B = t.amax(1) if t.ndim == 2 else t  # that of the frames which are not given
        loss_B = loss_B * WEIGHTS[weighting](level_B.float())
    return Losses(loss_B, mse_B)


def huber(error: Tensor, delta: float) -> Tensor:
    """e^2 / 2 where |e| <= delta, delta (|e| - delta / 2) beyond: outliers pull with a constant force (Huber 1964)."""
    size = error.abs()
    return torch.where(size <= delta, error.square() / 2, delta * (size - delta / 2))


def sigma_sqrt(t: Tensor) -> Tensor:
    """1 / t^2, which makes of the velocity's error that of the noise at high t (Esser et al. 2024, table of schemes).

    Levels under the least of the sampler's table count as that one: the weight has no bound.
    """
    return t.clamp(min=1 / TRAIN_TIMESTEPS) ** -2


def cosmap(t: Tensor) -> Tensor:
    """2 / (pi (1 - 2 t + 2 t^2)): the density of levels of a cosine schedule, at most 4 / pi at t = 1/2 (Esser et al. 2024)."""
    return 2 / (math.pi * (1 - 2 * t + 2 * t.square()))


WEIGHTS = {"sigma_sqrt": sigma_sqrt, "cosmap": cosmap}


def flow_loss(predicted_BCFHW: Tensor, target_BCFHW: Tensor, t: Tensor | None = None) -> Tensor:
    """Mean squared error of each sample, [B], in fp32 whatever the inputs are; of frames at t = 0 [B, F] none."""
    error_BCFHW = (predicted_BCFHW.float() - target_BCFHW.float()).square()
    return _mean(error_BCFHW, None if t is None else _counts(t, None))


def _counts(t: Tensor, mask_B1FHW: Tensor | None) -> Tensor | None:
    """How much each place counts, to be broadcast to [B, 1, F, H, W]; None where all count alike."""
    if t.ndim == 1:
        return mask_B1FHW
    noised_B1F11 = (t > 0).float()[:, None, :, None, None]
    return noised_B1F11 if mask_B1FHW is None else noised_B1F11 * mask_B1FHW


def _mean(error_BCFHW: Tensor, counts: Tensor | None) -> Tensor:
    """The mean of each sample over what counts, [B]."""
    if counts is None:
        return error_BCFHW.flatten(1).mean(1)
    each_BFHW = error_BCFHW.mean(1)
    counts_BFHW = counts.float()[:, 0].expand_as(each_BFHW)
    return (each_BFHW * counts_BFHW).flatten(1).sum(1) / counts_BFHW.flatten(1).sum(1).clamp(min=LEAST_COUNT)


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
