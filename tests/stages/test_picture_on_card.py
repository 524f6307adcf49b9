"""From pictures to videos on a pretended card: encoded, trained on and sampled, with every trick, by each kind of member."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import small
from card import pretended
from random_model import KINDS, make_tiny
from sakuga import api
from sakuga.core.family import FAMILY
from sakuga.core.media.picture import write_png
from sakuga.core.project import CONFIG, Project
from sakuga.stages.train import measure

SIZE = {"width": 32, "height": 32, "frames": 5}
# what is encoded, trained and sampled by the kinds that take a picture, each with another set of tricks
TRICKS: dict[str, dict[str, Any]] = {
    "tiny": {"steps": 3, "sampler": "unipc", "skip_layers": (1,), "enhance_video": 1.0, "cfg_zero": True},
    "tiny-i2v-clip": {"steps": 3, "sampler": "dpm++sde", "batched": True},
    "tiny-ti2v": {"steps": 9, "sampler": "euler", "reuse": 5.0, "weights": "fp8", "stream": 2},
}


@pytest.mark.parametrize("kind", TRICKS)
def test_encoded_trained_and_sampled(
    exported_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for name, row in KINDS.items():
        monkeypatch.setitem(FAMILY, name, row)
    monkeypatch.setattr(measure, "LEVELS", 1)
    shutil.copytree(exported_root, tmp_path / "root", ignore=shutil.ignore_patterns("models"))
    config = tmp_path / "root" / "p" / CONFIG
    text = config.read_text("utf-8").replace('model = "tiny"', f'model = "{kind}"')
    for old, new in small.LEAN.items():
        text = text.replace(old, new.replace("48, 32", "64, 32"))
    config.write_text(text, "utf-8")
    make_tiny(FAMILY[kind], tmp_path / "root" / "p" / "models")
    write_png(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    with Project(tmp_path / "root" / "p") as project:
        assert project.member is FAMILY[kind]
        picture = {"image": str(tmp_path / "a.png")} if kind != "tiny" else {}
        with pretended(monkeypatch) as card:
            api.cache(project, device="cuda")
            more = {"first_frame": 0.5} if kind == "tiny-ti2v" else {}
            api.train(project, steps=1, rank=2, device="cuda", **more)
            video = api.generate(project, "MyStyle. a boat", device="cuda", **SIZE, **TRICKS[kind], **picture)
        assert video.path.exists() and len(card.issued) > 1000
