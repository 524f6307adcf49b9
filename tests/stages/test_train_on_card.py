"""Training on a pretended card: every option runs with its tensors where they belong, and learns what it learns on a CPU."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from card import Card, pretended
from sakuga import api
from sakuga.core.project import Project
from sakuga.stages.train import Run, measure

# small: every operation on a pretended card takes its time
PROMPT = "MyStyle. a red ball --w 32 --h 32 --f 5 --s 4"
# fp32 on the card too, so that nothing but devices is another thing
COMMON: dict[str, Any] = {"steps": 2, "rank": 4, "precision": "fp32", "checkpointing": True}


@pytest.fixture(autouse=True)
def one_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation at one noise level: every operation on a pretended card takes its time."""
    monkeypatch.setattr(measure, "LEVELS", 1)


def train(project: Project, device: str, patch: pytest.MonkeyPatch, **settings: Any) -> tuple[Run, Card | None]:
    given = COMMON | settings | {"device": device}
    if device == "cpu":
        return api.train(project, **given), None
    with patch.context() as inside, pretended(inside) as card:
        return api.train(project, **given), card


def close(mine: Path, wanted: Path) -> None:
    a, b = load_file(mine), load_file(wanted)
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=1e-4, atol=1e-6)


def until(step: int) -> dict[str, Any]:
    """What stops a training there."""
    seen: list[int] = []
    return {"on_step": lambda report: seen.append(report.step), "should_stop": lambda: bool(seen) and seen[-1] >= step}


OPTIONS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "accumulation, batch, ema, huber": {
        "accumulation": 3,
        "batch": 2,
        "ema": 0.9,
        "loss": "huber",
        "weighting": "cosmap",
    },
    "fp8 and streamed": {"weights": "fp8", "stream": 3},
    "adafactor, lora plus": {"optimizer": "adafactor", "lora_plus": 4.0, "rslora": True},
    "kahan": {"optimizer": "adamw-kahan", "optimizer_args": {"triton": False}},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_what_is_learnt_is_what_a_cpu_learns(
    cached: Project, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    (here, _), (there, card) = (train(cached, d, monkeypatch, name=d, **options) for d in ("cpu", "cuda"))
    close(there.checkpoints["full"], here.checkpoints["full"])
    assert there.losses["full"] == pytest.approx(here.losses["full"], rel=1e-4)
    assert there.validation["full"] == pytest.approx(here.validation["full"], rel=1e-4)
    assert card is not None and len(card.issued) > 1000  # it was there


def test_bf16_dropout_and_previews(cached: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (cached.folder / "prompts.txt").write_text(PROMPT, "utf-8")
    options = {"precision": None, "dropout": 0.1, "prompts": "prompts.txt", "weights": "fp8"}
    run, _ = train(cached, "cuda", monkeypatch, **options)
    assert len(list((run.folder / "previews").glob("*.mp4"))) == 2  # the base, the last


@pytest.mark.parametrize("optimizer", ["adamw", "prodigy", "automagic"])
def test_a_run_moves_from_the_card_to_a_cpu_and_back(
    cached: Project, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    options = {"optimizer": optimizer, "ema": 0.9, "steps": 3}
    whole, _ = train(cached, "cpu", monkeypatch, name="whole", **options)
    for at, device in ((1, "cuda"), (2, "cpu"), (3, "cuda")):
        moved, _ = train(cached, device, monkeypatch, name="moved", **options, **until(at))
    close(moved.checkpoints["full"], whole.checkpoints["full"])


def test_two_experts_with_previews(experts: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (experts.folder / "prompts.txt").write_text(PROMPT, "utf-8")
    options = {"prompts": "prompts.txt", "stream": 2}
    run, _ = train(experts, "cuda", monkeypatch, **options)
    assert set(run.checkpoints) == {"high", "low"}
    assert len(list((run.folder / "previews").glob("*-handover.mp4"))) == 3  # the base, and the last of each


def test_out_of_memory(cached: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each notch in turn, and then the step: on the card as on a CPU."""
    from sakuga.stages.train.step import Learner

    whole, left = Learner.losses, [4]

    def short(self: Learner, batch: Any) -> Any:
        found = whole(self, batch)
        if torch.is_grad_enabled() and left[0]:
            left[0] -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return found

    here, _ = train(cached, "cpu", monkeypatch, name="here")
    monkeypatch.setattr(Learner, "losses", short)
    there, _ = train(cached, "cuda", monkeypatch, name="there", checkpointing=False, batch=2, accumulation=1)
    close(there.checkpoints["full"], here.checkpoints["full"])
    assert left == [0]
