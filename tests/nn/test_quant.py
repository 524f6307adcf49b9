"""Weights in fp8: what rounding costs, that files in fp8 keep their numbers, and LoRAs on them, live and merged."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sakuga.core.errors import SakugaError
from sakuga.core.family import Transformer
from sakuga.nn.lora_fold import plain_weight
from sakuga.nn.quant import KINDS, QuantLinear, quantise, quantise_blocks, restored
from sakuga.nn.transformer import WanTransformer, is_island
from sakuga.nn.weights import load_transformer
from streamed import SHAPE, inputs, trained, weights_file

FP8 = KINDS["fp8"]
HALF_STEP = 2**-4  # e4m3 has three bits after the point: a number is off by at most a sixteenth of itself


def linears(model: nn.Module) -> dict[str, QuantLinear]:
    return {name: module for name, module in model.named_modules() if isinstance(module, QuantLinear)}


# The arithmetic


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 9), st.integers(1, 17), st.lists(st.integers(-120, 100), min_size=9, max_size=9), st.integers(0, 999)
)
def test_each_number_is_off_by_half_a_step(rows: int, columns: int, powers: list[int], seed: int) -> None:
    """Rows of any size, among them tiny, huge and empty ones, and none disturbs another."""
    W = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    W *= torch.tensor(powers[:rows]).double().exp2().float()[:, None]
    W[seed % rows] = 0
    Q, scale = quantise(W, FP8)
    assert scale is not None and scale.shape == (rows,) and Q.dtype == torch.float8_e4m3fn
    found = restored(Q, scale, torch.float32)
    least = W.abs().amax(1, keepdim=True) / 448 * 2**-10  # below this share of a row's largest the steps are even
    assert ((found - W).abs() <= HALF_STEP * W.abs() + least + 1e-38).all()
    assert (found[seed % rows] == 0).all()
    again, same = quantise(found, FP8)
    assert torch.equal(restored(again, same, torch.float32), found)


def test_the_largest_of_a_row_keeps_its_value() -> None:
    W = torch.tensor([[448.0, -1.0], [-3.5, 0.25], [1e30, 2e29]])
    Q, scale = quantise(W, FP8)
    assert Q.float()[:, 0].tolist() == [448, -448, 448]
    assert restored(Q, scale, torch.float32)[:, 0].tolist() == pytest.approx([448, -3.5, 1e30])


def test_a_weight_is_rounded_once_more_to_the_type_it_computes_in() -> None:
    W = torch.randn(64, 48, generator=torch.Generator().manual_seed(0))
    Q, scale = quantise(W, FP8)
    assert scale is not None
    exact = Q.float() * scale[:, None]
    assert torch.equal(restored(Q, scale, torch.float32), exact)
    assert torch.equal(restored(Q, scale, torch.bfloat16), exact.bfloat16())


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_and_its_gradient_are_those_of_the_restored_weight(kind: str, bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(48, 33, bias)
    stored = QuantLinear(plain, KINDS[kind])
    plain.weight.data = plain_weight(stored)
    results = []
    for layer in (plain, stored):
        x = torch.randn(2, 5, 48, generator=torch.Generator().manual_seed(1)).requires_grad_()
        y = checkpoint(layer, x, use_reentrant=False)
        y.square().sum().backward()
        results.append((y.detach(), x.grad))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert all(parameter.grad is None for parameter in stored.parameters())


def test_the_backward_pass_keeps_the_stored_bytes_alone() -> None:
    stored = QuantLinear(nn.Linear(64, 64), FP8)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):  # type: ignore[func-returns-value]
        stored(torch.randn(3, 64, requires_grad=True))
    assert sorted(t.nbytes for t in kept) == [4 * 64, 64 * 64]


# In the transformer


def test_only_the_large_linears_of_blocks_are_stored_so() -> None:
    model = WanTransformer(SHAPE)
    keys = quantise_blocks(model, FP8)
    assert len(keys) == 10 * SHAPE.layers and not any(map(is_island, keys))
    assert sorted(keys) == sorted(
        k for k, v in WanTransformer(SHAPE).state_dict().items()
        if k.startswith("blocks.") and v.dim() == 2 and k.endswith(".weight")
    )  # fmt: skip
    assert isinstance(model.text_embedding[0], nn.Linear) and isinstance(model.head.head, nn.Linear)


@torch.no_grad()
def test_what_fp8_costs(tmp_path: Path) -> None:
    """Relative error of the weights and of a forward pass, against bf16 beside it."""
    path = weights_file(tmp_path)
    exact, half, stored = (
        load_transformer(SHAPE, path, torch.float32),
        load_transformer(SHAPE, path, torch.bfloat16),
        load_transformer(SHAPE, path, torch.bfloat16, kind="fp8"),
    )
    for name, layer in linears(stored).items():
        W = exact.get_parameter(f"{name}.weight")
        error = ((plain_weight(layer) - W).norm() / W.norm()).item()
        assert 0.02 < error < 0.03, name
    y, rounded, small = (model(*inputs()) for model in (exact, half, stored))
    assert (rounded - y).norm() / y.norm() < 0.01
    assert 0.005 < (small - y).norm() / y.norm() < 0.05


def test_a_saved_model_is_a_file_of_scaled_fp8_and_loads_to_the_bit(tmp_path: Path) -> None:
    stored = load_transformer(SHAPE, weights_file(tmp_path), torch.float32, kind="fp8")
    state = stored.state_dict()
    assert {k for k in state if not k.endswith(".scale_weight")} == set(WanTransformer(SHAPE).state_dict())
    save_file(state, tmp_path / "fp8.safetensors")
    again = load_transformer(SHAPE, tmp_path / "fp8.safetensors", torch.float32, kind="fp8")
    for key, tensor in again.state_dict().items():
        assert tensor.dtype == state[key].dtype and torch.equal(tensor.float(), state[key].float()), key
    multiplied = load_transformer(SHAPE, tmp_path / "fp8.safetensors", torch.float32)
    with torch.no_grad():
        assert torch.equal(multiplied(*inputs()), stored(*inputs()))


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("scaled", ["one", "rows", "none"])
def test_files_in_fp8_keep_their_numbers(dtype: torch.dtype, scaled: str, tmp_path: Path) -> None:
    state = load_file(weights_file(tmp_path))
    expected = dict(state)
    for key in [key for key in state if key.endswith(("attn.q.weight", "ffn.2.weight"))]:
        W = state[key]
        scale = {"one": W.abs().max(), "rows": W.abs().amax(1, keepdim=True), "none": torch.ones(())}[scaled] / 100
        scale = scale if scaled != "none" else torch.ones(())
        state[key] = (W / scale).to(dtype)
        expected[key] = state[key].float() * scale
        if scaled != "none":
            state[key.replace("weight", "scale_weight")] = scale.reshape(-1)
    save_file(state, tmp_path / "theirs.safetensors")
    stored = linears(load_transformer(SHAPE, tmp_path / "theirs.safetensors", torch.float32, kind="fp8"))
    for key in [key for key in state if key.endswith(("attn.q.weight", "ffn.2.weight"))]:
        layer = stored[key.removesuffix(".weight")]
        assert layer.weight.dtype == dtype and torch.equal(layer.weight.float(), state[key].float())
        assert torch.equal(plain_weight(layer), expected[key])
        assert layer.scale_weight is not None and layer.scale_weight.shape == (layer.out_features,)


def test_bf16_beside_fp32_is_exact_for_files_in_bf16(tmp_path: Path) -> None:
    path = weights_file(tmp_path, torch.bfloat16)
    plain, stored = (
        load_transformer(SHAPE, path, torch.float32),
        load_transformer(SHAPE, path, torch.float32, kind="bf16"),
    )
    assert {layer.weight.dtype for layer in linears(stored).values()} == {torch.bfloat16}
    assert all(layer.scale_weight is None for layer in linears(stored).values())
    with torch.no_grad():
        assert torch.equal(plain(*inputs()), stored(*inputs()))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_numbers_that_are_none_are_refused_before_they_are_rounded_away(value: float, tmp_path: Path) -> None:
    state = load_file(weights_file(tmp_path))
    state["blocks.1.ffn.0.weight"][3, 5] = value
    save_file(state, tmp_path / "bad.safetensors")
    with pytest.raises(SakugaError, match=r"no numbers \(NaN or infinite\) in blocks\.1\.ffn\.0\.weight"):
        load_transformer(SHAPE, tmp_path / "bad.safetensors", torch.float32, kind="fp8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda W: W.to(torch.int8), r"quantised weights \(blocks\.1\.ffn\.0\.weight, int8\)"),
        (lambda W: W[:-1], r"blocks\.1\.ffn\.0\.weight is \[63, 48\], expected \[64, 48\]"),
        (lambda W: W[0], r"blocks\.1\.ffn\.0\.weight is \[48\], expected"),
    ],
)
def test_what_does_not_fit_is_named_as_without(change, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    state = load_file(weights_file(tmp_path))
    state["blocks.1.ffn.0.weight"] = change(state["blocks.1.ffn.0.weight"]).contiguous()
    save_file(state, tmp_path / "bad.safetensors")
    with pytest.raises(SakugaError, match=message):
        load_transformer(SHAPE, tmp_path / "bad.safetensors", torch.float32, kind="fp8")


# LoRAs


def test_a_lora_acts_on_it_and_comes_off_exactly(tmp_path: Path) -> None:
    stored = load_transformer(SHAPE, weights_file(tmp_path), torch.float32, kind="fp8")
    whole = load_transformer(SHAPE, weights_file(tmp_path), torch.float32)
    for name, layer in linears(stored).items():
        whole.get_submodule(name).weight.data = plain_weight(layer)
    with torch.no_grad():
        before, keys = stored(*inputs()), list(stored.state_dict())
        on_whole = trained(whole)
        adapters = trained(stored)
        assert torch.equal(stored(*inputs()), whole(*inputs())) and list(stored.state_dict()) == keys
        assert (stored(*inputs()) - before).abs().max() > 0.01
        adapters.remove(stored)
        assert torch.equal(stored(*inputs()), before)
    assert on_whole.layers.keys() == adapters.layers.keys()


def test_merging_makes_the_scales_of_rows_anew_and_says_what_it_cost(tmp_path: Path) -> None:
    stored = load_transformer(SHAPE, weights_file(tmp_path), torch.float32, kind="fp8")
    adapters = trained(stored)
    name = "blocks.1.ffn.0"
    layer = linears(stored)[f"{name}.base"]
    with torch.no_grad():
        adapters.layers[name].B[7] *= 50  # one row grows far beyond the others
    wanted = plain_weight(layer) + adapters.layers[name].change.matrix()
    scale = None if layer.scale_weight is None else layer.scale_weight.clone()
    lost = adapters.merge(stored)
    assert 0 < lost < 0.2
    found, grown = plain_weight(layer), layer.scale_weight
    assert scale is not None and grown is not None
    assert ((found - wanted).norm(dim=1) / wanted.norm(dim=1)).max() < 0.04
    assert grown[7] > 5 * scale[7] and torch.equal(grown, wanted.abs().amax(1) / 448)


def test_the_shape_of_a_real_block_takes_half_of_bf16() -> None:
    wan = Transformer(5120, 13824, 40, 1, 16, 16, 4096)
    with torch.device("meta"):
        model = WanTransformer(wan)
    quantise_blocks(model, FP8)
    stored = sum(
        p.nbytes for n, p in model.named_parameters() if n.startswith("blocks.") and not n.endswith("modulation")
    )
    whole = sum(2 * p.numel() for n, p in model.blocks.named_parameters() if p.dim() == 2)
    assert stored < 0.502 * whole
