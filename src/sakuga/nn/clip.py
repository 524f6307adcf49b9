"""The door to CLIP's picture encoder, which Wan 2.1 image-to-video looks at its first frame with.

The network itself is transformers' CLIPVisionModel. What is wanted is what its last layer but one says, so the last layer
is never made.

Shapes: B batch, C channels, H W size, T tokens (one for the whole picture, then its patches), D width.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.family import CLIP_H, ClipVision
from .weights import fill, read_weights, wanted

# What such files hold besides: the half that knows words, and what follows the last layer.
_UNUSED = re.compile(
    r"textual\.|log_scale$|visual\.head|visual_projection\.|text_model\.|text_projection\.|logit_scale$"
    r"|.*position_ids$"
)
_QKV = re.compile(r"(.*)\.attn\.to_qkv\.(weight|bias)")
_KEYS = (
    (r"^vision_model\.", ""),
    (r"^visual\.", ""),
    (r"^transformer\.(\d+)\.", r"encoder.layers.\1."),
    (r"^patch_embedding\.", "embeddings.patch_embedding."),
    (r"^cls_embedding$", "embeddings.class_embedding"),
    (r"^pos_embedding$", "embeddings.position_embedding.weight"),
    (r"^pre_norm\.", "pre_layrnorm."),
    (r"^post_norm\.", "post_layernorm."),
    (r"\.norm([12])\.", r".layer_norm\1."),
    (r"\.attn\.proj\.", ".self_attn.out_proj."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.2\.", ".mlp.fc2."),
)


def clip_key(key: str) -> str:
    """The transformers name of a weight of the official file; transformers' own names come back as they are."""
    for pattern, name in _KEYS:
        key = re.sub(pattern, name, key)
    return key


def make_clip(facts: ClipVision) -> Any:
    """A CLIPVisionModel without its last layer and without weights, on the meta device."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(
        hidden_size=facts.width, intermediate_size=facts.ffn_dim, num_hidden_layers=facts.layers - 1,
        num_attention_heads=facts.heads, image_size=facts.size, patch_size=facts.patch, hidden_act="gelu",
    )  # fmt: skip
    with torch.device("meta"):
        model = CLIPVisionModel(config)
    return getattr(model, "vision_model", model)  # transformers up to 5.0 wraps the network once more


class ClipDoor:
    """`model` is the picture encoder without its last layer."""

    def __init__(self, model: Any, facts: ClipVision) -> None:
        self.model = model.eval().requires_grad_(False)
        self.facts = facts
        self.weight = model.embeddings.patch_embedding.weight  # tells device and precision

    @torch.no_grad()
    def encode(self, pictures_BCHW: Tensor) -> Tensor:
        """Pictures in [-1, 1] of any size, squeezed square as official code does -> features_BTD in fp32."""
        side = (self.facts.size, self.facts.size)
        x = F.interpolate(pictures_BCHW.to(self.weight.device, torch.float32), side, mode="bicubic")
        mean, std = (x.new_tensor(values)[:, None, None] for values in (self.facts.mean, self.facts.std))
        x = (x * 0.5 + 0.5 - mean) / std
        return self.model(pixel_values=x.to(self.weight.dtype)).last_hidden_state.float()


def load_clip(
    path: Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu", facts: ClipVision = CLIP_H
) -> ClipDoor:
    """The picture encoder from the official .pth, ComfyUI's clip_vision_h.safetensors or a folder of transformers."""
    model = make_clip(facts)
    with wanted(path, "clip", facts):
        fill(model, _weights(path, facts), path, lambda _: dtype, device)
    _place_positions(model, facts, device)
    return ClipDoor(model, facts)


def _weights(path: Path, facts: ClipVision) -> Iterator[tuple[str, Tensor]]:
    """The tensors that are wanted, under transformers' names and in its shapes."""
    last = f"encoder.layers.{facts.layers - 1}."
    for given, whole in read_weights(path):
        if _UNUSED.match(given):
            continue
        for key, tensor in _split(given, whole):
            if not key.startswith(last):
                yield key, tensor


def _split(given: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """One tensor of the official file as those of transformers: q, k and v apart, no batch of one before the rest."""
    found, key = _QKV.fullmatch(given), clip_key(given)
    if found and tensor.dim():
        for part, rows in zip("qkv", tensor.chunk(3), strict=False):
            yield clip_key(f"{found[1]}.self_attn.{part}_proj.{found[2]}"), rows
    elif key.endswith("class_embedding"):
        yield key, tensor.flatten()
    elif key.endswith("position_embedding.weight") and tensor.dim() > 2:
        yield key, tensor.flatten(0, -2)
    else:
        yield key, tensor


def _place_positions(model: Any, facts: ClipVision, device: torch.device | str) -> None:
    """The numbers of the tokens, which no file holds."""
    count = (facts.size // facts.patch) ** 2 + 1
    model.embeddings.position_ids = torch.arange(count, device=device)[None]
