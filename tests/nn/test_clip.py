"""The CLIP door: parity with the official code through our key map, and every form of file that people have.

Shapes: B batch, C channels, H W size.
"""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from official import official
from sakuga.core.errors import SakugaError
from sakuga.core.family import CLIP_H, ClipVision
from sakuga.nn.clip import load_clip, make_clip

SMALL = ClipVision(64, 128, 4, 4, 28, 14)
TOKENS = 1 + 2 * 2


def randomise(model: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) / (p[0].numel() ** 0.5 if p.dim() > 1 else 2))


def official_clip(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The official model with random weights. Its file wants torchvision for a pipeline that is not used here."""
    torchvision, transforms = ModuleType("torchvision"), ModuleType("torchvision.transforms")
    torchvision.transforms = transforms  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    monkeypatch.setitem(sys.modules, "torchvision.transforms", transforms)
    root = Path(str(official("modules.attention").__file__)).parent / "animate"
    package = ModuleType("wan.modules.animate")
    package.__path__ = [str(root)]
    monkeypatch.setitem(sys.modules, "wan.modules.animate", package)
    module = official("modules.animate.clip")
    model = module.XLMRobertaCLIP(
        embed_dim=32, image_size=SMALL.size, patch_size=SMALL.patch, vision_dim=SMALL.width,
        vision_mlp_ratio=SMALL.ffn_dim // SMALL.width, vision_heads=SMALL.heads, vision_layers=SMALL.layers,
        vocab_size=11, max_text_len=6, text_dim=32, text_heads=2, text_layers=1,
    ).eval()  # fmt: skip
    randomise(model)

    def normalise(videos: Tensor) -> Tensor:
        """As torchvision's Normalize."""
        mean, std = (videos.new_tensor(v)[:, None, None] for v in (SMALL.mean, SMALL.std))
        return (videos - mean) / std

    monkeypatch.setattr(torch.cuda.amp, "autocast", lambda **_: torch.autocast("cpu", enabled=False))
    whole = SimpleNamespace(model=model, transforms=SimpleNamespace(transforms=[normalise]), dtype=torch.float32)
    whole.visual = lambda videos: module.CLIPModel.visual(whole, videos)
    return whole


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@torch.no_grad()
def test_equals_official(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, file = official_clip(monkeypatch), tmp_path / f"clip{suffix}"
    weights = expected.model.state_dict()
    assert any(key.startswith("textual.") for key in weights)
    if suffix == ".pth":
        torch.save(weights, file)
    else:
        save_file(weights, file)
    pictures_BCHW = torch.rand(2, 3, 40, 60, generator=torch.Generator().manual_seed(1)) * 2 - 1
    wanted = expected.visual([picture[:, None].clone() for picture in pictures_BCHW])
    found = load_clip(file, facts=SMALL).encode(pictures_BCHW)
    assert found.shape == wanted.shape == (2, TOKENS, SMALL.width)
    assert wanted.std() > 0.1, "the comparison would be between zeros"
    assert (found - wanted).abs().max() <= 1e-6 * wanted.abs().max()


@torch.no_grad()
def test_the_names_of_transformers_and_comfyui(tmp_path: Path) -> None:
    config = CLIPVisionConfig(
        hidden_size=SMALL.width, intermediate_size=SMALL.ffn_dim, num_hidden_layers=SMALL.layers,
        num_attention_heads=SMALL.heads, image_size=SMALL.size, patch_size=SMALL.patch, hidden_act="gelu",
        projection_dim=32,
    )  # fmt: skip
    model = CLIPVisionModelWithProjection(config).eval()
    randomise(model)
    model.save_pretrained(tmp_path / "image_encoder")
    state = {key.replace("vision_model.", ""): value.clone() for key, value in model.state_dict().items()}
    layers = {k if k.startswith("visual_projection") else f"vision_model.{k}": v for k, v in state.items()}
    save_file(layers, tmp_path / "clip_vision_h.safetensors")
    pixels_BCHW = torch.rand(1, 3, SMALL.size, SMALL.size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mean, std = (torch.tensor(v)[:, None, None] for v in (SMALL.mean, SMALL.std))
    wanted = model((pixels_BCHW / 2 + 0.5 - mean) / std, output_hidden_states=True).hidden_states[-2]
    for name in ("image_encoder", "clip_vision_h.safetensors"):
        found = load_clip(tmp_path / name, facts=SMALL).encode(pixels_BCHW)
        assert (found - wanted).abs().max() <= 1e-6 * wanted.abs().max(), name
    half = load_clip(tmp_path / "image_encoder", torch.bfloat16, facts=SMALL).encode(pixels_BCHW)
    assert half.dtype == torch.float32 and 0 < (half - wanted).abs().max() < 0.1 * wanted.abs().max()


def test_the_real_one_gives_what_the_transformer_takes() -> None:
    model = make_clip(CLIP_H)
    assert len(model.encoder.layers) == CLIP_H.layers - 1
    assert tuple(model.embeddings.position_embedding.weight.shape) == (257, 1280)


def test_another_shape_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(official_clip(monkeypatch).model.state_dict(), tmp_path / "clip.pth")
    with pytest.raises(
        SakugaError, match=r"clip\.pth is a CLIP of another size, not CLIP's picture encoder; `sakuga models` lists"
    ):
        load_clip(tmp_path / "clip.pth", facts=replace(SMALL, width=32))
