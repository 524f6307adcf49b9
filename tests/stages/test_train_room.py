"""Two experts in the memory of one: whoever previews need, the other makes room, and is afterwards as it was."""

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sakuga import api
from sakuga.core.project import Project
from sakuga.nn import parts
from sakuga.stages.train import Run

HELD = {"weights": "bf16", "stream": 0}  # as they are held, however little memory there is


def trained(project: Project, name: str, **settings: Any) -> Run:
    given = {
        "steps": 4,
        "rank": 4,
        "turns": 2,
        "ema": 0.9,
        "prompts": "prompts.txt",
        "preview_every": 2,
        "learning_rate": 0.1,
    }
    return api.train(project, name=name, **given | HELD | settings)


def pictures(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run.folder / "previews").glob("*.mp4")}


@pytest.mark.parametrize("few", [False, True])
def test_previews_of_two_experts_where_there_is_room_for_one(
    experts: Project, monkeypatch: pytest.MonkeyPatch, few: bool
) -> None:
    (experts.folder / "prompts.txt").write_text("MyStyle. a red ball", "utf-8")
    more: dict[str, Any] = {}
    if few:
        api.train(experts, name="few", steps=1, rank=2, learning_rate=0.1)
        more["preview_lora"] = "few"
    open_one, alive, most = parts.load_transformer, weakref.WeakSet[Any](), []

    def opened(*how: Any) -> Any:
        alive.add(model := open_one(*how))
        most.append(len(alive))
        return model

    monkeypatch.setattr(parts, "load_transformer", opened)
    wide = trained(experts, "wide", **more)
    assert max(most) == 2
    most.clear()
    narrow = trained(experts, "narrow", vram=0.001, **more)
    assert max(most) == 1
    assert len(pictures(wide)) == 10 and pictures(narrow) == pictures(wide)
    for expert, path in narrow.checkpoints.items():
        mine, wanted = load_file(path), load_file(Path(wide.checkpoints[expert]))
        assert all(mine[key].equal(wanted[key]) for key in wanted)


def test_an_out_of_memory_in_the_optimizer_does_not_do_a_step_again(
    cached: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of it may have been applied; room for what it remembers is tried out before the first step."""
    asked = []

    def full(self: torch.optim.Optimizer, closure: Any = None) -> None:
        asked.append(self)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.optim.AdamW, "step", full)
    with pytest.raises(torch.OutOfMemoryError):
        api.train(cached, steps=2, rank=4)
    assert len(asked) == 1
