"""The Wan 2.1 / 2.2 video transformer, every layer in one file, under the key names of the official checkpoints.

x_BCFHW latents -> patches -> blocks (self-attention, text and image attention, feed-forward) -> velocity_BCFHW.

Shapes: B batch, C channels, F latent frames, H W latent size, L tokens, T text or image tokens, D width,
N heads, E head width, P = E / 2 rotated pairs, G groups of tokens in a row that share a timestep: 1 for the whole
video, or one a latent frame, so that what depends on time alone is never spread over the tokens.

Precision: norms, modulation, time embedding, head and rotation stay in fp32 (`is_island`); the large linears run
in the compute dtype; the residual stream is fp32.
"""

import re
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..core.family import CLIP_H, Transformer
from .attention import Attend, attend

CLIP_DIM = CLIP_H.width
ROPE_THETA = 10000.0

Rope = tuple[Tensor, Tensor]  # cos_LP, sin_LP in fp32

_COMPUTE = re.compile(
    r"(patch_embedding|text_embedding\.\d|blocks\.\d+\.((self_attn|cross_attn)\.(q|k|v|o|k_img|v_img)|ffn\.\d))"
    r"\.(base\.)?(weight|bias)"  # `base`: a Linear that an adapter has wrapped
)


def is_island(name: str) -> bool:
    """Whether the parameter of that name stays in fp32 whatever the compute dtype."""
    return _COMPUTE.fullmatch(name) is None


@lru_cache(maxsize=16)
def rope_tables(grid: tuple[int, int, int], head_dim: int, device: torch.device) -> Rope:
    """cos_LP and sin_LP of a grid of patches: the pairs of a head are shared out to frames, rows and columns."""
    pairs = head_dim // 2
    shares = (pairs - 2 * (pairs // 3), pairs // 3, pairs // 3)
    # A table made under inference_mode could never be used in a later training step.
    with torch.inference_mode(False):
        axes = [torch.arange(n, dtype=torch.float64) for n in grid]
        angles = []
        for position, share in zip(torch.meshgrid(*axes, indexing="ij"), shares, strict=True):
            frequency = ROPE_THETA ** -(torch.arange(share, dtype=torch.float64) / share)
            angles.append(torch.outer(position.flatten(), frequency))
        angle_LP = torch.cat(angles, dim=1)
        return angle_LP.cos().float().to(device), angle_LP.sin().float().to(device)


def rotate(x_BLNE: Tensor, rope: Rope) -> Tensor:
    """Rotate neighbouring pairs of each head by the angles of their token, in fp32."""
    cos, sin = rope[0][:, None], rope[1][:, None]
    a, b = x_BLNE.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)


def sinusoid(t: Tensor, dim: int) -> Tensor:
    """Timesteps of any shape -> [..., dim]: cosines, then sines, over geometric frequencies; angles in float64."""
    half = dim // 2
    frequency = ROPE_THETA ** -(torch.arange(half, dtype=torch.float64, device=t.device) / half)
    angle = t.double()[..., None] * frequency
    return torch.cat((angle.cos(), angle.sin()), dim=-1).float()


def modulate(x_BLD: Tensor, scale_BGD: Tensor, shift_BGD: Tensor) -> Tensor:
    """x (1 + scale) + shift, each group of tokens with its own."""
    x_BGSD = x_BLD.unflatten(1, (scale_BGD.shape[1], -1))
    return (x_BGSD * (1 + scale_BGD[:, :, None]) + shift_BGD[:, :, None]).flatten(1, 2)


def gated(x_BLD: Tensor, gate_BGD: Tensor) -> Tensor:
    """x gate, each group of tokens with its own."""
    return (x_BLD.unflatten(1, (gate_BGD.shape[1], -1)) * gate_BGD[:, :, None]).flatten(1, 2)


class RMSNorm(nn.Module):
    """Root mean square norm over the full width (all heads together), in fp32."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.weight.shape, self.weight, self.eps)


class SelfAttention(nn.Module):
    def __init__(self, shape: Transformer) -> None:
        super().__init__()
        self.heads = shape.heads
        self.attend: Attend = attend
        self.q = nn.Linear(shape.dim, shape.dim)
        self.k = nn.Linear(shape.dim, shape.dim)
        self.v = nn.Linear(shape.dim, shape.dim)
        self.o = nn.Linear(shape.dim, shape.dim)
        self.norm_q = RMSNorm(shape.dim, shape.eps)
        self.norm_k = RMSNorm(shape.dim, shape.eps)

    def split(self, x_BLD: Tensor) -> Tensor:
        return x_BLD.unflatten(2, (self.heads, -1))

    def forward(self, x_BLD: Tensor, rope: Rope) -> Tensor:
        q = rotate(self.split(self.norm_q(self.q(x_BLD))), rope)
        k = rotate(self.split(self.norm_k(self.k(x_BLD))), rope)
        return self.o(self.attend(q, k, self.split(self.v(x_BLD))))


class CrossAttention(SelfAttention):
    """Attention to the text; with the image branch also to the image tokens, the two sums added before `o`."""

    def __init__(self, shape: Transformer) -> None:
        super().__init__(shape)
        if shape.clip_branch:
            self.k_img = nn.Linear(shape.dim, shape.dim)
            self.v_img = nn.Linear(shape.dim, shape.dim)
            self.norm_k_img = RMSNorm(shape.dim, shape.eps)

    def forward(self, x_BLD: Tensor, text_BTD: Tensor, clip_BTD: Tensor | None) -> Tensor:  # type: ignore[override]
        q = self.split(self.norm_q(self.q(x_BLD)))
        k = self.split(self.norm_k(self.k(text_BTD)))
        y = attend(q, k, self.split(self.v(text_BTD)))
        if clip_BTD is not None:
            k = self.split(self.norm_k_img(self.k_img(clip_BTD)))
            y = y + attend(q, k, self.split(self.v_img(clip_BTD)))
        return self.o(y)


class Block(nn.Module):
    """One layer. A pure function of its inputs, so that it can be compiled, checkpointed and streamed alone."""

    def __init__(self, shape: Transformer) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.dim, shape.eps, elementwise_affine=False)
        self.self_attn = SelfAttention(shape)
        self.norm3 = nn.LayerNorm(shape.dim, shape.eps)
        self.cross_attn = CrossAttention(shape)
        self.norm2 = nn.LayerNorm(shape.dim, shape.eps, elementwise_affine=False)
        self.ffn = nn.Sequential(
            nn.Linear(shape.dim, shape.ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(shape.ffn_dim, shape.dim)
        )
        self.modulation = nn.Parameter(torch.zeros(1, 6, shape.dim))

    def forward(
        self, x_BLD: Tensor, modulation_BG6D: Tensor, rope: Rope, text_BTD: Tensor, clip_BTD: Tensor | None = None
    ) -> Tensor:
        """x_BLD and modulation_BG6D are fp32; the linears run in the dtype of `text_BTD`."""
        dtype = text_BTD.dtype
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = (self.modulation[None] + modulation_BG6D).unbind(2)

        h = modulate(self.norm1(x_BLD), scale_a, shift_a)
        x_BLD = x_BLD + gated(self.self_attn(h.to(dtype), rope), gate_a)

        x_BLD = x_BLD + self.cross_attn(self.norm3(x_BLD).to(dtype), text_BTD, clip_BTD)

        h = modulate(self.norm2(x_BLD), scale_f, shift_f)
        return x_BLD + gated(self.ffn(h.to(dtype)), gate_f)


class Head(nn.Module):
    def __init__(self, shape: Transformer) -> None:
        super().__init__()
        pf, ph, pw = shape.patch
        self.norm = nn.LayerNorm(shape.dim, shape.eps, elementwise_affine=False)
        self.head = nn.Linear(shape.dim, pf * ph * pw * shape.out_channels)
        self.modulation = nn.Parameter(torch.zeros(1, 2, shape.dim))

    def forward(self, x_BLD: Tensor, time_BGD: Tensor) -> Tensor:
        shift, scale = (self.modulation[None] + time_BGD[:, :, None]).unbind(2)
        return self.head(modulate(self.norm(x_BLD), scale, shift))


class ImageEmbedding(nn.Module):
    """CLIP features of the first frame to the width of the transformer (Wan 2.1 image-to-video)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            nn.LayerNorm(CLIP_DIM),
            nn.Linear(CLIP_DIM, CLIP_DIM),
            nn.GELU(),
            nn.Linear(CLIP_DIM, dim),
            nn.LayerNorm(dim),
        )

    def forward(self, clip_BTC: Tensor) -> Tensor:
        return self.proj(clip_BTC)


class WanTransformer(nn.Module):
    """Predicts the velocity (noise minus clean) of noisy latents. `checkpointing` recomputes blocks in the backward."""

    def __init__(self, shape: Transformer) -> None:
        super().__init__()
        dim = shape.dim
        self.shape = shape
        self.checkpointing = False
        # stream(number) brings the weights of a block to the device while it runs
        self.stream: Callable[[int], AbstractContextManager[None]] | None = None
        # aside(layer, number, x, ...) runs a block so that it can be run again, with its input somewhere else meanwhile
        self.aside: Callable[..., Tensor] | None = None
        self.patch_embedding = nn.Conv3d(shape.in_channels, dim, kernel_size=shape.patch, stride=shape.patch)
        self.text_embedding = nn.Sequential(
            nn.Linear(shape.text_dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim)
        )
        self.time_embedding = nn.Sequential(nn.Linear(shape.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        if shape.clip_branch:
            self.img_emb = ImageEmbedding(dim)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.head = Head(shape)

    @property
    def dtype(self) -> torch.dtype:
        """The compute dtype: what the linears of the blocks run in."""
        return self.patch_embedding.weight.dtype

    def to_compute(self, dtype: torch.dtype, device: torch.device | str | None = None) -> "WanTransformer":
        """Move to `device`; the large linears become `dtype`, the islands fp32."""
        for name, parameter in self.named_parameters():
            parameter.data = parameter.data.to(device, torch.float32 if is_island(name) else dtype)
        return self

    def forward(
        self,
        x_BCFHW: Tensor,
        t: Tensor,
        text_BTD: Tensor,
        image_BCFHW: Tensor | None = None,
        clip_BTD: Tensor | None = None,
        skip: Collection[int] = (),
    ) -> Tensor:
        """Velocity in fp32, [B, out_channels, F, H, W].

        t: model timesteps 0..1000, one a video [B], or [B, G] with one for each of G equal groups of tokens in a row
        (latent frames, or single tokens). text_BTD: the encoder's output, already padded with zeros. image_BCFHW: mask
        and latents of the given frames, joined to x on the channels.
        clip_BTD: [B, 257, 1280], for a shape with the image branch and only then. skip: layers that are left out.
        """
        assert (clip_BTD is not None) == self.shape.clip_branch, "CLIP features go with the image branch"
        if image_BCFHW is not None:
            x_BCFHW = torch.cat((x_BCFHW, image_BCFHW.to(x_BCFHW)), dim=1)
        patches = self.patch_embedding(x_BCFHW.to(self.dtype))
        grid = (patches.shape[2], patches.shape[3], patches.shape[4])
        # in rows: of tokens in columns, the compiled gradient is wrong (torch 2.13's inductor, CPU)
        x_BLD = patches.flatten(2).transpose(1, 2).float().contiguous()

        time_BGD, modulation_BG6D = self.embed_time(t)
        rope = rope_tables(grid, self.shape.dim // self.shape.heads, x_BLD.device)
        text_BTD = self.text_embedding(text_BTD.to(self.dtype))
        if clip_BTD is not None:
            clip_BTD = self.img_emb(clip_BTD.float()).to(self.dtype)

        # a streamed block is gone when its gradient comes, so it is always run again
        again = torch.is_grad_enabled() and (self.checkpointing or self.stream is not None)
        for number in range(len(self.blocks)):
            if number in skip:
                continue
            others = modulation_BG6D, rope, text_BTD, clip_BTD
            if not again:
                x_BLD = self._layer(number, x_BLD, *others)
            elif self.aside is None:
                x_BLD = checkpoint(self._layer, number, x_BLD, *others, use_reentrant=False)
            else:
                x_BLD = self.aside(self._layer, number, x_BLD, *others)
        return self.unpatch(self.head(x_BLD, time_BGD), grid)

    def _layer(self, number: int, *inputs: Any) -> Tensor:
        with nullcontext() if self.stream is None else self.stream(number):
            y_BLD: Tensor = self.blocks[number](*inputs)
            return y_BLD

    def embed_time(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """t [B] or [B, G] -> time_BGD for the head and modulation_BG6D for the blocks, in fp32."""
        t_BG = t[:, None] if t.dim() == 1 else t
        time_BGD = self.time_embedding(sinusoid(t_BG, self.shape.freq_dim))
        return time_BGD, self.time_projection(time_BGD).unflatten(2, (6, self.shape.dim))

    def unpatch(self, x_BLC: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Tokens, each a patch of pf x ph x pw x C values, back to [B, C, F, H, W]."""
        x = x_BLC.unflatten(1, grid).unflatten(-1, (*self.shape.patch, self.shape.out_channels))
        x = x.permute(0, 7, 1, 4, 2, 5, 3, 6)
        return x.flatten(6, 7).flatten(4, 5).flatten(2, 3)
