"""Words in the space of pictures: a model of both tells which caption fits which picture."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sakuga import api
from sakuga.core.errors import SakugaError
from sakuga.core.project import Project, change_config, read_config
from sakuga.nn.embed import Embedder
from small_fixtures import exported, exported_root

__all__ = ["exported", "exported_root"]

TEXT = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 300,
        "max_position_embeddings": 12, "eos_token_id": 257, "bos_token_id": 256, "pad_token_id": 257}  # fmt: skip
VISION = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32,
          "patch_size": 16}  # fmt: skip
A = "clips/film_000000"


def write_clip(folder: Path) -> Path:
    """A CLIP of random weights, with a tokenizer that knows letters alone."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizerFast

    torch.manual_seed(1)
    folder.mkdir(exist_ok=True)
    CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=12)).save_pretrained(folder)
    letters = [chr(code) for code in range(33, 127)]
    vocabulary = [
        *letters,
        *(f"{letter}</w>" for letter in letters),
        *(f"<{n}>" for n in range(68)),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    (folder / "vocab.json").write_text(json.dumps({piece: n for n, piece in enumerate(vocabulary)}), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    return folder


def test_texts_are_told_apart_in_the_space_of_pictures(tmp_path: Path) -> None:
    embed = Embedder.open(write_clip(tmp_path))
    told = embed.words(["a lamp", "a gate", "a lamp " + "x" * 100])
    picture = embed([np.zeros((32, 32, 3), np.uint8)])
    assert told.shape == (3, 12) and picture.shape == (1, 12) and told.dtype == np.float32
    assert np.allclose(np.linalg.norm(told, axis=1), 1, atol=1e-5)
    assert np.abs(told[0] - told[1]).max() > 1e-3
    assert np.allclose(embed.words(["a gate"])[0], told[1], atol=1e-5)  # the company does not count


def test_a_model_of_pictures_alone_says_so(tmp_path: Path) -> None:
    write_clip(tmp_path)
    for name in ("vocab.json", "tokenizer.json"):
        (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(SakugaError, match="knows no words; give alike.model the folder of a CLIP or SigLIP"):
        Embedder.open(tmp_path).words(["a lamp"])


def test_every_item_is_fitted_once_and_a_changed_caption_anew(exported: Project, tmp_path: Path) -> None:
    folder = write_clip(tmp_path / "clip")
    change_config(exported.folder / "sakuga.toml", "alike.model", json.dumps(str(folder)))
    exported.settings = read_config(exported.folder / "sakuga.toml")
    api.mismatches(exported)
    before = {row["item"]: row for row in exported.rows("SELECT item, picture, words FROM item_fit")}
    assert len(before) == 8 and len(np.frombuffer(before[A]["words"], np.float32)) == 12
    ended = {row["item"]: row["ended"] for row in exported.rows("SELECT item, ended FROM work WHERE stage = 'fit'")}
    exported.path(f"dataset/{A}.txt").write_text("MyStyle. A lamp.", "utf-8")
    api.mismatches(exported)
    later = {row["item"]: row["ended"] for row in exported.rows("SELECT item, ended FROM work WHERE stage = 'fit'")}
    assert [item for item in ended if later[item] != ended[item]] == [A]
    (after,) = exported.rows("SELECT picture, words FROM item_fit WHERE item = ?", A)
    assert after["picture"] == before[A]["picture"] and after["words"] != before[A]["words"]
    want = Embedder.open(folder).words(["A lamp."])[0]  # the trigger is none of the picture's
    assert np.allclose(np.frombuffer(after["words"], np.float32), want, atol=1e-5)


def test_captions_are_held_against_the_pictures_of_neighbours(exported: Project, tmp_path: Path) -> None:
    """Vectors as a good model would give them: the picture of each clip, and its own words except for three that slipped."""
    names = [row["name"] for row in exported.rows("SELECT name FROM item WHERE kind = 'clip' ORDER BY name")]
    axes = np.eye(len(names), 12, dtype=np.float32)
    words = [axes[0], axes[0], axes[1], axes[2]]
    for name, picture, text in zip(names, axes, words, strict=True):
        exported.db.execute("INSERT INTO item_fit VALUES (?, ?, ?, ?)", (name, name, picture.tobytes(), text.tobytes()))
    from sakuga.core.covered import mismatches

    ((slip, by),) = mismatches(exported)
    assert (slip.items, slip.offset, by) == (tuple(names[1:]), -1, "embedding")
