"""The VAE door: parity with both official VAEs through our key map, causality, shapes and statistics.

Shapes: B batch, C channels, F frames or latent frames, H W size.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from official_parts import official_vae
from random_model import make_tiny
from sakuga.core.errors import SakugaError
from sakuga.core.family import FAMILY, VAE_21, VAE_22, Vae
from sakuga.nn.vae import VaeDoor, load_vae

SMALL_21 = replace(VAE_21, base_dim=16)
SMALL_22 = replace(VAE_22, base_dim=16, decoder_base_dim=16)
ROUNDING = 5e-6  # in fp32, of values about 0.5; measured: latents 1e-6, pixels 3e-6


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> VaeDoor:
    folder = tmp_path_factory.mktemp("tiny")
    make_tiny(FAMILY["tiny"], folder)
    return load_vae(FAMILY["tiny"].vae, folder / "vae")


def video(frames: int, height: int = 32, width: int = 32, seed: int = 0) -> Tensor:
    coarse = torch.randn(1, 3, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=(frames, height, width), mode="trilinear").tanh()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("facts", [SMALL_21, SMALL_22], ids=["wan2.1", "wan2.2"])
@torch.no_grad()
def test_equals_official(facts: Vae, suffix: str, tmp_path: Path) -> None:
    expected, file = official_vae(facts), tmp_path / f"vae{suffix}"
    if suffix == ".pth":
        torch.save(expected.state_dict(), file)
    else:
        save_file(expected.state_dict(), file)
    door = load_vae(facts, file)
    scale = [torch.tensor(facts.mean), 1 / torch.tensor(facts.std)]

    pixels_BCFHW = video(5)
    latents = expected.encode(pixels_BCFHW, scale)
    found = door.encode(pixels_BCFHW)
    assert latents.std() > 0.05, "the comparison would be between zeros"
    assert found.shape == latents.shape
    assert (found - latents).abs().max() <= ROUNDING

    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))
    pixels = expected.decode(noise, scale).clamp(-1, 1)
    assert pixels.std() > 0.05, "the comparison would be between zeros"
    assert (door.decode(noise) - pixels).abs().max() <= ROUNDING


@pytest.mark.parametrize("frames", [1, 9])
def test_there_and_back(tiny: VaeDoor, frames: int) -> None:
    member = FAMILY["tiny"]
    latents = tiny.encode(video(frames, 64, 96).repeat(2, 1, 1, 1, 1))
    assert latents.shape == (2, *member.latent_shape(96, 64, frames))
    pixels = tiny.decode(latents)
    assert pixels.shape == (2, 3, frames, 64, 96)
    assert latents.dtype == pixels.dtype == torch.float32
    assert pixels.abs().max() <= 1
    assert 0.2 < pixels.std() < 0.55
    assert (pixels.abs() == 1).float().mean() < 0.1, "most of the picture would be clipped"


def test_the_first_latent_frame_sees_the_first_frame_only(tiny: VaeDoor) -> None:
    clip = video(9)
    all_frames, first = tiny.encode(clip), tiny.encode(clip[:, :, :1])
    assert (all_frames[:, :, :1] - first).abs().max() <= 1e-5
    assert (all_frames[:, :, 1:2] - first).abs().max() > 0.1


def test_frames_that_would_be_left_out_are_refused(tiny: VaeDoor) -> None:
    with pytest.raises(AssertionError, match="last frames"):
        tiny.encode(video(8))


def test_latents_have_about_unit_variance(tiny: VaeDoor) -> None:
    latents = torch.cat([tiny.encode(video(5, 64, 96, seed=n)) for n in range(4)])
    latents_CX = latents.transpose(0, 1).flatten(1)
    assert (latents_CX.std(1) - 1).abs().max() < 0.3
    assert latents_CX.mean(1).abs().max() < 0.4


def test_bf16_gives_fp32(tmp_path: Path) -> None:
    make_tiny(FAMILY["tiny"], tmp_path)
    door = load_vae(FAMILY["tiny"].vae, tmp_path / "vae", torch.bfloat16)
    assert door.encode(video(1)).dtype == torch.float32
    assert door.decode(torch.zeros(1, 32, 1, 4, 4)).dtype == torch.float32


def test_statistics_come_from_the_folder(tmp_path: Path) -> None:
    make_tiny(FAMILY["tiny"], tmp_path)
    before = load_vae(FAMILY["tiny"].vae, tmp_path / "vae")
    file = tmp_path / "vae" / "config.json"
    config = json.loads(file.read_text())
    config["latents_std"] = [2 * s for s in config["latents_std"]]
    file.write_text(json.dumps(config))
    after = load_vae(FAMILY["tiny"].vae, tmp_path / "vae")
    assert torch.allclose(after.encode(video(1)) * 2, before.encode(video(1)), atol=1e-6)


def test_a_file_of_the_other_vae_is_refused(tmp_path: Path) -> None:
    torch.save(official_vae(SMALL_21).state_dict(), tmp_path / "vae.pth")
    with pytest.raises(SakugaError, match=r"vae\.pth does not fit this model"):
        load_vae(SMALL_22, tmp_path / "vae.pth")
    with pytest.raises(SakugaError, match=r"has no config\.json"):
        load_vae(SMALL_21, tmp_path)
