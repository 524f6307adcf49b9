"""`sakuga models`: what is needed, where it was found, and what is in it; files that are asked about; --download."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Mapping
from math import prod
from pathlib import Path

import pytest
import torch

from hub_server import hub
from sakuga.cli import run
from sakuga.core.family import FAMILY
from sakuga.core.project import Project
from sakuga.nn.transformer import WanTransformer

WAN = "wan2.1-t2v-1.3b"
MODEL = "models/diffusion_models/wan2.1_t2v_1.3B_bf16.safetensors"


def hole(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Path:
    """A .safetensors whose weights are a hole in the file: it takes no room on the disk."""
    header, begin = {}, 0
    for key, shape in shapes.items():
        end = begin + 2 * prod(shape)
        header[key] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + begin)
    return path


def transformer(path: Path, name: str = WAN) -> Path:
    with torch.device("meta"):
        state = WanTransformer(FAMILY[name].transformer).state_dict()
    return hole(path, {key: tuple(tensor.shape) for key, tensor in state.items()})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    Project.create(tmp_path / "p", WAN).close()
    monkeypatch.chdir(tmp_path / "p")
    return tmp_path / "p"


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict[str, object]]:
    capsys.readouterr()
    assert run(["models", *words, "--json"]) == 0
    return {row.get("role", row["path"]): row for row in json.loads(capsys.readouterr().out)}


def test_what_is_found_is_recognised(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transformer(home / MODEL)
    hole(
        home / "models/text_encoders/umt5_xxl_fp16.safetensors", {"shared.weight": (256384, 4096), "spiece_model": (4,)}
    )
    rows = told(capsys)
    assert (rows["transformer"]["content"], rows["transformer"]["precision"]) == (
        "the transformer of Wan 2.1 T2V 1.3B", "bf16",
    )  # fmt: skip
    assert rows["transformer"]["on_disk"] == 2.84
    assert rows["text"]["content"] == "the text encoder umt5-xxl"
    assert (rows["tokenizer"]["path"], rows["tokenizer"]["remark"]) == (
        rows["text"]["path"],
        "carried by the text encoder",
    )
    assert rows["vae"]["path"] is None
    assert run(["models"]) == 0
    assert "missing: wan_2.1_vae.safetensors from https://huggingface.co/Comfy-Org" in capsys.readouterr().out


def test_another_model_under_the_right_name(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transformer(home / MODEL, "wan2.2-ti2v-5b")
    assert told(capsys)["transformer"]["content"] == "not what is needed: the transformer of Wan 2.2 TI2V 5B"
    (home / MODEL).write_bytes(b"cut")
    assert str(told(capsys)["transformer"]["content"]).startswith(
        f"not to be used: {home / MODEL} cannot be read as weights"
    )


def test_a_file_of_another_name_that_would_do(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = transformer(home / "models/unet/my_merge.safetensors")
    assert told(capsys)["transformer"]["would_do"] == str(mine)
    assert run(["models"]) == 0
    assert f"{mine} would do: give it as models.transformer" in " ".join(capsys.readouterr().out.split())


def test_files_that_are_asked_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = transformer(tmp_path / "a.safetensors", "wan2.2-t2v-a14b")
    second = transformer(tmp_path / "a-low.safetensors", "wan2.2-t2v-a14b")
    assert run(["models", str(first), str(second)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{first}: the transformer of Wan 2.1 T2V 14B, or an expert of Wan 2.2 T2V A14B (bf16)",
        "its tensors do not tell which: give it as models.high or models.low, or as models.transformer for a model of one expert",
        f"{second}: the low expert of Wan 2.2 T2V A14B (bf16)",
    ]


def test_what_is_missing_is_downloaded(home: Path) -> None:
    transformer(home / MODEL)
    published = "/Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files"
    vae, text = (transformer_bytes(n) for n in (1, 2))
    with hub() as server:
        server.files[f"{published}/vae/wan_2.1_vae.safetensors"] = vae
        server.files[f"{published}/text_encoders/umt5_xxl_fp16.safetensors"] = text
        env = {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(home / "hf"), "HF_HUB_DISABLE_XET": "1"}
        command = [sys.executable, "-m", "sakuga", "models", "--download", "--json"]
        done = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = {row["role"]: row for row in json.loads(done.stdout)}
    assert (home / "models/vae/wan_2.1_vae.safetensors").read_bytes() == vae
    assert rows["text"]["path"] == str(home / "models/text_encoders/umt5_xxl_fp16.safetensors")
    assert rows["tokenizer"]["path"] == rows["text"]["path"], "the text encoder carries it"


def transformer_bytes(n: int) -> bytes:
    """A small file that carries a tokenizer."""
    text = json.dumps({"spiece_model": {"dtype": "U8", "shape": [n], "data_offsets": [0, n]}}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(n)
