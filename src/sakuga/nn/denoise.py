"""Generation's inner loop: from noise to clean latents, with guidance, and with the hand-over between experts.

Shapes: B batch, C channels, F latent frames, H W latent size, T text tokens, D width of the text.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..core.errors import SakugaError
from ..core.family import Member
from . import samplers
from .condition import FREE, Condition, conditioned

# (x_BCFHW, model timestep [B], text_BTD) -> velocity_BCFHW; where a picture is given, as WanTransformer takes it
Transformer = Callable[..., Tensor]


class Transformers(Protocol):
    """The velocity of each expert by name: a dictionary, or what loads one when it is asked for."""

    def __getitem__(self, name: str, /) -> Transformer: ...


@dataclass(frozen=True)
class StepReport:
    """One step of a generation, just done. The last report of the high expert holds its estimate at the hand-over."""

    step: int  # from 0
    total: int
    expert: str
    t: float  # the timestep that the transformer was given
    sigma: float  # the noise level before the step
    x0_BCFHW: Tensor  # the estimate of the clean latents


def guided(
    transformer: Transformer, x_BCFHW: Tensor, t: float, text_BTD: Tensor, negative_BTD: Tensor | None, guidance: float
) -> Tensor:
    """v = v_negative + g (v_text - v_negative) (Ho and Salimans 2022); at g = 1 the negative pass is not made."""
    t_B = torch.full((x_BCFHW.shape[0],), t, device=x_BCFHW.device)
    v = transformer(x_BCFHW, t_B, text_BTD).float()
    if guidance == 1:
        return v
    if negative_BTD is None:
        raise SakugaError(f"guidance {guidance:g} needs a negative prompt, an empty one at least; or set guidance 1")
    v_negative = transformer(x_BCFHW, t_B, negative_BTD).float()
    return v_negative + guidance * (v - v_negative)


class _Experts:
    """Holds the one expert in use; the others are asked for only when another takes over."""

    def __init__(self, by_name: Transformers) -> None:
        self.by_name, self.name = by_name, ""
        self.held: Transformer | None = None

    def __call__(self, name: str) -> Transformer:
        if self.held is not None and name == self.name:
            return self.held
        self.held = None  # let go before the next is loaded: there may be room for one
        self.name, self.held = name, self.by_name[name]
        return self.held


def generate_latents(
    transformers: Transformers,
    member: Member,
    text_BTD: Tensor,
    negative_BTD: Tensor | None,
    *,
    noise_BCFHW: Tensor,
    condition: Condition = FREE,
    sampler: str = "unipc",
    steps: int | None = None,
    shift: float | None = None,
    guidance: Mapping[str, float] | None = None,
    experts: Sequence[str] | None = None,
    on_step: Callable[[StepReport], None] | None = None,
) -> Tensor:
    """Clean latents (fp32) from noise and a text, and from what `condition` gives beside them.

    `transformers` gives the velocity of each expert by name; it may load on access, and is asked once per hand-over.
    Steps, shift and guidance are the member's where None; `experts` names the expert of each step, by default as
    official sampling splits them.
    """
    steps = member.steps if steps is None else steps
    shift = member.shift if shift is None else shift
    sigmas, timesteps = samplers.sigmas(sampler, steps, shift), samplers.timesteps(sampler, steps, shift)
    names = samplers.split(timesteps, member) if experts is None else list(experts)
    if len(names) != steps:
        raise SakugaError(f"{len(names)} experts are named for {steps} steps; name one for each step")
    scales = {e.name: e.guidance for e in member.experts} | dict(guidance or {})
    expert = _Experts(transformers)

    def velocity(x_BCFHW: Tensor, t: float, step: int) -> Tensor:
        name = names[step]
        return guided(conditioned(expert(name), condition), x_BCFHW, t, text_BTD, negative_BTD, scales[name])

    def tell(step: int, _: Tensor, x0_BCFHW: Tensor) -> None:
        if on_step is not None:
            on_step(StepReport(step, steps, names[step], timesteps[step], sigmas[step], condition.keep(x0_BCFHW)))

    return condition.keep(samplers.sample(sampler, velocity, noise_BCFHW.float(), sigmas, timesteps, tell))
