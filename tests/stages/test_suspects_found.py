"""suspects: from the draws of runs, and from a test of captions on the model that comes with Sakuga."""

import json
from pathlib import Path

import numpy as np
import pytest

from sakuga import api
from sakuga.cli import run as sakuga
from sakuga.core.errors import SakugaError
from sakuga.core.expected import Drawn, Expected, before_training, bucket_name, drawn, expected_of
from sakuga.core.gap import gaps
from sakuga.core.media.clip import write_clip
from sakuga.core.project import Project
from sakuga_world.draw import draw_clip
from sakuga_world.look import CEL
from sakuga_world.scene import Scene, random_scene
from sakuga_world.words import caption

ITEMS, SWAPPED = 9, (2, 7)
SMALL = {"name": "r", "rank": 4, "learning_rate": 1e-2}


def told(project: Project) -> list[str]:
    return [one.item for one in api.suspects(project)]


@pytest.fixture
def swapped(tmp_path: Path) -> Project:
    """Drawn clips with true captions, of which two have changed places."""
    rng = np.random.default_rng(4)
    scenes: list[Scene] = [random_scene(rng) for _ in range(ITEMS)]
    words = [caption(scene, rng) for scene in scenes]
    a, b = SWAPPED
    words[a], words[b] = words[b], words[a]
    source = tmp_path / "made"
    source.mkdir()
    for number, scene in enumerate(scenes):
        write_clip(source / f"c{number}.mp4", iter(draw_clip(scene, CEL)), 16)
        (source / f"c{number}.txt").write_text(f"MyStyle. {words[number]}")
    project = api.new(tmp_path / "p", "tiny", "MyStyle")
    api.adopt(project, [source])
    return project


def test_swapped_captions_are_found_before_any_training(swapped: Project) -> None:
    with swapped as project:
        found = api.suspects(project, measure=True)
        assert len(found) == ITEMS and {one.draws for one in found} == {6}
        assert {one.item for one in found[:2]} == {f"made/c{n}" for n in SWAPPED}
        assert found[0].low > 0 and found[0].caption.startswith("MyStyle. ")
        rows = project.rows("SELECT * FROM caption_test ORDER BY item, level")
        right, wrong = f"made/c{SWAPPED[0]}", f"made/c{SWAPPED[1]}"
        texts = {one.item: one.caption for one in found}
        for item, other in ((right, wrong), (wrong, right)):  # a person puts them right
            (row,) = project.rows("SELECT file FROM item WHERE name = ?", item)
            project.path(row["file"]).with_suffix(".txt").write_text(texts[other])
        assert {right, wrong}.isdisjoint(told(project))  # what was tested is not what stands there now
        again = api.suspects(project, measure=True)
        assert not {one.item for one in again if one.stands_out} & {right, wrong} and len(again) == ITEMS
        now = project.rows("SELECT * FROM caption_test ORDER BY item, level")
        assert [row for row in now if row["item"] not in (right, wrong)] == [
            row for row in rows if row["item"] not in (right, wrong)
        ]
        assert now != rows


def test_draws_of_a_run_are_told_by_item(cached: Project, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SakugaError, match="nothing tells of suspects yet"):
        api.suspects(cached)
    run = api.train(cached, **SMALL, epochs=5)
    found = api.suspects(cached)
    assert {one.draws for one in found} == {5} and len(found) == 6 == len({one.item for one in found})
    assert found == api.suspects(cached, "r", expert="full") and run.name == "r"
    with pytest.raises(SakugaError, match="no run is called 'q'"):
        api.suspects(cached, "q")
    with pytest.raises(SakugaError, match="has trained no expert 'fulll'; did you mean full"):
        api.suspects(cached, expert="fulll")
    folder = str(cached.folder)
    cached.close()
    capsys.readouterr()
    assert sakuga(["suspects", "-p", folder, "--json"]) == 0
    assert [one["item"] for one in json.loads(capsys.readouterr().out)] == [one.item for one in found]
    assert sakuga(["suspects", "-p", folder, "--most", "2"]) == 0
    shown = capsys.readouterr().out
    assert found[0].item in shown and "of 6 items stand out" in shown
    assert sakuga(["suspects", "-p", folder, "--run", "r", "--measure"]) == 1
    assert "--run tells from a run's draws" in capsys.readouterr().err


def test_one_caption_for_all_cannot_be_tested(cached: Project) -> None:
    for row in cached.rows("SELECT file FROM item"):
        cached.path(row["file"]).with_suffix(".txt").write_text("MyStyle. the same for all")
    with pytest.raises(SakugaError, match="all items have one and the same caption"):
        api.suspects(cached, measure=True)


def test_what_is_expected_is_made_again_from_the_rows(cached: Project) -> None:
    api.train(cached, **SMALL, epochs=3, accumulation=2)
    row = cached.rows("SELECT id FROM run_expert")[0]["id"]
    steps = drawn(cached, row, 9)
    assert [len(step) for step in steps] == [2] * 9
    assert {draw.bucket for step in steps for draw in step} == {bucket_name(48, 32, 1), bucket_name(48, 32, 5)}
    whole = Expected(before_training(cached, row))
    curve = [whole.step(step) for step in steps]
    resumed = expected_of(cached, row, 5)
    assert [resumed.step(step) for step in steps[5:]] == curve[5:]
    assert whole.scale == pytest.approx(cached.rows("SELECT avg(loss) AS m FROM validation WHERE step = 0")[0]["m"])
    assert isinstance(steps[0][0], Drawn) and len(gaps(cached, row, 9, 6)) == 8
