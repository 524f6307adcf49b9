"""A published recipe from its files to a LoRA: every section, every window and every epoch, on the tiny model."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from interop_files import COMMANDS, DATASET, Write
from sakuga import api
from sakuga.core.media.clip import write_clip
from sakuga.core.project import Project
from sakuga.nn.lora import load_lora
from sakuga.stages.train import Run
from sakuga_world.draw import draw, draw_clip
from sakuga_world.look import CEL
from sakuga_world.scene import random_scene
from sakuga_world.words import caption

WIDE, SQUARE = (96, 52), (64, 64)  # a twentieth of 1920x1040, and a still's
# Their sizes and length, a twelfth: what is trained on and how often stays as it is.
SMALLER = {"[768, 768]": "[64, 64]", "[768, 416]": "[64, 32]", "[384, 208]": "[32, 32]"}
SHORTER = {"--max_train_epochs 50": "--max_train_epochs 2"}
EPOCHS = 2


def small(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


def make_dataset(root: Path, stills: int, clips: int, exact: int) -> Path:
    """Drawn stills and clips with captions in the recipe's folders; `exact` of the clips are of 45 frames, the others of 49."""
    rng = np.random.default_rng(3)
    pictures, videos = root / "images/768x768", root / "videos/1920x1040"
    pictures.mkdir(parents=True)
    videos.mkdir(parents=True)
    for number in range(stills):
        scene = random_scene(rng)
        rgb = draw(scene, CEL, 0.0, SQUARE)
        cv2.imwrite(str(pictures / f"s{number}.png"), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        (pictures / f"s{number}.txt").write_text(caption(scene, rng), encoding="utf-8")
    for number in range(clips):
        scene = random_scene(rng)
        frames = draw_clip(scene, CEL, 45 if number < exact else 49, size=WIDE)
        write_clip(videos / f"c{number}.mp4", iter(frames), 16)
        (videos / f"c{number}.txt").write_text(caption(scene, rng), encoding="utf-8")
    return root


def check(project: Project, run: Run, stills: int, clips: int, exact: int) -> None:
    """Stills once, clips by a first frame, a head of 21 and two windows of 45; a clip of exactly 45 has one window."""
    windows = 2 * clips - exact
    samples = stills + 2 * clips + windows
    seen = project.rows(
        "SELECT section, frames, count(*) AS draws, count(DISTINCT sample) AS samples FROM item_loss JOIN sample "
        "ON sample.key = item_loss.sample GROUP BY section, frames ORDER BY section, frames"
    )
    of = {(row["section"], row["frames"]): (row["samples"], row["draws"]) for row in seen}
    assert of == {
        ("clips", 1): (clips, EPOCHS * clips),
        ("clips", 21): (clips, EPOCHS * clips),
        ("clips-2", 45): (windows, EPOCHS * windows),
        ("stills", 1): (stills, EPOCHS * stills),
    }
    uneven = "SELECT sample FROM item_loss GROUP BY sample HAVING count(*) != ?"
    assert not project.rows(uneven, EPOCHS)
    assert len(run.losses["full"]) == EPOCHS * samples and not run.stopped
    lora = load_lora(run.checkpoints["full"])
    assert len(lora.layers) == 10 * project.member.transformer.layers
    assert {layer.rank for layer in lora.layers.values()} == {32}
    steps = [row["step"] for row in project.rows("SELECT step FROM checkpoint ORDER BY step")]
    assert steps == [samples, 2 * samples]  # --save_every_n_epochs 1


def test_a_recipe_runs_from_its_files_to_a_lora(write: Write, tmp_path: Path) -> None:
    disk = make_dataset(tmp_path / "sets", 2, 4, 1)
    dataset = write("d.toml", small(DATASET, SMALLER))
    words = [str(write("run.cmd", small(COMMANDS, SHORTER)))]
    done = api.import_config("musubi", dataset, words, into=tmp_path / "p", maps=[f"H:/sets={disk}"], model="tiny")
    with done.project as project:
        planned = api.plan(project)
        assert planned.samples == 2 + 4 + 4 + 8 - 1
        assert [drop["item"] for drop in planned.dropped] == ["1920x1040/c0"]
        check(project, api.train(project), 2, 4, 1)


@pytest.mark.recipes
def test_the_published_recipe_runs_from_its_files_to_a_lora(write: Write, tmp_path: Path) -> None:
    files = Path(os.environ["SAKUGA_RECIPES"])
    disk = make_dataset(tmp_path / "sets", 12, 24, 2)  # a tenth of theirs, 1078 so being 106
    dataset = write("d.toml", small((files / "ghibli.dataset.toml").read_text("utf-8"), SMALLER))
    words = [str(write("run.cmd", small((files / "ghibli.musubi.cmd").read_text("utf-8"), SHORTER)))]
    maps = [f"H:/datasets/studio_ghibli_wan_video_v01={disk}"]
    done = api.import_config("musubi", dataset, words, into=tmp_path / "p", maps=maps, model="tiny")
    with done.project as project:
        assert api.plan(project).samples == 108 - 2
        check(project, api.train(project), 12, 24, 2)
