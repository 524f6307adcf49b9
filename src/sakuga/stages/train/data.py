"""What a training step sees: which samples, at which noise level, with which noise. All of it pure functions.

Nothing here depends on what ran before: (seed, epoch, position) decide, so that a resumed run, or one on several
cards, sees exactly what an uninterrupted run on one card sees.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from ...core.dataset import Encoded, latent_file, mask_file, text_file
from ...core.errors import SakugaError, nearest
from ...core.family import Expert, Member
from ...core.noise import shift_by_tokens, time_at
from ...core.settings import Phase, TrainSettings
from ...nn.condition import FREE, Condition, with_mask
from ...nn.encodings import read_encoding
from ...nn.flow import noise_for, order_for, stratified_u, uniform_for

CPU = torch.device("cpu")


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
    mask: Tensor | None = None  # how much each place counts, [B, 1, F, H, W]; all alike without

    def to(self, device: torch.device) -> "Batch":
        """On that device; from pinned memory without waiting for it."""

        def there(x: Tensor) -> Tensor:
            return x.to(device, non_blocking=True)

        condition = self.condition if self.condition is FREE else self.condition.to(device)
        mask = None if self.mask is None else there(self.mask)
        texts = [there(x) for x in self.texts]
        return Batch(there(self.latent), there(self.noise), there(self.t), texts, condition, mask)

    def pinned(self) -> "Batch":
        """In memory that a card can read while the program goes on."""
        texts = [text.pin_memory() for text in self.texts]
        mask = None if self.mask is None else self.mask.pin_memory()
        return Batch(
            self.latent.pin_memory(), self.noise.pin_memory(), self.t.pin_memory(), texts, self.condition, mask
        )


class Schedule:
    """Which draws each optimizer step of an expert makes. Steps count from 1.

    Every epoch is a new order of all samples, each as often as it repeats; steps run on over the ends of epochs, so no
    remainder is dropped. A phase begins an epoch of its own. Only the very last step may hold fewer draws than the
    accumulation.
    """

    def __init__(self, samples: Sequence[Encoded], settings: TrainSettings, expert: Expert, member: Member) -> None:
        self.settings, self.expert, self.member = settings.of(expert), expert, member
        repeated = [s for s in samples if not s.held_out for _ in range(s.repeats)]
        if not repeated:
            raise SakugaError("there is nothing to train on: every sample is held out; lower plan.holdout or add items")
        self.steps = self.settings.total_steps(len(repeated))
        asked = self.steps * self.settings.accumulation
        self.draws = asked if self.settings.steps is not None else min(asked, self.settings.epochs * len(repeated))
        self.parts = _parts(repeated, self.settings, expert)

    def step(self, number: int) -> list[Draw]:
        """The draws of step `number` (1 ... steps)."""
        first = (number - 1) * self.settings.accumulation
        part = self.part(number)
        return [self._draw(part, n) for n in range(first, min(first + self.settings.accumulation, self.draws))]

    def largest(self) -> list[Draw]:
        """As many draws of the largest sample as are computed at once, to see whether they fit. They stand for themselves."""

        def tokens(sample: Encoded) -> int:
            size = self.member.tokens(sample.width, sample.height, sample.frames)
            return size * (sample.batch or self.settings.batch)

        sample = max((s for part in self.parts for s in part.samples), key=tokens)
        count = min(sample.batch or self.settings.batch, self.settings.accumulation)
        return [Draw(sample, sum(self.parts[0].levels) / 2, ("largest", n)) for n in range(count)]

    def part(self, number: int) -> "Part":
        """The phase that step `number` is of."""
        return next(part for part in reversed(self.parts) if part.first <= number)

    def _draw(self, part: "Part", number: int) -> Draw:
        s, count = self.settings, len(part.samples)
        epoch, position = divmod(number - (part.first - 1) * s.accumulation, count)
        where: tuple[int | str, ...] = (s.seed, epoch, position, self.expert.name, *part.name)
        sample = part.samples[_order(count, s.seed, epoch, self.expert.name, *part.name)[position]]
        t = level_at(
            stratified_u(s.seed, epoch, position, count, self.expert.name, *part.name),
            sample,
            s,
            self.member,
            part.levels,
        )
        dropout = s.caption_dropout if sample.caption_dropout is None else sample.caption_dropout
        captioned = uniform_for("caption", *where) >= dropout
        first = sample.frames > 1 and uniform_for("first", *where) < s.first_frame
        return Draw(sample, t, ("noise", *where), captioned, first)


@dataclass(frozen=True)
class Part:
    """A phase of an expert's training: from which step, with which samples, at which levels and with which rate."""

    first: int
    samples: list[Encoded]
    levels: tuple[float, float]
    rate: float  # times that of the settings
    name: tuple[int, ...]  # nothing for the first: what it draws is what a training without phases draws


def _parts(samples: list[Encoded], settings: TrainSettings, expert: Expert) -> list[Part]:
    """The phases of an expert; a phase keeps what it does not set of the one before."""
    low, high = settings.levels(expert)
    parts = [Part(1, samples, (low, high), 1.0, ())]
    for number, phase in enumerate(settings.phases):
        before = parts[-1]
        chosen = before.samples if phase.sections is None else _of_sections(samples, phase)
        least = before.levels[0] if phase.min_t is None else max(low, phase.min_t)
        most = before.levels[1] if phase.max_t is None else min(high, phase.max_t)
        rate = before.rate if phase.learning_rate is None else phase.learning_rate / settings.learning_rate
        name = () if phase.from_step == 1 else (number + 1,)
        if phase.from_step == 1:
            parts.clear()
        parts.append(Part(phase.from_step, chosen, (least, most), rate, name))
    return parts


def _of_sections(samples: list[Encoded], phase: Phase) -> list[Encoded]:
    wanted = phase.sections or ()
    known = sorted({s.section for s in samples})
    for name in wanted:
        if name not in known:
            raise SakugaError(
                f"the phase from step {phase.from_step} names section '{name}', of which nothing is trained on"
                f"{nearest(name, known)} (there are: {', '.join(known)})"
            )
    return [s for s in samples if s.section in wanted]


def level_at(u: float, sample: Encoded, settings: TrainSettings, member: Member, levels: tuple[float, float]) -> float:
    """The noise level at quantile `u` of what is drawn for a sample, within `levels`."""
    s, shift = settings, settings.shift or member.shift
    if shift == "tokens":
        tokens = member.tokens(sample.width, sample.height, sample.frames)
        shift = shift_by_tokens(member.shift, tokens, member.tokens(*member.sizes[0], member.frames))
    return time_at(u, s.time, shift, s.time_scale, s.time_mean, *levels)


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int, expert: str, *part: int) -> list[int]:
    return order_for(count, "order", seed, epoch, expert, *part)


def together(draws: Sequence[Draw], most: int, cap: int | None = None) -> list[list[int]]:
    """Which draws (their places in `draws`) are computed at once: those of one bucket, at most `most` or their section's,
    and never more than `cap`."""
    buckets: dict[tuple[int, int, int, int], list[int]] = {}
    for place, draw in enumerate(draws):
        s = draw.sample
        at_once = s.batch or most
        buckets.setdefault((s.width, s.height, s.frames, min(at_once, cap or at_once)), []).append(place)
    return [places[n : n + key[3]] for key, places in buckets.items() for n in range(0, len(places), key[3])]


def load(draws: Sequence[Draw], member: Member, project: Path, device: torch.device = CPU) -> Batch:
    """Read what was encoded of draws of one bucket from the cache, and draw their noise."""
    given = ["image"] * bool(member.given_channels) + ["clip"] * (member.clip is not None)
    found = [_read(d, project / latent_file(d.sample.latent), d.sample.latent, "latent", *given) for d in draws]
    texts = [_read(draw, project / text_file(draw.text), draw.text, "text")["text"] for draw in draws]
    noise = [noise_for((1, *each["latent"].shape), *draw.noise) for each, draw in zip(found, draws, strict=True)]

    def batch(name: str) -> Tensor:
        return torch.stack([each[name] for each in found]).float().to(device)

    latent, condition = batch("latent"), FREE
    if given:
        image = with_mask(batch("image"), member.vae.stride[0])
        condition = Condition(image, batch("clip") if "clip" in given else None)
    t = _levels(draws, latent.shape[2]).to(device)
    texts = [text.float().to(device) for text in texts]
    return Batch(latent, torch.cat(noise).to(device), t, texts, condition, _masks(draws, project, latent))


def _masks(draws: Sequence[Draw], project: Path, latent_BCFHW: Tensor) -> Tensor | None:
    """The masks of draws like their latents, in fp32; None where none has one."""
    if not any(draw.sample.mask for draw in draws):
        return None
    found = torch.ones_like(latent_BCFHW[:, :1])
    for place, draw in enumerate(draws):
        if key := draw.sample.mask:
            found[place] = _read(draw, project / mask_file(key), key, "mask")["mask"]
    return found


def _read(draw: Draw, path: Path, key: str, *names: str) -> dict[str, Tensor]:
    """An encoding of a draw. Raises SakugaError, with the item that it is of, where it cannot be read."""
    try:
        return read_encoding(path, key, *names)
    except SakugaError as error:
        raise SakugaError(f"{draw.sample.item}: {error}") from error


def _levels(draws: Sequence[Draw], frames: int) -> Tensor:
    """The noise levels of draws, [B], or [B, F] where one of them is given its first latent frame."""
    t_B = torch.tensor([draw.t for draw in draws], dtype=torch.float32)
    if not any(draw.first for draw in draws):
        return t_B
    t_BF = t_B[:, None].repeat(1, frames)
    t_BF[torch.tensor([draw.first for draw in draws]), 0] = 0
    return t_BF
