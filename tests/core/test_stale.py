"""What the next run of a stage would do, and why."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sakuga.core.project import Project
from sakuga.core.stage import run
from sakuga.core.stale import stale
from small_stages import INLINE, SmallSettings, ask

PLAIN = SmallSettings()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.create(tmp_path / "p", "tiny") as project:
        ask(project, a="one", b="two")
        run(INLINE, project, PLAIN)
        yield project


def told(project: Project, settings: SmallSettings = PLAIN, version: int = 1) -> list[tuple[str, str, str]]:
    return [(s.item, s.state, s.why) for s in stale(replace(INLINE, version=version), project, settings)]


def test_what_is_done_is_not_stale(project: Project) -> None:
    assert told(project) == []
    assert told(project, SmallSettings(note="this changes nothing")) == []


def test_a_setting_names_itself(project: Project) -> None:
    assert told(project, SmallSettings(loud=True)) == [
        ("a", "changed", "small.loud was False, now True"),
        ("b", "changed", "small.loud was False, now True"),
    ]


def test_inputs_versions_and_files_are_named(project: Project) -> None:
    ask(project, a="other", b="two", c={"text": "x", "do": "sentence"}, d="new")
    run(INLINE, project, PLAIN)
    ask(project, a="one", c={"text": "x", "do": "sentence"}, d="new", e="new")
    project.path("out/d.txt").unlink()
    assert told(project) == [
        ("a", "changed", "what it reads has changed (text)"),
        ("c", "failed", "this one cannot be; leave it out"),
        ("d", "changed", "a file that it wrote is missing"),
        ("e", "new", "never done"),
        ("b", "gone", "no longer asked for"),
    ]
    assert ("d", "changed", "made by version 1 of this stage, now 2") in told(project, version=2)


def test_asking_changes_nothing(project: Project) -> None:
    before = project.rows("SELECT * FROM work")
    told(project, SmallSettings(loud=True))
    assert project.rows("SELECT * FROM work") == before
