"""generate: a video from a prompt, with the LoRA of this project, of a file, or with none."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..core import models, runs
from ..core.errors import SakugaError
from ..core.files import move_into_place, safe_stem
from ..core.media.clip import write_clip
from ..core.progress import Progress, Silent
from ..core.project import Project
from ..core.settings import GenerateSettings
from ..nn.denoise import StepReport, Transformer
from ..nn.device import pick_device, pick_dtype
from ..nn.lora import apply, load_lora
from ..nn.parts import Parts
from ..nn.render import Request, fit_size, latents_of, pictures_of

NONE = "none"
_WITH_CHECKPOINT = """
SELECT run.name FROM checkpoint JOIN run_expert ON run_expert.id = run_expert JOIN run ON run.id = run
ORDER BY run.id DESC LIMIT 1
"""
_PAIR = re.compile(r"(?P<stem>.*)-(?P<expert>high|low)$")


@dataclass(frozen=True)
class Video:
    """What was generated. `unused` names what of the LoRA files no layer could take."""

    path: Path
    width: int
    height: int
    frames: int
    experts: list[str]  # of each step
    loras: dict[str, Path]
    unused: list[str]


def generate(project: Project, prompt: str, settings: GenerateSettings, progress: Progress | None = None) -> Video:
    """Make one video, written to `settings.out` or into the project's `generated` folder."""
    progress = progress or Silent()
    member = project.member
    loras = find_loras(project, settings.lora)
    device = pick_device(settings.device)
    parts = Parts(member, models.of_project(project), device, pick_dtype(settings.precision, device))
    width, height = member.sizes[0]
    size = fit_size(member, settings.width or width, settings.height or height, settings.frames or member.frames)
    words, negative = parts.text().encode([prompt, settings.negative])
    request = Request(
        words, negative, *size, seed=settings.seed, steps=settings.steps, shift=settings.shift,
        guidance=settings.guidance, sampler=settings.sampler,
    )  # fmt: skip
    experts = _WithLora(parts, loras, settings.strength)
    steps: list[str] = []
    progress.start("generate", settings.steps or member.steps, "steps")

    def on_step(report: StepReport) -> None:
        steps.append(report.expert)
        progress.advance(1, report.expert)

    latents = latents_of(member, experts, request, device, on_step)
    path = _out(project, prompt, settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    frames = pictures_of(parts.vae(), latents)
    write_clip(temporary, iter(frames), member.fps)
    move_into_place(temporary, path)
    return Video(path, *size, steps, loras, sorted(set(experts.unused)))


class _WithLora(Mapping[str, Transformer]):
    """Each expert, opened when its turn comes, with its LoRA on."""

    def __init__(self, parts: Parts, loras: dict[str, Path], strength: float) -> None:
        self.parts, self.loras, self.strength = parts, loras, strength
        self.unused: list[str] = []

    def __getitem__(self, name: str) -> Transformer:
        self.parts.release()  # never one that wears a LoRA already
        model = self.parts.transformer(name)
        if name in self.loras:
            self.unused += apply(model, load_lora(self.loras[name]), self.strength).unused
        return model

    def __iter__(self) -> Iterator[str]:
        return (expert.name for expert in self.parts.member.experts)

    def __len__(self) -> int:
        return len(self.parts.member.experts)


def find_loras(project: Project, wanted: str | None) -> dict[str, Path]:
    """The LoRA file of each expert. None is the last run's newest; a file whose name ends in -high or -low brings the
    other; any other file serves every expert. A run's name is taken too.
    """
    names = [expert.name for expert in project.member.experts]
    if wanted == NONE:
        return {}
    if wanted is None:
        trained = project.rows(_WITH_CHECKPOINT)
        return {c.expert: c.path for c in runs.checkpoints(project, trained[0]["name"])} if trained else {}
    path = Path(wanted)
    if path.is_file():
        return _of_file(path, names)
    if any(row["name"] == wanted for row in project.rows("SELECT name FROM run")):
        return {c.expert: c.path for c in runs.checkpoints(project, wanted)}
    raise SakugaError(
        f"'{wanted}' is neither a LoRA file nor a run of this project; give the path of a .safetensors file"
    )


def _of_file(path: Path, names: list[str]) -> dict[str, Path]:
    pair = _PAIR.fullmatch(path.stem)
    if pair is None or len(names) == 1:
        return dict.fromkeys(names, path)
    both = {name: path.with_name(f"{pair['stem']}-{name}{path.suffix}") for name in names}
    return {name: file for name, file in both.items() if file.is_file()}


def _out(project: Project, prompt: str, settings: GenerateSettings) -> Path:
    """The file that was asked for; else a name that is not taken, in the folder asked for or in `generated`."""
    folder = project.folder / "generated"
    if settings.out is not None:
        asked = Path(settings.out)
        if not asked.is_dir():
            return asked
        folder = asked
    stem = f"{safe_stem(prompt, 48)}-{settings.seed}"
    number = 1
    while (folder / f"{stem}-{number}.mp4").exists():
        number += 1
    return folder / f"{stem}-{number}.mp4"
