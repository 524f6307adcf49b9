"""A second opinion: what is asked, what lands beside the captions, what is asked anew, and what it tells."""

import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chat_server import Play, serving
from sakuga import api
from sakuga.core import captions, store
from sakuga.core.errors import Halt, SakugaError
from sakuga.core.project import Project, change_config, read_config
from sakuga.core.settings import OpinionSettings
from scenes_told import scenes

A, B, STILL = "clips/film_000000", "clips/film_000024", "stills/film_000012"
MODEL = "qwen2.5vl:7b"


@pytest.fixture
def play() -> Play:
    return Play()


@pytest.fixture
def url(play: Play) -> Iterator[str]:
    with serving(play) as url:
        yield url


def ask(project: Project, url: str, **settings: Any) -> Any:
    return api.opinion(project, backend="server", url=url, model=MODEL, **settings)


def write(project: Project, item: str, text: str) -> None:
    project.path(f"dataset/{item}.txt").write_text(text, "utf-8")


def test_another_captioner_tells_of_every_item(exported: Project, url: str, play: Play) -> None:
    write(exported, A, "MyStyle. A girl in a blue dress stands in a field. Medium shot.")
    before = captions.current(exported) | {
        A: captions.Caption("MyStyle. A girl in a blue dress stands in a field. Medium shot.", "person")
    }
    assert len(ask(exported, url).done) == len(play.bodies) == 8
    assert captions.current(exported) == before  # nothing of it goes into a caption
    (row,) = exported.rows("SELECT * FROM opinion WHERE item = ?", A)
    assert row["text"] == f"MyStyle. {play.answer}" and row["origin"] == f"server: {MODEL}"
    told = {one.item: one for one in api.disagreements(exported)}
    assert len(told) == 8 and told[A].second == row["text"]
    assert "red coat" in told[A].lacks and "blue dress" in told[A].alone
    assert 0 < told[A].score < told[B].score == 1.0  # both speak of a girl; the template names nothing
    assert ask(exported, url).done == [] and len(play.bodies) == 8
    write(exported, A, "MyStyle. A girl in a red coat runs along the sea wall. A harbour at dusk.")
    assert ask(exported, url).done == []  # another caption asks for no other opinion
    assert {one.item: one for one in api.disagreements(exported)}[A].score < 0.2


def test_each_claim_is_judged_and_a_changed_caption_anew(exported: Project, url: str, play: Play) -> None:
    play.answer = "1: yes\n2: no\n3: unsure"
    for item in [row["name"] for row in exported.rows("SELECT name FROM item")]:
        write(exported, item, "MyStyle. A girl waits at a gate, while a dog sleeps. Medium shot.")
    assert len(ask(exported, url, ask="claims").done) == 8
    assert "2. a dog sleeps" in str(play.bodies[0]["messages"])
    (first, *_) = told = api.disagreements(exported)
    assert len(told) == 8
    assert (first.denied, first.unsure, round(first.score, 2)) == (("a dog sleeps",), ("Medium shot",), 0.33)
    write(exported, A, "MyStyle. A girl waits at a gate. Medium shot.")
    play.answer = "yes\nyes"
    api.review(exported)  # takes the edit in
    assert A not in {one.item for one in api.disagreements(exported)}  # what was judged are other words
    assert ask(exported, url, ask="claims").done == [A]
    write(
        exported, A, "MyStyle, A girl waits at a gate. Medium shot."
    )  # the same claims; the answers are of the very words
    assert ask(exported, url, ask="claims").done == [A]
    assert {one.item: one.score for one in api.disagreements(exported)}[A] == 0.0


def test_an_answer_that_judges_nothing_sets_its_item_aside(exported: Project, url: str, play: Play) -> None:
    play.answer = "What a lovely picture."
    summary = ask(exported, url, ask="claims", item=[A])
    assert "answers too few of the" in summary.failed[A]
    told = {f["rule"]: f["severity"] for f in api.check(exported) if f["item"] == A}
    assert told["claims-failed"] == "warning"  # training does without
    play.answer = "1: yes\n2: yes"
    assert ask(exported, url, ask="claims", item=[A]).failed == {}


def test_it_goes_on_where_it_was_stopped(exported: Project, url: str, play: Play) -> None:
    play.faults = [(401, {}, b"{}")] * 20
    with pytest.raises(SakugaError):
        ask(exported, url, concurrency=1)
    play.faults.clear()
    ask(exported, url, item=["clips/*"])
    assert len(ask(exported, url).done) == 4


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "set opinion.backend to a captioner"),
        ({"backend": "server"}, "set opinion.model to the name of a model for the server"),
        ({"backend": "describer", "ask": "claims"}, "describer answers no questions"),
    ],
)
def test_what_cannot_be_asked_is_told(exported: Project, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Halt, match=sentence):
        api.opinion(exported, **settings)


def test_settings_are_those_of_captions_with_one_more() -> None:
    values = OpinionSettings.model_validate(
        {"backend": "server", "ask": "claims", "stills": {"backend": "model", "model": "m"}}
    )
    assert (values.way("clip").backend, values.way("still").backend) == ("server", "model")
    assert values.asked({"ask": "caption", "frames": 3}).ask == "caption"
    assert values.asked({"frames": 3}).way("still").frames == 3


def by_program(tmp_path: Path, told: dict[str, str]) -> tuple[str, ...]:
    """A captioner that tells each file its words."""
    program = tmp_path / "tell.py"
    program.write_text(f"import sys, pathlib\nprint({told!r}[pathlib.Path(sys.argv[1]).stem])", "utf-8")
    return (sys.executable, "-S", str(program), "{file}")


def many(project: Project, count: int) -> list[str]:
    """Items of the project: one clip, `count` times under other names."""
    source = project.path(f"dataset/{A}.mp4")
    (row,) = project.rows("SELECT * FROM item WHERE name = ?", A)
    project.db.execute("DELETE FROM item")
    names = [f"clips/c_{n:03}" for n in range(count)]
    for name in names:
        os.link(source, project.path(f"dataset/{name}.mp4"))
        store.insert(project.db, "item", row | {"name": name, "file": f"dataset/{name}.mp4"})
    return names


def test_captions_whose_numbering_slipped_are_one_finding(exported: Project, tmp_path: Path) -> None:
    """60 items, of which those from the 21st to the 40th have the words of the file before."""
    names, made = many(exported, 60), scenes(60, 1)
    command = by_program(tmp_path, {Path(name).name: scene.second for name, scene in zip(names, made, strict=True)})
    firsts = [scene.first for scene in made]

    def note(texts: list[str]) -> None:
        for name, text in zip(names, texts, strict=True):
            store.insert(
                exported.db, "caption", {"item": name, "text": text, "origin": "template", "made": time.time()}
            )

    note(firsts)
    api.opinion(exported, backend="command", command=command, concurrency=2)
    assert api.mismatches(exported) == []
    note([*firsts[:20], *firsts[19:39], *firsts[40:]])
    (slip,) = api.mismatches(exported)
    assert (slip["items"][0] in names[20:22], slip["items"][-1], slip["offset"]) == (True, names[39], -1)
    assert slip["by"] == "second captions" and "fit the file before them better" in slip["why"]


def test_without_a_second_opinion_the_measures_tell(exported: Project) -> None:
    """Bright and dark shots; captions that slipped by one contradict those at a change."""
    names = many(exported, 40)
    (row,) = exported.rows("SELECT * FROM shot ORDER BY name LIMIT 1")
    bright = [random.Random(n).random() < 0.5 for n in range(40)]
    for name, is_bright in zip(names, bright, strict=True):
        shot = {**row, "name": name, "brightness": 0.8 if is_bright else 0.04}
        store.insert(exported.db, "shot", shot)
        exported.db.execute("UPDATE item SET shot = ? WHERE name = ?", (name, name))
    texts = [f"MyStyle. A gate, {'bright sunshine' if is_bright else 'a dimly lit room'}." for is_bright in bright]
    for when, told in enumerate((texts, [*texts[:10], *texts[9:29], *texts[30:]])):
        for name, text in zip(names, told, strict=True):
            store.insert(
                exported.db, "caption", {"item": name, "text": text, "origin": "template", "made": float(when)}
            )
        found = api.mismatches(exported)
        if not when:
            assert found == []
    (slip,) = found
    assert (slip["by"], slip["offset"]) == ("measures", -1)
    assert len(slip["items"]) >= 10 and set(slip["items"]) <= set(names[10:30])


def test_what_captions_leave_out_is_counted_from_second_captions(exported: Project, url: str, play: Play) -> None:
    play.answer = "a girl in a studded belt walks along the wall"
    for n, item in enumerate(row["name"] for row in exported.rows("SELECT name FROM item ORDER BY name")):
        write(exported, item, "MyStyle. A girl with a studded belt." if n == 0 else "MyStyle. A girl.")
    ask(exported, url)
    told = api.coverage(exported)
    (belt,) = [one for one in told.unsaid if one.phrase == "studded belt"]
    assert (belt.first, belt.second, len(belt.items)) == (1, 8, 7)
    page = api.coverage_report(exported, told).read_text("utf-8")
    assert "<b>studded belt</b>" in page and "Left out" in page


def test_a_setting_of_the_project_is_read(exported: Project, url: str) -> None:
    for key, value in {"backend": "server", "url": url, "model": MODEL}.items():
        change_config(exported.folder / "sakuga.toml", f"opinion.{key}", value)
    exported.settings = read_config(exported.folder / "sakuga.toml")
    assert len(api.opinion(exported, item=["stills/*"]).done) == 4
