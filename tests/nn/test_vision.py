"""Models that see and write, opened from folders: tiny random ones of the families in use, and what cannot be opened."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from sakuga.core.errors import Halt, SakugaError
from sakuga.nn import vision
from sakuga.nn.vision import VisionModel
from tiny_vision import write_vision_model

QUESTION = "what is there?"


def frames(count: int = 3, seed: int = 1) -> list[tuple[float, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [(n * 0.5, rng.integers(0, 255, (48, 80, 3), np.uint8)) for n in range(count)]


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vision_model(tmp_path_factory.mktemp("llava") / "joycaption", "llava")


@pytest.mark.parametrize("kind", ["qwen2", "qwen2.5", "qwen3", "llava"])
def test_each_family_answers_a_question_about_pictures(tmp_path: Path, kind: str) -> None:
    model = VisionModel.open(write_vision_model(tmp_path / kind, kind), "cpu")
    told = model.ask(QUESTION, frames(), max_tokens=400)
    assert told and told.isalpha() and model.name == kind
    assert model.ask(QUESTION, frames(), max_tokens=400) == told  # the likeliest words are always the same
    # whether the answer differs with a random model is chance; what it is shown must
    one, other = (model._inputs(QUESTION, frames(seed=seed)) for seed in (1, 2))
    assert not torch.equal(one["pixel_values"], other["pixel_values"])
    assert len(model._inputs(QUESTION, frames(1))["input_ids"][0]) < len(one["input_ids"][0])


def test_words_drawn_freely_follow_the_seed(llava: Path) -> None:
    model = VisionModel.open(llava, "cpu")
    drawn = {model.ask(QUESTION, frames(), max_tokens=400, temperature=2.0, seed=seed) for seed in (1, 1, 2, 3)}
    assert len(drawn) == 3


def test_an_answer_without_an_end_is_set_aside(llava: Path) -> None:
    model = VisionModel.open(llava, "cpu")
    model.model.generation_config.eos_token_id = 0
    with pytest.raises(
        SakugaError, match="joycaption was cut off after 16 tokens; raise caption.max_tokens, or ask for less"
    ):
        model.ask(QUESTION, frames(), max_tokens=16)


def test_precision_is_that_of_the_device_or_as_said(llava: Path) -> None:
    assert VisionModel.open(llava, "cpu").model.dtype == torch.float32
    model = VisionModel.open(llava, "cpu", "bf16")
    assert model.model.dtype == torch.bfloat16 and model.ask(QUESTION, frames(), max_tokens=400)


def test_what_a_processor_does_not_take_is_that_items_fault(llava: Path) -> None:
    with pytest.raises(SakugaError, match="joycaption cannot be shown this: .*; look at size and frames"):
        VisionModel.open(llava, "cpu").ask("an <image> in the question", frames())


def test_folders_that_hold_no_such_model(tmp_path: Path, llava: Path) -> None:
    transformers.BertModel(
        transformers.BertConfig(
            hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=9
        )
    ).save_pretrained(tmp_path / "bert")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text('{"model_type": "llava", "image_token_index": "x"}')
    for folder in (tmp_path / "none", tmp_path / "bert", tmp_path / "odd"):
        with pytest.raises(
            Halt, match="is no model here that sees pictures and writes .*; give caption.model the folder of one"
        ):
            VisionModel.open(folder, "cpu")


def test_a_model_without_a_chat_template(llava: Path, tmp_path: Path) -> None:
    for file in llava.iterdir():
        if file.name != "chat_template.jinja":
            (tmp_path / file.name).symlink_to(file)
    with pytest.raises(Halt, match="has no chat template; get its chat_template.jinja too, or take an instruct model"):
        VisionModel.open(tmp_path, "cpu")


def test_only_safetensors_are_read_and_no_code_is_run(llava: Path, tmp_path: Path) -> None:
    for file in llava.iterdir():
        (tmp_path / file.name.replace("model.safetensors", "pytorch_model.bin")).symlink_to(file)
    with pytest.raises(Halt, match="is no model here that sees"):
        VisionModel.open(tmp_path, "cpu")
    (tmp_path / "mine.py").write_text("raise SystemExit('run')")
    config = json.loads((llava / "config.json").read_text())
    (tmp_path / "config.json").unlink()
    config |= {
        "model_type": "mine",
        "auto_map": {"AutoConfig": "mine.Config", "AutoModelForImageTextToText": "mine.Model"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(Halt, match="is no model here that sees"):
        VisionModel.open(tmp_path, "cpu")


def test_a_package_that_is_missing_is_named(llava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_: Any, **__: Any) -> None:
        raise ImportError("\nMineProcessor requires the Mine library but it was not found.\nmore")

    monkeypatch.setattr(transformers.AutoProcessor, "from_pretrained", lacking)
    with pytest.raises(Halt) as raised:
        VisionModel.open(llava, "cpu")
    assert str(raised.value) == (
        f"{llava} needs a package that is not here (MineProcessor requires the Mine library but it was not found.); "
        "pip install it, or take another model"
    )


def test_what_does_not_fit_is_told_with_its_size(llava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    monkeypatch.setattr(vision, "free_memory", lambda device: 1000)
    with pytest.raises(MemoryError):
        vision._check_room(llava, torch.bfloat16, torch.device("cuda"))
    vision._check_room(llava, torch.bfloat16, torch.device("cpu"))
    said = vision._too_large(llava, torch.bfloat16, torch.device("cuda"))
    assert "needs about 0.0 GB in bfloat16 and does not fit cuda, of which 0.0 GB are free; take a smaller one" in said

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    model = VisionModel.open(llava, "cpu")
    monkeypatch.setattr(model.model, "generate", full)
    with pytest.raises(
        SakugaError,
        match="has no room for 3 pictures of this size in float32 on cpu; lower caption.size or caption.frames",
    ):
        model.ask(QUESTION, frames())
    monkeypatch.setattr(vision, "_check_room", full)
    with pytest.raises(
        Halt, match="does not fit cpu; take a smaller one, free memory, or let a server hold a quantised one"
    ):
        VisionModel.open(llava, "cpu")
