"""caption: words for every item, and a person's words never written over."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sakuga import api
from sakuga.core import captions
from sakuga.core.errors import SakugaError
from sakuga.core.project import Project, change_config
from sakuga.stages.caption import backends, filled
from sakuga.stages.caption.backends import Shown, measured

CLIP, STILL = "clips/film_000000", "stills/film_000012"


def sidecar(project: Project, item: str) -> Path:
    return project.folder / "dataset" / f"{item}.txt"


def origins(project: Project) -> list[str]:
    return [row["origin"] for row in project.rows("SELECT origin FROM caption ORDER BY id")]


def test_every_item_has_its_words_beside_it_and_in_the_store(exported: Project) -> None:
    items = [row["name"] for row in exported.rows("SELECT name FROM item")]
    words = captions.current(exported)
    assert sorted(words) == sorted(items) and len(items) == 8
    assert all(sidecar(exported, item).read_text("utf-8") == words[item].text + "\n" for item in items)
    assert words[CLIP].text == "MyStyle. a dark scene, hardly anything moves"
    assert words[STILL].text == "MyStyle. a dark scene"


def test_a_persons_words_are_never_written_over(exported: Project) -> None:
    sidecar(exported, CLIP).write_bytes("\ufeffMyStyle. ein Mädchen läuft\r\n".encode())
    api.caption(exported, template="{trigger}. {film}, {seconds} seconds")
    assert sidecar(exported, CLIP).read_text("utf-8").strip("\ufeff\n") == "MyStyle. ein Mädchen läuft"
    assert captions.current(exported)[CLIP] == captions.Caption("MyStyle. ein Mädchen läuft", captions.PERSON)
    assert sidecar(exported, STILL).read_text("utf-8") == "MyStyle. film, 1.0 seconds\n"
    assert api.caption(exported, template="{trigger}").failed == {}
    assert captions.current(exported)[CLIP].text == "MyStyle. ein Mädchen läuft"


def test_words_that_cannot_be_read_are_left_as_they_are(exported: Project) -> None:
    sidecar(exported, CLIP).write_bytes(b"caf\xe9 at night")
    api.caption(exported, template="{trigger}. {film}")
    assert sidecar(exported, CLIP).read_bytes() == b"caf\xe9 at night"
    assert sidecar(exported, STILL).read_text("utf-8") == "MyStyle. film\n"


def edited_at_work(monkeypatch: pytest.MonkeyPatch, edit: Callable[[], object]) -> None:
    """Do what a person does in an editor while the words of the clip are being made."""

    def slow(shown: Shown) -> str:
        if shown.facts["name"] == CLIP:
            edit()
        return measured(shown.facts)

    own = backends.Backend(lambda project, way: backends.Opened(slow, "template"), ("template",))
    monkeypatch.setitem(backends.BACKENDS, "template", own)


@pytest.mark.parametrize("before", [None, "", "MyStyle. words of a person's\n"], ids=["template", "none", "person"])
def test_an_edit_while_the_stage_is_at_work_stays(
    exported: Project, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    path = sidecar(exported, CLIP)
    if before is not None:
        path.write_text(before, "utf-8")
    sync = captions.sync

    def synced(project: Project) -> dict[str, str]:  # words of a person's are made by nobody: the edit comes before
        faults = sync(project)
        path.write_text("MyStyle. a girl\r\n", "utf-8", newline="")
        return faults

    with monkeypatch.context() as patch:
        if before:
            patch.setattr(captions, "sync", synced)
        else:
            edited_at_work(patch, lambda: path.write_text("MyStyle. a girl\r\n", "utf-8", newline=""))
        assert CLIP in api.caption(exported, template="{trigger}. {film}").done
    assert path.read_bytes() == b"MyStyle. a girl\r\n"
    assert captions.current(exported)[CLIP] == captions.Caption("MyStyle. a girl", captions.PERSON)
    assert sidecar(exported, STILL).read_text("utf-8") == "MyStyle. film\n"
    api.caption(exported, template="{trigger}. again")
    assert captions.current(exported)[CLIP].text == "MyStyle. a girl"
    assert path.read_text("utf-8").strip() == "MyStyle. a girl"


def test_words_that_come_unreadable_while_the_stage_is_at_work_stay(
    exported: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited_at_work(monkeypatch, lambda: sidecar(exported, CLIP).write_bytes(b"caf\xe9"))
    api.caption(exported, template="{trigger}. {film}")
    assert sidecar(exported, CLIP).read_bytes() == b"caf\xe9"
    assert captions.current(exported)[CLIP].origin == "template"


def test_a_file_that_is_removed_while_the_stage_is_at_work_is_written(
    exported: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited_at_work(monkeypatch, sidecar(exported, CLIP).unlink)
    api.caption(exported, template="{trigger}. {film}")
    assert sidecar(exported, CLIP).read_text("utf-8") == "MyStyle. film\n"


def test_an_edit_at_work_outlives_a_kill_before_its_row(exported: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    edited_at_work(monkeypatch, lambda: sidecar(exported, CLIP).write_text("MyStyle. a girl", "utf-8"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("sakuga.core.stage._write", killed)  # the file has its name by then, the row is not there yet
        api.caption(exported, template="{trigger}. {film}")
    monkeypatch.undo()
    api.caption(exported, template="{trigger}. {film}")
    assert captions.current(exported)[CLIP].text == "MyStyle. a girl"
    assert sidecar(exported, CLIP).read_text("utf-8").strip() == "MyStyle. a girl"


def test_a_folder_in_the_place_of_words_sets_its_item_aside(exported: Project) -> None:
    sidecar(exported, CLIP).unlink()
    sidecar(exported, CLIP).mkdir()
    summary = api.caption(exported, template="{trigger}. {film}")
    assert list(summary.failed) == [CLIP] and len(summary.done) == 7
    assert summary.failed[CLIP].endswith("film_000000.txt cannot be looked at: Is a directory; mend that, or remove it")
    (finding,) = [f for f in api.check(exported) if f["rule"] == "caption-unreadable"]
    assert finding["reason"].endswith(
        "000.txt holds no words that can be read: Is a directory; mend its rights or its name"
    )


def test_the_history_holds_each_change_once(exported: Project) -> None:
    assert origins(exported) == ["template"] * 8
    assert api.caption(exported).done == []
    sidecar(exported, CLIP).unlink()
    assert api.caption(exported).done == [CLIP]
    assert sidecar(exported, CLIP).exists() and origins(exported) == ["template"] * 8
    sidecar(exported, CLIP).write_text("MyStyle. a girl", "utf-8")
    api.caption(exported)
    api.caption(exported)
    assert origins(exported) == ["template"] * 8 + ["person"]


def test_a_file_that_was_emptied_gets_words_again(exported: Project) -> None:
    sidecar(exported, CLIP).write_text(" \n", "utf-8")
    api.caption(exported)
    assert sidecar(exported, CLIP).read_text("utf-8") == "MyStyle. a dark scene, hardly anything moves\n"
    assert captions.current(exported)[CLIP].origin == "template"
    api.caption(exported)
    assert api.caption(exported).done == [] and origins(exported) == ["template"] * 8 + ["person", "template"]


def test_a_new_trigger_changes_the_templates_words_alone(exported: Project) -> None:
    sidecar(exported, CLIP).write_text("MyStyle. a girl", "utf-8")
    change_config(exported.folder / "sakuga.toml", "trigger", "Other")
    with Project(exported.folder) as changed:
        api.caption(changed)
        words = captions.current(changed)
    assert words[CLIP].text == "MyStyle. a girl"
    assert words[STILL].text == "Other. a dark scene"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{trigger}. {shot}", "a dark scene, fast movement"),
        ("{trigger}, {shot}", "a dark scene, fast movement"),
        ("{shot}. {film} {seconds}", "a dark scene, fast movement. x 2.5"),
        ("{trigger}", ""),
    ],
)
def test_without_a_trigger_nothing_is_left_of_its_place(template: str, words: str) -> None:
    facts: dict[str, Any] = {
        "trigger": "",
        "kind": "clip",
        "film": "x",
        "seconds": 2.5,
        "brightness": 0.2,
        "motion": 0.5,
    }
    assert filled(facts, template, measured(facts)) == words


def test_an_unknown_place_in_a_template_is_refused(exported: Project) -> None:
    with pytest.raises(SakugaError, match=r"\{shots\} is not one of \{trigger\}, \{shot\}"):
        api.caption(exported, template="{trigger}. {shots}")
