"""show: a video tells what it was made from, is made again to the byte, and goes to ComfyUI."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

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
    assert set(made.experts) == {"high", "low"}
    with pytest.raises(
        SakugaError, match="it was made with tiny and this project is for tiny-experts; open a project of that"
    ):
        api.again(experts, made.model_copy(update={"model": "tiny"}))


def test_all_that_was_asked_for_is_asked_for_again(
    experts: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {
        "guidance": (4.0, 2.5), "split": 1, "cfg_zero": True, "skip_layers": (1,), "skip_to": 0.8, "reuse": 0.2,
        "enhance_video": 2.0, "batched": True, "sampler": "dpm++sde", "anti_3d": True,
    }  # fmt: skip
    made = read_made(api.generate(experts, "a boat", lora="none", **SMALL | asked).path)
    assert made.guidance == {"high": 4.0, "low": 2.5} and made.experts == ["high", "low", "low"]
    assert made.negative.endswith("Unity, Unreal, CGI, bad quality")
    assert made.more == {
        "split": 1, "cfg_zero": True, "skip_layers": [1], "skip_to": 0.8, "reuse": 0.2, "enhance_video": 2.0, "batched": True
    }  # fmt: skip
    again = api.again(experts, made, out=str(tmp_path / "again.mp4"))
    assert read_made(again.path) == made
    Path(tmp_path / "a.webp").write_bytes(
        api.generate(experts, "a boat", lora="none", format="webp", **SMALL).path.read_bytes()
    )
    at = ["--project", str(experts.folder)]
    assert cli.run(["show", str(tmp_path / "a.webp"), "--again", "--json", *at]) == 0
    assert json.loads(capsys.readouterr().out)["path"].endswith(".webp")
    assert cli.run(["show", str(again.path), "--workflow", str(tmp_path / "w.json")]) == 0
    said = capsys.readouterr().out
    assert "not in the workflow: batched, cfg_zero, enhance_video, reuse, skip_layers, skip_to" in " ".join(
        said.split()
    )
    asked = [
        "generate",
        "a boat",
        "--lora",
        "none",
        "--split",
        "3",
        "--steps",
        "6",
        "--reuse",
        "9",
        "--guidance",
        "4",
        "3",
    ]
    assert cli.run([*asked, "--width", "32", "--height", "32", "--frames", "5", *at]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "steps 3 ran an expert outside the noise levels it is trained on (`sakuga sigmas` shows them)" in said


def test_few_steps_and_what_is_given_beside_them(experts: Project) -> None:
    made = read_made(api.generate(experts, "a boat", lora="none", **SMALL | {"steps": None}, few_steps=True).path)
    assert (made.steps, made.shift, made.sampler) == (4, 5.0, "euler")
    assert made.guidance == {"high": 1.0, "low": 1.0} and made.more == {}
    made = read_made(api.generate(experts, "a boat", lora="none", **SMALL, few_steps=True, guidance=2).path)
    assert (made.steps, made.guidance["low"]) == (3, 2.0)


@pytest.mark.parametrize(("name", "frames"), [("a.webp", 5), ("a.png", 1), ("a", 5)])
def test_pictures_tell_it_too(cached: Project, tmp_path: Path, name: str, frames: int) -> None:
    asked = SMALL | {"frames": frames, "negative": "模糊 und böse", "out": str(tmp_path / name)}
    video = api.generate(cached, "ein Mädchen läuft", lora="none", format="png" if name == "a" else None, **asked)
    assert video.path == tmp_path / name
    files = sorted(video.path.iterdir()) if video.path.is_dir() else [video.path]
    with Image.open(files[0]) as picture:
        assert picture.size == (32, 32) and len(files) * getattr(picture, "n_frames", 1) == frames
    made = read_made(video.path)
    assert (made.prompt, made.negative, made.frames) == ("ein Mädchen läuft", "模糊 und böse", frames)
    assert read_made(files[-1]) == made
    assert not list(tmp_path.glob("*.tmp"))


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
