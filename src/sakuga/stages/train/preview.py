"""Previews: videos of a prompt file's prompts, made with the LoRA as it is at a step, with the same noise each time."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ...core import store
from ...core.family import NEGATIVE_PROMPT
from ...core.files import move_into_place
from ...core.media.clip import write_clip
from ...core.project import Project, relative_to
from ...core.prompts import PromptLine, read_prompts
from ...nn.condition import check_picture
from ...nn.denoise import Transformer
from ...nn.parts import Parts
from ...nn.render import Request, latents_of, pictures_of, sized


class Experts:
    """The expert in training as it stands, and the others opened when the sampler hands over to them."""

    def __init__(self, name: str, model: Transformer, other: Callable[[str], Transformer]) -> None:
        self.name, self.model, self.other = name, model, other

    def __getitem__(self, name: str) -> Transformer:
        return self.model if name == self.name else self.other(name)


class Previews:
    """The prompts of a run, encoded once. `make` writes their videos and their rows."""

    def __init__(self, project: Project, prompts: str | None, parts: Parts, size: tuple[int, int, int]) -> None:
        self.project, self.parts, self.size = project, parts, size
        self.lines = read_prompts(project.folder / prompts) if prompts else []
        for line in self.lines:
            check_picture(project.member, line.image)
        words = sorted({text for line in self.lines for text in (line.text, line.negative or NEGATIVE_PROMPT)})
        self.encoded: dict[str, Tensor] = dict(zip(words, parts.text().encode(words), strict=True)) if words else {}
        self.requests = [self._request(line) for line in self.lines]  # pictures that are missing stop it here
        parts.release()

    def make(self, run: int, folder: Path, step: int, experts: Experts) -> list[Path]:
        """The videos of step `step`, written to `folder`/previews."""
        made = []
        for number, (line, request) in enumerate(zip(self.lines, self.requests, strict=True)):
            latents = latents_of(self.parts.member, experts, request, self.parts.device)
            frames = pictures_of(self.parts.vae(), latents)
            path = folder / "previews" / f"{step:06d}-{experts.name}-{number + 1:02d}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(path.name + ".tmp")
            write_clip(temporary, iter(frames), self.parts.member.fps)
            move_into_place(temporary, path)
            row = {"run": run, "expert": experts.name, "step": step, "prompt": number, "text": line.text}
            row["file"] = relative_to(path, self.project.folder)
            store.insert(self.project.db, "preview", row, replace=True)
            made.append(path)
        if torch.cuda.is_available():
            self.parts.release()
        return made

    def _request(self, line: PromptLine) -> Request:
        width, height, frames = self.size
        size, condition = sized(self.parts, line.image, (line.width, line.height, line.frames), (width, height, frames))
        words = self.encoded[line.text], self.encoded[line.negative or NEGATIVE_PROMPT]
        seed = line.seed if line.seed is not None else 1
        experts = self.parts.member.experts
        guidance = None if line.guidance is None else {e.name: line.guidance for e in experts}
        return Request(
            *words, *size, seed=seed, steps=line.steps, shift=line.shift, guidance=guidance, condition=condition
        )
