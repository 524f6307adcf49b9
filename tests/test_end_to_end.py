"""A film made on the spot goes the whole way through the command line, and diffusers loads what comes out."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import small
from diffusers_pair import diffusers_with_lora
from films import cartoon_film
from sakuga import cli
from sakuga.core.family import member
from sakuga.core.media.film import scan_times
from sakuga.core.models import EMBEDDED
from sakuga.nn.lora import apply, load_lora
from sakuga.nn.weights import load_transformer


def test_from_a_film_to_a_lora_that_diffusers_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small.one_thread()
    monkeypatch.chdir(tmp_path)
    cuts = cartoon_film(tmp_path / "film.mp4", 4)

    def sakuga(*arguments: str) -> Any:
        assert cli.run([*arguments]) == 0, capsys.readouterr().err
        out = capsys.readouterr().out
        return json.loads(out) if "--json" in arguments else out

    sakuga("new", "my-style", "--model", "tiny", "--trigger", "MyStyle")
    monkeypatch.chdir(tmp_path / "my-style")
    sakuga("add", "../film.mp4")
    assert [shot["first"] for shot in sakuga("shots", "--json")] == [0, *cuts]
    assert all(shot["kept"] for shot in sakuga("pick", "--auto", "--json"))
    sakuga("export")
    clips = sorted(Path("dataset/clips").glob("*.mp4"))
    assert [len(scan_times(clip)) for clip in clips] == [13] * 4
    sakuga("caption")
    assert {finding["severity"] for finding in sakuga("check", "--json")} <= {"advice"}
    planned = sakuga("plan", "--steps", "5", "--json")
    assert (planned["samples"], planned["steps"], planned["dropped"]) == (12, 5, [])
    trained = sakuga("train", "--steps", "5", "--learning-rate", "0.01", "--json")
    assert trained["losses"]["full"]["steps"] == 5
    assert trained["validation"]["full"]["5"] < trained["validation"]["full"]["0"]
    styled = sakuga("generate", "MyStyle. a boat", "--steps", "2", "--json")
    plain = sakuga("generate", "MyStyle. a boat", "--steps", "2", "--lora", "none", "--json")
    assert len(scan_times(styled["path"])) == 9
    assert Path(styled["path"]).read_bytes() != Path(plain["path"]).read_bytes()
    (published,) = sakuga("publish", "--precision", "fp32", "--json")

    tiny, weights = member("tiny"), EMBEDDED / "transformer.safetensors"
    x, t = torch.randn(1, 32, 3, 8, 12, generator=torch.Generator().manual_seed(1)), torch.tensor([100.0])
    text = torch.randn(1, tiny.text.length, tiny.text.dim, generator=torch.Generator().manual_seed(2))
    model = load_transformer(tiny.transformer, weights, torch.float32, "cpu")
    with torch.no_grad():
        base = model(x, t, text)
        apply(model, load_lora(published["path"]))
        ours = model(x, t, text)
    state = {name: tensor.float() for name, tensor in load_file(weights).items()}
    theirs = diffusers_with_lora(tiny.transformer, state, Path(published["path"]))(x, t, text)
    assert (ours - theirs).abs().max() <= 1e-5
    assert (ours - base).abs().max() > 0.01
