"""Faults of the disk or the database that no stage foresees end a command with a sentence and an honest exit code."""

from pathlib import Path

import pytest

import sakuga
from sakuga.cli import run


def test_a_database_that_lost_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sakuga.Project.create(tmp_path / "p", "wan2.1-t2v-1.3b") as project:
        project.db.execute("DROP TABLE shot")
    assert run(["pick", "--auto", "--project", str(tmp_path / "p")]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("sakuga: no such table: shot; ")
    assert errors.endswith("; look at the disk and its rights, then run the same command again\n")
