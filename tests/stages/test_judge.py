"""judge: doubtful places are shown to the network once; what it said is kept, and counts for the shots."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from films import write_film
from sakuga import api
from sakuga.core.project import Project
from sakuga.nn.transnet import BLOCK, PACKAGE
from sakuga.signals.cuts import asked_about, find_candidates
from sakuga.signals.look import Look
from sakuga.stages import judge
from sakuga_world.draw import draw
from sakuga_world.look import CEL
from sakuga_world.scene import Scene

pytestmark = pytest.mark.skipif(find_spec(PACKAGE) is None, reason="sakuga[cuts] is not installed")

SIZE = (128, 96)
BIRD = Scene("bird", "red", "day", "meadow", "right", "follow", 3)
CAR = Scene("car", "blue", "night", "town", "left", "follow", 5)


@pytest.fixture(scope="module")
def doubtful_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cut at 60, and at 130 one that may be none: the bird is somewhere else in the same meadow."""
    pictures = [draw(CAR, CEL, n // 2 / 12, SIZE) for n in range(60)]
    pictures += [draw(BIRD, CEL, n // 2 / 12, SIZE) for n in range(70)]
    pictures += [draw(BIRD, CEL, 6.4 + n // 2 / 12, SIZE) for n in range(50)]
    return write_film(tmp_path_factory.mktemp("films") / "a.mp4", pictures, 24)


@pytest.fixture
def project(empty: Project, doubtful_film: Path) -> Project:
    api.add(empty, [doubtful_film])
    return empty


def told(project: Project) -> np.ndarray:
    (row,) = project.rows("SELECT probabilities FROM judgement")
    return np.frombuffer(row["probabilities"], np.float16)


def look_of(project: Project) -> Look:
    (row,) = project.rows("SELECT look FROM timeline")
    return Look.load(project.path(row["look"]))


def test_only_the_blocks_with_doubtful_frames_are_judged(project: Project) -> None:
    api.shots(project)
    look = look_of(project)
    doubtful = [c for c in find_candidates(look) if c.doubtful]
    assert doubtful and not any(c.first <= 60 <= c.after for c in doubtful)
    asked = {frame // BLOCK for c in doubtful for frame in asked_about(c, len(look))}
    known = np.flatnonzero(~np.isnan(told(project)))
    assert len(told(project)) == 180 and set(known // BLOCK) == asked < {0, 1, 2, 3}


def test_no_setting_asks_again(project: Project) -> None:
    api.shots(project)
    (before,) = project.rows("SELECT ended FROM work WHERE stage = 'judge'")
    for changes in ({"sensitivity": 0.9}, {"min_seconds": 2.0}, {"judge": "off"}):
        assert api.shots(project, **changes).done == ["a"]
    assert project.rows("SELECT ended FROM work WHERE stage = 'judge'") == [before]
    with project.writing("judge"):
        assert len(api._run(project, "judge", {}, None).unchanged) == 1


def test_what_it_said_counts_unless_it_is_off(project: Project) -> None:
    def firsts(**settings: object) -> list[int]:
        api.shots(project, **settings)
        return [row["first"] for row in project.rows("SELECT first FROM shot ORDER BY first")]

    firsts()
    (doubtful, *_) = [c for c in find_candidates(look_of(project)) if c.doubtful and c.cut > 100]
    for said, cuts in ((0.999, [0, 60, doubtful.cut]), (0.001, [0, 60])):
        answers = np.where(np.isnan(told(project)), np.nan, said).astype(np.float16)
        project.db.execute("UPDATE judgement SET probabilities = ?", (answers.tobytes(),))
        assert firsts(sensitivity=0.5) == cuts
    assert firsts(judge="off", sensitivity=0.95) == [0, 60, doubtful.cut]


def test_without_the_package_shots_are_found_as_well(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "PACKAGE", "a_package_that_is_not_there")
    assert api.shots(project).failed == {}
    assert project.rows("SELECT * FROM judgement") == [] and project.rows("SELECT first FROM shot WHERE first = 60")


def test_a_film_under_two_names_is_asked_about_once(project: Project, doubtful_film: Path, tmp_path: Path) -> None:
    (tmp_path / "b.mp4").write_bytes(doubtful_film.read_bytes())
    api.add(project, [tmp_path / "b.mp4"])
    api.shots(project)
    assert len(project.rows("SELECT * FROM judgement")) == 1 and len(project.rows("SELECT * FROM timeline")) == 2


def test_status_tells_of_it(project: Project) -> None:
    api.shots(project)
    assert not [s for s in api.status(project)["stale"] if s["stage"] in ("judge", "shots")]
