"""The transformer against the official code and diffusers, with every weight random (the official head starts at zero).

Shapes: B batch, C channels, F latent frames, H W latent size, L tokens, T text tokens, D width.
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from official_parts import TEXT_LENGTH, diffusers_model, noise, official_model, ours, pad
from sakuga.core.family import Transformer
from sakuga.nn.transformer import WanTransformer, is_island

TOLERANCE = 5e-6
T2V = Transformer(96, 160, 4, 2, 16, 16, 32, freq_dim=32)
I2V = replace(T2V, in_channels=36)
TI2V = replace(T2V, in_channels=48, out_channels=48)
CLIP = replace(T2V, in_channels=36, clip_branch=True)


def difference(a_BCFHW: Tensor, b_BCFHW: Tensor) -> float:
    assert a_BCFHW.shape == b_BCFHW.shape
    assert b_BCFHW.std() > 0.1, "the comparison would be between zeros"
    return (a_BCFHW - b_BCFHW).abs().max().item()


@pytest.mark.parametrize(
    ("shape", "kind", "lengths", "per_token"),
    [
        pytest.param(T2V, "t2v", [TEXT_LENGTH], False, id="t2v"),
        pytest.param(T2V, "t2v", [5], False, id="short text"),
        pytest.param(T2V, "t2v", [7, TEXT_LENGTH], False, id="two timesteps"),
        pytest.param(I2V, "i2v", [9], False, id="i2v"),
        pytest.param(TI2V, "ti2v", [9], True, id="timestep per token"),
    ],
)
@torch.no_grad()
def test_equals_official(shape: Transformer, kind: str, lengths: list[int], per_token: bool) -> None:
    model = ours(shape)
    batch, size = len(lengths), (3, 6, 4)
    tokens = 3 * 3 * 2
    x_BCFHW = noise(batch, shape.out_channels, *size)
    given = shape.in_channels - shape.out_channels
    image_BCFHW = noise(batch, given, *size, seed=2) if given else None
    texts = [noise(n, shape.text_dim, seed=3 + n) for n in lengths]
    t = torch.tensor([913.5, 41.0][:batch])
    if per_token:
        t = t[:, None].repeat(1, tokens)
        t[:, :6] = 0  # the first latent frame is given

    # Official code spreads [B] over the tokens only for a batch of one.
    spread = t if per_token or batch == 1 else t[:, None].expand(batch, tokens)
    expected = official_model(model, kind)(
        list(x_BCFHW), spread, texts, tokens, y=None if image_BCFHW is None else list(image_BCFHW)
    )
    found = model(x_BCFHW, t, pad(texts), image_BCFHW)
    assert found.dtype == torch.float32
    assert difference(found, torch.stack(expected)) <= TOLERANCE


@pytest.mark.parametrize("shape", [T2V, I2V, TI2V], ids=["t2v", "i2v", "5b"])
def test_keys_are_the_official_keys(shape: Transformer) -> None:
    model = WanTransformer(shape)
    other = official_model(model, "t2v").state_dict()
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in other.items()}


@pytest.mark.parametrize("shape", [T2V, CLIP], ids=["t2v", "clip branch"])
@torch.no_grad()
def test_equals_diffusers(shape: Transformer) -> None:
    model = ours(shape)
    # A small timestep: diffusers takes the angles of the time embedding in fp32, wrong by 5e-5 at 913.
    x_BCFHW, t_B = noise(1, shape.in_channels, 2, 6, 4), torch.tensor([3])
    text_BTD = noise(1, 512, shape.text_dim, seed=3)  # diffusers takes the last 512 tokens for the text
    clip_BTD = noise(1, 257, 1280, seed=4) if shape.clip_branch else None
    expected = diffusers_model(model)(x_BCFHW, t_B, text_BTD, clip_BTD, return_dict=False)[0]
    assert difference(model(x_BCFHW, t_B, text_BTD, clip_BTD=clip_BTD), expected) <= TOLERANCE


@torch.no_grad()
def test_clip_features_count() -> None:
    model = ours(CLIP)
    x_BCFHW, t_B, text_BTD = noise(1, 36, 1, 4, 4), torch.tensor([500.0]), noise(1, 4, 32)
    one, other = (model(x_BCFHW, t_B, text_BTD, clip_BTD=noise(1, 257, 1280, seed=n)) for n in (5, 6))
    assert difference(one, other) > 0.01
    with pytest.raises(AssertionError, match="image branch"):
        model(x_BCFHW, t_B, text_BTD)


def test_checkpointing_changes_nothing() -> None:
    model = ours(T2V)
    inputs = noise(1, 16, 2, 4, 4), torch.tensor([700.0]), noise(1, 6, 32)
    results = []
    for model.checkpointing in (False, True):
        model.zero_grad()
        out = model(*inputs)
        out.square().mean().backward()
        results.append((out, {k: p.grad for k, p in model.named_parameters()}))
    (plain, grads), (again, regrads) = results
    assert torch.equal(plain, again)
    assert all(torch.equal(grads[k], regrads[k]) for k in grads)  # type: ignore[arg-type]
    assert all(g is not None and g.abs().max() > 0 for g in grads.values())


def test_checkpointing_keeps_less() -> None:
    model, kept = ours(T2V), []
    for model.checkpointing in (False, True):
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, s=saved: s.append(x.numel()) or x, lambda x: x):
            model(noise(1, 16, 2, 4, 4), torch.tensor([700.0]), noise(1, 6, 32))
        kept.append(sum(saved))
    assert kept[1] < kept[0] / 2


@torch.no_grad()
def test_islands_stay_fp32() -> None:
    model = ours(CLIP)
    inputs = noise(1, 36, 2, 4, 4), torch.tensor([700.0]), noise(1, 6, 32)
    clip_BTD = noise(1, 257, 1280, seed=4)
    exact = model(*inputs, clip_BTD=clip_BTD)
    model.to_compute(torch.bfloat16)
    fp32 = {k for k, p in model.named_parameters() if p.dtype == torch.float32}
    block = ("norm_q", "norm_k", "norm_k_img")
    expected = {f"blocks.{n}.{a}.{k}.weight" for n in (0, 1) for a in ("self_attn", "cross_attn") for k in block}
    expected -= {f"blocks.{n}.self_attn.norm_k_img.weight" for n in (0, 1)}
    expected |= {f"blocks.{n}.{k}" for n in (0, 1) for k in ("modulation", "norm3.weight", "norm3.bias")}
    affine = ["time_embedding.0", "time_embedding.2", "time_projection.1", "head.head"]
    affine += [f"img_emb.proj.{n}" for n in (0, 1, 3, 4)]
    expected |= {f"{k}.{kind}" for k in affine for kind in ("weight", "bias")} | {"head.modulation"}
    assert fp32 == expected
    assert all(p.dtype == torch.bfloat16 for k, p in model.named_parameters() if k not in fp32)
    found = model(*inputs, clip_BTD=clip_BTD)
    assert found.dtype == torch.float32
    assert 0 < difference(found, exact) < 0.1 * exact.std()


def test_adapters_are_islands() -> None:
    assert is_island("blocks.3.self_attn.q.A")
    assert not is_island("blocks.3.self_attn.q.base.weight")


def test_the_rotation_table_survives_inference_mode() -> None:
    model = ours(T2V)
    inputs = noise(1, 16, 1, 10, 6), torch.tensor([700.0]), noise(1, 6, 32)  # a grid that no other test uses
    with torch.inference_mode():
        model(*inputs)
    model(*inputs).sum().backward()


def test_one_timestep_is_not_spread_over_the_tokens() -> None:
    _, modulation_BG6D = ours(T2V).embed_time(torch.tensor([1.0, 2.0]))
    assert modulation_BG6D.shape == (2, 1, 6, T2V.dim)


@torch.no_grad()
def test_velocity_has_the_shape_of_the_latents_on_meta_too() -> None:
    with torch.device("meta"):
        model = WanTransformer(I2V)
        x_BCFHW, image_BCFHW = torch.empty(2, 16, 3, 6, 4), torch.empty(2, 20, 3, 6, 4)
        out = model(x_BCFHW, torch.empty(2), torch.empty(2, 5, 32), image_BCFHW)
    assert out.shape == x_BCFHW.shape
