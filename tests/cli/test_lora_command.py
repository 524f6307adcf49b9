"""sakuga lora show, convert and merge: what they print and write, pairs, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora_readers import comfy, kohya, lokr_parts, state
from sakuga import api, cli
from sakuga.core.errors import SakugaError
from sakuga.nn.lora import load_lora

Said = Callable[..., str]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """Run a command in a folder without any project; what it prints."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, code: int = 0) -> str:
        assert cli.run(["lora", *map(str, arguments)]) == code, capsys.readouterr()
        out, err = capsys.readouterr()
        return err if code else out

    return run


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"style-{expert}.safetensors" for expert in ("high", "low")]
    for number, file in enumerate(files, 1):
        save_file({key: number * tensor for key, tensor in state(comfy).items()}, file, {"title": "t"})
    return files


def test_show_tells_what_a_file_is(said: Said, pair: list[Path]) -> None:
    tensors = state(comfy) | {f"odd.{n}": torch.ones(1) for n in range(30)}
    save_file(tensors, pair[0], {"modelspec.timestep_range": "875,1000", "modelspec.trigger_phrase": "MyStyle"})
    told = said("show", pair[0])
    assert "ComfyUI" in told and "high (timesteps 875 to 1000)" in told and "MyStyle" in told and "AutoV2" in told
    assert "20 in 2 blocks" in told and "not used: odd.0" in told and "not used: 10 more; --json names all" in told
    whole = json.loads(said("show", pair[0], "--json"))
    assert whole["ranks"] == {"4": 20} and len(whole["unused"]) == 30 and list(whole["norms"]) == ["0", "1"]


def test_convert_takes_both_files_of_a_pair(said: Said, pair: list[Path], tmp_path: Path) -> None:
    told = said("convert", pair[1], "--to", "kohya")
    made = [tmp_path / f"style-kohya-{expert}.safetensors" for expert in ("high", "low")]
    assert told.count("20 layers, exact") == 2 and all(str(path) in told for path in made)
    for first, path in zip(pair, made, strict=True):
        before, after = load_file(first), load_file(path)
        assert {key.split(".")[0] for key in after} == {kohya(layer) for layer in load_lora(first).tensors}
        assert torch.equal(
            before["diffusion_model.blocks.0.ffn.0.lora_A.weight"], after["lora_unet_blocks_0_ffn_0.lora_down.weight"]
        )
        assert load_lora(path).metadata["title"] == "t"
    said("convert", pair[1], "--to", "diffusers", "--out", "x.safetensors", "--alone")
    assert sorted(path.name for path in tmp_path.glob("x*")) == ["x.safetensors"]


def test_convert_says_what_a_rank_costs(said: Said, tmp_path: Path) -> None:
    save_file(state(comfy, lokr_parts) | {"odd": torch.ones(1)}, tmp_path / "a.safetensors")
    told = said("convert", "a.safetensors", "--to", "comfy", "--rank", "4", "--precision", "bf16")
    assert "20 layers cut: " in told and "% of the norm lost on average" in told and "left out: odd" in told
    assert {change.rank for change in load_lora("a-comfy.safetensors").tensors.values()} == {4}
    (made,) = json.loads(said("convert", "a.safetensors", "--to", "comfy", "--rank", "4", "--json"))
    assert len(made["lost"]) == 20 and made["dropped"] == ["odd"]


def test_merge_adds_up_pairs_and_single_files(said: Said, pair: list[Path], tmp_path: Path) -> None:
    save_file({key: 3 * tensor for key, tensor in state(kohya).items()}, tmp_path / "both.safetensors")
    told = said("merge", pair[0], "both.safetensors", "--weights", "1", "0.5", "--out", "sum.safetensors")
    assert told.count("20 layers, exact") == 2
    for first, expert in zip(pair, ("high", "low"), strict=True):
        one, other = load_lora(first).tensors, load_lora("both.safetensors").tensors
        merged = load_lora(f"sum-{expert}.safetensors").tensors
        for layer, tensors in merged.items():
            wanted = one[layer].matrix() + 0.5 * other[layer].matrix()
            torch.testing.assert_close(tensors.matrix(), wanted, atol=1e-4, rtol=1e-5)
            assert tensors.rank == 8
    cut = said("merge", pair[0], "both.safetensors", "--out", "cut.safetensors", "--rank", "6", "--alone")
    assert "exact" in cut  # they are multiples of one another: four ranks hold the sum
    assert list(tmp_path.glob("cut*")) == [tmp_path / "cut.safetensors"]


def test_the_same_command_writes_the_same_bytes(said: Said, pair: list[Path], tmp_path: Path) -> None:
    said("convert", pair[0], "--to", "kohya", "--out", "a.safetensors", "--alone")
    said("convert", pair[0], "--to", "kohya", "--out", "b.safetensors", "--alone")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "nothing.safetensors"], "nothing.safetensors is not there; check the path of the LoRA"),
        (["convert", "style-high.safetensors", "--to", "comfy", "--rank", "0"], "--rank is 1 or more, not 0"),
        (
            ["convert", "style-high.safetensors", "--to", "comfy", "--out", "style-low.safetensors"],
            "style-high.safetensors is a file that is read; give --out another name",
        ),
        (
            ["convert", "style-high.safetensors", "--to", "comfy", "--out", "x.pt"],
            "x-high.pt must end in .safetensors, or no program takes it for a LoRA",
        ),
        (
            ["merge", "style-high.safetensors", "--out", "x.safetensors", "--weights", "1", "2"],
            "there are 2 weights for 1 files; give one for each, in their order",
        ),
        (["convert", "style-high.safetensors", "--to", "sdxl"], "sdxl"),
    ],
)
def test_what_is_refused(said: Said, pair: list[Path], tmp_path: Path, arguments: list[str], words: str) -> None:
    before = sorted(path.read_bytes() for path in tmp_path.iterdir())
    told = said(*arguments, code=1)
    assert words in told and told.count("\n") == 1
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == before


def test_the_calls_say_what_they_do_not_know(pair: list[Path], tmp_path: Path) -> None:
    with pytest.raises(
        SakugaError, match="'sdxl' is no form of LoRA files that Sakuga writes; choose of comfy, kohya, diffusers"
    ):
        api.lora_convert(pair[0], "sdxl")
    with pytest.raises(SakugaError, match="'fp8' is no precision of LoRA files"):
        api.lora_convert(pair[0], "comfy", precision="fp8")
    with pytest.raises(SakugaError, match="there is nothing to merge; name two LoRA files or more"):
        api.lora_merge([], tmp_path / "x.safetensors")
