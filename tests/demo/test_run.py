"""The demo at a small size: films are drawn, the stages do the rest, a second start has nothing to do."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from random_model import make_tiny
from sakuga.core import models
from sakuga.core.family import FAMILY
from sakuga.core.progress import Silent
from sakuga.demo.run import Size, asked, run_demo
from sakuga.demo.style import make_scale
from sakuga.nn.describer import Network, save_describer
from sakuga_world.draw import draw
from sakuga_world.look import BASE, CEL
from sakuga_world.scene import COLOURS, DIRECTIONS, PLACES, SUBJECTS, TIMES

FACTS = {"subject": SUBJECTS, "colour": COLOURS, "time": TIMES, "place": PLACES, "direction": DIRECTIONS}
SMALL = Size(episodes=1, seconds=14, prompts=2, steps=2)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What comes with Sakuga, untrained."""
    folder = tmp_path_factory.mktemp("embedded")
    for name in ("tiny", "tiny-experts"):
        make_tiny(FAMILY[name], folder)
    torch.manual_seed(0)
    network = Network({fact: len(values) for fact, values in FACTS.items()})
    knowledge = {
        "frames": 9, "width": 96, "height": 64, "facts": {fact: list(values) for fact, values in FACTS.items()},
        "words": {fact: {value: value for value in values} for fact, values in FACTS.items()},
        "sentence": "a {colour} {subject} {direction} {place} {time}",
    }  # fmt: skip
    for name in ("describer", "judge"):
        save_describer(folder / f"{name}.safetensors", network.state_dict(), knowledge)
    scenes, _ = asked(4)
    bases, films = ([draw(scene, look, 0.2) for scene in scenes] for look in (BASE, CEL))
    (folder / "looks.json").write_text(json.dumps({"cel": make_scale(bases, films, films).as_json()}))
    return folder


class Told(Silent):
    def __init__(self) -> None:
        self.started: list[tuple[str, int | None]] = []

    def start(self, what: str, total: int | None, unit: str = "items", done: int = 0) -> None:
        self.started.append((what, total))


@pytest.mark.parametrize("model", ["tiny", "tiny-experts"])
def test_from_nothing_to_a_report(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    monkeypatch.setattr(models, "EMBEDDED", base)
    result = run_demo(tmp_path / "demo", False, Silent(), model, SMALL)
    assert result.report.is_file() and result.picture.is_file() and all(path.is_file() for path in result.lora)
    assert len(result.lora) == len(FAMILY[model].experts)
    told = result.as_json()
    assert told.keys() >= {"style", "prompt", "motion", "seconds", "report"} and told["prompt"].keys() == {"kept"}
    assert told["style"].keys() == {"base", "lora"} and np.isfinite(told["motion"]["ratio"])
    page = result.report.read_text("utf-8")
    assert page.count("<h2>The hand-over</h2>") == len(FAMILY[model].experts) - 1
    assert ("two experts" in page) == (model == "tiny-experts") and "DemoStyle. a " in page
    watched = Told()
    again = run_demo(tmp_path / "demo", False, watched, model, SMALL)
    assert again.as_json()["figures"] == told["figures"] and again.seconds > result.seconds
    assert {what for what, total in watched.started if total} == {"publish"}
