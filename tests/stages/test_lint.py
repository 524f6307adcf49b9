"""Lint of a project: what it reads, what it writes, and what it leaves alone."""

import time
from pathlib import Path

import pytest

from sakuga import api
from sakuga.core import captions, store
from sakuga.core.errors import SakugaError
from sakuga.core.project import Project, change_config, read_config

A, B = "clips/film_000000", "clips/film_000024"


def write(project: Project, item: str, text: str) -> Path:
    path = project.path(f"dataset/{item}.txt")
    path.write_text(text, encoding="utf-8")
    return path


def note(project: Project, item: str, text: str, origin: str = "template") -> Path:
    """Words that a captioner wrote: in the store and beside the clip."""
    store.insert(project.db, "caption", {"item": item, "text": text, "origin": origin, "made": time.time()})
    return write(project, item, f"{text}\n")


def settings(project: Project, key: str, value: str) -> None:
    change_config(project.folder / "sakuga.toml", key, value)
    project.settings = read_config(project.folder / "sakuga.toml")


def of(project: Project, item: str, **asked: list[str]) -> list[tuple[str, str]]:
    return [(f["rule"], f["found"]) for f in api.lint(project, items=[item], **asked)]


def test_a_finding_names_item_file_place_and_remedy(exported: Project) -> None:
    write(exported, A, "MyStyle. A male in a suit walks through the rain.")
    (finding,) = api.lint(exported, items=[A])
    assert finding == {
        "item": A, "file": f"dataset/{A}.mp4", "rule": "male-female", "severity": "warning", "start": 11, "end": 15,
        "found": "male", "why": "a prompt says 'man'; 'male' is an adjective", "fix": "man",
    }  # fmt: skip
    assert api.lint_hits(exported, "male-female") == [A]


def test_the_shot_is_asked_what_its_camera_does(exported: Project) -> None:
    write(exported, A, "MyStyle. A yard with a swing. Static shot.")
    exported.db.execute("UPDATE shot SET camera = 0.4")
    assert ("contradiction", "Static shot") in of(exported, A, rules=["contradiction"])
    exported.db.execute("UPDATE shot SET camera = 0.01")
    assert of(exported, A, rules=["contradiction"]) == []
    write(exported, A, "MyStyle. A yard with a swing in bright sunshine, wide shot.")
    exported.db.execute("UPDATE shot SET brightness = 0.03")
    assert of(exported, A, rules=["contradiction"]) == [("contradiction", "bright sunshine")]


def test_a_preview_writes_nothing_and_a_fix_is_a_persons_edit(exported: Project) -> None:
    before = "MyStyle. An anime girl seems to wait at the gate."
    path = note(exported, A, before)
    (fix,) = api.lint_fix(exported, items=[A])
    assert (fix["before"], fix["after"]) == (before, "MyStyle. A girl waits at the gate.")
    assert (fix["rules"], fix["by"]) == (("style-word", "hedge"), "template")
    assert path.read_text("utf-8").strip() == before and captions.current(exported)[A].text == before
    api.lint_fix(exported, items=[A], preview=False)
    assert path.read_text("utf-8") == "MyStyle. A girl waits at the gate.\n"
    assert captions.current(exported)[A] == captions.Caption("MyStyle. A girl waits at the gate.", captions.PERSON)
    rows = exported.rows("SELECT text, source FROM caption WHERE item = ? ORDER BY id", A)
    assert [row["text"] for row in rows][-2] == before and rows[-1]["source"] == "lint"
    api.caption(exported)  # which leaves it alone from now on
    assert path.read_text("utf-8") == "MyStyle. A girl waits at the gate.\n"
    assert api.lint_fix(exported, items=[A], preview=False) == []


def test_only_the_rules_and_items_that_were_named_are_fixed(exported: Project) -> None:
    text = "MyStyle. An anime girl seems to wait at the gate."
    first, second = write(exported, A, text), write(exported, B, text)
    api.lint_fix(exported, ["hedge"], [A], preview=False)
    assert first.read_text("utf-8") == "MyStyle. An anime girl waits at the gate.\n"
    assert second.read_text("utf-8") == text
    with pytest.raises(SakugaError, match="no item is named 'clips/nothing'"):
        api.lint_fix(exported, items=["clips/nothing"])


def test_words_in_a_folder_of_a_persons_are_only_read(exported: Project, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(exported.path(f"dataset/{A}.mp4").read_bytes())
    (folder / "a.txt").write_text("MyStyle. A male by a gate.", "utf-8")
    api.adopt(exported, [folder])
    (fix,) = [f for f in api.lint_fix(exported, ["male-female"], preview=False) if "gate" in f["before"]]
    assert fix["place"] is None and fix["after"] == "MyStyle. A man by a gate."
    assert (folder / "a.txt").read_text("utf-8") == "MyStyle. A male by a gate."


def test_words_in_a_persons_folder_are_written_where_they_say_so(exported: Project, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(exported.path(f"dataset/{A}.mp4").read_bytes())
    (folder / "a.txt").write_text("MyStyle. A male waits at a gate.", "utf-8")
    api.adopt(exported, [folder])
    (fix,) = api.lint_fix(exported, ["male-female"], preview=False, in_place=True)
    assert (folder / "a.txt").read_text("utf-8") == "MyStyle. A man waits at a gate.\n" and fix["place"].endswith(
        "a.txt"
    )
    assert captions.current(exported)["mine/a"].text == "MyStyle. A man waits at a gate."
    assert api.lint(exported, ["male-female"]) == []


def test_rules_that_are_off_words_that_are_more_and_words_that_are_well(exported: Project) -> None:
    write(exported, A, "MyStyle. A woodcut of a male by a gate.")
    assert of(exported, A) == [("male-female", "male")]
    settings(exported, "lint.off", '["male-female"]')
    settings(exported, "lint.words", '["woodcut"]')
    assert of(exported, A) == [("style-word", "woodcut")]
    assert of(exported, A, rules=["male-female"]) == [("male-female", "male")]
    settings(exported, "lint.allow", '["a woodcut of"]')
    assert of(exported, A) == []
    settings(exported, "lint.off", '["male"]')
    with pytest.raises(SakugaError, match="'male' is not a rule of lint"):
        api.lint(exported)


def test_check_tells_every_rule_once(exported: Project) -> None:
    write(exported, A, "MyStyle. A male in a suit meets a male in a coat. This image shows both.")
    write(exported, B, "A male in a suit meets a mystyle dog.")
    beside = ("fewer-samples", "caption-too-long")  # the tiny model reads few tokens
    told = {(f["item"], f["rule"]): f for f in api.check(exported) if f["item"] in (A, B) and f["rule"] not in beside}
    assert {rule for item, rule in told if item == A} == {"caption-male-female", "caption-lead-in"}
    assert {rule for item, rule in told if item == B} == {"trigger-missing", "caption-male-female"}
    assert told[A, "caption-lead-in"]["severity"] == "warning"
    assert told[A, "caption-lead-in"]["reason"] == "it talks of the picture; begin with what is in it"
