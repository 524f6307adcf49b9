"""`sakuga lint`: what it lists, what it shows of a fix, and what it writes."""

import json
from pathlib import Path

import pytest

from sakuga import cli
from sakuga.cli.lint import difference
from sakuga.core.project import Project

A = "clips/film_000000"


def sakuga(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert cli.run(list(arguments)) == code
    out, err = capsys.readouterr()
    return out if code == 0 else err


def caption_of(project: Project) -> Path:
    return project.path(f"dataset/{A}.txt")


@pytest.fixture
def at(exported: Project) -> tuple[str, str]:
    caption_of(exported).write_text("MyStyle. An anime girl meets a male in a suit.", "utf-8")
    return "--project", str(exported.folder)


def test_findings_stand_by_rule_with_counts(at: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    told = sakuga(capsys, "lint", *at, "--item", A, "--rule", "style-word", "--rule", "male-female")
    assert "style-word: 1, 1 with a fix" in told and "male-female: 1, 1 with a fix" in told
    assert "2 findings in 1 captions" in told
    only = json.loads(sakuga(capsys, "lint", *at, "--item", A, "--rule", "style-word", "--json"))
    assert [(f["item"], f["found"], f["fix"]) for f in only] == [(A, "anime", "")]
    assert "nothing was found in the captions" in sakuga(capsys, "lint", *at, "--item", A, "--rule", "hedge")


def test_a_fix_is_shown_before_it_is_written(
    exported: Project, at: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    told = sakuga(capsys, "lint", *at, "--item", A, "--fix")
    assert "[-An anime-] {+A+} girl meets a [-male-] {+man+} in a suit." in told
    assert "1 captions would change" in told and "yours" in told
    assert "anime" in caption_of(exported).read_text("utf-8")
    assert "1 captions changed" in sakuga(capsys, "lint", *at, "--item", A, "--fix", "--yes")
    assert caption_of(exported).read_text("utf-8") == "MyStyle. A girl meets a man in a suit.\n"
    assert "nothing that a fix is known for" in sakuga(capsys, "lint", *at, "--item", A, "--fix")


def test_yes_alone_writes_nothing(exported: Project, at: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "--yes and --in-place say how fixes are to be written; give --fix too" in sakuga(
        capsys, "lint", *at, "--yes", code=1
    )
    assert "anime" in caption_of(exported).read_text("utf-8")


def test_the_rules_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Guesses: seems to, possibly" in sakuga(capsys, "lint", "--rules")
    assert {"rule", "severity", "help"} == set(json.loads(sakuga(capsys, "lint", "--rules", "--json"))[0])


def test_a_change_is_shown_with_some_words_around() -> None:
    words = " ".join(f"w{n}" for n in range(30))
    assert difference(f"{words} old {words}", f"{words} new {words}").plain.split() == [
        "…", *(f"w{n}" for n in range(24, 30)), "[-old-]", "{+new+}", *(f"w{n}" for n in range(6)), "…",
    ]  # fmt: skip
    assert difference("a\n\nb", "a b").plain.split() == ["a", "[-⏎⏎-]", "b"]
