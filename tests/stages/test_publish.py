"""publish: the file that other programs load, its metadata, and its bytes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import small
from diffusers_pair import diffusers_with_lora
from sakuga import api
from sakuga.core.errors import SakugaError
from sakuga.core.models import of_project
from sakuga.core.project import Project
from sakuga.nn.lora import apply, load_lora
from sakuga.nn.weights import load_transformer

TRAINED: dict[str, Any] = {"name": "r", "steps": 4, "rank": 4, "learning_rate": 0.02, "save_every": 2}


@pytest.fixture(scope="module")
def trained_root(cached_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained") / "root"
    with small.copy(cached_root, root) as project:
        api.train(project, **TRAINED)
    return root


@pytest.fixture
def trained(trained_root: Path, tmp_path: Path) -> Iterator[Project]:
    with small.copy(trained_root, tmp_path / "My Style") as project:
        yield project


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-5), ("bf16", 0.05)])
def test_diffusers_gives_the_same_output_with_the_published_file(
    trained: Project, precision: str, limit: float
) -> None:
    (published,) = api.publish(trained, precision=precision)
    member, weights = trained.member, of_project(trained)["transformer"]
    x, t = torch.randn(1, 32, 2, 8, 12, generator=torch.Generator().manual_seed(1)), torch.tensor([100.0])
    text = torch.randn(1, member.text.length, member.text.dim, generator=torch.Generator().manual_seed(2))
    model = load_transformer(member.transformer, weights, torch.float32, "cpu")
    with torch.no_grad():
        base = model(x, t, text)
        apply(model, load_lora(trained.folder / "runs/r/checkpoints/full-000004.safetensors"))
        ours = model(x, t, text)
    state = {name: tensor.float() for name, tensor in load_file(weights).items()}
    theirs = diffusers_with_lora(member.transformer, state, published.path)(x, t, text)
    assert (ours - theirs).abs().max() <= limit
    assert (ours - base).abs().max() > 3 * limit


def test_the_metadata_says_what_viewers_look_for(trained: Project) -> None:
    (published,) = api.publish(trained, title="My / Style", author="Ana", licence="CC0", description="é")
    found = metadata(published.path)
    expected = {
        "modelspec.sai_model_spec": "1.0.1", "modelspec.architecture": "wan2.1/lora", "modelspec.title": "My / Style",
        "modelspec.author": "Ana", "modelspec.license": "CC0", "modelspec.description": "é",
        "modelspec.trigger_phrase": "MyStyle", "modelspec.resolution": "96x64", "modelspec.timestep_range": "0,1000",
        "ss_base_model_version": "sakuga-tiny", "ss_network_module": "networks.lora_wan", "ss_network_dim": "4",
        "ss_network_alpha": "4", "ss_steps": "4", "ss_max_train_steps": "4", "ss_epoch": "1", "ss_num_epochs": "1",
        "ss_seed": "1", "ss_learning_rate": "0.02", "ss_output_name": "My / Style",
    }  # fmt: skip
    assert expected.items() <= found.items()
    assert json.loads(found["ss_tag_frequency"])["captions"]["mystyle"] == 8
    assert {d["section"]: d["epoch"] for d in json.loads(found["ss_datasets"])} == {"stills": 4, "clips": 4}
    assert published.path == trained.folder / "published" / "My _ Style.safetensors"
    assert (published.expert, published.step, published.layers) == ("full", 4, 60)


def test_what_is_not_said_has_no_key(trained: Project) -> None:
    (published,) = api.publish(trained)
    assert not {"modelspec.author", "modelspec.license", "modelspec.description"} & metadata(published.path).keys()


def test_the_form_is_the_one_that_comfyui_and_diffusers_read(trained: Project) -> None:
    (published,) = api.publish(trained)
    state = load_file(published.path)
    assert len(state) == 180
    assert state["diffusion_model.blocks.0.self_attn.q.lora_A.weight"].shape == (4, 192)
    assert state["diffusion_model.blocks.5.ffn.0.lora_B.weight"].shape == (768, 4)
    assert state["diffusion_model.blocks.5.cross_attn.o.lora_B.weight"].dtype == torch.bfloat16
    assert state["diffusion_model.blocks.0.ffn.2.alpha"] == 4.0


def test_published_twice_the_bytes_are_equal(trained: Project, tmp_path: Path) -> None:
    (first,) = api.publish(trained)
    before = first.path.read_bytes()
    (second,) = api.publish(trained, out=str(tmp_path / "elsewhere"))
    assert second.path == tmp_path / "elsewhere" / "p.safetensors"
    assert second.path.read_bytes() == before and second.hashes == first.hashes
    (other,) = api.publish(trained, author="Ana")
    assert other.hashes.autov3 == first.hashes.autov3 and other.hashes.autov2 != first.hashes.autov2


def test_an_earlier_step_can_be_published(trained: Project) -> None:
    (published,) = api.publish(trained, step=2, precision="fp32")
    checkpoint = load_lora(trained.folder / "runs/r/checkpoints/full-000002.safetensors")
    tensors = load_lora(published.path).tensors
    assert all(torch.equal(tensors[name].B, checkpoint.tensors[name].B) for name in checkpoint.tensors)
    assert metadata(published.path)["ss_steps"] == "2" and metadata(published.path)["ss_max_train_steps"] == "4"
    with pytest.raises(SakugaError, match=r"run r has no checkpoint of step 3 \(saved: 2, 4\)"):
        api.publish(trained, step=3)
    with pytest.raises(SakugaError, match=r"there is no run 'rr'; did you mean r\? \(runs: r\)"):
        api.publish(trained, run="rr")


def test_a_checkpoint_that_was_changed_or_lost_is_refused(trained: Project) -> None:
    checkpoint = trained.folder / "runs/r/checkpoints/full-000004.safetensors"
    data = bytearray(checkpoint.read_bytes())
    data[-1] ^= 1
    checkpoint.write_bytes(data)
    with pytest.raises(SakugaError, match="full-000004.safetensors is not the file that training wrote"):
        api.publish(trained)
    checkpoint.unlink()
    with pytest.raises(SakugaError, match="full-000004.safetensors is missing; name another step"):
        api.publish(trained)
    assert not (trained.folder / "published").exists()


def test_before_any_training_there_is_nothing_to_publish(cached: Project) -> None:
    with pytest.raises(SakugaError, match="nothing was trained yet in this project; run `sakuga train`"):
        api.publish(cached)


def test_two_experts_are_two_files_with_their_ranges(experts: Project) -> None:
    api.train(experts, name="r", steps=1, rank=4)
    published = api.publish(experts, title="Look")
    assert [file.path.name for file in published] == ["Look-high.safetensors", "Look-low.safetensors"]
    ranges = [metadata(file.path)["modelspec.timestep_range"] for file in published]
    assert ranges == ["875,1000", "0,875"]
    assert len({file.hashes.autov3 for file in published}) == 2


def test_files_are_linked_into_comfyuis_folder(
    trained: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comfy = tmp_path / "ComfyUI"
    shelf = comfy / "models" / "loras"
    shelf.mkdir(parents=True)
    for given in (comfy, comfy / "models", shelf):
        (published,) = api.publish(trained, link=str(given))
        place = shelf / published.path.name
        assert place.is_symlink() and place.resolve() == published.path.resolve()
    assert [path.name for path in shelf.iterdir()] == [published.path.name]

    def none(self: Path, target: Path) -> None:
        raise OSError(1314, "A required privilege is not held by the client")  # Windows, to most people

    monkeypatch.setattr(Path, "symlink_to", none)
    for _ in range(2):  # a copy of ours is replaced too
        (published,) = api.publish(trained, link=str(comfy), author="me")
        assert not place.is_symlink() and place.read_bytes() == published.path.read_bytes()


def test_what_is_not_ours_is_not_replaced(trained: Project, tmp_path: Path) -> None:
    (tmp_path / "loras").mkdir()
    (published,) = api.publish(trained)
    place = tmp_path / "loras" / published.path.name
    place.write_bytes(b"another's")
    with pytest.raises(
        SakugaError, match="is there already and no LoRA of Sakuga's; rename it, or give --title another"
    ):
        api.publish(trained, link=str(tmp_path / "loras"))
    assert place.read_bytes() == b"another's"
    with pytest.raises(
        SakugaError, match="is no folder, so nothing can be linked into it; give ComfyUI's folder or its"
    ):
        api.publish(trained, link=str(tmp_path / "gone"))
    api.publish(trained, link=str(published.path.parent))
    assert not published.path.is_symlink() and len(load_file(published.path)) > 0
