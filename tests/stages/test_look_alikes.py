"""alike: a flashback is found in real films, look-alikes share a group, a shot of another style stands out, and a model
that a person has tells what shots show."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

from films import write_film
from sakuga import api
from sakuga.core.errors import SakugaError
from sakuga.core.project import Project, change_config, read_config
from sakuga_world.draw import draw
from sakuga_world.look import CEL, WOODCUT, Look
from sakuga_world.scene import Scene

RATE, SECONDS, SIZE = 12, 2, (192, 128)
PLACES = ("meadow", "town", "desert", "snow")
FLASHBACK = 1  # the scene that the second film shows again


def pictures(scene: Scene, look: Look = CEL) -> Iterator[np.ndarray]:
    for n in range(RATE * SECONDS):
        yield draw(scene, look, n / RATE, SIZE)


def scenes() -> list[Scene]:
    subjects = ("robot", "car", "balloon", "robot")
    times = ("day", "night", "sunset", "day")
    return [
        Scene(subject, "red", time, place, "left", "still", n)
        for n, (subject, time, place) in enumerate(zip(subjects, times, PLACES, strict=True))
    ]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("alike")
    first = [p for scene in scenes() for p in pictures(scene)]
    write_film(folder / "a.mp4", first, RATE, gop=48)
    other = list(pictures(Scene("balloon", "blue", "night", "meadow", "right", "still", 9), WOODCUT))
    again = list(pictures(scenes()[FLASHBACK]))
    write_film(folder / "b.mp4", other + again[2:], RATE, gop=48, options={"crf": "32", "preset": "fast"})
    return sorted(folder.glob("*.mp4"))


@pytest.fixture
def project(empty: Project, films: list[Path]) -> Project:
    api.add(empty, films)
    api.shots(empty)
    return empty


def groups(project: Project) -> dict[str, dict[str, Any]]:
    return {row["shot"]: row for row in project.rows("SELECT * FROM shot_group ORDER BY shot")}


def test_a_flashback_is_told_and_no_other_shot_is(project: Project) -> None:
    told = groups(project)
    assert list(told) == ["a_000000", "a_000024", "a_000048", "a_000072", "b_000000", "b_000024"]
    copies = {shot: row["duplicate_of"] for shot, row in told.items() if row["duplicate_of"]}
    assert copies == {"b_000024": "a_000024"} and told["b_000024"]["share"] > 0.8
    assert told["b_000024"]["cluster"] == told["a_000024"]["cluster"] != told["a_000000"]["cluster"]
    assert max(told.values(), key=lambda row: row["outlier"])["shot"] == "b_000000"
    assert api.shots(project).failed == {} and len(groups(project)) == 6


def test_a_small_choice_has_no_shot_twice(project: Project) -> None:
    api.pick(project, auto=True, recurring=True, count=5)
    kept = [row["shot"] for row in project.rows("SELECT shot FROM pick WHERE kept")]
    assert len(kept) == 5 and not {"a_000024", "b_000024"} <= set(kept)


def with_model(project: Project, folder: Path) -> None:
    change_config(project.folder / "sakuga.toml", "alike.model", str(folder))
    project.settings = read_config(project.folder / "sakuga.toml")


def test_a_model_tells_what_looks_alike_where_there_is_one(project: Project, tmp_path: Path) -> None:
    torch.manual_seed(1)
    small = {"hidden_size": 80, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    Dinov2Model(Dinov2Config(image_size=32, patch_size=8, **small)).save_pretrained(tmp_path / "dino")
    before = groups(project)
    with_model(project, tmp_path / "dino")
    api.shots(project)
    told = groups(project)
    assert all(told[shot]["features"] != before[shot]["features"] for shot in told)
    features = {shot: np.frombuffer(row["features"], np.float32) for shot, row in told.items()}
    apart = {
        shot: float(np.linalg.norm(f - features["b_000024"])) for shot, f in features.items() if shot != "b_000024"
    }
    assert min(apart, key=apart.__getitem__) == "a_000024" and len(features["a_000000"]) <= 64
    assert told["b_000024"]["duplicate_of"] == "a_000024"  # told as before


def test_a_model_that_is_not_there_is_told(project: Project, tmp_path: Path) -> None:
    with_model(project, tmp_path / "nowhere")
    with pytest.raises(SakugaError, match="nowhere holds no model that tells pictures apart"):
        api.shots(project)
