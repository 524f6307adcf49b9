"""The VAE in chunks and tiles: nothing of them is to be seen, and they keep to the memory that is given.

Shapes: B batch, C channels, F frames or latent frames, H W size.
"""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from official_parts import diffusers_vae
from sakuga.core.family import VAE_21, VAE_22, VAE_TINY, Vae
from sakuga.nn import vae_tiles
from sakuga.nn.vae import VaeDoor, make_vae
from sakuga.nn.vae_tiles import Cut, Level, cut, margins_down, margins_up, path

SEAM = 1e-5  # between tiles and none, in fp32, of values about 0.5; measured for Wan 2.1: 2e-6
SMALL = {
    "wan2.1": replace(VAE_21, base_dim=8, res_blocks=1),
    "wan2.2": replace(VAE_22, base_dim=8, decoder_base_dim=8, res_blocks=1),
    "tiny": replace(VAE_TINY, base_dim=8, mean=(0.1,) * 32, std=(0.9,) * 32),
}


def door_of(facts: Vae, budget: float | None = None) -> VaeDoor:
    """With random weights that keep the variance."""
    model, generator = make_vae(facts).to_empty(device="cpu"), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(1 + noise / 4 if name.endswith("gamma") else noise / (p[0].numel() ** 0.5 if p.dim() > 1 else 4))
    model.channels_last()
    return VaeDoor(model, facts.mean, facts.std, budget)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vae_tiles, "LEAST_SIDE", 4)


@pytest.mark.parametrize("facts", SMALL.values(), ids=SMALL)
def test_tiles_and_chunks_leave_no_seam(facts: Vae, small_tiles: None) -> None:
    size = (13, 18)
    pixels = noise(2, 3, 9, size[0] * facts.stride[1], size[1] * facts.stride[2]).clamp(-1, 1)
    latents = noise(2, facts.channels, 3, *size)
    whole, tiled = door_of(facts, 1e12), door_of(facts, 1.0)
    found = whole.encode(pixels)
    assert found.std() > 0.05, "the comparison would be between zeros"
    assert (tiled.encode(pixels) - found).abs().max() <= SEAM
    made = whole.decode(latents)
    assert made.std() > 0.05, "the comparison would be between zeros"
    assert (tiled.decode(latents) - made).abs().max() <= SEAM


@pytest.mark.parametrize("facts", SMALL.values(), ids=SMALL)
def test_a_margin_less_would_be_seen(facts: Vae, small_tiles: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The margins are as wide as they must be: what `reach` says is what the layers see."""
    latents = noise(1, facts.channels, 1, 13, 18)
    made = door_of(facts, 1e12).decode(latents)
    narrow = door_of(facts, 1.0)
    levels = narrow.model.decoder.levels()
    monkeypatch.setattr(narrow.model.decoder, "levels", lambda: [replace(v, reach=v.reach - 1) for v in levels])
    assert (narrow.decode(latents) - made).abs().max() > SEAM


@pytest.mark.parametrize("facts", SMALL.values(), ids=SMALL)
def test_a_narrower_margin_would_be_seen_in_latents_too(
    facts: Vae, small_tiles: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By 2: a margin is rounded up to even, and 2 more are for the step, of which it needs 1."""
    pixels = noise(1, 3, 1, 16 * facts.stride[1], 18 * facts.stride[2]).clamp(-1, 1)
    found, narrow = door_of(facts, 1e12).encode(pixels), door_of(facts, 1.0)
    levels = narrow.model.encoder.levels()
    monkeypatch.setattr(narrow.model.encoder, "levels", lambda: [replace(v, reach=v.reach - 2) for v in levels])
    assert (narrow.encode(pixels) - found).abs().max() > SEAM


@pytest.mark.parametrize("facts", [SMALL["wan2.1"], SMALL["wan2.2"]], ids=["wan2.1", "wan2.2"])
@torch.no_grad()
def test_equals_diffusers(facts: Vae) -> None:
    door = door_of(facts)
    theirs = diffusers_vae(door.model)
    pixels = noise(1, 3, 9, 64, 96).clamp(-1, 1)
    latents = (theirs.encode(pixels).latent_dist.mode() - door.mean) * door.scale
    assert (door.encode(pixels) - latents).abs().max() <= 5e-6
    expected = theirs.decode(latents / door.scale + door.mean).sample.clamp(-1, 1)
    assert (door.decode(latents) - expected).abs().max() <= 5e-6


def test_frames_come_as_they_are_made() -> None:
    door = door_of(SMALL["tiny"], 1e12)
    pieces = door.model.decode(noise(1, 32, 5, 4, 6), 4e6)
    seen = [where[1] for where, _ in pieces]
    assert seen[0] == slice(0, 1)
    assert len(seen) > 2
    assert all(before.stop == after.start for before, after in pairwise(seen))
    assert seen[-1].stop == 17


# Geometry

UP = [Level(1, 1, 6, 384, 9), Level(2, 1, 6, 384, 9), Level(4, 2, 6, 192, 9), Level(8, 4, 7, 96, 9)]
DOWN = [Level(8, 4, 5, 96, 9), Level(4, 4, 4, 192, 9), Level(2, 2, 4, 384, 9), Level(1, 1, 4, 384, 9)]


def test_margins_hold_what_the_stages_behind_see() -> None:
    assert margins_up(UP) == [13, 12, 10, 7]
    assert margins_down(DOWN) == [76, 34, 14, 4]


def test_the_path_of_a_tile_ends_at_its_core() -> None:
    assert path((5, 9), 20, UP, margins_up(UP)) == ((0, 20), [slice(0, 30), slice(10, 46), slice(13, 59), slice(7, 39)])


def test_the_fewest_tiles_then_the_longest_chunks() -> None:
    margins = margins_up(UP)
    whole = cut(UP, margins, (90, 160), 21, 1e12)
    assert whole == Cut(((0, 90),), ((0, 160),), ((0, 1), (1, 21)))
    some = cut(UP, margins, (90, 160), 21, 5e8)
    assert len(some.rows) * len(some.columns) > 1
    for spans, size in ((some.rows, 90), (some.columns, 160), (some.chunks, 21)):
        assert spans[0][0] == 0 and spans[-1][1] == size
        assert all(a[1] == b[0] for a, b in pairwise(spans))
    assert len(list(cut(UP, margins, (90, 160), 21, 1e8).tiles())) > len(list(some.tiles()))
    assert cut(UP, margins, (1, 1), 1, 0.0) == Cut(((0, 1),), ((0, 1),), ((0, 1),))
