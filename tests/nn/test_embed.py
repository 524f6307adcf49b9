"""Models that a person has, opened from a folder: tiny ones of the kinds in use, and folders that hold none."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    SiglipConfig,
    SiglipModel,
)

from sakuga.core.errors import SakugaError
from sakuga.nn.embed import Embedder

SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION = SMALL | {"image_size": 32, "patch_size": 8}
TEXT = SMALL | {"vocab_size": 64}


def write_model(folder: Path, kind: str) -> Path:
    torch.manual_seed(1)
    model = {
        "clip": lambda: CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=12)),
        "siglip": lambda: SiglipModel(SiglipConfig(text_config=TEXT, vision_config=VISION)),
        "dino": lambda: Dinov2Model(Dinov2Config(**VISION)),
        "bert": lambda: BertModel(BertConfig(**TEXT)),
    }[kind]()
    model.save_pretrained(folder)
    return folder


def pictures(count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 255, (48, 80, 3), np.uint8) for _ in range(count)]


@pytest.mark.parametrize(("kind", "width"), [("clip", 12), ("siglip", 16), ("dino", 16)])
def test_each_kind_of_model_tells_pictures_apart(tmp_path: Path, kind: str, width: int) -> None:
    embed = Embedder.open(write_model(tmp_path, kind))
    told = embed(pictures())
    assert told.shape == (3, width) and embed.width == width and told.dtype == np.float32
    assert np.allclose(np.linalg.norm(told, axis=1), 1, atol=1e-5)
    assert np.abs(told[0] - told[1]).max() > 1e-3
    assert np.allclose(embed(pictures()[1:2])[0], told[1], atol=1e-5)  # the company does not count


def test_the_vector_is_the_models_own(tmp_path: Path) -> None:
    from transformers import AutoModel

    embed = Embedder.open(write_model(tmp_path, "clip"))
    square = np.random.default_rng(1).integers(0, 255, (32, 32, 3), np.uint8)
    pixels = (torch.from_numpy(square).permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.5
    model = AutoModel.from_pretrained(tmp_path)
    own = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
    assert np.allclose(embed([square])[0], torch.nn.functional.normalize(own, dim=-1)[0].detach().numpy(), atol=1e-5)


def test_pixels_are_scaled_as_the_folder_says(tmp_path: Path) -> None:
    write_model(tmp_path, "dino")
    plain = Embedder.open(tmp_path)(pictures())
    wants = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.2, 0.2, 0.2]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(wants), encoding="utf-8")
    assert np.abs(Embedder.open(tmp_path)(pictures()) - plain).max() > 1e-3


def test_a_folder_without_such_a_model_is_told_in_a_sentence(tmp_path: Path) -> None:
    for folder in (tmp_path / "none", write_model(tmp_path / "bert", "bert")):
        with pytest.raises(
            SakugaError, match="holds no model that tells pictures apart .*; give alike.model the folder"
        ):
            Embedder.open(folder)
    with pytest.raises(SakugaError, match="a bert does not look at pictures"):
        Embedder.open(tmp_path / "bert")


def test_only_safetensors_are_read(tmp_path: Path) -> None:
    write_model(tmp_path, "dino")
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(SakugaError, match="holds no model that tells pictures apart"):
        Embedder.open(tmp_path)
