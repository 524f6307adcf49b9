"""Commands from training to the published file: train, generate, publish, sigmas."""

import signal
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from .. import api
from ..core import family
from ..core import settings as s
from ..core.errors import SakugaError
from ..core.prompts import PromptLine
from . import show
from .base import HERE, Common, Options, app

UNTRAINED = "outside the noise levels it is trained on"


@app.command
def train(*, settings: Annotated[s.TrainSettings | None, Options] = None, common: Common = HERE) -> None:
    """Train a LoRA for each expert. Ctrl-C finishes the step and saves; the same command goes on."""
    with common.open() as project, show.progress() as progress, _Stop() as stop:
        run = api.train(
            project, progress=progress, on_step=stop.stepped, should_stop=stop.asked.is_set, **s.given(settings)
        )
    if run.helped:
        return
    if common.json:
        losses = {name: {"first": ls[0], "last": ls[-1], "steps": len(ls)} for name, ls in run.losses.items() if ls}
        files = {name: str(path) for name, path in run.checkpoints.items()}
        show.print_json(
            {
                "run": run.name,
                "stopped": run.stopped,
                "losses": losses,
                "validation": run.validation,
                "checkpoints": files,
            }
        )
        return
    show.say(f"{run.name} {'was stopped; the same command goes on' if run.stopped else 'is done'}")
    for expert, path in run.checkpoints.items():
        shown = [f"{step}: {loss:.4f}" for step, loss in run.validation.get(expert, {}).items()]
        show.say(f"{expert}: {path}" + (f" (validation loss at step {', '.join(shown)})" if shown else ""))


class _Stop:
    """Ctrl-C asks for a stop after the step in hand. Before the first step, or a second time, it stops at once."""

    def __enter__(self) -> "_Stop":
        self.asked, self.training = threading.Event(), False
        self.before = signal.signal(signal.SIGINT, self._ask)
        return self

    def stepped(self, report: object) -> None:
        self.training = True

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked.is_set() or not self.training:
            raise KeyboardInterrupt
        self.asked.set()
        show.errors.print("finishing this step, then saving (Ctrl-C again stops at once)")

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self.before)


@app.command
def generate(
    prompts: list[str] | None = None, *, file: Path | None = None,
    enhance: Annotated[bool, Parameter(negative="")] = False,
    settings: Annotated[s.GenerateSettings | None, Options] = None, common: Common = HERE,
) -> None:  # fmt: skip
    """Make a video of each prompt, with the project's LoRA.

    Args:
        prompts: What should be seen
        file: A file of prompts, one to a line, each with its own --w --h --f --d (seed) --s (steps) where it needs them
        enhance: Let the server of [enhance] make a long prompt of each first
    """
    lines = [PromptLine(words) for words in prompts or ()] + (api.read_prompts(file) if file else [])
    if not lines:
        raise SakugaError('say what should be seen: `sakuga generate "a girl runs along the sea wall"`, or give --file')
    with common.open() as project, show.progress() as progress:
        videos = api.generate_all(project, lines, enhanced=enhance, progress=progress, **s.given(settings))
    if common.json:
        show.print_json([asdict(video) for video in videos] if len(lines) > 1 else asdict(videos[0]))
        return
    for video in videos:
        worn = ", ".join(dict.fromkeys(lora.path.stem for loras in video.loras.values() for lora in loras)) or "none"
        show.say(
            f"{video.path} ({video.width}x{video.height}, {video.frames} frame{'s' * (video.frames > 1)}, LoRA: {worn})"
        )
        if enhance:
            show.say(f"  {video.prompt}")
        for words in video.told:
            show.say(f"  {words}")
        if video.outside:
            show.say(f"  steps {_numbers(video.outside)} ran an expert {UNTRAINED} (`sakuga sigmas` shows them)")
        if video.reused:
            show.say(f"  {len(video.reused)} of {len(video.experts)} steps took an earlier velocity again")
        if video.handover:
            show.say(f"{video.handover} (what the high expert had in mind at the hand-over)")
    if videos[0].merge_loss is not None:
        show.say(f"merged; rounding to the weights' type took {videos[0].merge_loss:.2%} of what the LoRAs add")
    for key in videos[0].unused:
        show.say(f"not used of the LoRA: {key}")


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


@app.command
def publish(*, settings: Annotated[s.PublishSettings | None, Options] = None, common: Common = HERE) -> None:
    """Write the LoRA files that other programs load, with their metadata."""
    with common.open() as project, show.progress() as progress:
        files = api.publish(project, progress=progress, **s.given(settings))
    if common.json:
        show.print_json([asdict(file) for file in files])
        return
    for file in files:
        show.say(f"{file.path} ({file.expert}, step {file.step}, {file.layers} layers, AutoV2 {file.hashes.autov2})")


@app.command
def sigmas(
    *, model: str | None = None, steps: int | None = None, shift: float | None = None, sampler: str = "unipc",
    split: int | None = None, common: Common = HERE,
) -> None:  # fmt: skip
    """The noise levels that sampling visits, and which expert takes each.

    Args:
        model: The model (that of the project by default)
        steps: Sampling steps (the model's own by default)
        shift: Shift (the model's own by default)
        sampler: unipc, dpm++, dpm++sde or euler
        split: Steps given to the high expert by hand, as other programs ask for it (by the boundary by default)
    """
    from ..nn import samplers

    member = family.member(model) if model else common.open().member
    if shift is not None and shift <= 0:
        raise SakugaError(f"--shift is a number above 0, not {shift:g}")
    how = sampler, member.steps if steps is None else steps, shift or member.shift
    times, levels = samplers.timesteps(*how), samplers.sigmas(*how)
    experts = samplers.split(times, member) if split is None else samplers.by_hand(member, split, len(times))
    outside = samplers.outside(times, experts, member)
    high = sum(name == member.experts[0].name for name in experts) if member.boundary else 0
    if common.json:
        plain = [int(t) if float(t).is_integer() else float(t) for t in times]
        by_hand = {} if split is None else {"outside": [n + 1 for n in outside]}
        show.print_json({"timesteps": plain, "high": high, "low": len(experts) - high} | by_hand)
        return
    rows = enumerate(zip(times, levels, experts, strict=False))
    show.table(
        ("step ", "timestep ", "sigma ", "expert", ""),
        ((n + 1, f"{t:g}", f"{sigma:.4f}", e, UNTRAINED if n in outside else "") for n, (t, sigma, e) in rows),
    )
