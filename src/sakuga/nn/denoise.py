"""Generation's inner loop: from noise to clean latents, with guidance, and with the hand-over between experts.

Shapes: B batch, C channels, F latent frames, H W latent size, T text tokens, D width of the text.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ..core.errors import SakugaError
from ..core.family import Member
from . import samplers
from .attention import attending, attention
from .condition import FREE, Condition, conditioned
from .flow import denoised
from .guidance import PLAIN, Reuse, Tricks, guided, projected

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
    reused: bool = False  # whether the velocity of an earlier step was used again


class Sampling:
    """One video on its way from noise to clean latents, which can be laid aside wherever another expert takes over.

    Steps, shift and guidance are the member's where None; `experts` names the expert of each step, by default as
    official sampling splits them. `fresh` gives the noise of a step to samplers that add some.
    """

    def __init__(
        self,
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
        tricks: Tricks = PLAIN,
        fresh: samplers.StepNoise | None = None,
        on_step: Callable[[StepReport], None] | None = None,
    ) -> None:
        steps = member.steps if steps is None else steps
        shift = member.shift if shift is None else shift
        self.sigmas, self.timesteps = samplers.sigmas(sampler, steps, shift), samplers.timesteps(sampler, steps, shift)
        self.experts = samplers.split(self.timesteps, member) if experts is None else list(experts)
        if len(self.experts) != steps:
            raise SakugaError(f"{len(self.experts)} experts are named for {steps} steps; name one for each step")
        self.guidance = {e.name: e.guidance for e in member.experts} | dict(guidance or {})
        for scale in (self.guidance[name] for name in self.experts):
            if scale != 1 and negative_BTD is None:
                raise SakugaError(
                    f"guidance {scale:g} needs a negative prompt, an empty one at least; or set guidance 1"
                )
        self.text_BTD, self.negative_BTD, self.condition = text_BTD, negative_BTD, condition
        self.tricks, self.on_step, self.step = tricks, on_step, 0
        noise_BCFHW = noise_BCFHW.float()
        self._sampler = samplers.steps_of(
            sampler, noise_BCFHW, self.sigmas, fresh or (lambda step: torch.randn_like(noise_BCFHW))
        )
        self.x_BCFHW = next(self._sampler)  # of the step that comes; the clean latents once all are done

    @property
    def expert(self) -> str | None:
        """Whose step comes; None when all are done."""
        return self.experts[self.step] if self.step < len(self.experts) else None

    @torch.no_grad()
    def go(self, transformer: Transformer) -> None:
        """All steps in a row that are of the expert whose turn it is, by its transformer."""
        name, tricks = self.expert, self.tricks
        reuse = Reuse(tricks.reuse) if tricks.reuse else None
        with attending(transformer, attention(tricks.attention, self.x_BCFHW.shape[2], tricks.enhance_video)):
            while name is not None and self.expert == name:
                x_BCFHW, step = self.x_BCFHW, self.step
                again = reuse.again(x_BCFHW, step, len(self.experts)) if reuse else None
                v_BCFHW = self._velocity(transformer, x_BCFHW, self.guidance[name]) if again is None else again
                if reuse and again is None:
                    reuse.computed(x_BCFHW, v_BCFHW)
                self._advance(x_BCFHW, v_BCFHW, reused=again is not None)

    def _advance(self, x_BCFHW: Tensor, v_BCFHW: Tensor, reused: bool) -> None:
        step = self.step
        try:
            self.x_BCFHW = self._sampler.send(v_BCFHW)
        except StopIteration as end:
            self.x_BCFHW = self.condition.keep(end.value)
        self.step += 1
        if self.on_step is not None:
            x0_BCFHW = self.condition.keep(denoised(x_BCFHW, v_BCFHW, self.sigmas[step]))
            now = self.experts[step], self.timesteps[step], self.sigmas[step]
            self.on_step(StepReport(step, len(self.experts), *now, x0_BCFHW, reused))

    def _velocity(self, transformer: Transformer, x_BCFHW: Tensor, guidance: float) -> Tensor:
        """The guided velocity of the step that comes; at guidance 1 the negative pass is not made."""
        tricks, t_B = self.tricks, torch.full((len(x_BCFHW),), self.timesteps[self.step], device=x_BCFHW.device)
        model = conditioned(transformer, self.condition)
        if guidance == 1 or self.negative_BTD is None:
            return model(x_BCFHW, t_B, self.text_BTD).float()
        if tricks.cfg_zero and self.step == 0:
            return torch.zeros_like(x_BCFHW)  # the first velocity is worse than none (the paper's section 3.3)
        skip = tricks.skipped(self.step, len(self.experts))
        if tricks.batched and not skip:
            texts = torch.cat((self.text_BTD, self.negative_BTD))
            v, negative = model(torch.cat((x_BCFHW, x_BCFHW)), torch.cat((t_B, t_B)), texts).float().chunk(2)
        else:
            v = model(x_BCFHW, t_B, self.text_BTD).float()
            # Where layers are skipped the result is led away from what the model would be without them (skip-layer
            # guidance of Stable Diffusion 3.5, in the form that Wan's users settled on: no pass of its own).
            how = {"skip": skip} if skip else {}
            negative = model(x_BCFHW, t_B, self.negative_BTD, **how).float()
        return guided(v, projected(v, negative) if tricks.cfg_zero else negative, guidance)


def sample_all(samplings: Iterable[Sampling], transformers: Transformers) -> None:
    """Take all samplings to their end, each expert loaded once for all of them wherever their order lets it be.

    `transformers` gives the velocity of each expert by name; it may load on access, and is asked when another takes over.
    """
    waiting = [s for s in samplings if s.expert is not None]
    while waiting:
        name = waiting[0].expert
        assert name is not None
        _take_on(waiting, name, transformers[name])
        waiting = [s for s in waiting if s.expert is not None]


def _take_on(samplings: Sequence[Sampling], name: str, transformer: Transformer) -> None:
    for sampling in samplings:
        if sampling.expert == name:
            sampling.go(transformer)


def generate_latents(
    transformers: Transformers, member: Member, text_BTD: Tensor, negative_BTD: Tensor | None, **how: Any
) -> Tensor:
    """Clean latents (fp32) from noise and a text, and whatever else `Sampling` takes."""
    sampling = Sampling(member, text_BTD, negative_BTD, **how)
    sample_all([sampling], transformers)
    return sampling.x_BCFHW
