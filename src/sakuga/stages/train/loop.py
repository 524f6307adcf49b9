"""The training loop, top to bottom: open the run, and for each expert step, save, validate, look."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ...core import models, store
from ...core.dataset import Encoded, encoded_samples
from ...core.errors import SakugaError
from ...core.family import Expert, Member
from ...core.progress import Progress, Silent
from ...core.project import Project
from ...core.settings import TrainSettings
from ...nn import flow
from ...nn.device import pick_device, pick_dtype
from ...nn.lora import LoraSet, apply, inject, load_lora, save_lora
from ...nn.parts import Parts
from ...nn.text import pad_text
from ...nn.transformer import WanTransformer
from . import record
from .board import Board
from .data import Draw, Schedule, learning_rate, load, together
from .measure import validate, validation_draws
from .preview import Experts, Previews
from .state import load_state, restore, save_state, state_path


@dataclass(frozen=True)
class StepReport:
    """One optimizer step, just done. `loss` is the mean over its samples, `norm` that of the gradient before clipping."""

    expert: str
    step: int
    total: int
    loss: float
    learning_rate: float
    norm: float
    seconds: float


@dataclass
class Run:
    """What one call of `train` did."""

    name: str
    folder: Path
    stopped: bool = False
    checkpoints: dict[str, Path] = field(default_factory=dict)
    losses: dict[str, list[float]] = field(default_factory=dict)
    validation: dict[str, dict[int, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Seams:
    """How the outside watches and stops a training."""

    progress: Progress
    on_step: Callable[[StepReport], None]
    should_stop: Callable[[], bool]


def train(
    project: Project, settings: TrainSettings, progress: Progress | None = None,
    on_step: Callable[[StepReport], None] = lambda report: None, should_stop: Callable[[], bool] = lambda: False,
) -> Run:  # fmt: skip
    """Train a LoRA for each expert that the settings ask for; samples must be cached. The caller holds the lock.

    A run that was stopped or killed goes on from its last saved state, bit for bit as if it had not been.
    """
    seams = Seams(progress or Silent(), on_step, should_stop)
    member = project.member
    _check_first_frame(member, settings)
    experts = [member.expert(name) for name in settings.experts or [e.name for e in member.experts]]
    samples = encoded_samples(project)
    paths = models.of_project(project)
    weights = {role: models.content_hash(project, path) for role, path in paths.items()}
    device = pick_device(settings.device)
    parts = Parts(member, paths, device, pick_dtype(settings.precision, device))
    largest = max(((s.width, s.height, s.frames) for s in samples), key=lambda size: member.tokens(*size))
    previews = Previews(project, settings.prompts, parts, largest)
    run = record.open_run(project, settings, weights)  # the last of what may fail before a run has begun
    result = Run(run.name, run.folder)
    state = record.STOPPED
    try:
        for expert in experts:
            # without a name of its own, so that one expert's model is gone before the next is loaded
            _Training(project, run, expert, samples, parts, previews, seams, result).go()
            if result.stopped:
                break
        state = record.STOPPED if result.stopped else record.DONE
    finally:
        record.end_run(project, run, state)
    return result


def _check_first_frame(member: Member, settings: TrainSettings) -> None:
    if settings.first_frame and (member.needs_picture or not member.takes_picture):
        raise SakugaError(
            f"train.first_frame is for models that take words or a picture, and {member.title} is none; set it to 0"
        )


class _Training:
    """One expert's training within a run."""

    def __init__(
        self, project: Project, run: record.RunRow, expert: Expert, samples: list[Encoded], parts: Parts,
        previews: Previews, seams: Seams, result: Run,
    ) -> None:  # fmt: skip
        self.project, self.run, self.expert, self.parts, self.previews = project, run, expert, parts, previews
        self.settings, self.seams, self.result = run.settings.of(expert), seams, result
        self.schedule = Schedule(samples, self.settings, expert, parts.member)
        self.validation = validation_draws(samples, self.settings, expert, parts.member)
        self.row = record.open_expert(project, run, expert, self.schedule.steps)
        # one model is in memory at a time, but the VAE and the other expert of previews come beside it
        self.model: WanTransformer = parts.transformer(expert.name)
        self.model.checkpointing = _or(self.settings.checkpointing, parts.device.type == "cuda")
        self.lora: LoraSet = inject(self.model, self.settings.rank, self.alpha, self.settings.seed)
        s = self.settings
        self.optimizer = torch.optim.AdamW(
            self.lora.parameters(), lr=s.learning_rate, betas=s.betas, eps=s.eps, weight_decay=s.weight_decay
        )

    @property
    def alpha(self) -> float:
        return float(self.settings.alpha or self.settings.rank)

    def go(self) -> None:
        done = self._resume()
        self.seams.progress.start(f"train {self.expert.name}", max(0, self.schedule.steps - done), "steps")
        with Board(self.run.folder / "tensorboard" / self.expert.name, done + 1) as board:
            if not self._measured(done):
                self._measure(done, board)
            for number in range(done + 1, self.schedule.steps + 1):
                report = self._step(number)
                self._log(report, board)
                last = number == self.schedule.steps
                stopping = self.seams.should_stop()
                if stopping or self._due(number, self.settings.save_every):
                    self._save(number)
                self._measure(number, board)
                if stopping and not last:
                    self.result.stopped = True
                    break
        self.lora.remove(self.model)
        self.parts.release()

    def _due(self, number: int, every: int) -> bool:
        return number == self.schedule.steps or number % every == 0

    def _measure(self, number: int, board: Board) -> None:
        """Validate and look, where it is time for it."""
        if self._due(number, self.settings.validate_every):
            self._validate(number, board)
        if number and self._due(number, self.settings.preview_every):
            self._preview(number)

    def _measured(self, number: int) -> bool:
        """Whether what is due at a step was done: a run may have been killed after it saved and before it measured."""
        rows = self.project.rows
        query = "SELECT count(*) AS n FROM preview WHERE run = ? AND expert = ? AND step = ?"
        seen = rows(query, self.run.id, self.expert.name, number)[0]["n"]
        known = rows("SELECT t FROM validation WHERE run_expert = ? AND step = ?", self.row, number)
        validated = bool(known) or not self.validation or not self._due(number, self.settings.validate_every)
        looked = seen == len(self.previews.lines) or not number or not self._due(number, self.settings.preview_every)
        return number > 0 and validated and looked

    def _step(self, number: int) -> StepReport:
        """One optimizer step: the mean loss over its draws, backwards, clipped, applied."""
        started = time.perf_counter()
        draws = self.schedule.step(number)
        rate = learning_rate(number, self.schedule.steps, self.settings) * self.schedule.part(number).rate
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        losses = torch.zeros(len(draws), device=self.parts.device)
        for places in together(draws, self.settings.batch):
            each_B = self._losses([draws[place] for place in places])
            weights_B = each_B.new_tensor([draws[place].sample.weight for place in places])
            ((each_B * weights_B).sum() / len(draws)).backward()
            losses[places] = each_B.detach()
        norm = torch.nn.utils.clip_grad_norm_(self.lora.parameters(), self.settings.max_norm)
        each = torch.cat((losses, norm.detach()[None])).tolist()  # the one wait for the device
        self._check(number, draws, each)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._note_items(number, draws, each[:-1])
        seconds = time.perf_counter() - started
        mean = sum(each[:-1]) / len(draws)
        return StepReport(self.expert.name, number, self.schedule.steps, mean, rate, each[-1], seconds)

    def _losses(self, draws: Sequence[Draw]) -> Tensor:
        """The flow-matching loss of each of the draws of one bucket, [B] in fp32."""
        batch = load(draws, self.parts.member, self.project.folder, self.parts.device)
        noised = flow.noise_latents(batch.latent, batch.noise, batch.t)
        text = pad_text(batch.texts, self.parts.member.text.length)
        given = batch.condition.image_BCFHW, batch.condition.clip_BTD
        velocity = self.model(noised, flow.model_time(batch.t), text, *given)
        return flow.flow_loss(velocity, flow.target(batch.latent, batch.noise), batch.t)

    def _check(self, number: int, draws: list[Draw], values: list[float]) -> None:
        if all(map(math.isfinite, values)):
            return
        culprits = [draw for draw, loss in zip(draws, values, strict=False) if not math.isfinite(loss)]
        items = ", ".join(sorted({draw.sample.item for draw in culprits or draws}))
        raise SakugaError(
            f"step {number} of {self.expert.name} gave a loss that is not a number (on {items}); "
            "lower train.learning_rate, or look at that item"
        )

    def _note_items(self, number: int, draws: list[Draw], losses: list[float]) -> None:
        with store.transaction(self.project.db):
            for part, (draw, loss) in enumerate(zip(draws, losses, strict=True)):
                row = {"run_expert": self.row, "step": number, "part": part, "sample": draw.sample.key}
                row |= {"item": draw.sample.item, "t": draw.t, "loss": loss}
                store.insert(self.project.db, "item_loss", row, replace=True)

    def _log(self, report: StepReport, board: Board) -> None:
        row = {"run_expert": self.row, "step": report.step, "loss": report.loss, "norm": report.norm}
        row |= {"learning_rate": report.learning_rate, "seconds": report.seconds}
        store.insert(self.project.db, "step", row, replace=True)
        curves = {"loss/train": report.loss, "learning_rate": report.learning_rate, "gradient_norm": report.norm}
        board.add(curves, report.step)
        self.result.losses.setdefault(self.expert.name, []).append(report.loss)
        self.seams.progress.advance(1, f"loss {report.loss:.4f}")
        self.seams.on_step(report)

    def _validate(self, number: int, board: Board) -> None:
        found = validate(
            self._losses, self.validation, self.settings.batch, lambda note: self.seams.progress.advance(0, note)
        )
        if not found:
            return
        with store.transaction(self.project.db):
            for t, loss in found.items():
                row = {"run_expert": self.row, "step": number, "t": t, "loss": loss}
                store.insert(self.project.db, "validation", row, replace=True)
        mean = sum(found.values()) / len(found)
        levels = {f"loss/validation_t{t:.3f}": loss for t, loss in found.items()}
        board.add({**levels, "loss/validation": mean}, number)
        self.result.validation.setdefault(self.expert.name, {})[number] = mean
        self.seams.progress.say(f"step {number}: validation loss {mean:.4f}")

    def _save(self, number: int) -> None:
        """A checkpoint, then the state that it can be gone on from, then the rows that say so."""
        path = self._write_checkpoint(number)
        save_state(state_path(self.run.folder, self.expert.name), number, self.lora, self.optimizer)
        self._note_checkpoint(number, path)

    def _write_checkpoint(self, number: int) -> Path:
        path = self.run.folder / "checkpoints" / f"{self.expert.name}-{number:06d}.safetensors"
        metadata = {
            "sakuga_step": str(number),
            "sakuga_expert": self.expert.name,
            "sakuga_model": self.parts.member.name,
        }
        save_lora(path, self.lora.tensors(), metadata, torch.float32)
        return path

    def _note_checkpoint(self, number: int, path: Path) -> None:
        record.note_checkpoint(self.project, self.row, number, path)
        self.result.checkpoints[self.expert.name] = path

    def _resume(self) -> int:
        """Go on where the last saved state stands. Returns the steps done."""
        path = state_path(self.run.folder, self.expert.name)
        if not path.exists():
            return 0
        state = load_state(path)
        restore(state, self.lora, self.optimizer)
        # written anew: it may have been killed before the rows, and what a person did to the file is not the training's
        self._note_checkpoint(state.step, self._write_checkpoint(state.step))
        if state.step < self.schedule.steps:
            self.seams.progress.say(f"{self.run.name}: {self.expert.name} goes on from step {state.step}")
        return state.step

    def _preview(self, number: int) -> None:
        if not self.previews.lines:
            return
        self.model.eval()
        self.seams.progress.advance(0, "making previews")
        experts = Experts(self.expert.name, self.model, self._other)
        for path in self.previews.make(self.run.id, self.run.folder, number, experts):
            self.seams.progress.say(f"step {number}: preview {path.name}")

    def _other(self, name: str) -> WanTransformer:
        """An expert that is not in training now, with the LoRA that this run gave it if it has."""
        self.parts.release()  # never one that wears a LoRA already
        model = self.parts.transformer(name)
        if name in self.result.checkpoints:
            apply(model, load_lora(self.result.checkpoints[name]))
        return model


def _or(value: bool | None, otherwise: bool) -> bool:
    return otherwise if value is None else value
