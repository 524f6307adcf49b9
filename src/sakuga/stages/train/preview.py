"""Previews: videos of a prompt file's prompts, made with the LoRA as it is at a step, with the same noise each time."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ...core import store
from ...core.family import FEW_STEPS, NEGATIVE_PROMPT
from ...core.files import move_into_place
from ...core.project import Project, relative_to
from ...core.prompts import PromptLine, read_prompts
from ...nn.condition import check_picture
from ...nn.denoise import StepReport, Transformer, sample_all
from ...nn.parts import Parts
from ...nn.render import Request, pictures_of, sampling_of, sized


class Experts:
    """The expert in training as it stands, and the others opened when the sampler hands over to them."""

    def __init__(self, name: str, own: Callable[[], Transformer], other: Callable[[str], Transformer]) -> None:
        self.name, self.own, self.other = name, own, other

    def __getitem__(self, name: str) -> Transformer:
        return self.own() if name == self.name else self.other(name)


class Previews:
    """The prompts of a run, encoded once. `make` writes their videos and their rows.

    With `few` they are sampled as models taught to need few steps are: they wear a LoRA that teaches it.
    """

    def __init__(
        self, project: Project, prompts: str | None, parts: Parts, size: tuple[int, int, int], few: bool = False
    ) -> None:
        self.project, self.parts, self.size, self.few = project, parts, size, FEW_STEPS if few else None
        self.lines = read_prompts(project.folder / prompts) if prompts else []
        for line in self.lines:
            check_picture(project.member, line.image)
        words = sorted({text for line in self.lines for text in (line.text, line.negative or NEGATIVE_PROMPT)})
        self.encoded: dict[str, Tensor] = dict(zip(words, parts.text().encode(words), strict=True)) if words else {}
        self.requests = [self._request(line) for line in self.lines]  # pictures that are missing stop it here
        parts.release()

    def make(self, run: int, folder: Path, step: int, experts: Experts) -> list[Path]:
        """The videos of step `step`, written to `folder`/previews, each with what the first expert left to the second."""
        first = self.parts.member.experts[0].name
        estimates: list[dict[str, Tensor]] = [{} for _ in self.requests]  # the last of each expert
        samplings = [
            sampling_of(self.parts.member, request, self.parts.device, partial(_keep, seen))
            for request, seen in zip(self.requests, estimates, strict=True)
        ]
        sample_all(samplings, experts)
        made = []
        for number, (line, sampling, seen) in enumerate(zip(self.lines, samplings, estimates, strict=True)):
            path = folder / "previews" / f"{step:06d}-{experts.name}-{number + 1:02d}.mp4"
            self._write(path, sampling.x_BCFHW)
            if len(seen) > 1:
                self._write(path.with_name(f"{path.stem}-handover.mp4"), seen[first])
            row = {"run": run, "expert": experts.name, "step": step, "prompt": number, "text": line.text}
            row["file"] = relative_to(path, self.project.folder)
            store.insert(self.project.db, "preview", row, replace=True)
            made.append(path)
        if torch.cuda.is_available():
            self.parts.release()
        return made

    def _write(self, path: Path, latents_BCFHW: Tensor) -> None:
        from ...core.media.clip import write_clip  # steps alone are measured on machines without a codec

        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".tmp")
        write_clip(temporary, iter(pictures_of(self.parts.vae(), latents_BCFHW)), self.parts.member.fps)
        move_into_place(temporary, path)

    def _request(self, line: PromptLine) -> Request:
        width, height, frames = self.size
        size, condition = sized(self.parts, line.image, (line.width, line.height, line.frames), (width, height, frames))
        words = self.encoded[line.text], self.encoded[line.negative or NEGATIVE_PROMPT]
        seed = line.seed if line.seed is not None else 1
        few, experts = self.few, self.parts.member.experts
        scale = few.guidance if few and line.guidance is None else line.guidance
        steps, shift = (few.steps, few.shift) if few else (None, None)
        return Request(
            *words, *size, seed=seed, steps=line.steps or steps, shift=line.shift or shift,
            guidance=None if scale is None else {e.name: scale for e in experts},
            sampler=few.sampler if few else "unipc", condition=condition,
        )  # fmt: skip


def _keep(estimates: dict[str, Tensor], report: StepReport) -> None:
    estimates[report.expert] = report.x0_BCFHW
