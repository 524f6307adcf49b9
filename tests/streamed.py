"""A small transformer in a file, what it is given, and a LoRA on it: for tests of how weights are held."""

from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sakuga.core.family import Transformer
from sakuga.nn import lora
from sakuga.nn.transformer import WanTransformer

SHAPE = Transformer(48, 64, 2, 6, 16, 16, 24, freq_dim=32)


@cache
def _weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = {}
    for key, like in WanTransformer(SHAPE).state_dict().items():
        noise = torch.randn(like.shape, generator=generator)
        made[key] = 1 + 0.1 * noise if "norm" in key and key.endswith("weight") else 0.1 * noise
    return made


def weights_file(folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    path = folder / f"{str(dtype).removeprefix('torch.')}.safetensors"
    save_file({key: tensor.to(dtype) for key, tensor in _weights().items()}, path)
    return path


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, SHAPE.in_channels, 2, 4, 6, generator=generator)
    return x, torch.tensor([700.0]), torch.randn(1, 5, SHAPE.text_dim, generator=generator)


def trained(model: nn.Module) -> lora.LoraSet:
    """Adapters with a B that is not zero."""
    adapters = lora.inject(model, 4, 4, 0)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for layer in adapters.layers.values():
            layer.B.copy_(0.1 * torch.randn(layer.B.shape, generator=generator))
    return adapters


def gradients(model: nn.Module, adapters: lora.LoraSet) -> list[Tensor]:
    """Of a step of training, in the order of `adapters.parameters()`."""
    model(*inputs()).square().mean().backward()
    found = [parameter.grad for parameter in adapters.parameters()]
    for parameter in adapters.parameters():
        parameter.grad = None
    assert all(gradient is not None for gradient in found)
    return found  # type: ignore[return-value]
