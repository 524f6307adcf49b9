"""The forward pass of diffusers' AutoencoderKLWan over a whole clip at once, for training.

diffusers walks through a clip in chunks and keeps what each causal convolution saw last; that is many small
operations. Here every layer sees all frames, with the padding that the chunks amount to. The values are the same
(`--check` compares them), the weights are those of the model that is handed in.

Shapes: B batch, C channels, F frames, H W size.
"""

import argparse
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl_wan import patchify, unpatchify
from diffusers_vae import make_vae
from torch import Tensor

from sakuga.core.family import VAE_TINY


def encode(model: Any, pixels_BCFHW: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance of the latents of clips of 1 + 4n frames in [-1, 1]."""
    encoder = model.encoder
    x = causal(encoder.conv_in, patchify(pixels_BCFHW, model.config.patch_size))
    for layer in encoder.down_blocks:
        kind = type(layer).__name__
        if kind == "WanResidualDownBlock":
            shortcut = average(layer.avg_shortcut, x)
            for block in layer.resnets:
                x = residual(block, x)
            x = (x if layer.downsampler is None else down(layer.downsampler, x)) + shortcut
        else:
            x = residual(layer, x) if kind == "WanResidualBlock" else down(layer, x)
    x = middle(encoder.mid_block, x)
    x = causal(encoder.conv_out, norm_silu(encoder.norm_out, x))
    mean, log_variance = causal(model.quant_conv, x).float().chunk(2, dim=1)
    return mean, log_variance.clamp(-30, 20)


def decode(model: Any, latents_BCFHW: Tensor) -> Tensor:
    """Pixels of raw latents, not clamped."""
    decoder = model.decoder
    x = causal(decoder.conv_in, causal(model.post_quant_conv, latents_BCFHW))
    x = middle(decoder.mid_block, x)
    for layer in decoder.up_blocks:
        before = x
        for block in layer.resnets:
            x = residual(block, x)
        if hasattr(layer, "avg_shortcut"):
            x = x if layer.upsampler is None else up(layer.upsampler, x) + repeat(layer.avg_shortcut, before)
        elif layer.upsamplers is not None:
            x = up(layer.upsamplers[0], x)
    x = causal(decoder.conv_out, norm_silu(decoder.norm_out, x))
    return unpatchify(x.float(), model.config.patch_size)


def norm(layer: Any, x: Tensor) -> Tensor:
    """Root mean square over the channels."""
    return _norm(x, layer.gamma.view(1, -1, *[1] * (x.ndim - 2)))


def norm_silu(layer: Any, x: Tensor) -> Tensor:
    return _norm_silu(x, layer.gamma.view(1, -1, *[1] * (x.ndim - 2)))


def _norm(x: Tensor, gamma: Tensor) -> Tensor:
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(1, keepdim=True).clamp_min(1e-24)) * gamma).to(x.dtype)


@torch.compile(dynamic=True)  # in one pass over memory: four times as fast, and half of a step is this
def _norm_silu(x: Tensor, gamma: Tensor) -> Tensor:
    wide = x.float()
    wide = wide * torch.rsqrt(wide.square().mean(1, keepdim=True).clamp_min(1e-24)) * gamma
    return F.silu(wide).to(x.dtype)


def causal(conv: Any, x: Tensor, before: int | None = None) -> Tensor:
    """A convolution that sees `before` frames of zeros before the first, as many as its kernel reaches back."""
    weight = conv.weight
    reach = weight.shape[2] - 1 if before is None else before
    if x.shape[2] == 1 and reach == weight.shape[2] - 1:  # a still meets the last slice alone
        weight = weight[:, :, -1:]
    elif reach:
        x = F.pad(x, (0, 0, 0, 0, reach, 0))
    sides = weight.shape[3] // 2
    return F.conv3d(x, weight, conv.bias, conv.stride if conv.stride[0] > 1 else 1, (0, sides, sides))


def residual(block: Any, x: Tensor) -> Tensor:
    shortcut = x if isinstance(block.conv_shortcut, torch.nn.Identity) else causal(block.conv_shortcut, x)
    h = causal(block.conv1, norm_silu(block.norm1, x))
    return causal(block.conv2, norm_silu(block.norm2, h)) + shortcut


def middle(block: Any, x: Tensor) -> Tensor:
    x = residual(block.resnets[0], x)
    return residual(block.resnets[1], attention(block.attentions[0], x))


def attention(block: Any, x: Tensor) -> Tensor:
    """One head over the pixels of each frame."""
    b, c, f, h, w = x.shape
    n = norm(block.norm, x).permute(0, 2, 3, 4, 1).reshape(b * f, h * w, c)
    q, k, v = F.linear(n, block.to_qkv.weight.flatten(1), block.to_qkv.bias).chunk(3, dim=-1)
    y = F.linear(F.scaled_dot_product_attention(q, k, v), block.proj.weight.flatten(1), block.proj.bias)
    return x + y.view(b, f, h, w, c).permute(0, 4, 1, 2, 3)


def down(layer: Any, x: Tensor) -> Tensor:
    """Half the size, and half the frames after the first."""
    conv = layer.resample[1]
    x = F.conv3d(F.pad(x, (0, 1, 0, 1)), conv.weight[:, :, None], conv.bias, (1, 2, 2))
    if layer.mode == "downsample3d" and x.shape[2] > 1:
        return torch.cat((x[:, :, :1], causal(layer.time_conv, x, before=0)), dim=2)
    return x


def up(layer: Any, x: Tensor) -> Tensor:
    """Twice the size, and twice the frames after the first."""
    if layer.mode == "upsample3d" and x.shape[2] > 1:
        pairs = causal(layer.time_conv, x[:, :, 1:], before=2).unflatten(1, (2, -1))
        x = torch.cat((x[:, :, :1], pairs.permute(0, 2, 3, 1, 4, 5).flatten(2, 3)), dim=2)
    conv = layer.resample[1]
    x = x.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4)
    return F.conv3d(x, conv.weight[:, :, None], conv.bias, 1, (0, 1, 1))


def average(layer: Any, x: Tensor) -> Tensor:
    """The parameterless shortcut of a residual level: space and time folded into channels, averaged in groups."""
    if layer.factor_t == 1 or x.shape[2] == 1:
        return layer(x)
    return torch.cat((layer(x[:, :, :1]), layer(x[:, :, 1:])), dim=2)


def repeat(layer: Any, x: Tensor) -> Tensor:
    """The way back of `average`; of the first frame's copies the last alone is kept."""
    return layer(x, first_chunk=True)


@torch.no_grad()
def check() -> None:
    for wide in (False, True):
        with torch.device("cpu"):
            model = make_vae(replace(VAE_TINY, residual=wide, dim_mult=(2, 4, 4) if wide else (1, 2, 4))).to_empty(
                device="cpu"
            )
        torch.manual_seed(0)
        for p in model.parameters():
            torch.nn.init.normal_(p, std=p[0].numel() ** -0.5 if p.ndim > 1 else 0.5)
        for frames in (1, 5, 9):
            pixels = torch.rand(2, 3, frames, 64, 96) * 2 - 1
            mean, _ = encode(model, pixels)
            theirs = model.encode(pixels).latent_dist.mode()
            back, their_back = decode(model, theirs), model._decode(theirs, return_dict=False)[0]
            apart = (mean - theirs).abs().max() / theirs.std(), (back.clamp(-1, 1) - their_back).abs().max()
            print(f"residual {wide}, {frames} frames: latents {apart[0]:.1e}, pixels {apart[1]:.1e}")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    check()
