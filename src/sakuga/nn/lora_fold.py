"""Weights as numbers and back: what a LoRA is merged into, whatever type the weight is stored in.

An fp8 weight w stands for scale * w; the scale (`scale_weight`) is one number for the tensor or one for each row, or 1 where
there is none.
"""

from typing import Any

import torch
from torch import Tensor

from ..core.errors import SakugaError
from .quant import SCALE, row_scale

PLAIN = (torch.float32, torch.bfloat16, torch.float16)
FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)


def plain_weight(linear: Any, name: str = "a layer") -> Tensor:
    """The weight of a Linear in fp32. Raises SakugaError for a storage that cannot be written back to."""
    weight = linear.weight
    if not isinstance(weight, Tensor) or weight.dtype not in (*PLAIN, *FP8):
        raise SakugaError(f"{name} is quantised and a LoRA cannot be merged into it; load the model in bf16")
    whole = weight.detach().to(home(linear)).float()
    scale = getattr(linear, SCALE, None)
    return whole if scale is None else whole * scale.float().reshape(-1, 1)


def home(layer: Any) -> torch.device | None:
    """Where a layer computes: a streamed weight lies on the host, and what is beside it does not. None for no tensors."""
    devices = [tensor.device for tensor in (*layer.parameters(), *layer.buffers())]
    return next((device for device in devices if device.type != "cpu"), devices[0] if devices else None)


@torch.no_grad()
def store(linear: Any, wanted: Tensor) -> Tensor:
    """Writes a weight in the type that the Linear has, and returns in fp32 what it then stands for.

    A scale is made anew, so that the largest value, of all or of each row, is the largest of the type.
    """
    weight, scale = linear.weight, getattr(linear, SCALE, None)
    values = wanted
    if weight.dtype in FP8:
        largest = torch.finfo(weight.dtype).max
        if scale is not None:
            rows = wanted if scale.numel() == len(wanted) else wanted.reshape(1, -1)
            scale.copy_(row_scale(rows, largest).reshape(scale.shape))
            values = wanted / scale.float().reshape(-1, 1)
        values = values.clamp(-largest, largest)
    weight.copy_(values.to(weight.dtype))
    return plain_weight(linear)
