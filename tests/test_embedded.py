"""What comes with Sakuga: the files that the model card lists, as it lists them, small enough, read by the family's rows."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch

from sakuga.core.family import FAMILY
from sakuga.core.models import EMBEDDED, find
from sakuga.core.settings import ModelSettings
from sakuga.nn.text import load_text
from sakuga.nn.vae import load_vae
from sakuga.nn.weights import load_transformer

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
