"""The VAE as diffusers has it: what trains the tiny one, and what ours is compared with."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import AutoencoderKLWan
from names import CONFIG_FILE, VAE_FILE
from safetensors.torch import load_file
from torch import Tensor

from sakuga.core.family import Vae


def vae_config(facts: Vae) -> dict[str, Any]:
    """The config.json of a folder of diffusers (AutoencoderKLWan) for a row of the family table."""
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


def make_vae(facts: Vae) -> Any:
    """An AutoencoderKLWan without weights, on the meta device."""
    with torch.device("meta"):
        return AutoencoderKLWan(**vae_config(facts))


class Loaded(NamedTuple):
    """The network with its weights; normalised latents are (latents - mean) * scale."""

    model: Any
    mean: Tensor
    scale: Tensor


def load_vae(facts: Vae, folder: Path) -> Loaded:
    """The VAE of a folder in diffusers' format, frozen."""
    model = make_vae(facts).to_empty(device="cpu").eval().requires_grad_(False)
    model.load_state_dict({key: tensor.float() for key, tensor in load_file(folder / VAE_FILE).items()})
    config = json.loads((folder / CONFIG_FILE).read_text())
    mean, std = (torch.tensor(config[key]).view(1, -1, 1, 1, 1) for key in ("latents_mean", "latents_std"))
    return Loaded(model, mean, 1 / std)
