"""The demo: a cartoon of three episodes goes the whole way on a CPU, by the calls that anyone makes, and is measured.

Only the films are special: they are drawn here. From there on the stages see video files and nothing else, and what the
LoRA did is told from the pixels of what it generates.
"""

import json
import os
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sakuga_world.films import write_film
from sakuga_world.look import CEL, WOODCUT, Look
from sakuga_world.scene import Scene, random_scene
from sakuga_world.words import caption as words_for

from .. import api
from ..core.files import move_into_place, write_atomic
from ..core.models import embedded
from ..core.progress import Progress
from ..core.project import Project
from ..core.prompts import PromptLine
from .effect import Effect, compare, nearest, read_video
from .judge import judge
from .report import Handover, Pair, Report, Shown, write_report
from .style import read_scales

TRIGGER = "DemoStyle"
LOOKS = {"cel": CEL, "woodcut": WOODCUT}  # of the films
TITLE = "A cartoon became a style"
EPISODES, EPISODE_SECONDS = 3, 90.0
PROMPTS, PROMPT_SEED = 32, 4100  # scenes that no episode shows
TRAINING: dict[str, Any] = {
    "steps": 600,
    "rank": 32,
    "accumulation": 8,
    "batch": 8,
    "learning_rate": 4e-3,
    "warmup": 20,
    "schedule": "cosine",
    "time": "uniform",
    "shift": 1.0,  # outlines and flat colours are decided at low noise
    "caption_dropout": 0.15,
    "validate_every": 150,
}
SAMPLING_STEPS, GUIDANCE = 12, 2.0  # more guidance draws words more surely, and the style less


@dataclass(frozen=True)
class Size:
    """How much the demo does: the whole, or less for a test."""

    episodes: int = EPISODES
    seconds: float = EPISODE_SECONDS
    prompts: int = PROMPTS
    steps: int = TRAINING["steps"]


@dataclass(frozen=True)
class DemoResult:
    """What the demo made, what the LoRA did, and how long it took."""

    effect: Effect
    headline: list[str]
    seconds: float
    lora: list[Path]
    report: Path
    picture: Path

    def as_json(self) -> dict[str, Any]:
        e = self.effect
        return {
            "style": {who: figure.mean for who, figure in e.style.items()},
            "prompt": {"kept": round(e.kept, 4)},
            "motion": {"ratio": round(e.motion_ratio, 4)},
            "seconds": round(self.seconds, 1),
            "report": str(self.report),
            "picture": str(self.picture),
            "lora": [str(path) for path in self.lora],
            "figures": e.as_json(),
        }


def run_demo(
    folder: Path, fresh: bool, progress: Progress, model: str = "tiny", size: Size | None = None, look: str = "cel",
    seed: int = 1,
) -> DemoResult:  # fmt: skip
    """The whole way in `folder`; a second start goes on where the first stopped, `fresh` begins anew.

    Films and dataset of a folder are of one `look`; each `seed` of the training is a run of its own.
    """
    size, started = size or Size(), time.perf_counter()
    home = folder / f"my-style-{model}"
    if fresh and (home / "sakuga.toml").is_file():
        shutil.rmtree(home)
    films = draw_films(folder, size, LOOKS[look], progress)
    project = api.open_project(home) if (home / "sakuga.toml").is_file() else api.new(home, model, TRIGGER)
    with project:
        scenes, prompts = asked(size.prompts)
        make_dataset(project, films, progress)
        before = generated(project, prompts, "none", progress)
        name = f"demo-{seed}"
        run = api.train(project, name=name, seed=seed, progress=progress, **TRAINING | {"steps": size.steps})
        after = generated(project, prompts, name, progress)
        published = [file.path for file in api.publish(project, run=name, progress=progress)]
        progress.say("measuring what the LoRA did")
        effect, pairs = measured(project, scenes, prompts, before, after, look)
        seconds = spent(home, time.perf_counter() - started)
        losses = {name: list(values) for name, values in all_losses(project, run.name).items()}
        handover = handover_of(project, prompts, after)
        report = Report(
            TITLE, machine(), seconds, TRIGGER, effect, pairs, shots_of(project), items_of(project), losses,
            validation_of(project, run.name), published, handover,
        )  # fmt: skip
        page, picture = write_report(report, folder)
    return DemoResult(effect, report.headline(), seconds, published, page, picture)


def draw_films(folder: Path, size: Size, look: Look, progress: Progress) -> list[Path]:
    """The episodes as video files; those that are there already are left."""
    (folder / "films").mkdir(parents=True, exist_ok=True)
    paths = [folder / "films" / f"episode-{number}.mp4" for number in range(size.episodes)]
    missing = [path for path in paths if not path.is_file()]
    progress.start("films", len(missing), "episodes")
    for path in missing:
        temporary = path.with_name(f"{path.stem}.tmp.mp4")
        write_film(temporary, paths.index(path), look, size.seconds)
        move_into_place(temporary, path)
        progress.advance(1, path.name)
    return paths


def make_dataset(project: Project, films: Sequence[Path], progress: Progress) -> None:
    """From the films to encoded samples, by the stages."""
    api.add(project, films, progress=progress)
    api.shots(project, progress=progress)
    api.pick(project, auto=True, max_words=0.25, progress=progress)
    api.export(project, progress=progress)
    api.caption(project, backend="describer", progress=progress)
    for finding in api.check(project, progress=progress):
        if finding["severity"] == "error":
            progress.say(f"{finding['item']}: {finding['reason']}")
    api.cache(project, progress=progress)


def asked(count: int) -> tuple[list[Scene], list[PromptLine]]:
    """Scenes that no film shows, and the prompts for them, each with its own noise."""
    rng = np.random.default_rng(PROMPT_SEED)
    scenes = [random_scene(rng) for _ in range(count)]
    return scenes, [
        PromptLine(f"{TRIGGER}. {words_for(scene, rng)}", seed=PROMPT_SEED + number)
        for number, scene in enumerate(scenes)
    ]


def generated(project: Project, prompts: Sequence[PromptLine], lora: str, progress: Progress) -> list[Path]:
    """A video of each prompt without the LoRA ("none") or with that of a run; what is there is not made again."""
    query = """SELECT sha256 FROM checkpoint JOIN run_expert ON run_expert.id = run_expert JOIN run ON run.id = run
    WHERE run.name = ? AND step = steps ORDER BY run_expert"""
    name = "".join(row["sha256"][:6] for row in project.rows(query, lora)) or "base"
    folder = project.folder / "generated" / name
    listing = folder / "videos.json"
    if listing.is_file():
        paths = [folder / file for file in json.loads(listing.read_text("utf-8"))]
        if len(paths) == len(prompts) and all(path.is_file() for path in paths):
            return paths
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    videos = api.generate_all(
        project, prompts, lora=lora, steps=SAMPLING_STEPS, guidance=GUIDANCE, out=str(folder), progress=progress
    )
    write_atomic(listing, json.dumps([video.path.name for video in videos]))
    return [video.path for video in videos]


def measured(
    project: Project,
    scenes: Sequence[Scene],
    prompts: Sequence[PromptLine],
    before: Sequence[Path],
    after: Sequence[Path],
    look: str,
) -> tuple[Effect, list[Pair]]:
    """The figures, and each prompt with what came of it."""
    videos = {"base": [read_video(path) for path in before], "lora": [read_video(path) for path in after]}
    wanted = [vars(scene) for scene in scenes]
    shown = {who: judge(made, wanted) for who, made in videos.items()}
    (width, height), frames = project.member.sizes[0], project.member.frames
    rows = project.rows("SELECT name, file, kind FROM item ORDER BY name")
    dataset = {row["name"]: read_video(project.path(row["file"]), (width, height), frames) for row in rows}
    clips = [dataset[row["name"]] for row in rows if row["kind"] == "clip"]
    effect = compare(videos, shown, clips, read_scales(embedded("looks.json"))[look])
    near = nearest(videos["lora"], dataset)
    texts = [line.text for line in prompts]
    return effect, [
        Pair(*each) for each in zip(texts, videos["base"], videos["lora"], shown["lora"], near, strict=True)
    ]


def all_losses(project: Project, run: str) -> dict[str, list[float]]:
    """The loss of every step by expert, also of steps that an earlier start made."""
    query = """SELECT expert, loss FROM step JOIN run_expert ON run_expert.id = run_expert JOIN run ON run.id = run
    WHERE run.name = ? ORDER BY run_expert, step"""
    found: dict[str, list[float]] = {}
    for row in project.rows(query, run):
        found.setdefault(row["expert"], []).append(row["loss"])
    return found


def validation_of(project: Project, run: str) -> dict[str, dict[int, float]]:
    query = """SELECT expert, step, avg(loss) AS loss FROM validation JOIN run_expert ON run_expert.id = run_expert
    JOIN run ON run.id = run WHERE run.name = ? GROUP BY run_expert, step ORDER BY run_expert, step"""
    found: dict[str, dict[int, float]] = {}
    for row in project.rows(query, run):
        found.setdefault(row["expert"], {})[row["step"]] = row["loss"]
    return found


def shots_of(project: Project) -> dict[str, list[Shown]]:
    query = """SELECT film, thumbnail, seconds, coalesce(kept, 0) AS kept, coalesce(reason, '') AS reason
    FROM shot LEFT JOIN pick ON pick.shot = shot.name ORDER BY film, first"""
    found: dict[str, list[Shown]] = {}
    for row in project.rows(query):
        picture = project.path(row["thumbnail"]).read_bytes()
        left_out = "" if row["kept"] else row["reason"]
        found.setdefault(row["film"], []).append(Shown(picture, f"{row['seconds']:.1f} s", left_out))
    return found


def items_of(project: Project, most: int = 12) -> list[Shown]:
    """Clips of the dataset, spread over it, each with its caption."""
    query = """SELECT item.name, thumbnail, (SELECT text FROM caption WHERE item = item.name ORDER BY id DESC LIMIT 1) AS text
    FROM item JOIN shot ON shot.name = item.shot WHERE kind = 'clip' ORDER BY item.name"""
    rows = project.rows(query)
    chosen = rows[:: max(1, len(rows) // most)][:most]
    return [Shown(project.path(row["thumbnail"]).read_bytes(), row["text"] or "") for row in chosen]


def handover_of(
    project: Project, prompts: Sequence[PromptLine], made: Sequence[Path], most: int = 4
) -> Handover | None:
    """How the experts shared the videos that were made with the LoRA; None where there is one expert."""
    member = project.member
    if len(member.experts) == 1:
        return None
    from ..nn import samplers
    from ..stages.generate import handover_path

    experts = samplers.split(samplers.timesteps("unipc", SAMPLING_STEPS, member.shift), member)
    high = experts.count(member.experts[0].name)
    words = (
        f"Each video was drawn by two experts, each with a LoRA of its own: the first {high} of {len(experts)} steps by the "
        f"high one, which decides where things are and what the light is, the rest by the low one. Left is what the high "
        f"one had in mind when it handed over, right what became of it."
    )
    shown = list(zip(prompts, made, strict=True))[:most]
    return Handover(words, [(line.text, read_video(handover_path(path)), read_video(path)) for line, path in shown])


def spent(home: Path, seconds: float) -> float:
    """What all starts together took, kept beside the project."""
    path = home / "demo-seconds.json"
    before = json.loads(path.read_text("utf-8")) if path.is_file() else 0.0
    write_atomic(path, json.dumps(before + seconds))
    return float(before + seconds)


def machine() -> str:
    return f"{os.cpu_count()} cores of a {platform.machine()} machine, without a GPU"
