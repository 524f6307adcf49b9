"""`sakuga coverage`, `opinion`, `review`, `captions`, `tag`, `masks` and `weigh`: what they show and what they write."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from chat_server import Play, serving
from sakuga import cli
from sakuga.core.project import Project

A, B = "clips/film_000000", "clips/film_000024"


def sakuga(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert cli.run(list(arguments)) == code
    out, err = capsys.readouterr()
    return out if code == 0 else err


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(sakuga(capsys, *arguments, "--json"))


@pytest.fixture
def at(exported: Project) -> tuple[str, str]:
    texts = ("A girl with red hair and a ponytail runs.", "A girl with red hair and a ponytail waits. Close-up.",
             "A girl with red hair and a ponytail sits by a gate.", "A boy by a gate.",
             "A boy by a well. Wide shot, camera pans left.",
             "A cart.", "A well.", "A gate.")  # fmt: skip
    for row, text in zip(exported.rows("SELECT name FROM item ORDER BY name"), texts, strict=True):
        exported.path(f"dataset/{row['name']}.txt").write_text(f"MyStyle. {text}", "utf-8")
    return "--project", str(exported.folder)


def test_coverage_is_told_and_written_as_a_page(at: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    shown = sakuga(capsys, "coverage", *at, "--report")
    assert "gate" in shown and "8 captions name" in shown and "`sakuga opinion` tells what they leave out" in shown
    assert "Never one without the other" in shown and "red hair" in shown
    page = Path(shown.strip().splitlines()[-1])
    assert page.name == "coverage.html" and "Nobody else was asked yet" in page.read_text("utf-8")
    found = told(capsys, "coverage", *at)
    assert found["phrases"]["gate"] == 3 and found["camera"]["size"] == {"": 6, "close-up": 1, "wide shot": 1}
    assert [(one["phrases"], one["always"]) for one in found["bound"]] == [(["red hair"], ["girl", "ponytail"])]


def test_an_opinion_is_shown_by_rank(at: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no second opinion yet" in sakuga(capsys, "opinion", *at, "--told")
    assert "set opinion.backend to a captioner" in sakuga(capsys, "opinion", *at, code=1)
    with serving(Play(answer="1: yes\n2: no")) as url:
        asked = ("--backend", "server", "--url", url, "--model", "joycaption", "--ask", "claims")
        shown = sakuga(capsys, "opinion", *at, *asked, "--item", A, "--item", B)
    assert "denies: with red hair" in shown
    found = told(capsys, "opinion", *at, "--told")
    assert found.keys() == {"disagreements", "mismatches"}
    scores = [one["score"] for one in found["disagreements"]]
    assert scores == sorted(scores, reverse=True) and scores[0] > 0


def test_captions_are_reviewed_in_batches(at: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "0 of 8, first pass" in sakuga(capsys, "review", *at)
    shown = sakuga(capsys, "review", *at, "--next", "3")
    assert shown.count("MyStyle. ") == 3
    assert "3 captions marked as seen" in sakuga(capsys, "review", *at, "--batch")
    assert told(capsys, "review", *at) == {"states": {"seen once": 3, "edited": 5}, "done": 3, "total": 8, "passing": 1}
    marked = sakuga(capsys, "review", *at, "--seen", A, B)
    assert "2 captions marked as seen" in marked
    assert "2 captions no longer marked" in sakuga(capsys, "review", *at, "--undo")
    batch = told(capsys, "review", *at, "--next", "2")["next"]
    assert [set(one) for one in batch] == [{"item", "file", "text", "by", "state", "faults"}] * 2
    assert "each do another thing" in sakuga(capsys, "review", *at, "--next", "2", "--undo", code=1)
    assert "--next 0 shows nothing; give how many captions" in sakuga(capsys, "review", *at, "--next", "0", code=1)


def test_words_of_an_item(exported: Project, at: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    shown = sakuga(capsys, "captions", A, *at)
    assert "template\n  MyStyle. a dark scene" in shown and "person\n  MyStyle. A girl with red hair" in shown
    assert "MyStyle. A lamp." in sakuga(capsys, "captions", A, *at, "--set", "MyStyle. A lamp.")
    rows = told(capsys, "captions", A, *at, "--undo")
    assert rows[-1]["text"] == "MyStyle. A girl with red hair and a ponytail runs." and rows[-1]["source"] == "undo"
    assert exported.path(f"dataset/{A}.txt").read_text("utf-8").strip() == rows[-1]["text"]
    assert "both say which words" in sakuga(capsys, "captions", A, *at, "--undo", "--set", "x", code=1)


def test_tags_of_items(at: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "simon" in sakuga(capsys, "tag", A, B, *at, "--add", "simon")
    assert told(capsys, "tag", "clips/*", *at, "--remove", "simon") == [
        {"item": item, "tags": []} for item in (A, B, "clips/film_000048", "clips/film_000072")
    ]


def test_masks_and_weights(
    exported: Project, at: tuple[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "no clip and no still has a mask" in sakuga(capsys, "masks", *at)
    size = exported.rows("SELECT width, height FROM item WHERE name = ?", A)[0]
    half = Image.new("L", (size["width"], size["height"]), 128)
    for name in ("film_000000_mask.png", "stranger.png"):  # beside the project, and the film that it is of
        half.save(tmp_path / name)
    shown = sakuga(capsys, "masks", str(tmp_path), *at, "--of", "clips")
    assert "1 masks taken, 2 set aside" in shown and "no clip and no still bears its name" in shown
    assert f"masks/{A}.png" in (shown := sakuga(capsys, "masks", *at)) and "50%" in shown
    assert told(capsys, "masks", *at)["masks"] == [{"item": A, "file": f"masks/{A}.png", "share": 128 / 255}]
    assert "is not there; name a mask" in sakuga(capsys, "masks", "nowhere", *at, code=1)
    assert "1 masks are gone" in sakuga(capsys, "masks", *at, "--remove", "clips/*")
    assert told(capsys, "masks", *at)["masks"] == []
    assert "every item counts alike" in sakuga(capsys, "weigh", *at)
    assert f"{A}  " in (shown := sakuga(capsys, "weigh", "0.5", A, *at)) and "0.5" in shown
    assert told(capsys, "weigh", "2", "clips/*000024", *at) == [{"item": A, "weight": 0.5}, {"item": B, "weight": 2.0}]
    assert "no item is named 'clips/x'" in sakuga(capsys, "weigh", "2", "clips/x", *at, code=1)
    assert "0 is no weight" in sakuga(capsys, "weigh", "0", A, *at, code=1)
