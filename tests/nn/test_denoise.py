"""Guidance, the hand-over between experts, and the reports of a generation."""

import gc
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from sakuga.core.errors import SakugaError
from sakuga.core.family import FAMILY
from sakuga.nn import samplers
from sakuga.nn.denoise import Sampling, StepReport, Transformer, generate_latents, sample_all
from sakuga.nn.guidance import Tricks

TEXT, NEGATIVE = torch.full((1, 3, 4), 0.5), torch.full((1, 3, 4), -0.25)
NOISE = torch.randn(1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(0))


class Fake:
    """A velocity that depends on all it is given; remembers the timesteps and texts."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = torch.tensor(gain, requires_grad=True)
        self.calls = list[tuple[float, float]]()

    def __call__(self, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
        assert t.shape == x.shape[:1] == text.shape[:1]
        self.calls.append((t[0].item(), text.mean().item()))
        words = text.mean((1, 2)).view(-1, 1, 1, 1, 1)
        return torch.tanh(self.gain * x + words) + t.view(-1, 1, 1, 1, 1) / 1e4


def one_step(fake: Fake, guidance: float, negative: Tensor | None = NEGATIVE, **tricks: Any) -> Tensor:
    """The velocity of a single step from pure noise, where x = noise - v."""
    found = generate_latents(
        {"full": fake}, FAMILY["tiny"], TEXT, negative, noise_BCFHW=NOISE, sampler="euler", steps=1,
        guidance={"full": guidance}, tricks=Tricks(**tricks),
    )  # fmt: skip
    return NOISE - found


def test_guidance() -> None:
    fake = Fake()
    text, negative = fake(NOISE, torch.tensor([1000.0]), TEXT), fake(NOISE, torch.tensor([1000.0]), NEGATIVE)
    torch.testing.assert_close(one_step(fake, 4), negative + 4 * (text - negative))


def test_guidance_of_one_makes_no_negative_pass() -> None:
    fake = Fake()
    out = one_step(fake, 1, None)
    assert len(fake.calls) == 1
    torch.testing.assert_close(out, fake(NOISE, torch.tensor([1000.0]), TEXT))
    with pytest.raises(SakugaError, match="guidance 4 needs a negative prompt"):
        one_step(fake, 4, None)


def test_both_passes_at_once_are_the_same_numbers() -> None:
    fake, both = Fake(), Fake()
    torch.testing.assert_close(one_step(both, 4, batched=True), one_step(fake, 4))
    assert (len(fake.calls), len(both.calls)) == (2, 1)


@pytest.mark.parametrize("sampler", list(samplers.SAMPLERS))
def test_experts_hand_over_where_the_schedule_says(sampler: str) -> None:
    member = FAMILY["tiny-experts"]
    high, low = Fake(1.0), Fake(0.5)
    reports: list[StepReport] = []
    latents = generate_latents(
        {"high": high, "low": low}, member, TEXT, NEGATIVE, noise_BCFHW=NOISE, sampler=sampler, steps=6, shift=5,
        guidance={"high": 2, "low": 1}, on_step=reports.append,
    )  # fmt: skip
    timesteps = samplers.timesteps(sampler, 6, 5)
    assert [t for t, _ in high.calls] == pytest.approx([t for t in timesteps[:3] for _ in range(2)])
    assert [t for t, _ in low.calls] == pytest.approx(timesteps[3:]), "guidance 1: one pass a step"
    assert [r.expert for r in reports] == ["high"] * 3 + ["low"] * 3
    assert [(r.step, r.total) for r in reports] == [(i, 6) for i in range(6)]
    assert [r.t for r in reports] == timesteps
    assert [r.sigma for r in reports] == samplers.sigmas(sampler, 6, 5)[:-1]
    torch.testing.assert_close(reports[-1].x0_BCFHW, latents)
    assert latents.shape == NOISE.shape
    assert not latents.requires_grad


def test_what_is_not_said_is_the_members_own() -> None:
    member = FAMILY["tiny"]
    fake = Fake()
    given = generate_latents(
        {"full": fake}, member, TEXT, NEGATIVE, noise_BCFHW=NOISE, sampler="unipc", steps=member.steps,
        shift=member.shift, guidance={"full": member.experts[0].guidance},
    )  # fmt: skip
    assert torch.equal(generate_latents({"full": fake}, member, TEXT, NEGATIVE, noise_BCFHW=NOISE), given)
    other = generate_latents({"full": fake}, member, TEXT, NEGATIVE, noise_BCFHW=NOISE, shift=12)
    assert not torch.equal(other, given)


def test_a_split_by_hand() -> None:
    high, low = Fake(), Fake()
    args = ({"high": high, "low": low}, FAMILY["tiny-experts"], TEXT, NEGATIVE)
    generate_latents(*args, noise_BCFHW=NOISE, steps=3, guidance={"high": 1, "low": 1}, experts=["high", "low", "low"])
    assert (len(high.calls), len(low.calls)) == (1, 2)
    with pytest.raises(SakugaError, match="2 experts are named for 3 steps"):
        generate_latents(*args, noise_BCFHW=NOISE, steps=3, experts=["high", "low"])


class Loads(Mapping[str, Transformer]):
    """Loads an expert when asked; sees whether the one before was let go."""

    def __init__(self) -> None:
        self.loaded, self.last = list[str](), lambda: None

    def __getitem__(self, name: str) -> Transformer:
        gc.collect()
        assert self.last() is None, "two experts in memory at once"
        self.loaded.append(name)
        fake = Fake()
        self.last = weakref.ref(fake)
        return fake

    def __iter__(self) -> Iterator[str]:
        return iter(("high", "low"))

    def __len__(self) -> int:
        return 2


def test_each_expert_is_loaded_once_for_many_videos() -> None:
    member, experts = FAMILY["tiny-experts"], Loads()
    noises = [NOISE, NOISE.flip(-1), -NOISE]
    samplings = [Sampling(member, TEXT, NEGATIVE, noise_BCFHW=noise, steps=6, shift=5) for noise in noises]
    sample_all(samplings, experts)
    assert experts.loaded == ["high", "low"]
    for noise, sampling in zip(noises, samplings, strict=True):
        alone = generate_latents(Loads(), member, TEXT, NEGATIVE, noise_BCFHW=noise, steps=6, shift=5)
        assert torch.equal(sampling.x_BCFHW, alone)


def test_one_expert_is_in_memory_at_a_time() -> None:
    experts = Loads()
    generate_latents(experts, FAMILY["tiny-experts"], TEXT, NEGATIVE, noise_BCFHW=NOISE, steps=6, shift=5)
    assert experts.loaded == ["high", "low"]
