"""show: a video tells what it was made from, is made again to the byte, and goes to ComfyUI."""

import json
from pathlib import Path
from typing import Any

import pytest

from sakuga import api, cli
from sakuga.core.errors import SakugaError
from sakuga.core.made import as_settings, read_made
from sakuga.core.project import Project

SMALL: dict[str, Any] = {"width": 32, "height": 32, "frames": 5, "steps": 3}


def test_a_video_says_what_it_was_made_from_and_is_made_again(cached: Project, tmp_path: Path) -> None:
    run = api.train(cached, name="r", steps=1, rank=4)
    video = api.generate(cached, "MyStyle. a boat", seed=5, note="for the harbour", strength=0.5, guidance=2.0, **SMALL)
    made = read_made(video.path)
    assert (made.prompt, made.seed, made.width, made.frames, made.steps) == ("MyStyle. a boat", 5, 32, 5, 3)
    assert (made.model, made.shift, made.guidance, made.note) == ("tiny", 3.0, {"full": 2.0}, "for the harbour")
    (lora,) = made.loras
    assert lora.file == str(run.checkpoints["full"]) and lora.strength == 0.5
    again = api.again(cached, made, out=str(tmp_path / "again.mp4"))
    assert again.path.read_bytes() == video.path.read_bytes()
    other = api.again(cached, made, out=str(tmp_path / "other.mp4"), seed=6)
    assert other.path.read_bytes() != video.path.read_bytes() and read_made(other.path).seed == 6


def test_a_lora_is_found_by_what_it_holds(cached: Project) -> None:
    run = api.train(cached, name="r", steps=1, rank=4)
    made = read_made(api.generate(cached, "MyStyle. a boat", **SMALL).path)
    moved = made.model_copy(update={"loras": [made.loras[0].model_copy(update={"file": "/elsewhere/r.safetensors"})]})
    assert as_settings(cached, moved)["lora"] == (f"{run.checkpoints['full']}:1:full",)
    gone = made.model_copy(update={"loras": [moved.loras[0].model_copy(update={"sha256": "0"})]})
    with pytest.raises(
        SakugaError, match=r"the LoRA r.safetensors that it was made with is not at .*elsewhere; bring it back"
    ):
        api.again(cached, gone)


def test_what_another_project_cannot_make_is_a_sentence(experts: Project) -> None:
    made = read_made(api.generate(experts, "a boat", lora="none", **SMALL).path)
    assert set(made.experts) == {"high", "low"} and as_settings(experts, made)["guidance"] is None
    with pytest.raises(
        SakugaError, match="it was made with tiny and this project is for tiny-experts; open a project of that"
    ):
        api.again(experts, made.model_copy(update={"model": "tiny"}))
    uneven = made.model_copy(update={"guidance": {"high": 2.0, "low": 1.0}})
    with pytest.raises(
        SakugaError, match="it was made with a guidance of its own for each expert, which cannot be asked"
    ):
        api.again(experts, uneven)


def test_the_command(cached: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = api.generate(cached, "MyStyle. [a boat]", lora="none", **SMALL)
    at = ["--project", str(cached.folder)]
    assert cli.run(["show", str(video.path), "--workflow", str(tmp_path / "w.json")]) == 0
    said = capsys.readouterr().out
    assert "MyStyle. [a boat]" in said and "full 3" in said and "w.json is a workflow for ComfyUI" in said
    kinds = [node["class_type"] for node in json.loads((tmp_path / "w.json").read_text("utf-8")).values()]
    assert "KSampler" in kinds and kinds[-1] == "SaveVideo"
    assert cli.run(["show", str(video.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seed"] == video.seed
    assert cli.run(["show", str(video.path), "--again", *at, "--json"]) == 0
    made = Path(json.loads(capsys.readouterr().out)["path"])
    assert made != video.path and made.read_bytes() == video.path.read_bytes()
    assert cli.run(["show", str(video.path), "--again", *at]) == 0
    assert capsys.readouterr().out.strip().endswith(".mp4")


def test_generate_asks_what_should_be_seen(cached: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["generate", "--project", str(cached.folder)]) == 1
    asked = 'say what should be seen: `sakuga generate "a girl runs along the sea wall"`, or give --file'
    assert asked in capsys.readouterr().err
