"""subjects: a row of each shot tells who is in it, and leaves nothing out until a person asks for that."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import small
from films import write_film
from portraits import portrait
from sakuga import api
from sakuga.core.errors import SakugaError
from sakuga.core.project import Project, change_config, read_config
from sakuga_world.draw import draw
from sakuga_world.look import CEL
from sakuga_world.scene import Scene

RATE, SIZE = 12, (256, 192)
BAR = 24  # rows of black above and below each picture
INSIDE = 1 - 2 * BAR / SIZE[1]
CLOSE, TWO, EMPTY = "film_000000", "film_000024", "film_000048"


def barred(picture: np.ndarray) -> np.ndarray:
    """The picture as it is, but with bars over its uppermost and lowermost rows."""
    rows = np.arange(len(picture))
    return np.where(((rows < BAR) | (rows >= len(picture) - BAR))[:, None, None], np.uint8(0), picture)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has looked for people in a film of somebody close, of two further off, and of nobody."""
    folder = tmp_path_factory.mktemp("known")
    scene = Scene("balloon", "blue", "day", "meadow", "right", "still", 9)
    close, two = portrait(SIZE, [(0.5, 0.45, 0.36)]), portrait(SIZE, [(0.28, 0.45, 0.16), (0.72, 0.45, 0.14)])
    shots = (
        [np.roll(close, n, axis=1) for n in range(2 * RATE)],
        [np.roll(two[:, ::-1], -n, axis=1) for n in range(2 * RATE)],
        [draw(scene, CEL, n / RATE, SIZE) for n in range(2 * RATE)],
    )
    film = write_film(folder / "film.mp4", [barred(picture) for shot in shots for picture in shot], RATE)
    (folder / "root" / "p" / "models").mkdir(parents=True)
    with api.new(folder / "root" / "p", "tiny") as project:
        read(project, "nudenet")
        api.add(project, [film])
        assert not api.shots(project).failed
    return folder / "root"


@pytest.fixture
def project(known: Path, tmp_path: Path) -> Iterator[Project]:
    with small.copy(known, tmp_path / "root") as project:
        yield project


def read(project: Project, value: str) -> None:
    change_config(project.folder / "sakuga.toml", "subjects.read", value)
    project.settings = read_config(project.folder / "sakuga.toml")


def told(project: Project) -> dict[str, dict[str, Any]]:
    return {row["shot"]: row for row in project.rows("SELECT * FROM subject ORDER BY shot")}


def reasons(project: Project) -> list[str]:
    return [row["reason"] for row in project.rows("SELECT reason FROM pick ORDER BY shot")]


def test_each_shot_has_its_people_and_its_size(project: Project) -> None:
    rows = told(project)
    assert [(shot, row["people"], row["shot_size"], row["nude"]) for shot, row in rows.items()] == [
        (CLOSE, 1, "close-up", 0),  # of the picture between the bars; with them it were a medium close-up
        (TWO, 2, "medium shot", 0),
        (EMPTY, 0, "none", 0),
    ]
    assert rows[CLOSE]["face"] == pytest.approx(0.36 / INSIDE, rel=0.1) and rows[EMPTY]["face"] == 0


def test_the_boxes_are_there_with_their_frames(project: Project) -> None:
    boxes = json.loads(told(project)[CLOSE]["boxes"])
    assert [box["frame"] for box in boxes] == [0, 12, 18] and {box["label"][:4] for box in boxes} == {"FACE"}
    left, top, right, bottom = boxes[0]["box"]
    assert ((left + right) / 2, bottom - top) == pytest.approx((0.5, 0.36), abs=0.03) and boxes[0]["score"] > 0.5


def test_nothing_is_looked_for_unless_somebody_asks(project: Project) -> None:
    work = "SELECT state FROM work WHERE stage = 'subjects'"
    assert [row["state"] for row in project.rows(work)] == ["done"]
    read(project, "off")
    assert not api.shots(project).failed
    assert told(project) == {} and project.rows(work) == []


def test_by_itself_it_leaves_nothing_out(project: Project) -> None:
    project.db.execute("UPDATE subject SET nude = 1, nude_score = 0.9")
    api.pick(project, auto=True)
    assert reasons(project) == ["passes the rule"] * 3


def test_the_rule_takes_the_sizes_that_are_asked_for(project: Project) -> None:
    api.pick(project, auto=True, shot_sizes=("close-up", "full shot"))
    size = "none of the shot sizes asked for"
    assert reasons(project) == ["passes the rule", f"of the size medium shot, {size}", f"without a face, {size}"]
    assert project.settings.pick.shot_sizes == ("close-up", "full shot")  # kept in sakuga.toml
    api.pick(project, shot_sizes=("none",))
    assert [reason == "passes the rule" for reason in reasons(project)] == [False, False, True]
    api.pick(project, shot_sizes=())
    assert reasons(project) == ["passes the rule"] * 3


def test_the_rule_leaves_out_crowds_and_the_nude(project: Project) -> None:
    api.pick(project, auto=True, max_people=1)
    assert reasons(project) == ["passes the rule", "2 people at once, more than 1", "passes the rule"]
    project.db.execute("UPDATE subject SET nude = 1, nude_score = 0.81 WHERE shot = ?", (CLOSE,))
    api.pick(project, nudity="drop")
    assert reasons(project)[0] == "somebody seems nude in it, told with a score of 0.81"
    assert {drop["item"] for drop in api.drops(project)} == {CLOSE, TWO}


def test_a_shot_of_which_nothing_is_known_is_left_out_with_that_reason(project: Project) -> None:
    project.db.execute("DELETE FROM subject WHERE shot = ?", (EMPTY,))
    api.pick(project, auto=True, nudity="drop")
    assert reasons(project) == ["passes the rule"] * 2 + ["none of its pictures was looked at for people"]


@pytest.mark.parametrize("asked", [{"shot_sizes": ("close-up",)}, {"max_people": 0}, {"nudity": "drop"}])
def test_asking_for_what_nobody_looked_at_is_an_error(project: Project, asked: dict[str, Any]) -> None:
    read(project, "off")
    with pytest.raises(SakugaError, match=f"pick.{next(iter(asked))} asks who is in a shot, and subjects.read is off"):
        api.pick(project, auto=True, **asked)


def test_the_report_counts_sizes_and_people(project: Project) -> None:
    page = api.shots_report(project).read_text("utf-8")
    assert "<h2>Who is in them</h2>" in page and "Nudity" not in page
    for name in ("close-up", "medium shot", "none", "0", "1", "2"):
        assert f"<tr><td>{name}</td><td>1</td></tr>" in page
    project.db.execute("DELETE FROM subject")
    assert "Who is in them" not in api.shots_report(project).read_text("utf-8")
