"""How self-attention is computed: by torch, by SageAttention, and with more weight on what stands in other frames.

Shapes: B batch, L tokens, T tokens attended to, N heads, E head width, D = N E, F latent frames, S tokens of a frame.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..core.errors import SakugaError

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]  # (q_BLNE, k_BTNE, v_BTNE) -> [B, L, D]


def attend(q_BLNE: Tensor, k_BTNE: Tensor, v_BTNE: Tensor) -> Tensor:
    """Softmax attention in the dtype of the values; gives back [B, L, D]."""
    q, k, v = (x.to(v_BTNE.dtype).transpose(1, 2) for x in (q_BLNE, k_BTNE, v_BTNE))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def sage_attention() -> Attend:
    """Attention with q and k in int8 (SageAttention, Zhang et al. 2025). Raises SakugaError where it is not installed."""
    try:
        from sageattention import sageattn  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise SakugaError(
            "attention = 'sage' needs the package sageattention and an NVIDIA card; install it, or leave attention at 'torch'"
        ) from error

    def sage(q_BLNE: Tensor, k_BTNE: Tensor, v_BTNE: Tensor) -> Tensor:
        q, k, v = (x.to(v_BTNE.dtype).contiguous() for x in (q_BLNE, k_BTNE, v_BTNE))
        mixed: Tensor = sageattn(q, k, v, tensor_layout="NHD", is_causal=False)
        return mixed.flatten(2)

    return sage


ATTENTIONS: dict[str, Callable[[], Attend]] = {"torch": lambda: attend, "sage": sage_attention}


def attention(name: str, frames: int, enhance: float) -> Attend:
    """Attention of that name over a video of so many latent frames, enhanced by that weight."""
    plain = ATTENTIONS[name]()
    return across_frames(plain, frames, enhance) if enhance else plain


def across_frames(attend: Attend, frames: int, weight: float) -> Attend:
    """Attention made stronger by how much frames look at each other: Enhance-A-Video (Luo et al. 2025, eq. 3 to 5).

    c = the mean of softmax(q k^T / sqrt E) between tokens of one place in different frames; times max(1, c (F + weight)).
    """

    def enhanced(q_BLNE: Tensor, k_BTNE: Tensor, v_BTNE: Tensor) -> Tensor:
        y_BLD = attend(q_BLNE, k_BTNE, v_BTNE)
        if frames < 2:
            return y_BLD
        stronger = _between(q_BLNE, k_BTNE, frames).mul(frames + weight).clamp_min(1)
        return y_BLD * stronger.to(y_BLD.dtype)  # q and k may be wider than what attention gives

    return enhanced


def _between(q_BLNE: Tensor, k_BLNE: Tensor, frames: int) -> Tensor:
    """The mean weight that a token of a video gives to its place in another frame, [B, 1, 1] in the type of q."""
    q, k = (x.unflatten(1, (frames, -1)).permute(0, 2, 3, 1, 4) for x in (q_BLNE, k_BLNE))  # [B, S, N, F, E]
    weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).float().softmax(-1)
    own = weights.diagonal(dim1=-2, dim2=-1).sum(-1)
    return ((frames - own) / (frames * (frames - 1))).mean((1, 2)).to(q.dtype)[:, None, None]


@contextmanager
def attending(model: Any, how: Attend) -> Iterator[None]:
    """The model's self-attention is computed so for a while; what has no blocks is left as it is."""
    layers = [block.self_attn for block in getattr(model, "blocks", ())]
    for layer in layers:
        layer.attend = how
    try:
        yield
    finally:
        for layer in layers:
            layer.attend = attend
