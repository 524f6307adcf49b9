"""What a training step sees: which samples, at which noise level, with which noise. All of it pure functions.

Nothing here depends on what ran before: (seed, epoch, position) decide, so that a resumed run, or one on several
cards, sees exactly what an uninterrupted run on one card sees.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from ...core.dataset import Encoded, latent_file, text_file
from ...core.errors import SakugaError
from ...core.family import Expert, Member
from ...core.noise import time_at
from ...core.settings import TrainSettings
from ...nn.condition import FREE, Condition, with_mask
from ...nn.encodings import read_encoding
from ...nn.flow import noise_for, order_for, stratified_u, uniform_for


@dataclass(frozen=True)
class Draw:
    """One sample as one step sees it: noise level `t` in (0, 1], and the names its noise is drawn by."""

    sample: Encoded
    t: float
    noise: tuple[int | str, ...]
    captioned: bool = True  # or the negative prompt in place of its caption
    first: bool = False  # whether the first latent frame is given clean

    @property
    def text(self) -> str:
        """The key of what the model is told."""
        return self.sample.text if self.captioned else self.sample.negative


@dataclass(frozen=True)
class Batch:
    """The tensors of draws of one bucket: latents and noise [B, C, F, H, W] in fp32, texts [T, D] unpadded.

    Levels are [B], or [B, F] where a first latent frame is given clean: it is at level 0.
    """

    latent: Tensor
    noise: Tensor
    t: Tensor
    texts: list[Tensor]
    condition: Condition = FREE


class Schedule:
    """Which draws each optimizer step of an expert makes. Steps count from 1.

    Every epoch is a new order of all samples, each as often as it repeats; steps run on over the ends of epochs, so no
    remainder is dropped. Only the very last step may hold fewer draws than the accumulation.
    """

    def __init__(self, samples: Sequence[Encoded], settings: TrainSettings, expert: Expert, shift: float) -> None:
        self.samples = [s for s in samples if not s.held_out for _ in range(s.repeats)]
        if not self.samples:
            raise SakugaError("there is nothing to train on: every sample is held out; lower plan.holdout or add items")
        self.settings, self.expert, self.shift = settings, expert, shift
        self.steps = settings.total_steps(len(self.samples))
        asked = self.steps * settings.accumulation
        self.draws = asked if settings.steps is not None else min(asked, settings.epochs * len(self.samples))

    def step(self, number: int) -> list[Draw]:
        """The draws of step `number` (1 ... steps)."""
        first = (number - 1) * self.settings.accumulation
        return [self._draw(n) for n in range(first, min(first + self.settings.accumulation, self.draws))]

    def _draw(self, number: int) -> Draw:
        s, count = self.settings, len(self.samples)
        epoch, position = divmod(number, count)
        sample = self.samples[_order(count, s.seed, epoch, self.expert.name)[position]]
        u = stratified_u(s.seed, epoch, position, count, self.expert.name)
        t = time_at(u, s.time, self.shift, t_min=self.expert.t_min, t_max=self.expert.t_max)
        dropout = s.caption_dropout if sample.caption_dropout is None else sample.caption_dropout
        captioned = uniform_for("caption", s.seed, epoch, position, self.expert.name) >= dropout
        first = sample.frames > 1 and uniform_for("first", s.seed, epoch, position, self.expert.name) < s.first_frame
        return Draw(sample, t, ("noise", s.seed, epoch, position, self.expert.name), captioned, first)


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int, expert: str) -> list[int]:
    return order_for(count, "order", seed, epoch, expert)


def together(draws: Sequence[Draw], most: int) -> list[list[int]]:
    """Which draws (their places in `draws`) are computed at once: those of one bucket, at most `most` or their section's."""
    buckets: dict[tuple[int, int, int, int], list[int]] = {}
    for place, draw in enumerate(draws):
        s = draw.sample
        buckets.setdefault((s.width, s.height, s.frames, s.batch or most), []).append(place)
    return [places[n : n + key[3]] for key, places in buckets.items() for n in range(0, len(places), key[3])]


def load(draws: Sequence[Draw], member: Member, project: Path, device: torch.device) -> Batch:
    """Read what was encoded of draws of one bucket from the cache, and draw their noise."""
    given = ["image"] * bool(member.given_channels) + ["clip"] * (member.clip is not None)
    found = [read_encoding(project / latent_file(d.sample.latent), d.sample.latent, "latent", *given) for d in draws]
    texts = [read_encoding(project / text_file(draw.text), draw.text, "text")["text"] for draw in draws]
    noise = [noise_for((1, *each["latent"].shape), *draw.noise) for each, draw in zip(found, draws, strict=True)]

    def batch(name: str) -> Tensor:
        return torch.stack([each[name] for each in found]).float().to(device)

    latent, condition = batch("latent"), FREE
    if given:
        image = with_mask(batch("image"), member.vae.stride[0])
        condition = Condition(image, batch("clip") if "clip" in given else None)
    t = _levels(draws, latent.shape[2]).to(device)
    return Batch(latent, torch.cat(noise).to(device), t, [text.float().to(device) for text in texts], condition)


def _levels(draws: Sequence[Draw], frames: int) -> Tensor:
    """The noise levels of draws, [B], or [B, F] where one of them is given its first latent frame."""
    t_B = torch.tensor([draw.t for draw in draws], dtype=torch.float32)
    if not any(draw.first for draw in draws):
        return t_B
    t_BF = t_B[:, None].repeat(1, frames)
    t_BF[torch.tensor([draw.first for draw in draws]), 0] = 0
    return t_BF


def learning_rate(step: int, steps: int, settings: TrainSettings) -> float:
    """The rate of step `step` (from 1) of `steps`: a straight rise over `warmup` steps, then as the schedule says."""
    if step <= settings.warmup:
        return settings.learning_rate * step / settings.warmup
    if settings.schedule == "constant":
        return settings.learning_rate
    past = (step - 1 - settings.warmup) / max(1, steps - settings.warmup)  # 0 at the first step after the rise
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * past))
