"""The describer: what its file says it knows is what it tells, of clips and of stills."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sakuga import api
from sakuga.core import captions, models
from sakuga.core.errors import SakugaError
from sakuga.core.project import Project
from sakuga.nn.describer import Network, load_describer, save_describer

KNOWLEDGE = {
    "frames": 9, "width": 96, "height": 64, "facts": {"subject": ["car", "ball"], "direction": ["left", "right"]},
    "words": {"subject": {"car": "car drives", "ball": "ball rolls"}, "direction": {"left": "leftwards", "right": "rightwards"}},
    "sentence": "a {subject} {direction}",
}  # fmt: skip


def saved(path: Path) -> Path:
    torch.manual_seed(0)
    network = Network({"subject": 2, "direction": 2})
    network.heads["subject"].bias.data = torch.tensor([-50.0, 50.0])
    save_describer(path, network.state_dict(), KNOWLEDGE)
    return path


def test_a_clip_and_a_still_are_told_in_the_words_of_the_file(tmp_path: Path) -> None:
    describer = load_describer(saved(tmp_path / "describer.safetensors"))
    clip = np.random.default_rng(0).integers(0, 255, (12, 64, 96, 3), dtype=np.uint8)
    assert describer.facts(clip)["subject"] == "ball"
    assert describer.caption(clip[:1]) in ("a ball rolls leftwards", "a ball rolls rightwards")


def test_the_middle_of_a_long_clip_is_looked_at(tmp_path: Path) -> None:
    describer = load_describer(saved(tmp_path / "describer.safetensors"))
    seen = []
    describer.network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    describer.facts(np.arange(13, dtype=np.uint8)[:, None, None, None] * np.ones((13, 64, 96, 3), np.uint8))
    describer.facts(np.full((1, 64, 96, 3), 255, np.uint8))
    assert ((seen[0][0, 0, :, 0, 0] + 1) * 127.5).round().tolist() == list(range(2, 11))
    assert seen[1].shape == (1, 3, 9, 64, 96) and (seen[1] == 1).all()


def test_a_file_that_is_no_describer_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "describer.safetensors"
    for content in (b"", b"{}", (saved(tmp_path / "whole")).read_bytes()[:2000]):
        path.write_bytes(content)
        with pytest.raises(SakugaError) as raised:
            load_describer(path)
        assert str(raised.value) == f"{path} is not a describer of this version; install Sakuga again"


def test_the_caption_stage_writes_what_it_tells(
    exported: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "EMBEDDED", tmp_path)
    with pytest.raises(SakugaError) as raised:
        api.caption(exported, backend="describer")
    assert str(raised.value) == (
        f"{tmp_path / 'describer.safetensors'} is missing from this installation; install Sakuga again"
    )
    saved(tmp_path / "describer.safetensors")
    summary = api.caption(exported, backend="describer")
    assert len(summary.done) == 8 and not summary.failed
    told = captions.current(exported)
    assert all(caption.text.startswith("MyStyle. a ball rolls ") for caption in told.values())
    assert {caption.origin for caption in told.values()} == {"describer"}
    assert not api.caption(exported, backend="describer").done
