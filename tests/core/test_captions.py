"""Captions: what a person writes in any editor is theirs, at once and for good."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sakuga.core import store
from sakuga.core.captions import PERSON, Caption, current, read_text, sidecar, sync
from sakuga.core.errors import SakugaError
from sakuga.core.project import Project
from sakuga.core.stage import STOPPED


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Two clips with a caption of the stage's, each in the store and beside the clip."""
    with Project.create(tmp_path / "p", "tiny") as project:
        for name in ("clips/a", "clips/b"):
            row = {"name": name, "source": "s", "kind": "clip", "file": f"dataset/{name}.mp4", "sha256": "0"}
            store.insert(project.db, "item", row | {"width": 8, "height": 8, "frames": 5, "fps": "16"})
            note(project, name, f"a caption for {name}", "template")
            write(project, name, f"a caption for {name}\n".encode())
        yield project


def note(project: Project, item: str, text: str, origin: str) -> None:
    store.insert(project.db, "caption", {"item": item, "text": text, "origin": origin, "made": time.time()})


def write(project: Project, item: str, content: bytes) -> Path:
    path = project.path(f"dataset/{item}.txt")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def history(project: Project, item: str) -> list[tuple[str, str]]:
    rows = project.rows("SELECT text, origin FROM caption WHERE item = ? ORDER BY id", item)
    return [(row["text"], row["origin"]) for row in rows]


def test_the_sidecar_stands_beside_the_file() -> None:
    assert sidecar("dataset/clips/film v1.5_000010.mp4") == "dataset/clips/film v1.5_000010.txt"


def test_what_is_as_it_was_is_nobodys_edit(project: Project) -> None:
    assert sync(project) == {} and len(history(project, "clips/a")) == 1
    write(project, "clips/a", b"  a caption for clips/a \r\n\r\n")  # an editor's white space is no edit
    assert sync(project) == {} and len(history(project, "clips/a")) == 1


def test_an_edit_in_an_editor_is_a_persons_row(project: Project) -> None:
    write(project, "clips/a", b"a girl runs")
    assert sync(project) == {} == sync(project)
    assert current(project)["clips/a"] == Caption("a girl runs", PERSON)
    assert current(project)["clips/b"] == Caption("a caption for clips/b", "template")
    assert history(project, "clips/a") == [("a caption for clips/a", "template"), ("a girl runs", PERSON)]
    write(project, "clips/a", b"a caption for clips/a")  # back to the stage's words, by hand
    sync(project)
    assert current(project)["clips/a"].origin == PERSON and len(history(project, "clips/a")) == 3


def test_words_that_were_there_first_are_a_persons(project: Project) -> None:
    project.db.execute("DELETE FROM caption")
    sync(project)
    assert current(project) == {n: Caption(f"a caption for {n}", PERSON) for n in ("clips/a", "clips/b")}


def test_a_file_that_is_gone_takes_no_words_with_it(project: Project) -> None:
    project.path("dataset/clips/a.txt").unlink()
    assert sync(project) == {} and current(project)["clips/a"].text == "a caption for clips/a"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_common_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("Une fille court — 走る\r\nau bord\n".encode(encoding))
    assert read_text(path) == "Une fille court — 走る\nau bord"


@pytest.mark.parametrize("content", ["café".encode("latin-1"), b"\xff\xfea", b"\xff\xfe\x00\xd8"])
def test_another_encoding_is_one_sentence_and_no_edit(project: Project, content: bytes) -> None:
    path = write(project, "clips/a", content)
    with pytest.raises(SakugaError, match=r"^a\.txt is not UTF-8 text \(byte \d\); save it as UTF-8 in an editor$"):
        read_text(path)
    write(project, "clips/b", b"two birds")
    assert list(sync(project)) == ["clips/a"] and "a.txt is not UTF-8" in sync(project)["clips/a"]
    assert current(project)["clips/a"].origin == "template" and path.read_bytes() == content
    assert current(project)["clips/b"].text == "two birds"  # the others are taken in


def test_a_file_that_cannot_be_opened_is_a_fault_of_its_item(project: Project) -> None:
    path = project.path("dataset/clips/a.txt")
    path.unlink()
    path.mkdir()
    assert list(sync(project)) == ["clips/a"]


def test_what_a_stopped_stage_wrote_is_nobodys_edit(project: Project) -> None:
    """The stage was killed after its file took its name, before its row was there."""
    path = write(project, "clips/a", b"words of the stage")
    mark = {
        "stage": "caption",
        "item": "clips/a",
        "fingerprint": "",
        "state": "failed",
        "reason": STOPPED,
        "seconds": 0,
    }
    store.insert(project.db, "work", mark | {"ended": time.time() + 0.01})
    store.insert(project.db, "output", {"path": "dataset/clips/a.txt", "stage": "caption", "item": "clips/a"})
    assert sync(project) == {} and len(history(project, "clips/a")) == 1
    path.write_text("words of a person, later")
    os.utime(path, (time.time() + 1, time.time() + 1))
    sync(project)
    assert current(project)["clips/a"] == Caption("words of a person, later", PERSON)
