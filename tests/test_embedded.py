"""What comes with Sakuga: the files that the model card lists, as it lists them, small enough, read by the family's rows."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from sakuga.core.family import FAMILY
from sakuga.core.media.film import frames
from sakuga.core.media.fit import fit
from sakuga.core.models import EMBEDDED, find
from sakuga.core.settings import ModelSettings
from sakuga.demo.style import read_scales
from sakuga.nn.describer import load_describer
from sakuga.nn.text import load_text
from sakuga.nn.vae import load_vae
from sakuga.nn.weights import load_transformer
from sakuga_world.draw import draw
from sakuga_world.films import BAR, write_film
from sakuga_world.look import BASE, CEL, WOODCUT, Look, between
from sakuga_world.scene import random_scene

LISTED = re.findall(r"^\| (\S+) \| ([\d,]+) \| `(\w{64})` \|$", (EMBEDDED / "README.md").read_text("utf-8"), re.M)
FILES = {"tiny": ["transformer"], "tiny-experts": ["high_noise_model", "low_noise_model"]}


def test_the_card_lists_every_file_with_its_hash() -> None:
    there = sorted(path for path in EMBEDDED.rglob("*") if path.is_file() and path.name != "README.md")
    assert [name for name, _, _ in LISTED] == [path.relative_to(EMBEDDED).as_posix() for path in there]
    for path, (_, size, sha256) in zip(there, LISTED, strict=True):
        content = path.read_bytes()
        assert (f"{len(content):,}", hashlib.sha256(content).hexdigest()) == (size, sha256), path.name


def test_it_is_no_larger_than_was_agreed() -> None:
    sizes = {path.name: path.stat().st_size for path in EMBEDDED.rglob("*") if path.is_file()}
    assert sum(sizes.values()) <= 45 * 2**20
    assert sizes["describer.safetensors"] < 3 * 2**20


@pytest.mark.parametrize("name", FILES)
def test_a_tiny_member_is_whole(name: str, tmp_path: Path) -> None:
    member = FAMILY[name]
    assert all(EMBEDDED in path.parents for path in find(member, ModelSettings(), tmp_path).values())
    for file in FILES[name]:
        load_transformer(member.transformer, EMBEDDED / f"{file}.safetensors", torch.float32)
    door = load_vae(member.vae, EMBEDDED / "vae")
    statistics = json.loads((EMBEDDED / "vae" / "config.json").read_text("utf-8"))
    assert door.mean.flatten().tolist() == pytest.approx(statistics["latents_mean"], abs=1e-4)
    text = load_text(member.text, EMBEDDED / "text_encoder", EMBEDDED / "tokenizer", torch.float32)
    left, right = text.encode(["a red car drives to the left", "a red car drives to the right"])
    assert 0.1 < ((left - right).norm() / left.norm()).item() < 1  # it reads the words


@pytest.mark.parametrize(("name", "film"), [("cel", CEL), ("woodcut", WOODCUT)])
def test_the_style_scale_rises_from_base_to_film_seen_through_the_vae(name: str, film: Look) -> None:
    rng = np.random.default_rng(7)
    scenes = [random_scene(rng) for _ in range(16)]
    vae, scale = load_vae(FAMILY["tiny"].vae, EMBEDDED / "vae"), read_scales(EMBEDDED / "looks.json")[name]

    def style(look: Look) -> float:
        drawn_NHWC = torch.from_numpy(np.stack([draw(scene, look, 0.3) for scene in scenes]))
        seen_NCFHW = vae.decode(vae.encode(drawn_NHWC.permute(0, 3, 1, 2)[:, :, None].float() / 127.5 - 1))
        seen = ((seen_NCFHW[:, :, 0].permute(0, 2, 3, 1).clamp(-1, 1) + 1) * 127.5).round().byte().numpy()
        return float(scale.score(seen).mean())

    scores = [style(between(BASE, film, t)) for t in (0, 0.25, 0.5, 0.75, 1)]
    assert all(np.diff(scores) > 0), scores
    assert abs(scores[0]) < 0.2 and abs(scores[-1] - 1) < 0.2, scores


@pytest.mark.parametrize("name", ["describer", "judge"])
@pytest.mark.parametrize("look", [CEL, WOODCUT])
def test_clips_from_anywhere_in_a_film_are_described_as_they_are(name: str, look: Look, tmp_path: Path) -> None:
    """Not from the first instant of a scene alone: subjects come elsewhere and the zoom grows."""
    describer = load_describer(EMBEDDED / f"{name}.safetensors")
    rng = np.random.default_rng(3)
    right = []
    for episode in (30, 32):  # the second has bars
        shots = write_film(tmp_path / f"{episode}.mp4", episode, look, seconds=60)
        wanted = {}
        for shot in (shot for shot in shots if shot.kind == "shot"):
            start = int(rng.integers(shot.first, shot.last - 13))
            wanted |= {start + n * 3 // 2: (shot, n) for n in range(9)}
        clips: dict[int, list[np.ndarray]] = {}
        for index, rgb in frames(tmp_path / f"{episode}.mp4", sorted(wanted)):
            shot, _ = wanted[index]
            bar = round(BAR * 256) + 1 if shot.bars else 0
            clips.setdefault(shots.index(shot), []).append(fit(rgb[bar : 256 - bar], 96, 64))
        for number, clip in clips.items():
            facts = describer.facts(np.stack(clip))
            right.append([facts[fact] == getattr(shots[number].scene, fact) for fact in facts])
    assert len(right) >= 20
    assert np.mean(right, axis=0).min() >= 0.85 and np.mean(right) >= 0.95, np.mean(right, axis=0)
