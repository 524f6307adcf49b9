"""Finding the files of a model: where people have them, nothing guessed, and every missing one told with its remedy."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sakuga.core import models
from sakuga.core.errors import SakugaError
from sakuga.core.family import member
from sakuga.core.project import Project, change_config
from sakuga.core.settings import ModelSettings
from sakuga.doctor import examine

WAN = member("wan2.1-t2v-14b")
COMFY = {
    "transformer": "models/diffusion_models/wan2.1_t2v_14B_fp16.safetensors",
    "vae": "models/vae/wan_2.1_vae.safetensors",
    "text": "models/text_encoders/umt5_xxl_fp16.safetensors",
    "tokenizer": "models/tokenizers/umt5-xxl",
}


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


@pytest.fixture
def comfy(tmp_path: Path) -> Path:
    """A project folder whose `models` is laid out as ComfyUI's."""
    touch(tmp_path, *(COMFY[role] for role in ("transformer", "vae", "text")), f"{COMFY['tokenizer']}/spiece.model")
    return tmp_path


def test_the_layout_of_comfyui(comfy: Path) -> None:
    assert models.find(WAN, ModelSettings(), comfy) == {role: comfy / path for role, path in COMFY.items()}


def test_two_experts_in_the_official_layout(tmp_path: Path) -> None:
    for name in ("high_noise_model", "low_noise_model"):
        touch(tmp_path, f"models/Wan2.2-T2V-A14B/{name}/diffusion_pytorch_model-00001-of-00006.safetensors")
    top = "models/Wan2.2-T2V-A14B"
    touch(tmp_path, f"{top}/vaes/Wan2.1_VAE.pth", f"{top}/models_t5_umt5-xxl-enc-bf16.pth")
    touch(tmp_path, f"{top}/google/umt5-xxl/tokenizer.json")
    found = models.find(member("wan2.2-t2v-a14b"), ModelSettings(), tmp_path)
    assert {role: path.relative_to(tmp_path / top).as_posix() for role, path in found.items()} == {
        "high": "high_noise_model", "low": "low_noise_model", "vae": "vaes/Wan2.1_VAE.pth",
        "text": "models_t5_umt5-xxl-enc-bf16.pth", "tokenizer": "google/umt5-xxl",
    }  # fmt: skip


def test_the_first_of_its_names_is_taken(comfy: Path) -> None:
    touch(comfy, "models/diffusion_models/wan2.1_t2v_14B_bf16.safetensors")
    assert models.find(WAN, ModelSettings(), comfy)["transformer"].name == "wan2.1_t2v_14B_bf16.safetensors"


def test_a_drawer_is_not_a_model(comfy: Path) -> None:
    (comfy / COMFY["vae"]).unlink()
    touch(comfy, "models/vae/of_another_model.safetensors")  # the folder models/vae bears one of the VAE's names
    with pytest.raises(SakugaError, match="the vae file is missing"):
        models.find(WAN, ModelSettings(), comfy)
    touch(comfy, "models/vae/config.json")
    assert models.find(WAN, ModelSettings(), comfy)["vae"] == comfy / "models" / "vae"


def test_a_path_that_is_given_wins(comfy: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("disk")
    touch(elsewhere, "mine.safetensors")
    touch(comfy, "near.safetensors")
    given = ModelSettings(vae=str(elsewhere / "mine.safetensors"), text="near.safetensors")
    found = models.find(WAN, given, comfy)
    assert found["vae"] == elsewhere / "mine.safetensors" and found["text"] == comfy / "near.safetensors"
    assert models.find(WAN, ModelSettings(folder=str(comfy / "models")), elsewhere)["vae"] == comfy / COMFY["vae"]
    with pytest.raises(SakugaError, match=r"models\.vae = 'gone' is not there; correct it in sakuga\.toml$"):
        models.find(WAN, ModelSettings(vae="gone"), comfy)


def test_a_home_folder_is_expanded(comfy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(comfy))
    monkeypatch.setenv("USERPROFILE", str(comfy))
    found = models.find(WAN, ModelSettings(folder="~/models"), Path("/nowhere"))
    assert found["vae"] == comfy / COMFY["vae"]


def test_every_missing_file_is_told_with_its_remedy(comfy: Path) -> None:
    (comfy / COMFY["vae"]).unlink()
    (comfy / COMFY["text"]).unlink()
    with pytest.raises(SakugaError) as caught:
        models.find(WAN, ModelSettings(), comfy)
    sentence = str(caught.value)
    assert sentence.startswith(
        "wan2.1-t2v-14b cannot be used yet: the vae file is missing: get wan_2.1_vae.safetensors"
    )
    for part in (
        "(0.5 GB, Apache-2.0)",
        "from https://",
        f"put it into {comfy / 'models'}",
        "models.vae in sakuga.toml",
    ):
        assert part in sentence
    assert "the text file is missing" in sentence and "transformer" not in sentence and "\n" not in sentence


def test_a_models_content_is_one_hash(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", "tiny") as project:
        folder = tmp_path / "model"
        touch(folder, "config.json", "part-1.safetensors", "README.md")
        (folder / "part-1.safetensors").write_bytes(b"weights")
        first = models.content_hash(project, folder)
        (folder / "README.md").write_text("read me")
        touch(folder, ".cache/download.json")
        assert models.content_hash(project, folder) == first
        (folder / "part-1.safetensors").write_bytes(b"Weights!")
        second = models.content_hash(project, folder)
        (folder / "part-1.safetensors").rename(folder / "part-2.safetensors")
        assert len({first, second, models.content_hash(project, folder)}) == 3
        assert models.content_hash(project, folder / "config.json") == project.sha256(folder / "config.json")


def test_a_survey_says_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", "tiny") as project:
        touch(project.folder, "models/transformer.safetensors", "models/vae/config.json", "t/config.json")
        change_config(project.folder / "sakuga.toml", "models.text", "t")
        change_config(project.folder / "sakuga.toml", "models.tokenizer", "gone")
    with Project(tmp_path / "p") as project:
        found = {row["role"]: row["path"] for row in models.survey(project)}
        assert found == {
            "transformer": str(project.folder / "models/transformer.safetensors"),
            "vae": str(project.folder / "models/vae"), "text": str(project.folder / "t"), "tokenizer": None,
        }  # fmt: skip
        with pytest.raises(SakugaError, match=r"models\.tokenizer = 'gone' is not there"):
            models.of_project(project)


def test_a_file_that_could_hold_code_is_told_with_a_better_one(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", "wan2.1-t2v-1.3b") as project:
        touch(project.folder, "models/models_t5_umt5-xxl-enc-bf16.pth", "models/wan_2.1_vae.safetensors")
        remarks = {row["role"]: row["remark"] for row in models.survey(project)}
        told = {f.check: f for f in examine(project)}
    assert remarks == {
        "transformer": "", "vae": "", "tokenizer": "",
        "text": "a .pth can hold code; none is run, and a process apart reads it, "
        "but umt5_xxl_fp16.safetensors is the better choice",
    }  # fmt: skip
    assert (told["model: text"].state, told["model: text"].remedy) == ("warning", remarks["text"])
    assert (told["model: vae"].state, told["model: vae"].remedy) == ("ok", "")


def diffusers(folder: Path, name: str, *parts: str) -> None:
    shape = member(name).transformer
    config = {"num_layers": shape.layers, "num_attention_heads": shape.heads, "in_channels": shape.in_channels}
    for part in parts:
        touch(folder, f"{part}/diffusion_pytorch_model.safetensors", "model_index.json")
        (folder / part / "config.json").write_text(json.dumps(config))


def test_pipelines_of_diffusers_are_told_apart(comfy: Path) -> None:
    """All of them name their folders alike: the configuration says whose they are."""
    (comfy / COMFY["transformer"]).unlink()
    diffusers(comfy / "models/a", "wan2.1-t2v-1.3b", "transformer")
    diffusers(comfy / "models/b", "wan2.2-t2v-a14b", "transformer", "transformer_2")
    with pytest.raises(SakugaError, match="the transformer file is missing"):
        models.find(WAN, ModelSettings(), comfy)
    diffusers(comfy / "models/c", "wan2.1-t2v-14b", "transformer")
    assert models.find(WAN, ModelSettings(), comfy)["transformer"] == comfy / "models/c/transformer"
    both = models.find(member("wan2.2-t2v-a14b"), ModelSettings(), comfy)
    assert (both["high"], both["low"]) == (comfy / "models/b/transformer", comfy / "models/b/transformer_2")
    whole = ModelSettings(high=str(comfy / "models/b"), low=str(comfy / "models/b"))
    assert models.find(member("wan2.2-t2v-a14b"), whole, comfy)["low"] == comfy / "models/b/transformer_2"


def test_experts_that_are_swapped(comfy: Path) -> None:
    touch(comfy, "a_high_noise.safetensors", "a_low_noise.safetensors", "mine.safetensors")
    swapped = ModelSettings(high="a_low_noise.safetensors", low="mine.safetensors")
    with pytest.raises(SakugaError) as caught:
        models.find(member("wan2.2-t2v-a14b"), swapped, comfy)
    assert str(caught.value) == (
        "wan2.2-t2v-a14b cannot be used yet: models.high = 'a_low_noise.safetensors' is the other expert by its name; "
        "give each its own in sakuga.toml"
    )


def test_the_text_encoder_may_carry_the_tokenizer(comfy: Path) -> None:
    (comfy / COMFY["tokenizer"] / "spiece.model").unlink()
    with pytest.raises(SakugaError, match="the tokenizer file is missing"):
        models.find(WAN, ModelSettings(), comfy)
    save_file({"spiece_model": np.zeros(4, np.uint8)}, comfy / COMFY["text"])
    found = models.find(WAN, ModelSettings(), comfy)
    assert found["tokenizer"] == found["text"] == comfy / COMFY["text"]
