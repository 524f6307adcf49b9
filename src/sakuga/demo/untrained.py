"""The demo where the trained base is missing: random weights go the whole way, by the calls that anyone makes, on a CPU."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import api
from ..core.files import move_into_place
from ..core.media.clip import write_clip
from ..core.progress import Progress

TRIGGER, MODEL = "DemoStyle", "tiny"
STEPS, SIZE, RATE, SHOTS, SHOT_SECONDS = 30, (320, 240), 24, 8, 2
PROMPT = f"{TRIGGER}. a bright scene, lively movement"


@dataclass(frozen=True)
class DemoResult:
    """What the demo made, and how long it took."""

    shots: int
    items: int
    samples: int
    steps: int
    seconds: float
    lora: Path
    video: Path


def run_demo(folder: Path, fresh: bool, progress: Progress, model: str = MODEL) -> DemoResult:
    """The whole way in `folder`; a second start goes on where the first stopped, `fresh` begins anew."""
    started = time.perf_counter()
    home = folder / ("my-style" if model == MODEL else f"my-style-{model}")
    if fresh and (home / "sakuga.toml").is_file():
        shutil.rmtree(home)
    film = folder / "cartoon.mp4"
    if not film.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        progress.say("drawing a film")
        temporary = film.with_name(film.name + ".tmp")
        write_clip(temporary, cartoon(), RATE)
        move_into_place(temporary, film)
    project = api.open_project(home) if (home / "sakuga.toml").is_file() else api.new(home, model, TRIGGER)
    with project:
        api.add(project, [film], progress=progress)
        api.shots(project, progress=progress)
        api.pick(project, auto=True, progress=progress)
        api.export(project, progress=progress)
        api.caption(project, progress=progress)
        for finding in api.check(project, progress=progress):
            progress.say(f"{finding['severity']}: {finding['item']}: {finding['reason']}")
        plan = api.plan(project, steps=STEPS)
        api.train(project, name="demo", steps=STEPS, progress=progress)
        video = api.generate(project, PROMPT, progress=progress)
        published = api.publish(project, progress=progress)
        counts = {table: project.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in ("shot", "item")}
    seconds = time.perf_counter() - started
    return DemoResult(counts["shot"], counts["item"], plan.samples, STEPS, seconds, published[0].path, video.path)


def cartoon() -> Iterator[np.ndarray]:
    """A film of a few shots in flat colours, each with a ground and a disc that travels, drawn on twos."""
    width, height = SIZE
    y, x = np.mgrid[:height, :width]
    colours = np.random.default_rng(7).integers(30, 226, (SHOTS, 3, 3)).astype(float)
    for shot in range(SHOTS):
        sky, ground, disc = colours[shot]
        for frame in range(SHOT_SECONDS * RATE):
            along = (frame // 2 * 2) / (SHOT_SECONDS * RATE)
            picture = sky * (0.7 + 0.3 * y / height)[:, :, None]
            picture[y > height * (0.5 + 0.05 * (shot % 5)) + 8 * np.sin(x / 40 + shot)] = ground
            cx, cy = width * (0.15 + 0.7 * along), height * (0.4 + 0.15 * np.sin(6 * along + shot))
            picture[(x - cx) ** 2 + (y - cy) ** 2 < (height * 0.12) ** 2] = disc
            yield np.clip(picture, 0, 255).astype(np.uint8)
