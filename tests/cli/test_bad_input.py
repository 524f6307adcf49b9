"""What a person does wrong on the command line: one line that names it and the remedy, an honest exit code, the project whole."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from films import numbered_film
from sakuga import cli
from sakuga.core import store
from sakuga.core.project import Project

Said = Callable[..., str]


@pytest.fixture
def said(empty: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """Run a command that must fail in an empty project; returns its one line. `status` works before and after."""
    monkeypatch.chdir(empty.folder)

    def run(*arguments: object) -> str:
        before = empty.rows("SELECT * FROM source_film"), empty.rows("SELECT * FROM source_folder")
        assert cli.run([str(a) for a in arguments]) == 1
        _, err = capsys.readouterr()
        lines = [line for line in err.splitlines() if line.startswith("sakuga: ")]
        assert len(lines) == 1 and err.endswith(lines[0] + "\n") and "Traceback" not in err, err
        assert (empty.rows("SELECT * FROM source_film"), empty.rows("SELECT * FROM source_folder")) == before
        assert cli.run(["status"]) == 0
        capsys.readouterr()
        assert empty.rows("SELECT * FROM lock") == []
        return lines[0].removeprefix("sakuga: ")

    return run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "no\nthing.mkv"], r"no\nthing.mkv is not there; check the path"),
        (["add", "nothing.mkv/"], "nothing.mkv is not there; check the path"),
        (["add", "films/"], "films holds no film; name the films, or a folder that holds them"),
        (["add", "m" * 300], "... is longer than a name can be (255 bytes); choose or give a shorter one"),
        (["adopt", "m" * 300], "... is longer than a name can be"),
        (["new", "m" * 300, "--model", "tiny"], "... is longer than a name can be"),
        (["status", "-p", "m" * 300], "... is longer than a name can be"),
        (["status", "-p", "nowhere/"], "is not a Sakuga project (no sakuga.toml); make one with `sakuga new`"),
        (["adopt", "films/"], "films holds no clip and no picture; name a folder that does"),
        (["new", ".", "--model", "tiny"], "holds a project already; open it, or choose another folder"),
        (["new", "sakuga.toml/x", "--model", "tiny"], "cannot be written: Not a directory; choose a folder"),
    ],
)
def test_what_is_no_film_and_no_folder(said: Said, empty: Project, arguments: list[str], words: str) -> None:
    (empty.folder / "films").mkdir()
    assert words in said(*arguments)


@pytest.mark.skipif(os.name != "posix" or sys.version_info >= (3, 13), reason="a link in a circle is not there, then")
@pytest.mark.parametrize("command", ["add", "adopt", "new", "status -p", "adopt --remove"])
def test_a_link_in_a_circle(said: Said, empty: Project, command: str) -> None:
    (empty.folder / "loop").symlink_to("loop")
    assert "loop is a link that leads back to itself; remove it" in said(*command.split(), "loop")


def test_the_project_of_a_newer_version(empty: Project, capsys: pytest.CaptureFixture[str]) -> None:
    empty.db.execute("PRAGMA user_version = 99")
    for command in ("status", "shots", "doctor", "drops"):
        assert cli.run([command, "-p", str(empty.folder)]) == 1
        assert "was written by a newer Sakuga (schema 99" in capsys.readouterr().err
    empty.db.execute(f"PRAGMA user_version = {len(store.MIGRATIONS)}")
    assert cli.run(["status", "-p", str(empty.folder)]) == 0


def test_one_bad_film_among_good_ones_is_no_failure_and_alone_it_is(
    empty: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbered_film(tmp_path / "good.mp4", 10, 24)
    (tmp_path / "text.mp4").write_text("no film")
    where = ("-p", str(empty.folder))
    assert cli.run(["add", str(tmp_path), *where]) == 0
    assert "add: 1 done, 1 set aside (`sakuga drops` lists them)" in capsys.readouterr().out
    assert cli.run(["add", str(tmp_path), *where]) == 0  # there is nothing left to do
    capsys.readouterr()
    assert cli.run(["add", f"{tmp_path}/text.mp4/", *where]) == 1
    out, err = capsys.readouterr()
    assert (
        out.startswith("add: 0 done, 1 set aside")
        and "text.mp4 is not a video that can be read" in err.splitlines()[-1]
    )
    assert cli.run(["add", str(tmp_path / "good.mp4"), *where]) == 0
    capsys.readouterr()
    assert cli.run(["drops", *where]) == 0
    assert "add    text  " in capsys.readouterr().out
