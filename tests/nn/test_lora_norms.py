"""What a LoRA adds to each block, as a norm."""

import pytest
import torch

from sakuga.core.family import FAMILY
from sakuga.nn.lora import inject
from sakuga.nn.lora_norms import block_norms
from sakuga.nn.transformer import WanTransformer


def test_norms_are_those_of_the_products() -> None:
    model = WanTransformer(FAMILY["tiny"].transformer)
    lora = inject(model, 4, 8.0, seed=1)
    assert set(block_norms(lora).values()) == {0.0}  # B begins at zero
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in lora.layers.values():
            layer.B.copy_(torch.randn(layer.B.shape, generator=generator))
    found = block_norms(lora)
    assert list(found) == [f"blocks.{n}" for n in range(6)]
    second = [layer for name, layer in lora.layers.items() if name.startswith("blocks.1.")]
    square = sum(float((2 * layer.B @ layer.A).detach().square().sum()) for layer in second)
    assert found["blocks.1"] == pytest.approx(square**0.5, rel=1e-5)
