"""Every kind of adapter that is trained: as peft's, beginning without a change, the same live, saved, merged and taken over."""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

from sakuga.core.adapters import Kind, split
from sakuga.core.errors import SakugaError
from sakuga.core.settings import TrainSettings
from sakuga.nn import lora
from sakuga.nn.adapters import TRAINED, DoraLinear, fresh
from sakuga.nn.compiled import compile_blocks
from sakuga.nn.lora_changes import assembled
from sakuga.nn.lora_file import lora_state_dict
from sakuga.nn.lora_norms import block_norms
from sakuga.nn.lora_start import start_from
from sakuga.nn.optimizers import make_optimizer
from sakuga.nn.quant import KINDS as STORED
from sakuga.nn.quant import QuantLinear, quantise_blocks
from sakuga.nn.stream import Stream
from sakuga.nn.transformer import WanTransformer
from sakuga.nn.weights import load_transformer
from streamed import SHAPE, gradients, inputs, weights_file

KINDS = {
    "lora": Kind(),
    "lokr": Kind("lokr", factor=2),
    "lokr of whole factors": Kind("lokr", factor=4, full_matrix=True),
    "dora": Kind("dora"),
}
by_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@pytest.fixture
def model(tmp_path: Path) -> WanTransformer:
    return load_transformer(SHAPE, weights_file(tmp_path), torch.float32, "cpu")


def moved(adapters: lora.LoraSet, by: float = 0.1, seed: int = 2) -> lora.LoraSet:
    """Adapters with every number away from where it began."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in adapters.parameters():
            part.add_(by * torch.randn(part.shape, generator=generator))
    return adapters


def worn(model: nn.Module, kind: Kind, rank: int = 4, **more: Any) -> lora.LoraSet:
    return lora.inject(model, rank, more.pop("alpha", rank), 0, kind=kind, **more)


@torch.no_grad()
def output(model: nn.Module) -> Tensor:
    made: Tensor = model.eval()(*inputs())
    return made


# As the others do it


@pytest.mark.parametrize(
    ("width", "factor", "parts"),
    [
        (5120, None, (64, 80)), (13824, None, (108, 128)), (1536, None, (32, 48)), (1024, None, (32, 32)), (127, None, (1, 127)),
        (5120, 4, (4, 1280)), (360, 16, (15, 24)), (128, 64, (2, 64)), (250, 4, (2, 125)), (12, 5, (3, 4)),
    ],
)  # fmt: skip
def test_a_width_is_split_as_in_lycoris(width: int, factor: int | None, parts: tuple[int, int]) -> None:
    assert split(width, factor) == parts
    assert sorted(peft.tuners.lokr.layer.factorization(width, factor or -1)) == list(parts)


def theirs(config: Any, parts: dict[str, Tensor], linear: nn.Linear) -> Any:
    """The same Linear with peft's adapter on it, and our numbers in that."""

    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q = nn.Linear(linear.in_features, linear.out_features)
            self.q.load_state_dict(linear.state_dict())

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.q(x)
            return y

    made: Any = peft.get_peft_model(One(), config)
    for name, parameter in made.named_parameters():
        part = next((part for part in parts if f".{part}." in name), None)
        if part:
            parameter.data = parts[part].detach().clone().reshape(parameter.shape)
    return made


PEFT = {
    "lora": (Kind(), peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q"])),
    "lokr": (Kind("lokr", factor=2), peft.LoKrConfig(r=4, alpha=8, target_modules=["q"], decompose_factor=2)),
    "dora": (Kind("dora"), peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q"], use_dora=True)),
}
RENAMED = {"A": "lora_A", "B": "lora_B", "magnitude": "lora_magnitude_vector"}


@pytest.mark.parametrize("name", PEFT)
def test_forward_and_gradients_are_those_of_peft(name: str) -> None:
    kind, config = PEFT[name]
    holder = nn.ModuleDict({"q": nn.Linear(48, 40)})
    blocks = nn.Module()
    blocks.blocks = nn.ModuleList([nn.ModuleDict({"self_attn": holder})])  # type: ignore[assignment]
    linear: Any = holder["q"]
    layer = moved(lora.inject(blocks, 4, 8, 0, kind=kind)).layers["blocks.0.self_attn.q"]
    other = theirs(config, {RENAMED.get(part, part): value for part, value in layer.parts.items()}, linear)
    x = torch.randn(3, 48, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(layer(x), other(x), atol=1e-6, rtol=1e-5)
    for made in (layer(x), other(x)):
        made.square().sum().backward()
    grown = {key: p.grad for key, p in other.named_parameters() if p.grad is not None}
    for part, parameter in layer.parts.items():
        (gradient,) = (g for key, g in grown.items() if f".{RENAMED.get(part, part)}." in key)
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient.reshape(parameter.shape), atol=1e-4, rtol=1e-4)


# On a model


@by_kind
def test_the_model_begins_unchanged_to_the_bit_and_with_the_same_values(model: WanTransformer, kind: Kind) -> None:
    before, keys = output(model), list(model.state_dict())
    first = worn(model, kind)
    assert torch.equal(output(model), before) and list(model.state_dict()) == keys
    assert all(norm == 0 for norm in block_norms(first).values())
    values = [p.detach().clone() for p in first.parameters()]
    first.remove(model)
    assert all(map(torch.equal, values, worn(model, kind).parameters()))


@by_kind
def test_live_saved_merged_and_off(model: WanTransformer, kind: Kind, tmp_path: Path) -> None:
    before = output(model)
    adapters = moved(worn(model, kind, alpha=3.0, rslora=True))
    live = output(model)
    assert (live - before).abs().max() > 0.01
    adapters.set_strength(0.3)
    weaker = output(model)
    lora.save_lora(tmp_path / "a.safetensors", adapters.tensors(), {}, torch.float32)
    adapters.remove(model)
    assert torch.equal(output(model), before)
    file = lora.load_lora(tmp_path / "a.safetensors")
    assert file.unused == [] and file.layers.keys() == adapters.layers.keys()
    applied = lora.apply(model, file)
    torch.testing.assert_close(output(model), live, atol=1e-6, rtol=1e-6)
    applied.lora.set_strength(0.3)
    torch.testing.assert_close(output(model), weaker, atol=1e-6, rtol=1e-6)
    applied.lora.remove(model)
    lora.merge(model, file)
    torch.testing.assert_close(output(model), live, atol=2e-6, rtol=0)


def test_the_keys_are_those_that_ComfyUI_reads(model: WanTransformer) -> None:
    endings = {
        "lokr": {"lokr_w1", "lokr_w2_a", "lokr_w2_b", "alpha"},
        "lokr of whole factors": {"lokr_w1", "lokr_w2", "alpha"},
        "dora": {"lora_A.weight", "lora_B.weight", "dora_scale", "alpha"},
    }
    for name, wanted in endings.items():
        adapters = worn(model, KINDS[name], include=["blocks.0.self_attn.q"])
        state = lora_state_dict(adapters.tensors())
        stem = "diffusion_model.blocks.0.self_attn.q."
        assert {key.removeprefix(stem) for key in state} == wanted
        if "dora" in name:  # bf16 would round away what it learns
            assert state[f"{stem}dora_scale"].dtype == torch.float32 and state[f"{stem}dora_scale"].shape == (48, 1)
        adapters.remove(model)


@by_kind
def test_what_is_trained_gets_a_gradient_and_ranks_are_by_layer(model: WanTransformer, kind: Kind) -> None:
    adapters = moved(worn(model, kind, rank=3, ranks={"ffn": 2}, dropout=0.2))
    model.train()(*inputs()).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in adapters.parameters())
    shapes = kind.parts(64, 48, 2)
    assert {name: tuple(part.shape) for name, part in adapters.layers["blocks.0.ffn.0"].parts.items()} == shapes


@pytest.mark.parametrize("plus", [1.0, 16.0])
@by_kind
def test_what_begins_at_zero_is_fast_and_lengths_do_not_decay(model: WanTransformer, kind: Kind, plus: float) -> None:
    adapters = worn(model, kind)
    groups = make_optimizer(adapters, TrainSettings(learning_rate=1e-3, weight_decay=0.1, lora_plus=plus)).param_groups
    of = {id(p): group for group in groups for p in group["params"]}
    assert len(of) == len(adapters.parameters())
    for part, parameter in adapters.parts():
        group = of[id(parameter)]
        fast = part in ("B", "lokr_w2", "lokr_w2_b")
        assert not fast or not parameter.any()
        assert group["initial_lr"] == group["lr"] == pytest.approx(1e-3 * (plus if fast else 1))
        assert group["weight_decay"] == (0.0 if part == "magnitude" else 0.1)


def test_dropout_is_of_the_input_of_what_is_learnt() -> None:
    linear = nn.Linear(8, 4)
    for name in ("lokr", "dora"):
        kind = Kind(name, factor=2)
        made = TRAINED[kind.name](linear, fresh(linear, kind.parts(4, 8, 2), 0), 2.0, 0.5)
        x = torch.ones(64, 8)
        assert torch.equal(made.train()(x), linear(x))  # nothing is learnt yet
        with torch.no_grad():
            for part in made.parts.values():
                part.add_(1.0)
        assert made(x).std(0).min() > 0 and made.eval()(x).std(0).max() < 1e-5


@pytest.mark.parametrize("stored", ["fp8", "bf16"])
def test_dora_on_weights_stored_otherwise(model: WanTransformer, stored: str) -> None:
    """|W| is that of the weight as it computes: the model begins unchanged, and is as it is merged in fp32."""
    quantise_blocks(model, STORED[stored])
    before = output(model)
    adapters = worn(model, Kind("dora"))
    assert torch.equal(output(model), before)
    moved(adapters)
    for name, layer in adapters.layers.items():
        assert isinstance(layer, DoraLinear) and isinstance(layer.base, QuantLinear), name
        W = layer.base(torch.eye(layer.base.in_features)) - (0 if layer.bias is None else layer.bias)
        whole = W.T + layer.alpha / 4 * (layer.B @ layer.A)
        torch.testing.assert_close(layer.lengths(torch.float32), whole.norm(dim=1, keepdim=True), atol=1e-5, rtol=1e-5)


# Taken over


@by_kind
def test_what_was_saved_is_taken_over_and_nothing_else(model: WanTransformer, kind: Kind) -> None:
    saved = moved(worn(model, kind)).tensors()
    again = worn(load(model), kind)
    again.load(saved)
    assert all(map(torch.equal, again.parameters(), again.in_order(saved)))
    other = worn(load(model), kind, rank=3)
    if kind.full_matrix:
        other = worn(load(model), Kind("lokr", factor=2, full_matrix=True))
    with pytest.raises(
        SakugaError,
        match=r"set the same rank|other factors at .* train\.full_matrix as they were",
    ):
        other.load(saved)

    with pytest.raises(SakugaError, match=r"the saved LoRA is .* set train.adapter as it was"):
        worn(load(model), Kind("dora" if kind.name != "dora" else "lora")).load(saved)


def load(model: WanTransformer) -> WanTransformer:
    """The base of a model, again."""
    made = WanTransformer(SHAPE)
    made.load_state_dict(model.state_dict())
    return made


def begun(
    model: WanTransformer, kind: Kind, file: lora.LoraFile, strength: float = 1.0, **more: Any
) -> tuple[Tensor, list[str]]:
    """The output of a model whose training begins with a file, and what is said."""
    made = load(model)
    told = start_from(worn(made, kind, **more), file, strength)
    return output(made), told


def file_of(model: WanTransformer, kind: Kind, **more: Any) -> tuple[lora.LoraFile, Tensor]:
    """A file of a kind, and the output of the model that wears it."""
    made = load(model)
    adapters = moved(worn(made, kind, **more))
    saved = {name: assembled(change.parts(), change.alpha) for name, change in adapters.tensors().items()}
    plain = {name: change for name, change in saved.items() if isinstance(change, lora.LoraTensors)}
    others = {name: change for name, change in saved.items() if name not in plain}
    return lora.LoraFile(Path("style.safetensors"), plain, others=others), output(made)


@by_kind
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_a_training_begins_with_a_file_of_its_kind(model: WanTransformer, kind: Kind, strength: float) -> None:
    file, whole = file_of(model, kind, alpha=8.0)
    same, told = begun(model, kind, file, strength)
    assert told == ["begins with style.safetensors: 60 of 60 layers"]
    applied = lora.apply(model, file, strength)
    torch.testing.assert_close(same, output(model), atol=2e-6, rtol=1e-6)
    if strength == 1:
        torch.testing.assert_close(same, whole, atol=2e-6, rtol=1e-6)
    if not kind.full_matrix:
        wider, told = begun(model, kind, file, strength, rank=6)
        assert told[1:] == ["60 layers have a lower rank there; the rest of this one begins fresh"]
        torch.testing.assert_close(wider, same, atol=2e-6, rtol=1e-6)
        _, told = begun(model, kind, file, strength, rank=2)
        assert told[1].startswith("60 layers have a higher rank there and are cut to this one: at most ")
    applied.lora.remove(model)


def test_dora_begins_with_plain_lora_and_lokr_with_its_like_alone(model: WanTransformer) -> None:
    file, whole = file_of(model, Kind())
    same, _ = begun(model, Kind("dora"), file)
    torch.testing.assert_close(same, whole, atol=2e-6, rtol=1e-6)
    with pytest.raises(SakugaError, match="has no equally split LoKr layer of those that are trained"):
        begun(model, Kind("lokr", factor=2), file)
    other, _ = file_of(model, Kind("lokr", factor=4))
    with pytest.raises(SakugaError, match="has no equally split LoKr layer"):
        begun(model, Kind("lokr", factor=2), other)
    whole_factors, worn_so = file_of(model, Kind("lokr", factor=2, full_matrix=True))
    low, told = begun(model, Kind("lokr", factor=2), whole_factors)
    assert told[1].startswith("60 layers have a higher rank there")
    full, _ = begun(model, Kind("lokr", factor=2, full_matrix=True), file_of(model, Kind("lokr", factor=2))[0])
    torch.testing.assert_close(full, file_of(model, Kind("lokr", factor=2))[1], atol=2e-6, rtol=1e-6)
    assert not torch.equal(low, worn_so)


# Held otherwise


@pytest.mark.parametrize("name", ["lokr", "dora"])
def test_streamed_blocks_and_compiled_ones_learn_the_same(model: WanTransformer, name: str) -> None:
    kind = KINDS[name]
    plain = load(model).train()
    plain.checkpointing = True
    adapters = moved(worn(plain, kind))
    wanted = gradients(plain, adapters)
    held = load(model).train()
    held.checkpointing = True
    held.stream = Stream({1: held.blocks[1]}, torch.device("cpu"))
    streamed = moved(worn(held, kind))
    assert all(map(torch.equal, gradients(held, streamed), wanted))
    compile_blocks(plain, backend="aot_eager")
    for ours, theirs in zip(gradients(plain, adapters), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)
