"""Frozen Linears that store their weights in fewer bytes than they compute in.

    W ~ s Q        Q in the type of a kind, s one fp32 number for each row of W (an output)

A kind is a row of `KINDS`. Only the large Linears of the blocks are stored so; norms, modulation, embeddings and head
are not. The weight is made whole for each use and thrown away, in the backward pass again, so that gradients flow
through to what is trained and nothing but the stored bytes is kept.

Shapes: W [out, in], s [out]; x [..., in].
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .transformer import is_island

SCALE = "scale_weight"  # beside `weight`, as files of scaled fp8 name it: a state_dict is such a file


@dataclass(frozen=True)
class Kind:
    """A way to store a weight: the type, and the number that the largest value of a row becomes; None is no scale."""

    dtype: torch.dtype
    largest: float | None = None


KINDS = {"bf16": Kind(torch.bfloat16), "fp8": Kind(torch.float8_e4m3fn, 448.0)}


def row_scale(W: Tensor, largest: float) -> Tensor:
    """s [out] in fp32: the largest value of each row over `largest`. A row of zeros has the least scale there is."""
    return (W.float().abs().amax(1) / largest).clamp_min(torch.finfo(torch.float32).tiny)


def quantise(W: Tensor, kind: Kind) -> tuple[Tensor, Tensor | None]:
    """(Q, s) of a weight of any type, each number rounded once; s is None for a kind without scales."""
    if kind.largest is None:
        return W.to(kind.dtype), None
    scale = row_scale(W, kind.largest)
    return (W.float() / scale[:, None]).clamp(-kind.largest, kind.largest).to(kind.dtype), scale


def restored(Q: Tensor, scale: Tensor | None, dtype: torch.dtype) -> Tensor:
    """s Q in that type. Multiplied in fp32 and rounded once, though no fp32 copy of the matrix is made."""
    return Q.to(dtype) if scale is None else Q.to(dtype).mul_(scale[:, None])


class _Through(torch.autograd.Function):
    """x -> x (s Q)^T + b, with the gradient of x alone. What is kept for it are Q and s."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, Q: Tensor, scale: Tensor | None, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(Q, scale)
        return F.linear(x, restored(Q, scale, x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        Q, scale = ctx.saved_tensors
        return gradient @ restored(Q, scale, gradient.dtype), None, None, None


class QuantLinear(nn.Module):
    """A Linear whose weight is stored as a kind says, and which computes in the type of x; frozen."""

    scale_weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, linear: nn.Linear, kind: Kind) -> None:
        """Of a Linear, or of one on the meta device, to be filled."""
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        Q, scale = quantise(linear.weight.detach(), kind)
        self.weight = _frozen(Q)
        self.register_parameter(SCALE, None if scale is None else _frozen(scale))
        self.register_parameter("bias", None if linear.bias is None else _frozen(linear.bias.detach()))

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        y: Tensor = _Through.apply(x, self.weight, self.scale_weight, bias)
        return y

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, stored={self.weight.dtype}"


def _frozen(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)


@torch.no_grad()
def quantise_blocks(model: nn.Module, kind: Kind) -> list[str]:
    """Stores the large Linears of the blocks as a kind says, one by one; the names of their weights.

    On the meta device this makes the room that a file's tensors are put into.
    """
    linears = [
        (name, module) for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.startswith("blocks.") and not is_island(f"{name}.weight")
    ]  # fmt: skip
    for name, linear in linears:
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, QuantLinear(linear, kind))
    return [f"{name}.weight" for name, _ in linears]
