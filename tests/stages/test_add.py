"""add: what is a film, what is not, and the name that each goes by."""

import os
import sys
from pathlib import Path

import pytest

from films import numbered_film
from sakuga import api
from sakuga.core.errors import SakugaError
from sakuga.core.project import Project


def names(project: Project) -> list[str]:
    return [row["name"] for row in project.rows("SELECT name FROM film ORDER BY name")]


def test_what_is_no_film_is_set_aside_with_a_sentence_and_the_rest_goes_on(empty: Project, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("hello\n" * 500)
    numbered_film(tmp_path / "good.mp4", 10, 24)
    summary = api.add(empty, [tmp_path])
    assert (summary.done, list(summary.failed)) == (["good"], ["notes"])
    reason = summary.failed["notes"]
    assert "notes.mp4 is not a video" in reason and "\n" not in reason
    assert names(empty) == ["good"]
    assert empty.rows("SELECT reason FROM work WHERE state = 'failed'") == [{"reason": reason}]


def test_a_film_is_known_with_its_facts(empty: Project, tmp_path: Path) -> None:
    numbered_film(tmp_path / "Ünï 1.mkv", 48, 24, size=(64, 48))
    api.add(empty, [tmp_path / "Ünï 1.mkv"])
    (row,) = empty.rows("SELECT name, file, width, height, codec, rate, seconds FROM film")
    assert row == {
        "name": "Ünï 1", "file": "Ünï 1.mkv", "width": 64, "height": 48, "codec": "h264", "rate": "24", "seconds": 2.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "words"), [("nope.mkv", "nope.mkv is not there"), ("drawer", "drawer holds no film")]
)
def test_a_path_without_a_film_is_refused(empty: Project, tmp_path: Path, given: str, words: str) -> None:
    (tmp_path / "drawer" / "a.mkv").mkdir(parents=True)  # a folder that is named like a film is none
    with pytest.raises(SakugaError, match=words):
        api.add(empty, [tmp_path / given])
    assert not empty.rows("SELECT * FROM source_film")


def test_films_of_one_name_get_names_of_their_own(empty: Project, tmp_path: Path) -> None:
    for number, name in enumerate(("a/ep.mkv", "b/ep.mkv", "c/EP.mp4")):
        (tmp_path / name).parent.mkdir()
        numbered_film(tmp_path / name, 4 + number, 24)
    api.add(empty, [tmp_path / "a", tmp_path / "b", tmp_path / "c"])
    assert names(empty) == ["EP-3", "ep", "ep-2"]
    assert api.add(empty, [tmp_path / "b" / "ep.mkv"]).unchanged == ["ep-2"]


def test_a_film_that_moved_keeps_its_name_when_it_is_added_again(empty: Project, tmp_path: Path) -> None:
    film = numbered_film(tmp_path / "film.mp4", 24, 24)
    api.add(empty, [film])
    film.rename(tmp_path / "renamed.mp4")
    numbered_film(tmp_path / "other.mp4", 10, 24)
    assert api.add(empty, [tmp_path / "other.mp4", tmp_path / "renamed.mp4"]).failed == {}
    assert names(empty) == ["film", "other"]
    assert empty.film_path("film").resolve() == tmp_path / "renamed.mp4"


def test_a_film_whose_disk_is_away_stays_known(exported: Project, tmp_path: Path) -> None:
    before = exported.rows("SELECT * FROM shot"), exported.rows("SELECT * FROM item")
    (exported.folder.parent / "film.mp4").unlink()
    exported.db.execute("UPDATE source_film SET path = '/away/film.mp4'")
    numbered_film(tmp_path / "other.mp4", 30, 24)
    assert api.add(exported, [tmp_path / "other.mp4"]).failed == {}
    api.shots(exported)
    api.pick(exported, auto=True, min_seconds=10)
    assert exported.rows("SELECT * FROM shot WHERE film = 'film'") == before[0]
    api.pick(exported, min_seconds=1)
    api.export(exported)
    assert exported.rows("SELECT * FROM item WHERE shot LIKE 'film%'") == before[1]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_film_whose_name_is_no_text_is_set_aside_until_it_has_another(empty: Project, tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    numbered_film(films / "good.mp4", 10, 24)
    odd = Path(os.fsdecode(os.fsencode(films) + b"/caf\xe9.mp4"))
    numbered_film(tmp_path / "other.mp4", 12, 24).rename(odd)
    summary = api.add(empty, [films])
    assert summary.done == ["good"] and list(summary.failed) == ["caf_udce9"]
    reason = f"{films}/caf\\udce9.mp4 has a name that is not UTF-8; rename it, then `sakuga add` it"
    assert summary.failed["caf_udce9"] == reason
    assert api.drops(empty) == [{"stage": "add", "item": "caf_udce9", "reason": reason}]
    odd.rename(films / "café.mp4")
    summary = api.add(empty, [films])
    assert (summary.done, summary.failed, summary.retired) == (["café"], {}, ["caf_udce9"])
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9"))
    films.rename(folder)
    with pytest.raises(SakugaError, match=r"/\\udce9 is no text as UTF-8 spells it; rename that folder$"):
        api.add(empty, [folder])


def test_only_what_was_asked_for_is_unchanged_and_its_fault_comes_first(empty: Project, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_text("no film")
    numbered_film(tmp_path / "good.mp4", 10, 24)
    api.add(empty, [tmp_path])
    summary = api.add(empty, [tmp_path / "b.mp4"])
    assert (summary.done, summary.unchanged, list(summary.failed)) == ([], [], ["b", "a"])
    assert api.add(empty, [tmp_path / "good.mp4"]).unchanged == ["good"]


def test_names_of_every_kind_are_names_of_films(empty: Project, tmp_path: Path) -> None:
    given = ["line\nbreak", "con", "a.b. ", "x" * 200, "映" * 80, "🎬 'q' \"d\" [1]", "tab\t:*?"]
    for number, name in enumerate(given):
        numbered_film(tmp_path / "n.mp4", 4 + number, 24).rename(tmp_path / f"{name}.mp4")
    assert api.add(empty, [tmp_path]).failed == {}
    found = names(empty)
    assert len(found) == len(given) and {"line_break", "_con", "🎬 'q' _d_ [1]", "tab____"} <= set(found)
    assert all(len(name.encode()) <= 80 for name in found)
