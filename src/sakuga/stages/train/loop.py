"""The training loop, top to bottom: open the run, and for each expert in its turn step, save, validate, look."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from ...core import models, store
from ...core.control import Control, Live
from ...core.cost import GB, input_bytes, step_memory
from ...core.dataset import Encoded, encoded_samples
from ...core.errors import SakugaError
from ...core.expected import Drawn, bucket_name, expected_of
from ...core.family import Member
from ...core.gap import gaps
from ...core.loras import find_loras
from ...core.progress import Progress, Silent
from ...core.project import Project
from ...core.rates import rate_share
from ...core.settings import TrainSettings
from ...nn.device import pick_device, pick_dtype
from ...nn.lora import Applied, apply, load_lora, save_lora
from ...nn.lora_norms import block_norms
from ...nn.lora_start import start_from
from ...nn.optimizers import rate_of
from ...nn.parts import Parts
from ...nn.transformer import WanTransformer
from ...nn.world import ALONE, World
from . import record
from .changes import changes_since
from .curves import Curves
from .data import Draw, Schedule, load
from .hands import Setup, Turn
from .keep import tidy
from .loader import Loaded, Loader
from .measure import validate, validation_draws
from .preview import Experts, Previews
from .state import State, load_state, restore, snapshot, state_path
from .step import Learner, Stepped
from .writer import Writer


@dataclass(frozen=True)
class StepReport:
    """One optimizer step, just done. `loss` is the mean over its samples, `norm` that of the gradient before clipping.

    `corrected` is the loss without what the noise levels and the samples that were drawn make of it.
    """

    expert: str
    step: int
    total: int
    loss: float
    learning_rate: float
    norm: float
    seconds: float
    corrected: float = math.nan


@dataclass
class Run:
    """What one call of `train` did. Where it only `helped`, another process of the training tells."""

    name: str
    folder: Path
    stopped: bool = False
    helped: bool = False
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
    world: World = ALONE,
) -> Run:  # fmt: skip
    """Train a LoRA for each expert that the settings ask for; samples must be cached. The caller holds the lock.

    A run that was stopped or killed goes on from its last saved state, bit for bit as if it had not been.
    """
    seams = Seams(progress or Silent(), on_step, should_stop)
    member, settings = project.member, record.as_begun(project, settings)
    settings.check(member)
    _check_first_frame(member, settings)
    experts = [member.expert(name) for name in settings.experts or [e.name for e in member.experts]]
    samples = encoded_samples(project)
    if not settings.masks:
        samples = [replace(sample, mask="") for sample in samples]
    schedules = {e.name: Schedule(samples, settings, e, member) for e in experts}
    paths = models.of_project(project)
    weights = {role: models.content_hash(project, path) for role, path in paths.items()}
    device = pick_device(settings.device)
    parts = Parts(
        member, paths, device, pick_dtype(settings.precision, device), weights=settings.weights, stream=settings.stream,
        vram=settings.vram, compile=settings.compile,
    )  # fmt: skip
    parts.beside, parts.inputs = max(beside(schedule) for schedule in schedules.values())
    largest = max(((s.width, s.height, s.frames) for s in samples), key=lambda size: member.tokens(*size))
    previews = Previews(project, settings.prompts, parts, largest, few=settings.preview_lora is not None)
    settings = settings.model_copy(update=parts.derived)
    passed_over = record.passed_over(project, settings)
    run = record.open_run(project, settings, weights)  # the last of what may fail before a run has begun
    if run.new:
        steps = ", ".join(f"{name} {schedule.steps} steps" for name, schedule in schedules.items())
        seams.progress.say(f"{run.name} begins: {steps}" + (f" ({passed_over})" if passed_over else ""))
    for words in changes_since(run.folder, samples):
        seams.progress.say(f"{run.name}: {words}")
    result = Run(run.name, run.folder)
    world.tell(Setup(run.name, run.folder, run.settings, samples))
    state = record.STOPPED
    control = Control(run.folder, project.db.token)
    try:
        with record.on_a_full_disk(run):
            for name, last in turns({name: schedule.steps for name, schedule in schedules.items()}, settings.turns):
                # without a name of its own, so that one expert's model is gone before the next is loaded
                _Turn(project, run, schedules[name], samples, parts, previews, seams, result, control, world).go(last)
                if result.stopped:
                    break
        state = record.STOPPED if result.stopped else record.DONE
        world.tell(None)  # the hands may go; after an error `torchrun` ends them
    finally:
        control.close()
        record.end_run(project, run, state)
    return result


def beside(schedule: Schedule) -> tuple[float, float]:
    """The bytes that a step takes beside the weights: activations of the largest samples, the LoRA and its optimizer; and
    how many of them are inputs of blocks."""
    member, draws = schedule.member, schedule.largest()
    tokens = member.tokens(draws[0].sample.width, draws[0].sample.height, draws[0].sample.frames)
    needed = step_memory(
        member, schedule.settings.rank, tokens, weight_bytes=0, batch=len(draws), kind=schedule.settings.kind
    )
    return needed.total * GB, input_bytes(member.transformer, tokens, len(draws))


def turns(totals: Mapping[str, int], every: int | None) -> Iterator[tuple[str, int]]:
    """Who trains, and up to which of its steps: one after the other, or in turns of `every` steps."""
    done = dict.fromkeys(totals, 0)
    while any(done[name] < total for name, total in totals.items()):
        for name, total in totals.items():
            if done[name] < total:
                done[name] = min(total, done[name] + (every or total))
                yield name, done[name]


def _drawn(draws: Sequence[Draw], losses: Sequence[float]) -> list[Drawn]:
    """What a step drew, as the expected loss is learnt from it."""
    found = []
    for draw, loss in zip(draws, losses, strict=True):
        s = draw.sample
        found.append(Drawn(draw.t, bucket_name(s.width, s.height, s.frames), s.item, loss))
    return found


def _check_first_frame(member: Member, settings: TrainSettings) -> None:
    if settings.first_frame and (member.needs_picture or not member.takes_picture):
        raise SakugaError(
            f"train.first_frame is for models that take words or a picture, and {member.title} is none; set it to 0"
        )


class _Turn:
    """One expert's turn within a run: from where it stands to a step, and everything that falls due on the way."""

    def __init__(
        self, project: Project, run: record.RunRow, schedule: Schedule, samples: list[Encoded], parts: Parts,
        previews: Previews, seams: Seams, result: Run, control: Control, world: World,
    ) -> None:  # fmt: skip
        self.control, self.world = control, world
        self.project, self.run, self.schedule, self.parts, self.previews = project, run, schedule, parts, previews
        self.expert = schedule.expert
        self.settings, self.seams, self.result = schedule.settings, seams, result
        self.validation = validation_draws(samples, run.settings, self.expert, parts.member)
        self.row = record.open_expert(project, run, self.expert, schedule.steps)
        self.failed: list[int] = []  # steps in a row that gave no number
        self.done = self.kept = 0  # the last step that was applied, and the last that was handed to the disk
        self.saved = time.monotonic()
        self.few: list[Applied] | None = (
            None  # on the expert in training, to be shown; None while it is not being, or aside
        )
        self.worn = True  # whether the other expert wears its LoRA in previews

    def go(self, last: int) -> None:
        saved = record.newest_checkpoint(self.project, self.row)
        if saved and saved[0] >= last and self._measured(saved[0]):
            self.result.checkpoints[self.expert.name] = saved[1]  # done before: the model need not be loaded
            return
        self.learner = Learner(self.parts, self.expert, self.settings, self.seams.progress.say, self.world)
        done = self.done = self.kept = self._begin()
        self.world.tell(Turn(self.expert.name, done, last))
        self.learner.hand_out()
        self.seams.progress.start(f"train {self.expert.name}", self.schedule.steps, "steps", done)
        with self._curves(done) as self.curves, self._loader() as loader, Writer() as self.writer:
            if not self._measured(done):
                self._measure(done)
            self._show_base()
            self.expected = expected_of(self.project, self.row, done)
            self._rehearse(loader)
            with self._saved_after_all():
                self._steps(loader, done, last)
        self.world.tell(None)  # the turn is over
        self.learner.close()

    def _steps(self, loader: Loader, done: int, last: int) -> None:
        for loaded in loader.steps(done + 1, last):
            self.world.tell(loaded.number)
            report = self._step(loaded, loader)
            self.writer.check()
            stopping = self.seams.should_stop() or self.control.stop_asked
            if stopping or report.step == last or self._save_due(report.step):
                self._save(report.step)
            self._measure(report.step)
            if stopping and report.step < self.schedule.steps:
                self.result.stopped = True
                break

    @contextmanager
    def _saved_after_all(self) -> Iterator[None]:
        """A fault that a person can mend ends the steps, and loses none: the last that was applied is saved."""
        try:
            yield
        except SakugaError:
            if self.done > self.kept:
                self._save(self.done)
            raise

    def _save_due(self, number: int) -> bool:
        """By steps, by minutes, or because somebody asked."""
        minutes = self.settings.save_minutes
        late = minutes is not None and time.monotonic() - self.saved >= 60 * minutes
        return self.control.save_asked or late or self._due(number, self.settings.save_every)

    def _due(self, number: int, every: int) -> bool:
        return number == self.schedule.steps or number % every == 0

    def _curves(self, done: int) -> Curves:
        run = self.run
        told = run.settings.model_dump(mode="json")
        return Curves(run.folder, run.name, self.expert.name, done + 1, self.settings.wandb, told)

    def _loader(self) -> Loader:
        s = self.settings
        return Loader(
            self.schedule, self.parts.member, self.project.folder, self.parts.device, batch=s.batch, threads=s.loaders,
            world=self.world,
        )  # fmt: skip

    def _rehearse(self, loader: Loader) -> None:
        """On a card, the largest step first: what does not fit is known at once, and not after hours."""
        if self.parts.device.type == "cuda":
            self.learner.rehearse(loader.load(self.schedule.largest(), 0), loader)

    # A step

    def _step(self, loaded: Loaded, loader: Loader) -> StepReport:
        started = time.perf_counter()
        number = loaded.number
        s, steps = self.settings, self.schedule.steps
        share = rate_share(number, steps, s.schedule, s.warmup, s.decay) * self.schedule.part(number).rate
        stepped = self.learner.step(loaded, share, loader)
        rate = rate_of(self.learner.optimizer)
        seconds = time.perf_counter() - started
        loss = sum(stepped.losses) / len(stepped.losses)
        report = StepReport(self.expert.name, number, steps, loss, rate, stepped.norm, seconds)
        if stepped.finite:
            self.failed.clear()
            self.done = number
            report = replace(report, corrected=self.expected.step(_drawn(loaded.draws, stepped.losses)))
            self._note(loaded.draws, stepped, report)
        else:
            self._failed(loaded.draws, stepped, number)
        self.seams.progress.advance(1, self._told(report))
        self.control.write(self._live(report))
        self.seams.on_step(report)
        return report

    def _told(self, report: StepReport) -> str:
        """What stands beside the bar: it tells rate and time left itself."""
        seen = min(report.step * self.settings.accumulation, self.schedule.draws)
        told = [f"loss {report.corrected:.4f}", f"rate {report.learning_rate:.2g}", f"{seen} samples"]
        if self.parts.device.type == "cuda":
            told.append(f"{torch.cuda.max_memory_allocated(self.parts.device) / 1e9:.1f} GB")
        return ", ".join(told)

    def _live(self, report: StepReport) -> Live:
        """What another terminal is told."""
        memory = torch.cuda.max_memory_allocated(self.parts.device) if self.parts.device.type == "cuda" else None
        left = report.seconds * (report.total - report.step)
        corrected = report.corrected if math.isfinite(report.corrected) else None
        return Live(
            report.expert, report.step, report.total, report.loss, corrected, report.learning_rate, report.seconds, left,
            memory,
        )  # fmt: skip

    def _note(self, draws: Sequence[Draw], stepped: Stepped, report: StepReport) -> None:
        row = {"run_expert": self.row, "step": report.step, "loss": report.loss, "norm": report.norm}
        row |= {"learning_rate": report.learning_rate, "seconds": report.seconds}
        with store.transaction(self.project.db):
            store.insert(self.project.db, "step", row, replace=True)
            for part, (draw, loss) in enumerate(zip(draws, stepped.losses, strict=True)):
                each = {"run_expert": self.row, "step": report.step, "part": part, "sample": draw.sample.key}
                each |= {"item": draw.sample.item, "t": draw.t, "loss": loss}
                store.insert(self.project.db, "item_loss", each, replace=True)
        curves = {"loss/train": report.loss, "loss/corrected": report.corrected}
        curves |= {"learning_rate": report.learning_rate, "gradient_norm": report.norm}
        self.curves.add(curves, report.step)
        self.result.losses.setdefault(self.expert.name, []).append(report.loss)

    def _failed(self, draws: Sequence[Draw], stepped: Stepped, number: int) -> None:
        """A step whose loss is no number was not applied. After several in a row it stops, at the last that was."""
        self.failed.append(number)
        culprits = [draw for draw, loss in zip(draws, stepped.losses, strict=True) if not math.isfinite(loss)]
        items = ", ".join(sorted({draw.sample.item for draw in culprits or draws}))
        if len(self.failed) < self.settings.patience:
            self.seams.progress.say(f"step {number}: the loss is not a number (on {items}); the step is left out")
            return
        raise SakugaError(
            f"step {number} of {self.expert.name} gave a loss that is not a number (on {items}), "
            f"{len(self.failed)} in a row; lower the learning_rate in a phase from step {self.done + 1} on, or look at that item"
        )

    # What falls due

    def _measure(self, number: int) -> None:
        """Validate and look, where it is time for it."""
        if self._due(number, self.settings.validate_every):
            self._validate(number)
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

    def _validate(self, number: int) -> None:
        with self.learner.at_rest():
            found = validate(
                self._errors_of, self.validation, self.settings.batch,
                lambda note: self.seams.progress.advance(0, note),
            )  # fmt: skip
        if not found:
            return
        with store.transaction(self.project.db):
            for t, loss in found.items():
                row = {"run_expert": self.row, "step": number, "t": t, "loss": loss}
                store.insert(self.project.db, "validation", row, replace=True)
        mean = sum(found.values()) / len(found)
        levels = {f"loss/validation_t{t:.3f}": loss for t, loss in found.items()}
        self.curves.add({**levels, "loss/validation": mean} | self._gaps(number) | self._norms(), number)
        self.result.validation.setdefault(self.expert.name, {})[number] = mean
        self.seams.progress.say(f"{self._at(number)}: validation loss {mean:.4f}")

    def _at(self, number: int) -> str:
        return f"step {number} of {self.expert.name}" if len(self.parts.member.experts) > 1 else f"step {number}"

    def _gaps(self, number: int) -> dict[str, float]:
        """How much further the loss fell on what is trained on than on what is held out, by noise level."""
        found = gaps(self.project, self.row, number, len(self.schedule.part(max(1, number)).samples))
        worse = [f"{band.t_min:.2f} to {band.t_max:.2f}" for band in found if band.verdict == "over-fitting"]
        if worse:
            self.seams.progress.say(f"{self._at(number)}: it over-fits at noise levels {', '.join(worse)}")
        return {f"gap/t{band.t_min:.3f}": band.gap for band in found if math.isfinite(band.gap)}

    def _norms(self) -> dict[str, float]:
        return {f"lora_norm/{block}": norm for block, norm in block_norms(self.learner.lora).items()}

    def _errors_of(self, draws: list[Draw]) -> torch.Tensor:
        batch = load(draws, self.parts.member, self.project.folder)
        return self.learner.losses(batch.to(self.parts.device)).mse

    def _preview(self, number: int) -> None:
        if not self.previews.lines:
            return
        self.writer.finish()  # another expert may wear what is being written
        self.seams.progress.advance(0, "making previews")
        with self.learner.at_rest(), self._few_steps():
            experts = Experts(self.expert.name, self._own, self._other)
            for path in self.previews.make(self.run.id, self.run.folder, number, experts):
                self.seams.progress.say(f"{self._at(number)}: preview {path.name}")

    def _show_base(self) -> None:
        """What the model makes of the prompts without any LoRA, once in a run, to compare with."""
        if self.previews.lines and not self.project.rows(
            "SELECT 1 FROM preview WHERE run = ? AND step = 0", self.run.id
        ):
            self.learner.lora.set_strength(0.0)
            self.worn, worn = False, self.worn
            self._preview(0)
            self.worn = worn
            self.learner.lora.set_strength(1.0)

    def _own(self) -> WanTransformer:
        """The expert in training as it stands, taken up again where it had to make room."""
        if self.few is None:
            self.parts.release()
            self.learner.take_up()
            self.few = self._apply_few_steps(self.learner.model, self.expert.name)
        return self.learner.model

    def _other(self, name: str) -> WanTransformer:
        """An expert that is not in training now, with the LoRA that this run gave it if it has."""
        self.parts.release()  # never one that wears a LoRA already
        if self.few is not None and not self.parts.room_for_another:
            self._take_off_few_steps()
            self.learner.lay_aside()
        model = self.parts.transformer(name)
        if self.worn and name in self.result.checkpoints:
            apply(model, load_lora(self.result.checkpoints[name]))
        self._apply_few_steps(model, name)
        return model

    def _apply_few_steps(self, model: WanTransformer, name: str) -> list[Applied]:
        """The LoRA that lets previews do with few steps, put onto an expert."""
        wanted = find_loras(self.project, self.settings.preview_lora or "none").get(name, [])
        return [apply(model, load_lora(worn.path, name), worn.strength) for worn in wanted]

    @contextmanager
    def _few_steps(self) -> Iterator[None]:
        self.few = self._apply_few_steps(self.learner.model, self.expert.name)
        try:
            yield
        finally:
            self._own()
            self._take_off_few_steps()
            for parameter in self.learner.lora.parameters():  # under another LoRA they were frozen
                parameter.requires_grad_(True)

    def _take_off_few_steps(self) -> None:
        for one in reversed(self.few or ()):
            one.lora.remove(self.learner.model)
        self.few = None

    # On disk

    def _save(self, number: int) -> None:
        """A checkpoint, then the state that it can be gone on from, then the rows that say so: written while steps go on."""
        learner = self.learner
        state = snapshot(number, learner.lora, learner.optimizer, learner.ema, self._who)
        path, request = self._checkpoint_path(number), self.control.answering

        def write() -> None:
            self._write_checkpoint(path, state)
            state.write(state_path(self.run.folder, self.expert.name))

        def then() -> None:
            self._note_checkpoint(number, path)
            tidy(self.project, self.row, self.settings)
            self.control.done_saving(request)

        self.saved, self.kept = time.monotonic(), number
        self.writer.submit(f"step {number} of {self.expert.name}", write, then)

    @property
    def _who(self) -> str:
        return f"{self.expert.name} of {self.parts.member.name} in {self.run.name}"

    def _checkpoint_path(self, number: int) -> Path:
        return self.run.folder / "checkpoints" / f"{self.expert.name}-{number:06d}.safetensors"

    def _write_checkpoint(self, path: Path, state: State) -> None:
        metadata = {
            "sakuga_step": str(state.step),
            "sakuga_expert": self.expert.name,
            "sakuga_model": self.parts.member.name,
        }
        save_lora(path, state.best, metadata, torch.float32)

    def _note_checkpoint(self, number: int, path: Path) -> None:
        record.note_checkpoint(self.project, self.row, number, path)
        self.result.checkpoints[self.expert.name] = path

    def _begin(self) -> int:
        """Go on where the last saved state stands, or begin. Returns the steps done."""
        path, learner = state_path(self.run.folder, self.expert.name), self.learner
        if not path.exists():
            if saved := record.newest_checkpoint(self.project, self.row):
                raise SakugaError(
                    f"{self.run.name} was saved at step {saved[0]} of {self.expert.name}, and {path} is gone, without which it "
                    f"cannot go on; bring it back, or begin a new run with --start-from {self.run.name}"
                )
            if self.settings.start_from:
                for worn in find_loras(self.project, (self.settings.start_from,), 1.0).get(self.expert.name, []):
                    for words in start_from(learner.lora, load_lora(worn.path, self.expert.name), worn.strength):
                        self.seams.progress.say(words)
            return 0
        state = load_state(path)
        if state.of != self._who:
            raise SakugaError(
                f"{path} is the state of {state.of}, not of {self._who}; bring its own file back, or start a new run with "
                "another --name"
            )
        restore(state, learner.lora, learner.optimizer, learner.ema)
        # written anew: it may have been killed before the rows, and what a person did to the file is not the training's
        checkpoint = self._checkpoint_path(state.step)
        self._write_checkpoint(checkpoint, state)
        self._note_checkpoint(state.step, checkpoint)
        if state.step < self.schedule.steps:
            self.seams.progress.say(f"{self.run.name}: {self.expert.name} goes on from step {state.step}")
        return state.step
