"""What doctor says of a machine and a project that lack something: each finding with its remedy."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import av
import pytest
import torch

from sakuga import doctor
from sakuga.core import store
from sakuga.core.project import Project


def finding(check: str, project: Project | None = None) -> tuple[str, str, str]:
    [found] = [f for f in doctor.examine(project) if f.check == check]
    return found.state, found.found, found.remedy


def test_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    assert finding("python")[0::2] == ("ok", "")
    monkeypatch.setattr(doctor, "NEED_PYTHON", (99, 0))
    assert finding("python")[0::2] == ("error", "install Python 3.11 or newer")


def test_packages_that_are_old_or_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "av":
            raise PackageNotFoundError(name)
        return "12.9.1"

    monkeypatch.setattr(doctor, "version", version)
    assert finding("av") == ("error", "not installed", "pip install av")
    attacked = "older ones can be attacked by a file: pip install 'pillow>=13.0'"
    assert finding("pillow") == ("error", "12.9.1", attacked)
    assert finding("torch") == ("ok", "12.9.1", "")


@pytest.mark.parametrize(("cuda", "build"), [(None, "a build for the CPU"), ("13.0", "built for CUDA 13.0")])
def test_no_card(monkeypatch: pytest.MonkeyPatch, cuda: str | None, build: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    remedy = "training needs one; see https://pytorch.org/get-started/locally/"
    assert finding("card") == ("warning", f"none that torch can use ({build})", remedy)


def test_every_card_is_named_with_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda n: SimpleNamespace(name=f"Card {n}"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda n: (int(7.5e9), int(24e9)))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert finding("card 0") == ("ok", "Card 0, 7.5 of 24.0 GB free, CUDA 13.0", "")
    assert finding("card 1") == ("ok", "Card 1, 7.5 of 24.0 GB free, CUDA 13.0", "")


def test_a_pyav_that_cannot_write_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    assert finding("x264") == ("ok", f"in PyAV {av.__version__}", "")
    monkeypatch.setattr(av, "codecs_available", {"h264"})
    remedy = "this PyAV cannot write clips: pip install --force-reinstall av"
    assert finding("x264") == ("error", "missing", remedy)


@pytest.mark.parametrize(
    ("free", "state", "remedy"),
    [(25e9, "ok", ""), (3e9, "warning", "make room, or put the project on another disk")],
)
def test_the_room_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, state: str, remedy: str
) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    with Project.create(tmp_path / "p", "tiny") as project:
        assert finding("disk", project) == (state, f"{free / 1e9:.0f} GB free in {project.folder}", remedy)


def test_a_database_that_is_not_sound(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", "tiny") as project:
        assert finding("database", project) == ("ok", "ok", "")
        project.db.execute("PRAGMA ignore_check_constraints = ON")
        row = {"shot": "a_000000", "source": "all", "kept": 1, "reason": "", "by": "nobody"}
        store.insert(project.db, "pick", row)
        project.db.execute("PRAGMA ignore_check_constraints = OFF")
        state, found, remedy = finding("database", project)
    assert (state, found) == ("error", "CHECK constraint failed in pick")
    assert remedy == "restore sakuga.db from a copy, or make it anew from the films"


def test_model_files_and_films_that_are_not_there(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", "wan2.1-t2v-1.3b") as project:
        row = {"name": "a", "path": str(tmp_path / "a.mkv"), "relative": "../a.mkv", "added": 0.0}
        store.insert(project.db, "source_film", row)
        [file] = [file for file in project.member.files if file.role == "vae"]
        get = f"get {file.names[0]} ({file.gigabytes:g} GB) from {file.source} and see `sakuga models`"
        assert finding("model: vae", project) == ("error", "missing", get)
        gone = str(tmp_path / "a.mkv")
        back = "bring it back, or `sakuga add` it from where it is now"
        assert finding("film: a", project) == ("error", gone, back)
        (tmp_path / "a.mkv").touch()
        assert finding("film: a", project) == ("ok", gone, "")
        assert str(doctor.worst(doctor.examine(project))).startswith("model: transformer: missing; get ")
