"""LoKr and DoRA trained from the first step to the published file: what they learn, how they go on, and what wears them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

import small
from sakuga import api
from sakuga.core.errors import SakugaError
from sakuga.core.models import of_project
from sakuga.core.progress import Silent
from sakuga.core.project import Project
from sakuga.core.settings import TrainSettings
from sakuga.nn.lora import apply, inject, load_lora, merge
from sakuga.nn.transformer import WanTransformer
from sakuga.nn.weights import load_transformer
from sakuga.stages.train import measure
from sakuga.stages.train.state import load_state, state_path

KINDS: dict[str, dict[str, Any]] = {
    "lokr": {"adapter": "lokr", "factor": 4, "full_matrix": True, "learning_rate": 5e-3},
    "dora": {"adapter": "dora", "rank": 4, "learning_rate": 5e-3, "lora_plus": 4.0, "dropout": 0.1, "rslora": True},
}
by_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module", autouse=True)
def few_levels() -> Iterator[None]:
    """Validation at two noise levels says enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "LEVELS", 2)
        yield


@torch.no_grad()
def output(model: WanTransformer) -> Tensor:
    x, t = torch.randn(1, 32, 2, 8, 12, generator=torch.Generator().manual_seed(1)), torch.tensor([500.0])
    made: Tensor = model.eval()(
        x, t, torch.randn(1, 9, model.shape.text_dim, generator=torch.Generator().manual_seed(2))
    )
    return made


class Said(Silent):
    def __init__(self) -> None:
        self.words: list[str] = []

    def say(self, text: str) -> None:
        self.words.append(text)


def close(ours: Tensor, theirs: Tensor) -> None:
    """Within a millionth of the largest number."""
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-6


@by_kind
def test_the_loss_falls_and_the_published_file_is_what_was_trained(cached: Project, kind: str) -> None:
    said = Said()
    run = api.train(cached, name="r", epochs=3, ema=0.5, **KINDS[kind])
    losses = run.losses["full"]
    assert sum(losses[-6:]) < 0.9 * sum(losses[:6])
    assert run.validation["full"][18] < 0.9 * run.validation["full"][0]
    (published,) = api.publish(cached, precision="fp32", progress=said)
    assert published.layers == 60 and [kind in words.lower() for words in said.words] == [True]

    member, settings = cached.member, TrainSettings(**KINDS[kind])
    model = load_transformer(member.transformer, of_project(cached)["transformer"], torch.float32, "cpu")
    base = output(model)
    adapters = inject(model, settings.rank, None, 1, kind=settings.kind, rslora=settings.rslora)
    assert torch.equal(output(model), base)  # nothing is changed before the first step
    adapters.load(load_state(state_path(run.folder, "full")).best)
    trained = output(model)
    adapters.remove(model)
    applied = apply(model, load_lora(published.path))
    close(output(model), trained)
    assert (trained - base).abs().max() > 0.01
    applied.lora.remove(model)
    merge(model, load_lora(published.path))
    close(output(model), trained)


@by_kind
def test_what_is_written_says_what_it_is(cached: Project, kind: str) -> None:
    run = api.train(cached, name="r", steps=2, **KINDS[kind])
    (published,) = api.publish(cached)
    state = load_file(published.path)
    endings = {key.partition("self_attn.q.")[2] for key in state if "blocks.0.self_attn.q." in key}
    told = api.lora_show(published.path)
    assert told.unused == [] and sum(told.kinds.values()) == 60
    with safe_open(published.path, framework="pt") as file:
        network = {key: value for key, value in file.metadata().items() if key.startswith("ss_network")}
    if kind == "lokr":
        assert endings == {"lokr_w1", "lokr_w2", "alpha"} and told.kinds == {"LoKr": 60}
        assert json.loads(network["ss_network_args"]) == {"factor": 4}
        made = api.lora_convert(published.path, "diffusers", rank=8)[0]
        assert load_lora(made.path).tensors.keys() == load_lora(published.path).layers.keys()
    else:
        assert endings == {"lora_A.weight", "lora_B.weight", "dora_scale", "alpha"} and told.kinds == {
            "DoRA of LoRA": 60
        }
        assert json.loads(network["ss_network_args"])["dora_wd"] == "True"
        lengths = next(tensor for key, tensor in state.items() if key.endswith("dora_scale"))
        exact = load_file(run.checkpoints["full"])
        assert lengths.dtype == torch.float32 and any(torch.equal(lengths, tensor) for tensor in exact.values())
        with pytest.raises(SakugaError, match="no plain LoRA holds it"):
            api.lora_convert(published.path, "diffusers")


@by_kind
def test_a_run_that_stops_and_goes_on_is_the_same_to_the_bit(cached: Project, tmp_path: Path, kind: str) -> None:
    settings: dict[str, Any] = {"steps": 3, "accumulation": 2, "ema": 0.9, "validate_every": 9} | KINDS[kind]
    with small.copy(cached.folder.parent, tmp_path / "whole") as other:
        whole = api.train(other, name="r", **settings)
    for _ in range(2):
        assert api.train(cached, name="r", should_stop=lambda: True, **settings).stopped
    parts = api.train(cached, name="r", **settings)
    assert parts.checkpoints["full"].read_bytes() == whole.checkpoints["full"].read_bytes()
    states = [state_path(run.folder, "full").read_bytes() for run in (whole, parts)]
    assert states[0] == states[1]
    with pytest.raises(SakugaError, match="was begun with another adapter"):
        api.train(cached, name="r", **settings | {"adapter": "lora"})


@by_kind
def test_previews_a_training_that_begins_with_it_and_generate_wear_it(cached: Project, kind: str) -> None:
    (cached.folder / "prompts.txt").write_text("a cat --w 48 --h 32 --f 5 --s 1\n", "utf-8")
    plain = api.train(cached, name="plain", steps=2, **KINDS[kind])
    shown = api.train(cached, name="shown", steps=2, prompts="prompts.txt", preview_every=1, **KINDS[kind])
    assert shown.checkpoints["full"].read_bytes() == plain.checkpoints["full"].read_bytes()
    assert len(list((shown.folder / "previews").glob("*.mp4"))) == 3
    said = Said()
    api.train(cached, name="again", steps=1, start_from="plain", progress=said, **KINDS[kind])
    assert "begins with full-000002.safetensors: 60 of 60 layers" in said.words
    video = api.generate(cached, "a cat", width=48, height=32, frames=5, steps=1, lora="shown")
    assert video.path.is_file() and any(video.loras.values())
