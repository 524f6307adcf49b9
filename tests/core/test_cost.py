"""What training costs: the arithmetic that is published of the 14B, and the formulas written out anew."""

import pytest

from sakuga.core.cost import latent_bytes, lora_parameters, parameters, sample_flop, step_memory
from sakuga.core.family import member
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
