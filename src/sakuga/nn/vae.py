"""The door to the video VAE: pixels to normalised latents and back. The network itself is diffusers' AutoencoderKLWan.

Shapes: B batch, C channels, F frames (pixels) or latent frames, H W size.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.errors import SakugaError
from ..core.family import Vae
from .weights import fill, read_object, read_weights, wanted

MOST = 1e6  # that a mean or a deviation of latents can be; those of Wan are about 1
_STEMS = (
    (r"^(encoder|decoder)\.conv1\.", r"\1.conv_in."),
    (r"^(encoder|decoder)\.middle\.0\.", r"\1.mid_block.resnets.0."),
    (r"^(encoder|decoder)\.middle\.1\.", r"\1.mid_block.attentions.0."),
    (r"^(encoder|decoder)\.middle\.2\.", r"\1.mid_block.resnets.1."),
    (r"^(encoder|decoder)\.head\.0\.", r"\1.norm_out."),
    (r"^(encoder|decoder)\.head\.2\.", r"\1.conv_out."),
    (r"^conv1\.", "quant_conv."),
    (r"^conv2\.", "post_quant_conv."),
)
_LEAVES = (
    ("residual.0", "norm1"),
    ("residual.2", "conv1"),
    ("residual.3", "norm2"),
    ("residual.6", "conv2"),
    ("shortcut", "conv_shortcut"),
)


def diffusers_key(key: str, facts: Vae) -> str:
    """The diffusers name of a weight of an official VAE file; diffusers' own names come back as they are.

    Official files number the layers of a level in one row: the residual blocks, then the resampling.
    """
    down, up = facts.res_blocks, facts.res_blocks + 1  # residual blocks of a level
    for pattern, name in _STEMS:
        key = re.sub(pattern, name, key)
    if facts.residual:  # Wan 2.2: encoder.downsamples.LEVEL.downsamples.LAYER
        key = re.sub(
            r"(encoder|decoder)\.(down|up)samples\.(\d{1,3})\.(?:down|up)samples\.(\d{1,3})\.",
            lambda m: (
                f"{m[1]}.{m[2]}_blocks.{m[3]}."
                + (f"resnets.{m[4]}." if int(m[4]) < (down if m[2] == "down" else up) else f"{m[2]}sampler.")
            ),
            key,
        )
    elif found := re.match(r"decoder\.upsamples\.(\d{1,3})\.(.*)", key):
        level, layer = divmod(int(found[1]), up + 1)
        key = f"decoder.up_blocks.{level}." + (f"resnets.{layer}" if layer < up else "upsamplers.0") + f".{found[2]}"
    else:
        key = key.replace("encoder.downsamples.", "encoder.down_blocks.")
    for leaf, name in _LEAVES:
        key = key.replace(f".{leaf}.", f".{name}.")
    return key


def vae_config(facts: Vae) -> dict[str, Any]:
    """The settings of AutoencoderKLWan for a row of the family table."""
    config: dict[str, Any] = {
        "base_dim": facts.base_dim,
        "decoder_base_dim": facts.decoder_base_dim,
        "z_dim": facts.channels,
        "dim_mult": list(facts.dim_mult),
        "num_res_blocks": facts.res_blocks,
        "temperal_downsample": list(facts.temporal_downsample),
        "is_residual": facts.residual,
        "in_channels": facts.pixel_channels,
        "out_channels": facts.pixel_channels,
        "patch_size": facts.patch,
        "scale_factor_temporal": facts.stride[0],
        "scale_factor_spatial": facts.stride[1],
    }
    if facts.mean:
        config |= {"latents_mean": list(facts.mean), "latents_std": list(facts.std)}
    return config


def make_vae(config: dict[str, Any]) -> Any:
    """An AutoencoderKLWan without weights, on the meta device."""
    from diffusers import AutoencoderKLWan

    with torch.device("meta"):
        return AutoencoderKLWan(**config)


class VaeDoor:
    """`model` is the AutoencoderKLWan."""

    def __init__(self, model: Any) -> None:
        self.model = model.eval().requires_grad_(False)
        self.stride: int = model.config.scale_factor_temporal

        self.mean = self._by_channel(model.config.latents_mean)
        # Kept as the inverse, and divided by on the way back, since official code does: equal to the last bit.
        self.scale = 1 / self._by_channel(model.config.latents_std)

    def _by_channel(self, values: list[float]) -> Tensor:
        return torch.tensor(values, device=self.model.device).view(1, -1, 1, 1, 1)

    @torch.no_grad()
    def encode(self, pixels_BCFHW: Tensor) -> Tensor:
        """Pixels in [-1, 1], F = 1 + a multiple of the stride -> normalised latents in fp32 (the mode, no noise)."""
        assert (pixels_BCFHW.shape[2] - 1) % self.stride == 0, "the VAE would leave out the last frames"
        posterior = self.model.encode(pixels_BCFHW.to(self.model.device, self.model.dtype)).latent_dist
        return (posterior.mode().float() - self.mean) * self.scale

    @torch.no_grad()
    def decode(self, latents_BCFHW: Tensor) -> Tensor:
        """Normalised latents -> pixels in fp32, clamped to [-1, 1]."""
        raw = latents_BCFHW.to(self.model.device, torch.float32) / self.scale + self.mean
        return self.model.decode(raw.to(self.model.dtype)).sample.float().clamp(-1, 1)


def load_vae(facts: Vae, path: Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> VaeDoor:
    """The VAE of that row from a diffusers folder or from an official file (.pth or .safetensors)."""
    config = vae_config(facts)
    if path.is_dir():
        config |= _statistics(path, facts)
    model = make_vae(config)
    tensors = ((diffusers_key(key, facts), tensor) for key, tensor in read_weights(path))
    with wanted(path, "vae", facts):
        fill(model, tensors, path, lambda _: dtype, device)
    return VaeDoor(model)


def _statistics(folder: Path, facts: Vae) -> dict[str, list[float]]:
    """Mean and deviation of the latents by channel: those of the folder's config.json before those that are known."""
    file = folder / "config.json"
    if not file.is_file():
        raise SakugaError(f"{folder} has no config.json; give a VAE folder of diffusers, or the VAE's single file")
    config = read_object(file)
    found: dict[str, list[float]] = {}
    for key, known, least in (("latents_mean", facts.mean, -MOST), ("latents_std", facts.std, 1 / MOST)):
        values = config.get(key, list(known))
        if not isinstance(values, list) or len(values) != facts.channels or not all(_within(least, v) for v in values):
            raise SakugaError(
                f"{file}: {key} is not a number for each of the {facts.channels} channels; download it again"
            )
        found[key] = values
    return found


def _within(least: float, value: object) -> bool:
    return isinstance(value, int | float) and least <= value <= MOST
