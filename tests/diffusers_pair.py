"""The same transformer in diffusers, with a LoRA loaded by diffusers' own loader: the other reader of our files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import WanPipeline, WanTransformer3DModel
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from torch import Tensor

from sakuga.core.family import Transformer


def diffusers_with_lora(
    shape: Transformer, state_dict: Mapping[str, Tensor], lora_path: Path | None
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """(x_BCFHW, model timestep [B], text_BTD) -> velocity, in fp32, from weights under their original names.

    `lora_path` None gives the base alone. Text-to-video shapes only.
    """
    model = WanTransformer3DModel(
        patch_size=shape.patch,
        num_attention_heads=shape.heads,
        attention_head_dim=shape.dim // shape.heads,
        in_channels=shape.in_channels,
        out_channels=shape.out_channels,
        text_dim=shape.text_dim,
        freq_dim=shape.freq_dim,
        ffn_dim=shape.ffn_dim,
        num_layers=shape.layers,
        eps=shape.eps,
    )
    model.load_state_dict(convert_wan_transformer_to_diffusers({k: v.clone() for k, v in state_dict.items()}))
    model.eval()
    if lora_path is not None:
        nothing: Any = None
        pipeline = WanPipeline(nothing, nothing, nothing, nothing, transformer=model)
        pipeline.load_lora_weights(str(lora_path))

    @torch.no_grad()
    def velocity(x_BCFHW: Tensor, t_B: Tensor, text_BTD: Tensor) -> Tensor:
        out: Tensor = model(x_BCFHW, t_B, text_BTD, return_dict=False)[0]
        return out

    return velocity
