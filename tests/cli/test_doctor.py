"""doctor, drops and restore: what is missing is said with its remedy, what is left out can be brought back."""

import json
from pathlib import Path

import pytest

import sakuga
from sakuga.cli import run
from sakuga.core import store


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[dict[str, str]], str]:
    code = run([*words, "--json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out), captured.err


def test_without_a_project_the_machine_is_examined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, findings, _ = told(capsys, "doctor")
    assert code == 0
    assert {"python", "sqlite", "pillow", "av", "torch", "x264", "disk"} <= {f["check"] for f in findings}
    assert all(f["remedy"] for f in findings if f["state"] != "ok")


def test_missing_models_and_films_are_errors_with_a_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sakuga.Project.create(tmp_path / "p", "wan2.1-t2v-1.3b") as project:
        row = {"name": "gone", "path": str(tmp_path / "gone.mkv"), "relative": "../gone.mkv", "added": 0.0}
        store.insert(project.db, "source_film", row)
    code, findings, errors = told(capsys, "doctor", "--project", str(tmp_path / "p"))
    assert code == 1 and errors.startswith("sakuga: model: transformer: missing; get ")
    state = {f["check"]: f for f in findings}
    assert state["model: vae"]["state"] == "error" and "0.5 GB" in state["model: vae"]["remedy"]
    assert state["film: gone"]["state"] == "error" and "bring it back" in state["film: gone"]["remedy"]
    assert state["database"]["state"] == "ok"


def test_an_old_package_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from sakuga import doctor

    monkeypatch.setattr(doctor, "version", lambda name: "12.9.1")
    states = {f.check: f for f in doctor.examine(None)}
    assert states["pillow"].state == "error" and "pillow>=13.0" in states["pillow"].remedy
    assert states["torch"].state == "ok"


def test_a_shot_left_out_is_listed_and_brought_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sakuga.Project.create(tmp_path / "p", "wan2.1-t2v-1.3b") as project:
        row = {"name": "a_000000", "source": "a", "film": "a", "first": 0, "last": 9, "start_seconds": 0.0}
        row |= {"seconds": 0.4, "brightness": 0.5, "motion": 0.0, "thumbnail": "t"}
        store.insert(project.db, "shot", row)
        sakuga.pick(project, auto=True, min_seconds=1)
    where = ("--project", str(tmp_path / "p"))
    _, left_out, _ = told(capsys, "drops", *where)
    assert left_out == [{"stage": "pick", "item": "a_000000", "reason": "0.40 s, shorter than 1 s"}]
    code, picked, _ = told(capsys, "restore", "a_000000", *where)
    assert (code, picked) == (0, {"picked": 1})
    assert told(capsys, "drops", *where)[1] == []
