"""Tags that a person gives, and the further triggers that they bring."""

import pytest

from sakuga import api
from sakuga.core import captions
from sakuga.core.dataset import item_facts
from sakuga.core.errors import SakugaError
from sakuga.core.project import Project, change_config, read_config
from sakuga.core.tags import tags_of
from sakuga.core.triggers import behind, extras, missing, with_extras
from small_fixtures import exported, exported_root

__all__ = ["exported", "exported_root"]

A, B = "clips/film_000000", "clips/film_000024"


def named(project: Project) -> None:
    """A project where the tag `simon` has a trigger."""
    change_config(project.folder / "sakuga.toml", "triggers.simon", "Simon")
    project.settings = read_config(project.folder / "sakuga.toml")


def test_tags_are_given_and_taken_away(exported: Project) -> None:
    assert api.tag(exported, ["clips/film_0000[02]*"], add=["simon", "night"])[A] == ("night", "simon")
    assert tags_of(exported)[B] == ("night", "simon")
    assert api.tag(exported, [A], remove=["night"]) == {A: ("simon",)}
    assert api.tag(exported, [A]) == {A: ("simon",)}
    with pytest.raises(SakugaError, match="' ' cannot be a tag; give a word without spaces"):
        api.tag(exported, [A], add=[" "])
    with pytest.raises(SakugaError, match="no item is named 'nothing'"):
        api.tag(exported, ["nothing"], add=["x"])


def test_what_a_person_takes_away_from_a_folders_tags_stays_away(exported: Project) -> None:
    exported.db.execute('UPDATE item SET tags = \'["run", "fast"]\' WHERE name = ?', (A,))
    api.tag(exported, [A], add=["mine"], remove=["run"])
    assert tags_of(exported)[A] == ("fast", "mine")
    assert next(item.tags for item in item_facts(exported) if item.name == A) == ("fast", "mine")


def test_sections_choose_by_a_persons_tags(exported: Project) -> None:
    name = next(iter(exported.settings.sections))
    change_config(exported.folder / "sakuga.toml", f"sections.{name}.tags", '["simon"]')
    exported.settings = read_config(exported.folder / "sakuga.toml")
    assert api.plan(exported).sections[name]["samples"] == 0
    api.tag(exported, ["*"], add=["simon"])
    assert api.plan(exported).sections[name]["samples"] > 0


def test_a_draft_has_the_trigger_of_its_tag(exported: Project) -> None:
    named(exported)
    before = captions.current(exported)[B]
    assert api.caption(exported).done == []  # nobody has the tag
    api.tag(exported, [A], add=["simon"])
    assert api.caption(exported).done == [A]
    assert captions.current(exported)[A].text == "MyStyle. Simon. a dark scene, hardly anything moves"
    assert captions.current(exported)[B] == before
    api.tag(exported, [A], remove=["simon"])
    api.caption(exported)
    assert captions.current(exported)[A].text == "MyStyle. a dark scene, hardly anything moves"


def test_in_a_persons_words_a_missing_one_is_told_and_mended(exported: Project) -> None:
    named(exported)
    api.tag(exported, [A], add=["simon"])
    path = exported.path(f"dataset/{A}.txt")
    path.write_text("MyStyle. A boy waits at the gate.", "utf-8")
    (found,) = api.lint(exported, ["tag-trigger-missing"])
    assert (found["item"], found["start"], found["fix"]) == (A, 9, "Simon. ")
    assert found["why"] == "'Simon' is missing, which a tag of the item asks for"
    api.caption(exported)
    assert path.read_text("utf-8").strip() == "MyStyle. A boy waits at the gate."
    assert ("caption-tag-trigger-missing", A) in {(f["rule"], f["item"]) for f in api.check(exported)}
    api.lint_fix(exported, ["tag-trigger-missing"], preview=False)
    assert path.read_text("utf-8") == "MyStyle. Simon. A boy waits at the gate.\n"
    assert api.lint(exported, ["tag-trigger-missing"]) == []


def test_triggers_behind_the_trigger() -> None:
    assert extras(("b", "a"), {"a": "Ann", "b": "Bo", "c": "Cy"}) == ("Ann", "Bo")
    assert missing("MyStyle. Simon's hat", ["Simon", "Ann"]) == ["Ann"]
    assert [behind(text, "MyStyle") for text in ("MyStyle. A", "MyStyle, A", "MyStyles A", "A")] == [9, 9, 0, 0]
    assert with_extras("MyStyle. a boy", "MyStyle", ["Simon", "Ann"]) == "MyStyle. Simon. Ann. a boy"
    assert with_extras("MyStyle. Simon runs", "MyStyle", ["Simon"]) == "MyStyle. Simon runs"
    assert with_extras("MyStyle", "MyStyle", ["Simon"]) == "MyStyle. Simon."
    assert with_extras("MyStyle, a boy", "MyStyle", ["Simon"]) == "MyStyle, Simon. a boy"
    assert with_extras("a boy", "", ["Simon"]) == "Simon. a boy"
