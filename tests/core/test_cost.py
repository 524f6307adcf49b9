"""What training costs: the arithmetic that is published of the 14B, and the formulas written out anew."""

import math
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from sakuga.core.adapters import LORA, Kind
from sakuga.core.cost import (
    Held,
    blocks_bytes,
    forward_bytes,
    input_bytes,
    latent_bytes,
    lora_parameters,
    outer_bytes,
    parameters,
    plan_weights,
    sample_flop,
    step_memory,
)  # fmt: skip
from sakuga.core.errors import SakugaError
from sakuga.core.family import Transformer, member
from sakuga.nn.lora import inject
from sakuga.nn.transformer import WanTransformer

WAN = member("wan2.1-t2v-14b")


@pytest.mark.parametrize(("size", "petaflop"), [((384, 208, 45), 0.33), ((832, 480, 81), 5.9)])
def test_the_work_of_a_sample_is_what_is_known_of_the_14b(size: tuple[int, int, int], petaflop: float) -> None:
    assert sample_flop(WAN, *size) / 1e15 == pytest.approx(petaflop, rel=0.01)


def test_matrices_and_attention_are_told_by_how_they_grow() -> None:
    """At twice the tokens matrices double and attention between them is fourfold."""
    short, long, longer = (sample_flop(WAN, 512, 512, frames) for frames in (5, 13, 29))
    tokens = [WAN.tokens(512, 512, frames) for frames in (5, 13, 29)]
    assert tokens == [2048, 4096, 8192]
    second = (longer - long) - 2 * (
        long - short
    )  # what is left is the square: 16 layers d (8192^2 - 3 4096^2 + 2 2048^2)
    assert second == pytest.approx(16 * 40 * 5120 * (8192**2 - 3 * 4096**2 + 2 * 2048**2))


@pytest.mark.parametrize("name", ["tiny", "tiny-experts"])
def test_parameters_are_those_of_the_model(name: str) -> None:
    shape = member(name).transformer
    model = WanTransformer(shape)
    blocks = sum(p.numel() for p in model.blocks.parameters() if p.ndim == 2)
    assert parameters(shape) == blocks
    lora = inject(model, 8, 8.0, 1)
    assert lora_parameters(shape, 8) == sum(p.numel() for p in lora.parameters())
    for kind in (Kind("lokr"), Kind("lokr", 4, True), Kind("dora")):
        lora.remove(model)
        lora = inject(model, 8, 8, 0, kind=kind)
        assert lora_parameters(shape, 8, kind) == sum(p.numel() for p in lora.parameters())


def test_the_14b_has_14_billion_and_its_lora_of_rank_32_153_million() -> None:
    assert parameters(WAN.transformer) / 1e9 == pytest.approx(14.05, abs=0.01)
    assert lora_parameters(WAN.transformer, 32) / 1e6 == pytest.approx(153.4, abs=0.1)


def test_memory_is_its_parts_and_grows_with_tokens_and_batch() -> None:
    one = step_memory(WAN, 32, 3744, weight_bytes=2)
    assert one.total == one.weights + one.lora + one.activations
    assert one.weights == pytest.approx(28.1, abs=0.1) and one.lora == pytest.approx(2.45, abs=0.01)
    assert step_memory(WAN, 32, 3744, weight_bytes=2, batch=2).activations == 2 * one.activations
    assert step_memory(WAN, 32, 7488, weight_bytes=1).activations == 2 * one.activations


def test_a_latent_in_the_cache_is_half_precision() -> None:
    assert latent_bytes(WAN, 384, 208, 45) == 2 * 16 * 12 * 26 * 48


# What is alive while it runs


class Alive(TorchDispatchMode):
    """Counts the bytes of all tensors that are made while it is on."""

    def __init__(self, *known: Tensor) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.seen = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in tree_iter(made):
            if isinstance(tensor, Tensor) and (storage := tensor.untyped_storage())._cdata not in self.seen:
                self.seen.add(storage._cdata)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        return made

    def _gone(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.now -= size


def alive(wan: Transformer, training: bool, kind: Kind = LORA) -> int:
    """The most bytes beside weights and inputs, at 480 tokens in bf16."""
    model = WanTransformer(wan).to_compute(torch.bfloat16).requires_grad_(False)
    given = torch.randn(1, 16, 5, 16, 24), torch.tensor([700.0]), torch.randn(1, 8, wan.text_dim)
    if training:
        model.checkpointing = True
        inject(model, 2, 2, 0, kind=kind)
    with torch.set_grad_enabled(training), Alive(*model.parameters(), *given) as found:
        y = model(*given)
        if training:
            y.square().mean().backward()
    return found.peak


@pytest.mark.parametrize(("dim", "ffn"), [(256, 512), (256, 1024), (256, 1536), (384, 1024)])
def test_memory_is_what_is_alive(dim: int, ffn: int) -> None:
    wan = Transformer(dim, ffn, 2, 3, 16, 16, 64, freq_dim=32)
    assert forward_bytes(wan, 480) == pytest.approx(alive(wan, training=False), rel=0.05)
    told = step_memory(replace(WAN, transformer=wan), 2, 480, weight_bytes=2).activations * 1e9
    assert 0.9 < told / alive(wan, training=True) < 1.15


@pytest.mark.parametrize("name", ["lokr", "dora"])
def test_memory_of_other_adapters_is_what_is_alive(name: str) -> None:
    wan, kind = Transformer(256, 1024, 2, 3, 16, 16, 64, freq_dim=32), Kind(name, factor=2)
    told = step_memory(replace(WAN, transformer=wan), 2, 480, weight_bytes=2, kind=kind).activations * 1e9
    assert 0.9 < told / alive(wan, training=True, kind=kind) < 1.15


def test_weights_outside_the_blocks() -> None:
    model = WanTransformer(member("tiny").transformer).to_compute(torch.bfloat16)
    counted = sum(p.nbytes for name, p in model.named_parameters() if not name.startswith("blocks.") and p.dim() > 1)
    assert outer_bytes(model.shape) == pytest.approx(counted, rel=0.15)


# How the weights are held

LARGE, SMALL = WAN.tokens(1280, 720, 81), WAN.tokens(832, 480, 81)


@pytest.mark.parametrize(
    ("gigabytes", "tokens", "held"),
    [
        (80, LARGE, Held("bf16")),
        (48, SMALL, Held("bf16")),
        (32, LARGE, Held("fp8")),
        (24, SMALL, Held("fp8")),
        (24, LARGE, Held("fp8", 19)),
        (16, SMALL, Held("fp8", 20)),
        (12, SMALL, Held("fp8", 30)),
        (6, SMALL, Held("fp8", 40)),  # no estimate says that it will do: it is tried
    ],
)
def test_what_fits_on_which_card(gigabytes: float, tokens: int, held: Held) -> None:
    found = plan_weights(WAN.transformer, forward_bytes(WAN.transformer, tokens), gigabytes * 1e9, ("bf16", "fp8"))
    assert found.kind == held.kind and found.streamed == pytest.approx(held.streamed, abs=3)


@pytest.mark.parametrize(
    ("gigabytes", "size", "held"),
    [
        (80, (832, 480, 81), Held("bf16")),
        (48, (832, 480, 81), Held("fp8", 0, True)),  # 39 GB beside the weights, 27 of which may wait in host memory
        (24, (832, 480, 81), Held("fp8", 30, True)),
        (32, (768, 416, 21), Held("fp8")),
        (24, (768, 416, 21), Held("fp8", 0, True)),
        (16, (768, 416, 21), Held("fp8", 20, True)),
    ],
)
def test_inputs_of_blocks_wait_in_host_memory_before_weights_do(
    gigabytes: float, size: tuple[int, int, int], held: Held
) -> None:
    shape, tokens = WAN.transformer, WAN.tokens(*size)
    beside = step_memory(WAN, 32, tokens, weight_bytes=0).total * 1e9
    inputs = input_bytes(shape, tokens)
    found = plan_weights(shape, beside, gigabytes * 1e9, ("bf16", "fp8"), inputs=inputs)
    assert (found.kind, found.aside) == (held.kind, held.aside) and found.streamed == pytest.approx(
        held.streamed, abs=3
    )
    left = 0.9 * gigabytes * 1e9 - outer_bytes(shape) - beside + found.aside * inputs * 37 / 40
    assert blocks_bytes(shape, found) <= left
    assert plan_weights(shape, beside, 1e9, ("fp8",), 7, inputs) == Held("fp8", 7, True)
    assert not plan_weights(shape, beside, gigabytes * 1e9, ("bf16", "fp8")).aside


def test_no_more_is_streamed_than_must_be() -> None:
    shape, free = WAN.transformer, 16e9
    found = plan_weights(shape, forward_bytes(shape, SMALL), free, ("bf16", "fp8"))
    room = 0.9 * free - outer_bytes(shape) - forward_bytes(shape, SMALL)
    assert blocks_bytes(shape, found) <= room < blocks_bytes(shape, Held("fp8", found.streamed - 1))
    assert plan_weights(shape, forward_bytes(shape, SMALL, 2), free, ("bf16", "fp8")).streamed > found.streamed


def test_what_a_person_says_goes_before() -> None:
    shape = WAN.transformer
    assert plan_weights(shape, forward_bytes(shape, SMALL), math.inf, ("fp8",), 12) == Held("fp8", 12)
    assert plan_weights(shape, forward_bytes(shape, SMALL), 24e9, ("bf16", "fp8"), 30) == Held("bf16", 30)
    assert plan_weights(shape, forward_bytes(shape, SMALL), 16e9, ("bf16", "fp8"), 0) == Held("fp8", 0)
    assert plan_weights(shape, forward_bytes(shape, SMALL), 1e9, ("bf16",)) == Held("bf16", 40)
    with pytest.raises(SakugaError, match="stream = 41 is more than the 40 blocks that the transformer has; set fewer"):
        plan_weights(shape, forward_bytes(shape, SMALL), math.inf, ("fp8",), 41)


def test_two_slots_hold_what_is_streamed() -> None:
    block = parameters(WAN.transformer) / 40
    counted = [blocks_bytes(WAN.transformer, Held("fp8", n)) / block for n in (0, 1, 2, 3, 40)]
    assert counted == pytest.approx([40, 40, 40, 39, 2])
