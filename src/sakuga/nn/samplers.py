"""Samplers of flow models: from noise to clean latents along the velocity, each a short pure function of one signature.

unipc and dpm++ give the values of the official Wan code (which has no euler), schedules included. All arithmetic is in
fp32, as there. `split` says which expert each step belongs to.

A sampler is a generator: it yields the latents of each step, is sent the velocity there, and returns the clean latents.
So a sampling can be laid aside between two steps, while another uses the expert that is loaded.

x is a Tensor of any shape, latents [B, C, F, H, W] as a rule; sigma is the noise level t in [0, 1] of `flow`.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.errors import SakugaError, nearest
from ..core.family import TRAIN_TIMESTEPS, Member
from ..core.noise import shift_time
from .flow import denoised

Steps = Generator[Tensor, Tensor, Tensor]  # yields x of each step, is sent its velocity, returns the end
StepNoise = Callable[[int], Tensor]  # fresh noise for a step, of the shape of x


# Schedules


def sigmas(name: str, steps: int, shift: float) -> list[float]:
    """The noise levels of a sampling, `steps` + 1 of them, the last 0; each is a number that fp32 holds exactly."""
    return np.append(_levels(name, steps, shift), 0.0).astype(np.float32).tolist()


def timesteps(name: str, steps: int, shift: float) -> list[float]:
    """The timesteps that the transformer is given, `steps` of them; whole numbers where the official code truncates."""
    exact = _levels(name, steps, shift) * TRAIN_TIMESTEPS
    return (exact.astype(np.int64) if _sampler(name).whole_timesteps else exact).astype(float).tolist()


def _levels(name: str, steps: int, shift: float) -> np.ndarray:
    """Noise levels in float64 without the final 0, evenly spaced before the shift."""
    if steps < 1:
        raise SakugaError(f"a sampling needs at least 1 step, not {steps}")
    return shift_time(np.linspace(_sampler(name).first, 0.0, steps + 1)[:steps], shift)


def split(timesteps: Sequence[float], member: Member) -> list[str]:
    """The expert of each step, as official sampling chooses it: by the shifted timestep."""
    return [member.expert_at(t / TRAIN_TIMESTEPS).name for t in timesteps]


def by_hand(member: Member, high: int, steps: int) -> list[str]:
    """The expert of each step when the first `high` go to the high expert. Raises SakugaError where that cannot be."""
    if len(member.experts) < 2:
        raise SakugaError(f"a split is for models of two experts, and {member.title} has one; leave it out")
    if not 0 <= high <= steps:
        raise SakugaError(f"a split is a number of steps from 0 to {steps}, not {high}")
    return [member.experts[0].name] * high + [member.experts[1].name] * (steps - high)


def outside(timesteps: Sequence[float], experts: Sequence[str], member: Member) -> list[int]:
    """The steps at which the expert named works outside the noise levels that it was trained on."""
    ranges = {e.name: e for e in member.experts}
    levels = [t / TRAIN_TIMESTEPS for t in timesteps]
    return [
        i
        for i, (t, name) in enumerate(zip(levels, experts, strict=True))
        if not ranges[name].t_min <= t <= ranges[name].t_max
    ]


# Samplers


def euler(x: Tensor, sigmas: Sequence[float], noise: StepNoise) -> Steps:
    """Straight steps along the velocity."""
    s = torch.tensor(sigmas)
    for i in range(len(sigmas) - 1):
        v = yield x
        x = x + (s[i + 1] - s[i]) * v
    return x


def dpmpp(x: Tensor, sigmas: Sequence[float], noise: StepNoise) -> Steps:
    """DPM-Solver++(2M), midpoint (Lu et al. 2022, algorithm 2), first order at both ends."""
    s = torch.tensor(sigmas)
    lam, last = _log_snr(s), len(sigmas) - 2
    last_x0 = x
    for i in range(last + 1):
        x0 = denoised(x, (yield x), s[i])
        h = lam[i + 1] - lam[i]
        toward = (1 - s[i + 1]) * (torch.exp(-h) - 1)
        x = s[i + 1] / s[i] * x - toward * x0
        if 0 < i < last:
            r = (lam[i] - lam[i - 1]) / h
            x = x - 0.5 * toward * (1 / r * (x0 - last_x0))
        last_x0 = x0
    return x


def dpmpp_sde(x: Tensor, sigmas: Sequence[float], noise: StepNoise) -> Steps:
    """DPM-Solver++(2M) of the reverse SDE (Lu et al. 2022, appendix): each step adds fresh noise of its own."""
    s = torch.tensor(sigmas)
    lam, last = _log_snr(s), len(sigmas) - 2
    last_x0 = x
    for i in range(last + 1):
        x0 = denoised(x, (yield x), s[i])
        h = lam[i + 1] - lam[i]
        toward = (1 - s[i + 1]) * (1 - torch.exp(-2.0 * h))
        fresh = s[i + 1] * torch.sqrt(1.0 - torch.exp(-2 * h)) * noise(i)
        x = s[i + 1] / s[i] * torch.exp(-h) * x + toward * x0
        if 0 < i < last:
            r = (lam[i] - lam[i - 1]) / h
            x = x + 0.5 * toward * (1 / r * (x0 - last_x0))
        x, last_x0 = x + fresh, x0
    return x


def unipc(x: Tensor, sigmas: Sequence[float], noise: StepNoise) -> Steps:
    """UniPC-2, B2(h), on clean latents (Zhao et al. 2023): each prediction is corrected by the next velocity."""
    s = torch.tensor(sigmas)
    steps = len(sigmas) - 1
    estimates: list[Tensor] = []  # of the clean latents, newest last
    before, order = x, 1
    for i in range(steps):
        x0 = denoised(x, (yield x), s[i])
        if i > 0:
            x = _unic(before, x0, estimates, s, i, order)
        estimates = [*estimates[-1:], x0]
        order = min(2, i + 1, steps - i)
        before, x = x, _unip(x, estimates, s, i, order)
    return x


def _unip(x: Tensor, estimates: list[Tensor], s: Tensor, i: int, order: int) -> Tensor:
    """The prediction from level i to i + 1 (UniP, eq. 9; its coefficient at order 2 is 1/2)."""
    lam, alpha = _log_snr(s), 1 - s[i + 1]
    h = lam[i + 1] - lam[i]
    b = torch.expm1(-h)
    ahead = s[i + 1] / s[i] * x - alpha * b * estimates[-1]
    if order == 1:
        return ahead
    r = (lam[i - 1] - lam[i]) / h
    return ahead - alpha * b * (0.5 * ((estimates[-2] - estimates[-1]) / r))


def _unic(before: Tensor, x0: Tensor, estimates: list[Tensor], s: Tensor, i: int, order: int) -> Tensor:
    """The step from level i - 1 to i again, corrected by the estimate `x0` made at its end (UniC, eq. 8)."""
    lam, alpha = _log_snr(s), 1 - s[i]
    h = lam[i] - lam[i - 1]
    b = torch.expm1(-h)
    ahead = s[i] / s[i - 1] * before - alpha * b * estimates[-1]
    change = x0 - estimates[-1]
    if order == 1:
        return ahead - alpha * b * (0.5 * change)
    r = (lam[i - 2] - lam[i - 1]) / h
    phi_1 = b / -h - 1  # h phi_2(h) and h^2 phi_3(h) of the paper, at -h
    phi_2 = phi_1 / -h - 0.5
    one = torch.ones(())
    moments = torch.stack([phi_1 / b, phi_2 * 2 / b])
    rho = torch.linalg.solve(torch.stack([torch.stack([one, one]), torch.stack([r, one])]), moments)
    return ahead - alpha * b * (rho[0] * ((estimates[-2] - estimates[-1]) / r) + rho[1] * change)


def _log_snr(s: Tensor) -> Tensor:
    """lambda = log(alpha / sigma), alpha = 1 - sigma: infinite at both ends, which the formulas take as limits."""
    return torch.log(1 - s) - torch.log(s)


# The table


@dataclass(frozen=True)
class Sampler:
    """A sampler and the schedule it is used with."""

    steps: Callable[[Tensor, Sequence[float], StepNoise], Steps]
    first: float  # the first noise level
    whole_timesteps: bool


# The official unipc starts one training step below pure noise, a level rounded to fp32 before it is spaced in float64.
SAMPLERS: dict[str, Sampler] = {
    "unipc": Sampler(unipc, float(np.float32(1 - 1 / TRAIN_TIMESTEPS)), whole_timesteps=True),
    "dpm++": Sampler(dpmpp, 1.0, whole_timesteps=True),
    "dpm++sde": Sampler(dpmpp_sde, 1.0, whole_timesteps=True),
    "euler": Sampler(euler, 1.0, whole_timesteps=False),
}


def steps_of(name: str, x: Tensor, sigmas: Sequence[float], noise: StepNoise) -> Steps:
    """The sampling of that name from the noise `x` (fp32, any device), to be sent the velocities."""
    return _sampler(name).steps(x, sigmas, noise)


def _sampler(name: str) -> Sampler:
    if name not in SAMPLERS:
        raise SakugaError(f"'{name}' is not a sampler{nearest(name, list(SAMPLERS))} (known: {', '.join(SAMPLERS)})")
    return SAMPLERS[name]
