"""Bars of real films: told shot by shot, and cut off at export."""

import json
from pathlib import Path

import numpy as np
import pytest

from films import write_film
from sakuga import api
from sakuga.core.media.film import frames
from sakuga.core.media.picture import read_picture
from sakuga.core.project import Project
from sakuga_world.films import write_film as write_episode


@pytest.mark.parametrize("crop", [True, False])
def test_bars_of_a_film_are_cut_off_at_export(empty: Project, tmp_path: Path, crop: bool) -> None:
    rng = np.random.default_rng(2)
    picture = np.zeros((120, 160, 3), np.uint8)
    picture[16:104] = bright_blocks(rng, 88, 160)
    moving = [np.roll(picture, 2 * n, axis=1) for n in range(48)]
    api.add(empty, [write_film(tmp_path / "wide.mp4", moving, 24)])
    api.shots(empty)
    (shot,) = empty.rows("SELECT borders FROM shot")
    assert np.allclose(json.loads(shot["borders"]), [16 / 120, 16 / 120, 0, 0, 0], atol=0.01)
    api.pick(empty, keep=["wide"])
    api.export(empty, crop_borders=crop)
    for row in empty.rows("SELECT file, kind, height FROM item"):
        assert row["height"] in ((86,) if crop else (120,))
        path = empty.path(row["file"])
        rgb = read_picture(path) if row["kind"] == "still" else next(frames(path))[1]
        assert (rgb[0].mean() > 60) == crop and (rgb[-1].mean() > 60) == crop


def bright_blocks(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Bright blocks of 8 x 8 pixels: detail that survives compression."""
    blocks = rng.integers(90, 250, (height // 8, width // 8, 3), dtype=np.uint8)
    return blocks.repeat(8, axis=0).repeat(8, axis=1)


def test_an_episode_with_bars_after_its_opening_is_told_shot_by_shot(empty: Project, tmp_path: Path) -> None:
    shots = write_episode(tmp_path / "e.mp4", 2, seconds=16, size=(192, 128), rate=12)
    api.add(empty, [tmp_path / "e.mp4"])
    api.shots(empty)
    for row in empty.rows("SELECT first, last, borders FROM shot"):
        middle = (row["first"] + row["last"]) // 2
        bars = next(shot.bars for shot in shots if shot.first <= middle <= shot.last)
        assert json.loads(row["borders"])[:2] == pytest.approx([0.09, 0.09] if bars else [0, 0], abs=0.02)
