"""A small project made once and copied: a film of four shots of one second, a tiny model, clips, stills and captions."""

import os
import shutil
from pathlib import Path

import torch

from films import cartoon_film
from random_model import make_tiny
from sakuga import api
from sakuga.core.project import Project

TRIGGER = "MyStyle"
CUTS = [24, 48, 72]  # the first frame of every shot but the first
SHOTS = ["film_000000", "film_000024", "film_000048", "film_000072"]
SECONDS, RATE = 4, 24


def make(root: Path, model: str = "tiny") -> Path:
    """root/film.mp4 and the project root/p: its model, its clips and stills, its captions."""
    root.mkdir(parents=True)
    assert cartoon_film(root / "film.mp4", SECONDS, RATE) == CUTS
    with api.new(root / "p", model, TRIGGER) as project:
        make_tiny(project.member, project.folder / "models")
        api.add(project, [root / "film.mp4"])
        api.shots(project)
        api.pick(project, auto=True)
        api.export(project)
        api.caption(project)
    return root


LEAN = {"resolution = [96, 64]": "resolution = [48, 32]", "frames = [9]": "frames = [5]", "count = 2": "count = 1"}


def make_cached(exported: Path, root: Path) -> Path:
    """`exported` with small samples, one of each item, and their encodings: 6 to train on, 2 held out."""
    copy(exported, root).close()
    config = root / "p" / "sakuga.toml"
    text = config.read_text("utf-8")
    for old, new in LEAN.items():
        assert old in text
        text = text.replace(old, new)
    config.write_text(text, "utf-8")
    with Project(root / "p") as project:
        api.cache(project)
    return root


def make_empty(exported: Path, root: Path) -> Path:
    """A project of the same model before its first film."""
    shutil.copytree(exported / "p" / "models", root / "p" / "models", copy_function=os.link)
    with api.new(root / "p", "tiny", TRIGGER):
        return root


def copy(root: Path, to: Path) -> Project:
    """The project of `root` in a folder of its own, with its film; the model's files are shared."""
    shutil.copytree(root, to, ignore=shutil.ignore_patterns("models"))
    shutil.copytree(root / "p" / "models", to / "p" / "models", copy_function=os.link)
    return Project(to / "p")


def one_thread() -> None:
    """Small work is faster so, and its sums are added in one order."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
