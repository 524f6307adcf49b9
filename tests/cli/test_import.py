"""`sakuga import` and `sakuga export-config`, as they are typed."""

import json
from pathlib import Path

import pytest

from sakuga import cli

DATASET = '[[datasets]]\nvideo_directory = "D:/clips"\nresolution = [832, 480]\ntarget_frames = [21]\n'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.toml").write_text(DATASET, encoding="utf-8")
    return tmp_path


def test_arguments_after_two_dashes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["import", "musubi", "d.toml", "--into", "p", "--json", "--", "--task", "t2v-14B", "--network_dim", "8"]
    assert cli.run(line) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["project"] == str(here / "p") and told["items"] == 0
    (rank,) = [entry for entry in told["report"] if entry["key"] == "train: network_dim"]
    assert rank == {"key": "train: network_dim", "value": "8", "became": "train.rank = 8", "note": "", "kind": "exact"}


def test_the_report_is_shown_and_kept(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "run.cmd").write_text("python wan_train_network.py ^\n --fp8_base ^\n --sdpa\n", encoding="utf-8")
    assert cli.run(["import", "musubi", "d.toml", "run.cmd", "--map", "E:/x=y", "--map", "F:/x=y"]) == 0
    shown = capsys.readouterr().out
    assert (
        "fp8_base" in shown and "train: sdpa" not in shown and "is a project for Wan 2.1 T2V 14B with 0 clips" in shown
    )
    kept = (here / "d/import-report.txt").read_text(encoding="utf-8")
    assert "sdpa" in kept and 'folders = ["clips-2"]' in kept
    assert cli.run(["plan", "--project", "d"]) == 0


def test_a_fault_is_one_sentence(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["import", "diffusion-pipe", "d.toml"]) == 1
    assert capsys.readouterr().err.startswith("sakuga: d.toml is another file than a configuration of diffusion-pipe")
    assert cli.run(["import", "musubi", "no.toml"]) == 1
    assert "the configuration no.toml cannot be read" in capsys.readouterr().err


def test_the_model_can_be_said(here: Path) -> None:
    assert cli.run(["import", "musubi", "d.toml", "--model", "wan2.2-ti2v-5b"]) == 0
    assert 'model = "wan2.2-ti2v-5b"' in (here / "d/sakuga.toml").read_text(encoding="utf-8")
    assert cli.run(["export-config", "musubi", "--project", "d"]) == 1
