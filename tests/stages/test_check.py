"""check: each thing that can be wrong with a dataset is found, and nothing is said of one where nothing is."""

from pathlib import Path
from typing import Any

import pytest

import small
from sakuga import api
from sakuga.core.project import Project

CLIP = "clips/film_000024"


def file(project: Project, item: str, suffix: str) -> Path:
    return project.folder / "dataset" / f"{item}{suffix}"


def findings(project: Project, **settings: Any) -> list[tuple[str, str, str]]:
    return [(f["item"], f["severity"], f["rule"]) for f in faults(project, **settings)]


def faults(project: Project, **settings: Any) -> list[dict[str, Any]]:
    """What is found, without advice: that the stills are of the clips, for one."""
    return [f for f in api.check(project, **settings) if f["severity"] != "advice"]


def test_a_good_dataset_has_no_findings(exported: Project) -> None:
    assert faults(exported) == []


def test_what_is_wrong_with_a_file_or_its_words_is_found(exported: Project) -> None:
    file(exported, "clips/film_000000", ".mp4").unlink()
    damaged = file(exported, "clips/film_000048", ".mp4")
    damaged.write_bytes(damaged.read_bytes()[:-2000])
    file(exported, "stills/film_000012", ".png").write_bytes(b"\x89PNG no")
    file(exported, CLIP, ".txt").write_text("", "utf-8")
    file(exported, "clips/film_000072", ".txt").write_text("MyStyle. boat", "utf-8")
    file(exported, "stills/film_000060", ".txt").write_text("a boat in the harbour of MyStyle", "utf-8")
    file(exported, "stills/film_000084", ".txt").write_bytes(b"MyStyle. caf\xe9 on the corner")
    found = faults(exported)
    assert [(f["item"], f["severity"], f["rule"]) for f in found] == [
        ("clips/film_000000", "error", "missing"),
        (CLIP, "error", "caption-missing"),
        ("clips/film_000048", "error", "unreadable"),
        ("stills/film_000012", "error", "unreadable"),
        ("stills/film_000084", "error", "caption-unreadable"),
        ("clips/film_000072", "warning", "caption-short"),
        ("stills/film_000060", "warning", "trigger-missing"),
    ]
    assert found[0]["reason"].endswith("film_000000.mp4 is not there; `sakuga export` makes it again")
    assert found[5]["reason"] == "the caption has 2 words"
    assert found[6]["reason"] == "the caption does not start with the trigger 'MyStyle'"
    assert all(f["reason"] and "\n" not in f["reason"] for f in found)


def test_a_frame_that_cannot_be_read_is_found(exported: Project) -> None:
    exported.db.execute("UPDATE item SET frames = 17 WHERE name = ?", (CLIP,))
    (found,) = faults(exported)
    assert (found["item"], found["rule"]) == (CLIP, "unreadable")
    assert found["reason"] == "13 of 17 frames can be read; export or replace the clip"


@pytest.mark.parametrize(
    ("frames", "severity", "rule", "reason"),
    [
        ("[17]", "warning", "too-short", '13 frames at 16 fps, section "clips" needs 17'),
        ("[9, 17]", "warning", "fewer-samples", '13 frames at 16 fps, section "clips" also needs 17'),
    ],
)
def test_a_clip_too_short_for_its_sections_is_found(
    exported: Project, frames: str, severity: str, rule: str, reason: str
) -> None:
    with reconfigured(exported, "frames = [9]", f"frames = {frames}") as changed:
        found = faults(changed)
    assert {(f["severity"], f["rule"], f["reason"]) for f in found} == {(severity, rule, reason)}
    assert [f["item"] for f in found] == [f"clips/{shot}" for shot in small.SHOTS]


def test_an_item_that_no_section_takes_is_found(exported: Project) -> None:
    with reconfigured(exported, 'items = "stills"', 'items = "clips"') as changed:
        assert {f[1:] for f in findings(changed)} == {("warning", "unused")}


def test_what_is_mended_is_not_reported_again(exported: Project) -> None:
    words = file(exported, CLIP, ".txt")
    words.write_text("boat", "utf-8")
    assert findings(exported) == [(CLIP, "warning", "caption-short"), (CLIP, "warning", "trigger-missing")]
    assert findings(exported, min_words=1) == [(CLIP, "warning", "trigger-missing")]
    words.write_text("MyStyle. a boat in the harbour", "utf-8")
    assert findings(exported) == []


def test_what_another_stage_set_aside_is_reported(exported: Project, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("hello")
    api.add(exported, [tmp_path / "notes.mp4"])
    assert findings(exported) == [("notes", "error", "add-failed")]


def test_a_project_that_moves_is_checked_already(exported: Project, tmp_path: Path) -> None:
    file(exported, CLIP, ".mp4").unlink()
    (before,) = faults(exported)
    assert before["reason"] == f"dataset/{CLIP}.mp4 is not there; `sakuga export` makes it again"
    exported.close()
    exported.folder.parent.rename(tmp_path / "elsewhere")
    with Project(tmp_path / "elsewhere" / "p") as moved:
        assert [s["stage"] for s in api.status(moved)["stale"]] == ["export"]  # the clip that is gone
        assert faults(moved) == [before]


def test_one_word_is_one_word(exported: Project) -> None:
    file(exported, CLIP, ".txt").write_text("MyStyle", "utf-8")
    (found,) = faults(exported)
    assert found["reason"] == "the caption has 1 word"


def reconfigured(project: Project, old: str, new: str) -> Project:
    """The project with a change in its sakuga.toml."""
    config = project.folder / "sakuga.toml"
    text = config.read_text("utf-8")
    assert old in text
    config.write_text(text.replace(old, new), "utf-8")
    return Project(project.folder)
