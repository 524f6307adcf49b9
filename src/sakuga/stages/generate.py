"""generate: a video from a prompt, with the LoRA of this project, of a file, or with none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from .. import __version__
from ..core import models
from ..core.files import move_into_place, safe_stem
from ..core.loras import Worn, find_loras
from ..core.made import Lora, Made
from ..core.media.clip import write_clip
from ..core.progress import Progress, Silent
from ..core.project import Project
from ..core.prompts import PromptLine
from ..core.settings import GenerateSettings
from ..nn.condition import check_picture
from ..nn.denoise import StepReport, Transformer
from ..nn.device import pick_device, pick_dtype
from ..nn.lora import apply, load_lora, merge_all
from ..nn.parts import Parts
from ..nn.render import Request, latents_of, pictures_of, sized
from ..nn.transformer import WanTransformer


@dataclass(frozen=True)
class Video:
    """What was generated. `unused` names what of the LoRA files no layer could take.

    `merge_loss` is the share of what merged LoRAs add that rounding to the weights' type took, of the worst expert.
    `handover` is a video of the clean estimate that the high expert left to the low one: there a style shows or fails.
    """

    path: Path
    prompt: str
    seed: int
    width: int
    height: int
    frames: int
    experts: list[str]  # of each step
    loras: dict[str, list[Worn]]
    unused: list[str]
    handover: Path | None = None
    merge_loss: float | None = None


@dataclass(frozen=True)
class _Sampled:
    """Latents [1, C, F, H, W] of a video, the expert of each step, and the high expert's last estimate if both drew."""

    latents: Tensor
    steps: list[str]
    handover: Tensor | None


def generate(
    project: Project, lines: Sequence[PromptLine], settings: GenerateSettings, progress: Progress | None = None
) -> list[Video]:
    """Make a video of each prompt, written to `settings.out` or into the project's `generated` folder.

    What a line says goes before the settings. The encoder and the transformer are loaded once for all.
    """
    asked = [_with_line(settings, line) for line in lines]
    for wanted in asked:
        check_picture(project.member, wanted.image)
    loras = find_loras(project, settings.lora, settings.strength)
    device = pick_device(settings.device)
    parts = Parts(project.member, models.of_project(project), device, pick_dtype(settings.precision, device))
    requests = _requests(parts, lines, asked)
    experts = _WithLora(parts, loras, settings.merge)
    sampled: list[_Sampled] = []
    videos: list[Video] = []
    try:
        _sample(experts, requests, sampled, progress or Silent())
    finally:  # also when it is stopped: what was sampled is not lost
        experts.release()
        for line, wanted, request, made in zip(lines, asked, requests, sampled, strict=False):
            path = _out(project, line.text, wanted, alone=len(lines) == 1)
            comment = _recipe(project, line, wanted, request, made.steps, loras).comment()
            _write(path, pictures_of(parts.vae(), made.latents), parts.member.fps, comment)
            handover = None
            if wanted.handover and made.handover is not None:
                handover = handover_path(path)
                _write(handover, pictures_of(parts.vae(), made.handover), parts.member.fps, comment)
            size = request.width, request.height, request.frames
            unused = sorted(set(experts.unused))
            videos.append(
                Video(path, line.text, request.seed, *size, made.steps, loras, unused, handover, experts.lost)
            )
    return videos


def _sample(experts: "_WithLora", requests: Sequence[Request], sampled: list[_Sampled], progress: Progress) -> None:
    """Add the latents of each request to `sampled`, with the expert of each step."""
    member, device = experts.parts.member, experts.parts.device
    progress.start("generate", sum(request.steps or member.steps for request in requests), "steps")
    for request in requests:
        steps: list[str] = []
        estimates: dict[str, Tensor] = {}  # the last of each expert

        def on_step(report: StepReport, steps: list[str] = steps, estimates: dict[str, Tensor] = estimates) -> None:
            steps.append(report.expert)
            estimates[report.expert] = report.x0_BCFHW
            progress.advance(1, report.expert)

        latents = latents_of(member, experts, request, device, on_step)
        handover = estimates[member.experts[0].name] if len(estimates) > 1 else None
        sampled.append(_Sampled(latents, steps, handover))


def _with_line(settings: GenerateSettings, line: PromptLine) -> GenerateSettings:
    said = {name: getattr(line, name) for name in GenerateSettings.model_fields if hasattr(line, name)}
    return settings.model_copy(update={name: value for name, value in said.items() if value is not None})


def _requests(parts: Parts, lines: Sequence[PromptLine], asked: Sequence[GenerateSettings]) -> list[Request]:
    member = parts.member
    texts = sorted({text for line, s in zip(lines, asked, strict=True) for text in (line.text, s.negative)})
    words = {text: parts.text().encode([text])[0] for text in texts}
    found = []
    for line, s in zip(lines, asked, strict=True):
        size, condition = sized(parts, s.image, (s.width, s.height, s.frames), (*member.sizes[0], member.frames))
        found.append(Request(
            words[line.text], words[s.negative], *size, seed=s.seed, steps=s.steps, shift=s.shift, guidance=s.guidance,
            sampler=s.sampler, condition=condition,
        ))  # fmt: skip
    return found


def _recipe(
    project: Project, line: PromptLine, settings: GenerateSettings, request: Request, steps: list[str],
    loras: Mapping[str, Sequence[Worn]],
) -> Made:  # fmt: skip
    """What a video was made from, to be kept in it."""
    member = project.member
    worn = [
        Lora(expert=expert, file=str(one.path), sha256=project.sha256(one.path), strength=one.strength)
        for expert, files in loras.items() for one in files
    ]  # fmt: skip
    guidance = {e.name: e.guidance if settings.guidance is None else settings.guidance for e in member.experts}
    return Made(
        version=__version__, model=member.name, prompt=line.text, negative=settings.negative, seed=request.seed,
        width=request.width, height=request.height, frames=request.frames, steps=request.steps or member.steps,
        shift=request.shift or member.shift, guidance=guidance, sampler=request.sampler, experts=steps, loras=worn,
        image=settings.image, precision=settings.precision, merge=settings.merge, note=settings.note,
    )  # fmt: skip


def _write(path: Path, frames_FHWC: np.ndarray, fps: int, comment: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    write_clip(temporary, iter(frames_FHWC), fps, comment=comment)
    move_into_place(temporary, path)


class _WithLora:
    """Each expert, opened when its turn comes, with its LoRAs on."""

    def __init__(self, parts: Parts, loras: dict[str, list[Worn]], merged: bool) -> None:
        self.parts, self.loras, self.merged = parts, loras, merged
        self.unused: list[str] = []
        self.lost: float | None = None
        self.name = ""
        self.model: WanTransformer | None = None

    def __getitem__(self, name: str) -> Transformer:
        if self.model is None or name != self.name:
            self.release()  # before the next is loaded: there may be room for one
            self.name, self.model = name, self._open(name)
        return self.model

    def _open(self, name: str) -> WanTransformer:
        model = self.parts.transformer(name)
        files = [(load_lora(worn.path, name), worn.strength) for worn in self.loras.get(name, ())]
        applied = merge_all(model, files) if self.merged else [apply(model, *file) for file in files]
        self.unused += [key for one in applied for key in one.unused]
        if applied and self.merged:
            self.lost = max(self.lost or 0.0, applied[0].lost)
        return model

    def release(self) -> None:
        self.model = None
        self.parts.release()


def handover_path(video: Path) -> Path:
    """Where the estimate at the hand-over stands: beside the video."""
    return video.with_name(f"{video.stem}-handover{video.suffix}")


def _out(project: Project, prompt: str, settings: GenerateSettings, alone: bool) -> Path:
    """The file that was asked for; else a name that is not taken, in the folder asked for or in `generated`."""
    folder = project.folder / "generated"
    if settings.out is not None:
        folder = Path(settings.out)
        if alone and not folder.is_dir():
            return folder
    stem = f"{safe_stem(prompt, 48)}-{settings.seed}"
    number = 1
    while (folder / f"{stem}-{number}.mp4").exists():
        number += 1
    return folder / f"{stem}-{number}.mp4"
