"""What a generated video was made from, kept in the video itself: to be read, run again, or taken to another program.

One line of JSON in the comment of the file, where players and other tools leave it alone.
"""

import json
from pathlib import Path
from typing import Any

import av
from pydantic import BaseModel, ConfigDict, ValidationError

from . import family
from .errors import SakugaError
from .media.still import PICTURES, read_comment
from .project import Project
from .settings import GenerateSettings, explain

NAME = "sakuga"  # by which the comment is known for ours
# Settings of `generate` that stand in a recipe as they were given.
SAME = (
    "negative", "seed", "width", "height", "frames", "steps", "shift", "sampler", "image", "precision", "merge", "note",
)  # fmt: skip
# Those that stand in it only where they are not as by default: they are seldom used, and change the numbers.
MORE = (
    "split", "batched", "cfg_zero", "skip_layers", "skip_from", "skip_to", "enhance_video", "reuse", "attention", "weights",
)  # fmt: skip


class Lora(BaseModel):
    """A LoRA that an expert wore: the file's name, its sha256, and how strongly."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expert: str
    file: str
    sha256: str
    strength: float = 1.0


class Made(BaseModel):
    """All that decides a video: the same model files, this and the same program give the same pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    model: str
    prompt: str
    negative: str
    seed: int
    width: int
    height: int
    frames: int
    steps: int
    shift: float
    guidance: dict[str, float]
    sampler: str
    experts: list[str]  # of each step
    loras: list[Lora] = []
    image: str | None = None
    precision: str | None = None
    merge: bool = False
    note: str = ""
    more: dict[str, Any] = {}  # settings of `generate` beside these, where they are not as by default

    @property
    def member(self) -> family.Member:
        return family.member(self.model)

    @property
    def handover(self) -> int:
        """How many steps the first expert does."""
        return self.experts.count(self.experts[0]) if self.experts else self.steps

    def comment(self) -> str:
        """One line, as it stands in the file."""
        return json.dumps({NAME: self.model_dump(mode="json")}, ensure_ascii=False, sort_keys=True)


def more_of(settings: GenerateSettings) -> dict[str, Any]:
    """What `Made.more` holds of these settings."""
    return settings.model_dump(mode="json", include=set(MORE), exclude_defaults=True)


def read_made(path: Path) -> Made:
    """What a video or picture of ours says of itself; of a folder of pictures, the first. Raises SakugaError where it says
    nothing, or nothing that makes sense."""
    if path.is_dir():
        path = min(path.glob("*.png"), default=path / "no picture in it")
    try:
        told = _told(read_comment(path) if path.suffix in PICTURES else _video_comment(path))
    except FileNotFoundError as error:
        raise SakugaError(f"{path} is not there; give a video that `sakuga generate` made") from error
    except (av.FFmpegError, OSError) as error:
        raise SakugaError(f"{path} is not a video that can be read; give one that `sakuga generate` made") from error
    if told is None:
        raise SakugaError(f"{path.name} does not say what it was made from; only videos of `sakuga generate` do")
    try:
        return Made.model_validate(told)
    except ValidationError as error:
        raise SakugaError(f"{path.name} was made by another version: {explain(error, Made)}") from error


def _video_comment(path: Path) -> str:
    with av.open(str(path)) as container:
        return container.metadata.get("comment", "")


def _told(comment: str) -> Any:
    try:
        read = json.loads(comment)
    except (ValueError, RecursionError):
        return None
    return read.get(NAME) if isinstance(read, dict) else None


def as_settings(project: Project, made: Made) -> dict[str, Any]:
    """The settings of `generate` that make a video again. Raises SakugaError where the model is another or a LoRA is gone."""
    if project.member.name != made.model:
        raise SakugaError(
            f"it was made with {made.model} and this project is for {project.member.name}; open a project of that model"
        )
    loras = [f"{_found(project, lora)}:{lora.strength:g}:{lora.expert}" for lora in made.loras]
    guidance = tuple(made.guidance[e.name] for e in project.member.experts)
    told = {name: getattr(made, name) for name in SAME} | made.more
    return told | {"lora": tuple(loras) or ("none",), "guidance": guidance}


def _found(project: Project, lora: Lora) -> Path:
    """The file that a LoRA was read from, or another that holds the same: a checkpoint of the project, one beside it."""
    path = Path(lora.file)
    known = project.rows("SELECT file FROM checkpoint WHERE sha256 = ?", lora.sha256)
    places = [path, *(project.path(row["file"]) for row in known), project.folder / "published" / path.name]
    for place in places:
        if place.is_file() and project.sha256(place) == lora.sha256:
            return place
    raise SakugaError(f"the LoRA {path.name} that it was made with is not at {path.parent}; bring it back there")
