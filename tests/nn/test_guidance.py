"""The tricks of guidance and attention: their formulas, what they cost, and that off means equal to the last bit."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sakuga.core.errors import SakugaError
from sakuga.core.family import FAMILY, Transformer
from sakuga.nn.attention import across_frames, attend, attending
from sakuga.nn.denoise import StepReport, generate_latents
from sakuga.nn.guidance import Reuse, Tricks, projected
from sakuga.nn.transformer import WanTransformer

SHAPE = Transformer(48, 64, 4, 3, 16, 16, 32, freq_dim=32)
TINY = replace(FAMILY["tiny"], transformer=SHAPE)
TEXT, NEGATIVE = torch.randn(2, 1, 6, 32, generator=torch.Generator().manual_seed(1))
NOISE = torch.randn(1, 16, 3, 4, 6, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def model() -> WanTransformer:
    torch.manual_seed(0)
    made = WanTransformer(SHAPE).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made


def latents(model: WanTransformer, steps: int = 8, reports: list[StepReport] | None = None, **tricks: Any) -> Tensor:
    return generate_latents(
        {"full": model}, TINY, TEXT, NEGATIVE, noise_BCFHW=NOISE, steps=steps, guidance={"full": 4.0},
        tricks=Tricks(**tricks), on_step=None if reports is None else reports.append,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("off", "on"),
    [
        ({"cfg_zero": False}, {"cfg_zero": True}),
        ({"skip_layers": ()}, {"skip_layers": (1,)}),
        ({"skip_layers": (1,), "skip_span": (0.0, 0.0)}, {"skip_layers": (1,), "skip_span": (0.4, 0.6)}),
        ({"reuse": 0.0}, {"reuse": 9.0}),
        ({"reuse": 1e-9}, {"reuse": 9.0}),
        ({"enhance_video": 0.0}, {"enhance_video": 8.0}),
        ({"attention": "torch"}, {"enhance_video": 1.0, "attention": "torch"}),
    ],
    ids=str,
)
def test_off_is_equal_to_the_last_bit_and_on_is_not(
    model: WanTransformer, off: dict[str, Any], on: dict[str, Any]
) -> None:
    plain = latents(model)
    assert torch.equal(latents(model, **off), plain)
    assert not torch.equal(latents(model, **on), plain)
    assert torch.equal(latents(model), plain), "a trick stays behind in the model"


def test_batched_passes_differ_by_rounding_alone(model: WanTransformer) -> None:
    torch.testing.assert_close(
        latents(model, batched=True, cfg_zero=True), latents(model, cfg_zero=True), atol=1e-4, rtol=1e-4
    )
    plain = latents(model, enhance_video=8.0)
    torch.testing.assert_close(latents(model, batched=True, enhance_video=8.0), plain, atol=1e-4, rtol=1e-4)


def test_the_projection_is_the_nearest_multiple_of_the_negative_velocity() -> None:
    v, negative = torch.randn(2, 2, 3, 1, 2, 2)
    rest = v - projected(v, negative)
    torch.testing.assert_close((rest * negative).sum((1, 2, 3, 4)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(projected(3 * negative, negative), 3 * negative)
    assert projected(v, torch.zeros_like(v)).isfinite().all()


def test_skipped_layers_lead_away_from_the_model_without_them(model: WanTransformer) -> None:
    """v_text + (g - 1) (v_text - v_negative without the layer), within the span alone."""
    t = torch.tensor([1000.0])
    found = generate_latents(
        {"full": model}, TINY, TEXT, NEGATIVE, noise_BCFHW=NOISE, sampler="euler", steps=1, guidance={"full": 4.0},
        tricks=Tricks(skip_layers=(0, 2), skip_span=(0.0, 1.0)),
    )  # fmt: skip
    with torch.no_grad():
        v, led = model(NOISE, t, TEXT), model(NOISE, t, NEGATIVE, skip=(0, 2))
        layers = list(model.blocks)
        model.blocks = torch.nn.ModuleList([layers[1]])
        torch.testing.assert_close(model(NOISE, t, NEGATIVE), led)
        model.blocks = torch.nn.ModuleList(layers)
    torch.testing.assert_close(found, NOISE - (led + 4.0 * (v - led)))
    tricks = Tricks(skip_layers=(1,), skip_span=(0.25, 0.75))
    assert [bool(tricks.skipped(step, 8)) for step in range(8)] == [False] * 2 + [True] * 4 + [False] * 2


def test_a_velocity_is_used_again_while_little_changes(model: WanTransformer) -> None:
    counts = {}
    plain = latents(model, 40)
    for threshold in (0.0, 0.5, 1.0):
        reports: list[StepReport] = []
        made = latents(model, 40, reports, reuse=threshold)
        counts[threshold] = sum(r.reused for r in reports)
        assert not any(r.reused for r in (*reports[:6], reports[-1])), "the first seventh and the last are computed"
        assert (made - plain).abs().mean() / plain.abs().mean() <= 0.1 * threshold
    assert 0 == counts[0.0] < counts[0.5] < counts[1.0]


def test_what_reuse_foretells_is_what_it_was_told() -> None:
    """On a velocity that answers to x at a constant rate the error that is foretold is the true one."""
    reuse, x = Reuse(0.3), torch.ones(1, 1, 1, 1, 1)

    def velocity(x: Tensor) -> Tensor:
        return -2 * x

    for step, at in enumerate((1.0, 0.9)):
        assert reuse.again(x * at, 50 + step, 100) is None
        reuse.computed(x * at, velocity(x * at))
    assert reuse.rate == pytest.approx(2)
    again = reuse.again(x * 0.8, 52, 100)  # 2 * .1 / 1.8 = .11
    assert again is not None and again.item() == pytest.approx(0.8 + (-1.8 - 0.9))
    assert reuse.error.item() == pytest.approx(0.2 / 1.8)
    assert reuse.again(x * 0.6, 53, 100) is None  # .11 + 2 * .2 / 1.9 = .32
    assert Reuse(0.3).again(x, 50, 100) is None


def test_attention_across_frames() -> None:
    q, k, v = torch.randn(3, 2, 12, 2, 8, generator=torch.Generator().manual_seed(3))  # 3 frames of 4 tokens
    plain = attend(q, k, v)
    found = across_frames(attend, 3, 5.0)(q, k, v)
    for video in range(2):
        shares = []
        for head in range(2):
            for place in range(4):
                a, b = q[video, place::4, head], k[video, place::4, head]
                weights = (a @ b.T / 8**0.5).softmax(1)
                shares += [weights[i, j] for i in range(3) for j in range(3) if i != j]
        gain = max(1.0, torch.stack(shares).mean().item() * (3 + 5.0))
        torch.testing.assert_close(found[video], gain * plain[video])
    assert torch.equal(across_frames(attend, 3, -3.0)(q, k, v), plain), "never weaker"
    assert torch.equal(across_frames(attend, 1, 50.0)(q, k, v), plain), "a still has one frame"
    assert across_frames(attend, 3, 5.0)(q, k, v.bfloat16()).dtype == torch.bfloat16, (
        "as it computes: q and k are wider"
    )


def test_another_attention_is_used_for_a_while_and_gone_after_an_error(model: WanTransformer) -> None:
    seen = []

    def count(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        seen.append(q.shape)
        return attend(q, k, v)

    with pytest.raises(ZeroDivisionError), attending(model, count), torch.no_grad():
        model(NOISE, torch.tensor([500.0]), TEXT)
        raise ZeroDivisionError
    assert seen == [(1, 18, 4, 12)] * 3
    assert all(block.get_submodule("self_attn").attend is attend for block in model.blocks)


def test_sage_attention_that_is_not_installed_is_a_sentence(model: WanTransformer) -> None:
    with pytest.raises(SakugaError, match="needs the package sageattention and an NVIDIA card"):
        latents(model, attention="sage")
