"""generate: a video from a prompt, with the LoRA of this project, of a file, or with none."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from .. import __version__
from ..core import models, runs
from ..core.cost import forward_bytes
from ..core.errors import SakugaError
from ..core.family import FEW_STEPS, NEGATIVE_3D, NEGATIVE_PROMPT, Member
from ..core.files import move_into_place, safe_stem
from ..core.loras import Worn, find_loras
from ..core.made import Lora, Made, more_of
from ..core.media.clip import write_clip
from ..core.media.still import write_png, write_webp
from ..core.progress import Progress, Silent
from ..core.project import Project
from ..core.prompts import PromptLine
from ..core.settings import GenerateSettings
from ..nn import samplers
from ..nn.attention import ATTENTIONS
from ..nn.condition import check_picture
from ..nn.denoise import Sampling, StepReport, Transformer, sample_all
from ..nn.device import pick_device, pick_dtype
from ..nn.guidance import Tricks
from ..nn.lora import apply, load_lora, merge_all
from ..nn.parts import Parts
from ..nn.render import Request, pictures_of, sampling_of, sized
from ..nn.told import cuts_told, sizes_told
from ..nn.transformer import WanTransformer

ENDINGS = ("mp4", "webp", "png")


@dataclass(frozen=True)
class Video:
    """What was generated. `unused` names what of the LoRA files no layer could take.

    `merge_loss` is the share of what merged LoRAs add that rounding to the weights' type took, of the worst expert.
    `handover` is a video of the clean estimate that the high expert left to the low one: there a style shows or fails.
    `outside` names the steps (from 1) at which an expert worked at noise levels that it was not trained on, `reused`
    those that took the velocity of an earlier one. `told` says what was made otherwise than it was asked for.
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
    outside: tuple[int, ...] = ()
    reused: tuple[int, ...] = ()
    told: tuple[str, ...] = ()


class _Take:
    """A video being sampled, and what its steps said."""

    def __init__(self, parts: Parts, request: Request, progress: Progress) -> None:
        self.member, self.request, self.progress = parts.member, request, progress
        self.estimates: dict[str, Tensor] = {}  # the last of each expert
        self.reused: list[int] = []
        self.sampling: Sampling = sampling_of(parts.member, request, parts.device, self._step)

    def _step(self, report: StepReport) -> None:
        self.estimates[report.expert] = report.x0_BCFHW
        self.reused += [report.step + 1] * report.reused
        self.progress.advance(1, report.expert)

    @property
    def handover(self) -> Tensor | None:
        """The first expert's last estimate, if both drew."""
        return self.estimates[self.member.experts[0].name] if len(self.estimates) > 1 else None

    @property
    def outside(self) -> tuple[int, ...]:
        s = self.sampling
        return tuple(step + 1 for step in samplers.outside(s.timesteps, s.experts, self.member))


def generate(
    project: Project, lines: Sequence[PromptLine], settings: GenerateSettings, progress: Progress | None = None
) -> list[Video]:
    """Make a video of each prompt, written to `settings.out` or into the project's `generated` folder.

    What a line says goes before the settings. The encoder and each expert are loaded once for all.
    """
    member, progress = project.member, progress or Silent()
    asked = [_with_line(settings, line) for line in lines]
    how = [_sampled_by(member, wanted) for wanted in asked]  # says what cannot be, before anything is loaded
    for line, wanted in zip(lines, asked, strict=True):
        if not line.text.strip():
            raise SakugaError("a prompt is empty; say what should be seen")
        check_picture(member, wanted.image)
    loras = find_loras(project, settings.lora, settings.strength)
    device = pick_device(settings.device)
    parts = Parts(
        member, models.of_project(project), device, pick_dtype(settings.precision, device),
        weights=settings.weights, stream=settings.stream, vram=settings.vram, compile=settings.compile,
    )  # fmt: skip
    requests = _requests(parts, lines, asked, how, progress)
    largest = max((member.tokens(r.width, r.height, r.frames) for r in requests), default=0)
    parts.beside = forward_bytes(member.transformer, largest, 1 + settings.batched)
    experts = _WithLora(parts, loras, settings.merge)
    takes = [_Take(parts, request, progress) for request in requests]
    progress.start("generate", sum(len(take.sampling.experts) for take in takes), "steps")
    try:
        sample_all([take.sampling for take in takes], experts)
    finally:  # also when it is stopped: what was sampled is not lost
        experts.release()
        done = [each for each in zip(lines, asked, takes, strict=True) if each[2].sampling.expert is None]
        videos = [_written(project, parts, *each, experts, alone=len(lines) == 1) for each in done]
    return videos


def _written(
    project: Project, parts: Parts, line: PromptLine, settings: GenerateSettings, take: _Take, worn: "_WithLora", *,
    alone: bool,
) -> Video:  # fmt: skip
    """The video of a take, decoded and on disk."""
    request, steps = take.request, take.sampling.experts
    comment = _recipe(project, line, settings, take, worn.loras, parts.stored).comment()
    kind = _format(settings, request.frames)
    path = _out(project, line.text, settings, alone, _ending(kind, request.frames))
    write = partial(_write, kind=kind, fps=parts.member.fps, comment=comment)
    write(path, pictures_of(parts.vae(), take.sampling.x_BCFHW))
    handover = None
    if settings.handover and take.handover is not None:
        handover = handover_path(path)
        write(handover, pictures_of(parts.vae(), take.handover))
    size = request.width, request.height, request.frames
    return Video(
        path, line.text, request.seed, *size, steps, worn.loras, sorted(set(worn.unused)), handover, worn.lost,
        take.outside, tuple(take.reused), _otherwise(parts, line, settings, size),
    )  # fmt: skip


def _otherwise(
    parts: Parts, line: PromptLine, settings: GenerateSettings, made: tuple[int, int, int]
) -> tuple[str, ...]:
    """What of a video is not as it was asked for."""
    texts = {"the prompt": line.text}
    if settings.negative != NEGATIVE_PROMPT:  # of tiny models the official one is always cut
        texts["the negative prompt"] = negative_of(settings)
    cuts = cuts_told(parts.paths["tokenizer"], parts.member.text.length, texts)
    return *sizes_told(parts.member, (settings.width, settings.height, settings.frames), made), *cuts


def _with_line(settings: GenerateSettings, line: PromptLine) -> GenerateSettings:
    said = {name: getattr(line, name) for name in GenerateSettings.model_fields if hasattr(line, name)}
    said["guidance"] = None if line.guidance is None else (line.guidance,)
    return settings.model_copy(update={name: value for name, value in said.items() if value is not None})


def _sampled_by(member: Member, s: GenerateSettings) -> dict[str, Any]:
    """How a video is sampled, as `Request` takes it. Raises SakugaError for what the member has no use for."""
    few = FEW_STEPS if s.few_steps else None
    steps = s.steps or (few.steps if few else member.steps)
    guidance = s.guidance or ((few.guidance,) if few else tuple(e.guidance for e in member.experts))
    names = [e.name for e in member.experts]
    if len(guidance) not in (1, len(names)):
        raise SakugaError(
            f"{len(guidance)} numbers for guidance, and {member.title} has {len(names)} expert{'s'[: len(names) - 1]}; "
            "give one number, or one for each"
        )
    if beyond := [n for n in s.skip_layers if n >= member.transformer.layers]:
        raise SakugaError(
            f"skip_layers names layer {beyond[0]}, and {member.title} has 0 to {member.transformer.layers - 1}"
        )
    if s.split is not None:
        samplers.by_hand(member, s.split, steps)
    ATTENTIONS[s.attention]()
    tricks = Tricks(
        s.batched, s.cfg_zero, s.skip_layers, (s.skip_from, s.skip_to), s.reuse, s.attention, s.enhance_video
    )
    return {
        "steps": steps, "shift": s.shift or (few.shift if few else member.shift), "split": s.split, "tricks": tricks,
        "guidance": dict(zip(names, guidance * (len(names) if len(guidance) == 1 else 1), strict=True)),
        "sampler": s.sampler or (few.sampler if few else "unipc"), "seed": s.seed,
    }  # fmt: skip


def _requests(
    parts: Parts,
    lines: Sequence[PromptLine],
    asked: Sequence[GenerateSettings],
    how: Sequence[dict[str, Any]],
    progress: Progress,
) -> list[Request]:
    member = parts.member
    negatives = [negative_of(s) for s in asked]
    texts = sorted({*(line.text for line in lines), *negatives})
    door = parts.text()
    layered = door.together > 1
    progress.start("text", len(texts) * door.layers if layered else 0, "layers")
    watch = progress.advance if layered else lambda layers: None
    words = dict(zip(texts, door.encode(texts, watch), strict=True))
    found = []
    for line, negative, s, sampled in zip(lines, negatives, asked, how, strict=True):
        size, condition = sized(parts, s.image, (s.width, s.height, s.frames), (*member.sizes[0], member.frames))
        found.append(Request(words[line.text], words[negative], *size, condition=condition, **sampled))
    return found


def negative_of(settings: GenerateSettings) -> str:
    """The negative prompt in full."""
    return settings.negative + NEGATIVE_3D * settings.anti_3d


def _recipe(
    project: Project, line: PromptLine, settings: GenerateSettings, take: _Take, loras: Mapping[str, Sequence[Worn]],
    stored: dict[str, str],
) -> Made:  # fmt: skip
    """What a video was made from, to be kept in it."""
    member, request = project.member, take.request
    worn = [
        Lora(expert=expert, file=str(one.path), sha256=project.sha256(one.path), strength=one.strength)
        for expert, files in loras.items() for one in files
    ]  # fmt: skip
    runs.note_use(project, "generate", (lora.sha256 for lora in worn))
    return Made(
        version=__version__, model=member.name, prompt=line.text, negative=negative_of(settings), seed=request.seed,
        width=request.width, height=request.height, frames=request.frames, steps=len(take.sampling.experts),
        shift=request.shift or member.shift, guidance=take.sampling.guidance, sampler=request.sampler,
        experts=take.sampling.experts, loras=worn, image=settings.image, precision=settings.precision,
        merge=settings.merge, note=settings.note, more=more_of(settings) | stored,
    )  # fmt: skip


def _format(settings: GenerateSettings, frames: int) -> str:
    """mp4, webp or png: as asked for, else by the ending of the file asked for, else by what it is."""
    ending = Path(settings.out or "").suffix.lower().removeprefix(".")
    return settings.format or (ending if ending in ENDINGS else "png" if frames == 1 else "mp4")


def _ending(kind: str, frames: int) -> str:
    """The ending of what is written: none for a folder of pictures."""
    return "" if kind == "png" and frames > 1 else f".{kind}"


def _write(path: Path, frames_FHWC: np.ndarray, *, kind: str, fps: int, comment: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    if kind == "png" and len(frames_FHWC) > 1:
        shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
        temporary.mkdir()
        for number, picture in enumerate(frames_FHWC):
            write_png(temporary / f"{number + 1:04d}.png", picture, comment)
        if path.is_dir():
            shutil.rmtree(path)
        temporary.rename(path)
        return
    if kind == "png":
        write_png(temporary, frames_FHWC[0], comment)
    elif kind == "webp":
        write_webp(temporary, frames_FHWC, fps, comment)
    else:
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


def _out(project: Project, prompt: str, settings: GenerateSettings, alone: bool, ending: str) -> Path:
    """The file that was asked for; else a name that is not taken, in the folder asked for or in `generated`."""
    folder = project.folder / "generated"
    if settings.out is not None:
        folder = Path(settings.out)
        if alone and not folder.is_dir():
            return folder if folder.suffix.lower() == ending else folder.with_suffix(ending)
    stem = f"{safe_stem(prompt, 48)}-{settings.seed}"
    number = 1
    while any((folder / f"{stem}-{number}{each}").exists() for each in ("", *(f".{e}" for e in ENDINGS))):
        number += 1
    return folder / f"{stem}-{number}{ending}"
