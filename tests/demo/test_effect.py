"""What the demo says the LoRA did: each figure follows the pixels it is made of."""

from pathlib import Path

import numpy as np
import pytest

from films import number_picture
from sakuga.core.media.clip import write_clip
from sakuga.demo import effect
from sakuga.demo.style import make_scale
from sakuga_world.draw import draw_clip
from sakuga_world.look import BASE, CEL
from sakuga_world.scene import Scene

SCENES = [
    Scene("car", "red", "day", "town", "right", "still", 1),
    Scene("ball", "blue", "night", "snow", "left", "still", 2),
    Scene("bird", "green", "sunset", "meadow", "right", "follow", 3),
    Scene("robot", "yellow", "day", "desert", "left", "zoom", 4),
]
BASES = [draw_clip(scene, BASE, frames=3) for scene in SCENES]
FILMS = [draw_clip(scene, CEL, frames=3) for scene in SCENES]
RIGHT = {"subject": True, "colour": True}


def test_a_perfect_lora_scores_1_keeps_the_prompt_and_moves_as_the_films() -> None:
    scale = make_scale(*([frame for clip in clips for frame in clip] for clips in (BASES, FILMS, FILMS)))
    shown = {"base": [RIGHT] * 4, "lora": [RIGHT] * 3 + [RIGHT | {"colour": False}]}
    found = effect.compare({"base": BASES, "lora": FILMS}, shown, FILMS, scale)
    assert found.style["base"].mean == pytest.approx(0, abs=1e-3) and found.style["lora"].mean == pytest.approx(
        1, abs=1e-3
    )
    assert found.kept == pytest.approx(7 / 8) and found.facts["lora"] == {"subject": 1, "colour": 0.75, "all": 0.75}
    assert found.motion_ratio == 1
    assert found.as_json()["style"]["lora"]["spread"] > 0


def test_a_video_that_stands_still_does_not_move() -> None:
    still = np.repeat(FILMS[0][:1], 3, axis=0)
    assert effect.moved(still) == 0 < effect.moved(FILMS[0])


def test_the_nearest_frame_is_the_one_that_was_copied() -> None:
    dataset = {f"item {n}": clip for n, clip in enumerate(FILMS)}
    blurred = [np.clip(clip.astype(int) + 6, 0, 255).astype(np.uint8) for clip in FILMS]
    found = effect.nearest(blurred, dataset)
    assert [near.item for near in found] == list(dataset) and all(near.distance < 0.05 for near in found)


def test_the_middle_of_a_clip_is_read_at_the_size_asked_for(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", iter([number_picture(n) for n in range(20)]), 16)
    assert effect.read_video(tmp_path / "a.mp4", (64, 48), most=9).shape == (9, 48, 64, 3)
    assert effect.read_video(tmp_path / "a.mp4").shape == (20, 96, 128, 3)
