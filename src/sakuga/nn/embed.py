"""What a picture shows as a vector, told by a model that a person has: CLIP, SigLIP, DINOv2 and others of transformers.

The model is opened from a folder as `save_pretrained` writes it, from safetensors alone; no code in the folder is run.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import SakugaError
from ..core.picture_models import knows_words
from .device import pick_device

USUAL = (0.5, 0.5, 0.5)  # mean and deviation of pixels, where the folder has no word on them


@dataclass(frozen=True)
class Embedder:
    """A model and how it wants its pictures: square, of `size` pixels, less `mean`, over `std`."""

    model: Any
    size: int
    mean: Sequence[float]
    std: Sequence[float]
    width: int  # of a vector
    device: torch.device
    folder: Path

    @classmethod
    def open(cls, folder: Path, device: str | None = None) -> "Embedder":
        """Raises SakugaError where `folder` holds no model of pictures that transformers knows."""
        from transformers import AutoModel

        try:
            model = AutoModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError) as error:
            raise _unusable(folder, str(error).partition("\n")[0]) from error
        config = getattr(model.config, "vision_config", model.config)
        if not hasattr(config, "image_size"):
            raise _unusable(folder, f"a {model.config.model_type} does not look at pictures")
        chosen = pick_device(device)
        size = config.image_size
        wants = _wants(folder)
        embedder = cls(
            model.eval().requires_grad_(False).to(chosen), size if isinstance(size, int) else size[0],
            wants.get("image_mean", USUAL), wants.get("image_std", USUAL), 0, chosen, folder,
        )  # fmt: skip
        blank = np.zeros((embedder.size, embedder.size, 3), np.uint8)
        return replace(embedder, width=embedder([blank]).shape[1])

    @cached_property
    def tokenizer(self) -> Any:
        """That of the folder, for a model that knows words too; else None."""
        from transformers import AutoTokenizer

        if not hasattr(self.model, "get_text_features") or not knows_words(self.folder):
            return None
        return AutoTokenizer.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)

    def words(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors float32 [N, width] of texts, in the space of the pictures; what is beyond the model's length is cut.

        Raises SakugaError for a model that knows no words.
        """
        if self.tokenizer is None:
            raise SakugaError(
                f"{self.folder} knows no words; give alike.model the folder of a CLIP or SigLIP with its tokenizer"
            )
        length = self.model.config.text_config.max_position_embeddings
        # SigLIP was trained on texts filled up to its length, CLIP does not mind
        told = self.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        known = {name: told[name].to(self.device) for name in ("input_ids", "attention_mask") if name in told}
        with torch.inference_mode():
            found = self.model.get_text_features(**known)
        found = found if isinstance(found, Tensor) else found.pooler_output
        return F.normalize(found.float(), dim=-1).cpu().numpy()

    def __call__(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Unit vectors float32 [N, width] of RGB pictures [H, W, 3] uint8. The whole picture is shown, squeezed square."""
        fitted = [cv2.resize(p, (self.size, self.size), interpolation=cv2.INTER_AREA) for p in pictures]
        pixels = torch.from_numpy(np.stack(fitted)).to(self.device, torch.float32) / 255
        pixels = (pixels - pixels.new_tensor(self.mean)) / pixels.new_tensor(self.std)
        with torch.inference_mode():
            told = _vectors(self.model, pixels.movedim(-1, 1))
        return F.normalize(told.float(), dim=-1).cpu().numpy()


def _vectors(model: Any, pixels: Tensor) -> Tensor:
    """[N, width] from pixels [N, 3, H, W]: the space that pictures share with words, else what the model pools."""
    told = model.get_image_features(pixel_values=pixels) if hasattr(model, "get_image_features") else model(pixels)
    if isinstance(told, Tensor):
        return told
    pooled = getattr(told, "pooler_output", None)
    return pooled.flatten(1) if pooled is not None else told.last_hidden_state[:, 0]


def _wants(folder: Path) -> dict[str, Any]:
    file = folder / "preprocessor_config.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _unusable(folder: Path, why: str) -> SakugaError:
    return SakugaError(
        f"{folder} holds no model that tells pictures apart ({why}); give alike.model the folder of a CLIP, SigLIP or "
        "DINOv2 with config.json and model.safetensors"
    )
