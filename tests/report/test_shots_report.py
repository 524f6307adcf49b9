"""The report of the shots: every picture and link is there, every shot stands in it with its reason."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from films import cartoon_film
from sakuga import api
from sakuga.cli import run
from sakuga.core.project import Project


class Page(HTMLParser):
    """What a page names, and its words."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.links, self.words = path, list[str](), list[str]()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.links += [v for k, v in attributes if k in ("src", "href", "data-strip") and v and not v.startswith("#")]

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())

    def files(self) -> list[Path]:
        return [self.path.parent / unquote(urlsplit(link).path) for link in self.links]


@pytest.fixture
def reported(empty: Project, tmp_path: Path) -> Project:
    for name in ("a é & #2 50%", "b"):
        cartoon_film(tmp_path / f"{name}.mkv", 3, 24, shots=3)
    api.add(empty, [tmp_path / "a é & #2 50%.mkv", tmp_path / "b.mkv"])
    api.shots(empty)
    api.pick(empty, keep=["b_000000"], drop=["b_000024"], reason="a <lamp>", auto=True, max_static=0.0, recurring=True)
    return empty


def test_every_picture_and_page_that_is_named_is_there(reported: Project) -> None:
    first = Page(api.shots_report(reported))
    films = [file for file in first.files() if file.suffix == ".html"]
    assert sorted(film.name for film in films) == ["a é & #2 50%.html", "b.html"]
    for page in (first, *map(Page, films)):
        assert page.files() and all(file.is_file() for file in page.files())
    assert sum(file.name.endswith("-strip.webp") for film in films for file in Page(film).files()) == 6


def test_every_shot_stands_in_it_with_its_reason(reported: Project) -> None:
    first = Page(api.shots_report(reported))
    film = Page(first.path.parent / "films" / "b.html")
    words = film.words
    for name in ("b_000000", "b_000024", "b_000048"):
        assert name in words
    assert "a <lamp>" in words and "taken by a person" in words and "left out by a person" in words
    rules = [word for word in first.words if word in ("taken by a person", "left out by a person", "not decided yet")]
    assert len(rules) == 4 and "shots in 2 films, 0:06" in first.words and "6" in first.words


def test_the_command_says_where_it_is(reported: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["shots", "--report", "--project", str(reported.folder)]) == 0
    page = reported.folder / "report" / "shots.html"
    assert f"the report is {page}" in capsys.readouterr().out.replace("\n", "") and page.is_file()
