"""inspect: faults that only the pixels of a file show, on real clips and pictures of a person's folder."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from films import write_film
from sakuga import api
from sakuga.core.media.picture import write_png
from sakuga.core.project import Project
from sakuga_world.draw import draw_clip
from sakuga_world.look import CEL
from sakuga_world.scene import Scene

SIZE = (192, 128)


@pytest.fixture(scope="module")
def meadow() -> np.ndarray:
    return draw_clip(Scene("car", "red", "day", "meadow", "right", "follow", 3), CEL, 33, 16, SIZE)


@pytest.fixture(scope="module")
def town() -> np.ndarray:
    return draw_clip(Scene("robot", "blue", "sunset", "town", "left", "still", 8), CEL, 33, 16, SIZE)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with api.new(tmp_path / "p", "tiny", "") as project:
        yield project


def adopted(project: Project, folder: Path) -> list[tuple[str, str, str]]:
    """What is found of a person's folder, but for what its captions lack."""
    api.adopt(project, [folder])
    rules = ("bars", "break", "parts-differ", "unreadable", "still-in-clip")
    return [(f["item"], f["rule"], f["reason"]) for f in api.check(project) if f["rule"] in rules]


def mine(tmp_path: Path, **clips: np.ndarray) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, pictures in clips.items():
        write_film(folder / f"{name}.mp4", pictures, 24 if name.startswith("film") else 16)
    return folder


def test_a_good_clip_is_silent(project: Project, tmp_path: Path, meadow: np.ndarray, town: np.ndarray) -> None:
    assert adopted(project, mine(tmp_path, meadow=meadow, town=town)) == []


def test_a_break_inside_is_told_with_its_second(
    project: Project, tmp_path: Path, meadow: np.ndarray, town: np.ndarray
) -> None:
    cut = np.concatenate([meadow[:16], town[:16]])
    film = np.concatenate([np.repeat(meadow, 2, axis=0)[:36], np.repeat(town, 2, axis=0)[:24]])
    folder = mine(tmp_path, cut=cut, film=film)
    remedy = "; cut the clip there: it holds two shots"
    assert adopted(project, folder) == [
        ("mine/cut", "break", f"a cut at 1.0 s{remedy}"),
        ("mine/film", "break", f"a cut at 1.5 s{remedy}"),
    ]
    write_film(folder / "cut.mp4", meadow, 16)  # mended
    assert [f[0] for f in adopted(project, folder)] == ["mine/film"]


def test_bars_left_in_are_told_by_their_share(project: Project, tmp_path: Path, town: np.ndarray) -> None:
    boxed = np.stack([cv2.copyMakeBorder(rgb, 16, 16, 0, 0, cv2.BORDER_CONSTANT, value=(0, 0, 0)) for rgb in town])
    pillars = cv2.copyMakeBorder(town[0], 0, 0, 30, 30, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    folder = mine(tmp_path, boxed=boxed)
    write_png(folder / "pillars.png", pillars)
    write_png(folder / "plain.png", town[0])
    told = {item: reason for item, rule, reason in adopted(project, folder) if rule == "bars"}
    remedy = "; crop them off, or the style learns them"
    assert told == {
        "mine/boxed": f"dark bars were left in, 10% above and below{remedy}",
        "mine/pillars": f"dark bars were left in, 12% left and right{remedy}",
    }


def test_a_clip_whose_end_is_another_place_is_told(project: Project, tmp_path: Path, meadow: np.ndarray) -> None:
    """The camera goes from one place to another in a long pan: no break, and yet one caption cannot serve."""
    rng = np.random.default_rng(5)
    dark = cv2.GaussianBlur(rng.integers(0, 70, (SIZE[1], SIZE[0], 3), np.uint8), (0, 0), 3)
    wide = np.concatenate([meadow[0], np.clip(cv2.resize(meadow[0], SIZE) // 3, 0, 255), dark], axis=1)
    steps = np.linspace(0, wide.shape[1] - SIZE[0], 64).round().astype(int)
    pan = np.stack([wide[:, x : x + SIZE[0]] for x in steps])
    told = [(item, rule) for item, rule, _ in adopted(project, mine(tmp_path, pan=pan))]
    assert told == [("mine/pan", "parts-differ")]


def test_a_still_that_a_clip_shows_is_told(
    project: Project, tmp_path: Path, meadow: np.ndarray, town: np.ndarray
) -> None:
    folder = mine(tmp_path, meadow=meadow)
    write_png(folder / "seen.png", meadow[12])
    write_png(folder / "other.png", town[3])
    ((item, rule, reason),) = adopted(project, folder)
    assert (item, rule) == ("the dataset", "still-in-clip")
    assert "no larger: 1, the first is mine/seen" in reason


def test_a_caption_does_not_have_its_file_looked_at_again(project: Project, tmp_path: Path, meadow: np.ndarray) -> None:
    folder = mine(tmp_path, meadow=meadow)
    api.adopt(project, [folder])
    api.check(project)
    (before,) = project.rows("SELECT ended FROM work WHERE stage = 'inspect'")
    (folder / "meadow.txt").write_text("a red car drives through a meadow", "utf-8")
    assert [f["rule"] for f in api.check(project) if f["item"] == "mine/meadow"] == []
    assert project.rows("SELECT ended FROM work WHERE stage = 'inspect'") == [before]
