"""Weights as numbers and back: what a LoRA is merged into, whatever type the weight is stored in.

An fp8 weight w stands for scale * w; the scale is one number for the tensor (`scale_weight`), or 1 where there is none.
"""

from typing import Any

import torch
from torch import Tensor

from ..core.errors import SakugaError

PLAIN = (torch.float32, torch.bfloat16, torch.float16)
FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)
SCALE = "scale_weight"


def plain_weight(linear: Any, name: str = "a layer") -> Tensor:
    """The weight of a Linear in fp32. Raises SakugaError for a storage that cannot be written back to."""
    weight = linear.weight
    if not isinstance(weight, Tensor) or weight.dtype not in (*PLAIN, *FP8):
        raise SakugaError(f"{name} is quantised and a LoRA cannot be merged into it; load the model in bf16")
    scale = getattr(linear, SCALE, None)
    return weight.detach().float() if scale is None else weight.detach().float() * scale.float()


@torch.no_grad()
def store(linear: Any, wanted: Tensor) -> Tensor:
    """Writes a weight in the type that the Linear has, and returns in fp32 what it then stands for.

    With a scale the scale is made anew, so that the largest value is the largest of the type.
    """
    weight, scale = linear.weight, getattr(linear, SCALE, None)
    values = wanted
    if weight.dtype in FP8:
        largest = torch.finfo(weight.dtype).max
        if scale is not None:
            scale.copy_((wanted.abs().max() / largest).clamp_min(torch.finfo(torch.float32).tiny))
            values = wanted / scale.float()
        values = values.clamp(-largest, largest)
    weight.copy_(values.to(weight.dtype))
    return plain_weight(linear)
