"""Who writes captions: a row for each backend, and what an item shows to it.

A backend opens once and then tells of one item after the other, or of several at once where it waits for another program.
Those that are prompted answer with a whole caption; the others tell the {shot} of the template.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ...core.errors import Halt
from ...core.media import film
from ...core.media.clip import write_clip
from ...core.media.fit import fit
from ...core.media.picture import read_picture, write_png
from ...core.models import embedded
from ...core.project import Project
from ...core.server import Server, address_of, base_url, options_of, picture_part, text_part, video_part
from ...core.settings import CaptionWay
from .commands import arguments, ask_command
from .prompts import LIGHT, MOTION, when, word

JPEG_QUALITY = 90
VIDEO_CRF = 20  # of a clip that is sent: its like is decoded and shrunk on the other side
Frame = tuple[float, np.ndarray]  # time (s), RGB uint8 [H, W, 3]


@dataclass(frozen=True)
class Shown:
    """One item as a backend is shown it. Nothing is decoded before it is asked for."""

    path: Path
    kind: str
    facts: Mapping[str, Any]
    way: CaptionWay
    scratch: Path  # a folder of this item's own, not made yet
    prompt: str = ""

    @cached_property
    def times(self) -> list[Fraction]:
        """The times (s) of all frames of a clip."""
        return film.scan_times(self.path)

    @cached_property
    def frames(self) -> list[Frame]:
        """Pictures evenly over a clip, its first and last among them, or the one of a still; at most `way.size` a side."""
        if self.kind == "still":
            return [(0.0, smaller(read_picture(self.path), self.way.size))]
        chosen = film.frames(self.path, spread(len(self.times), self.way.frames), times=self.times)
        return [(float(self.times[index] - self.times[0]), smaller(rgb, self.way.size)) for index, rgb in chosen]

    @property
    def pictures(self) -> list[np.ndarray]:
        return [rgb for _, rgb in self.frames]

    @property
    def as_video(self) -> bool:
        """Whether it is shown as video: a clip, to a server, where the person wants that."""
        return self.way.video and self.way.backend == "server" and self.kind == "clip"

    @property
    def question(self) -> str:
        """The prompt, with the times of the pictures where there are several."""
        several = not self.as_video and self.kind == "clip"
        return f"{self.prompt}\n\n{when([time for time, _ in self.frames])}" if several else self.prompt


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` of `count` indices, evenly, the first and the last among them; the middle one where one is wanted."""
    if wanted == 1:
        return [(count - 1) // 2]
    if wanted >= count:
        return list(range(count))
    return [round(n * (count - 1) / (wanted - 1)) for n in range(wanted)]


def smaller(rgb: np.ndarray, side: int) -> np.ndarray:
    """A picture whose longest side is `side` pixels at most."""
    height, width = rgb.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return rgb
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)


def jpeg(rgb: np.ndarray) -> bytes:
    out = BytesIO()
    Image.fromarray(rgb).save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()


Describe = Callable[[Shown], str]


@dataclass
class Opened:
    """A backend that is open: how it tells of an item, who that is, and what was used of a server."""

    describe: Describe
    origin: str
    server: Server | None = None


@dataclass(frozen=True)
class Backend:
    """A kind of captioner. `matters`: the settings that its captions depend on."""

    open: Callable[[Project, CaptionWay], Opened]
    matters: tuple[str, ...]
    prompted: bool = False
    at_once: int = 1  # items under way, where a person does not say: a server has room for several, a program may not


# ---- what was measured ------------------------------------------------------------------------------------------------


def measured(facts: Mapping[str, Any]) -> str:
    """The light of a shot, and for a clip its motion, in words, from what was measured."""
    if facts["brightness"] is None:
        return ""
    light = word(LIGHT, facts["brightness"])
    return light if facts["kind"] == "still" else f"{light}, {word(MOTION, facts['motion'])}"


def _open_template(project: Project, way: CaptionWay) -> Opened:
    return Opened(lambda shown: measured(shown.facts), "template")


# ---- the embedded describer -------------------------------------------------------------------------------------------


def _open_describer(project: Project, way: CaptionWay) -> Opened:
    from ...nn.describer import load_describer

    describer = load_describer(embedded("describer.safetensors"))

    def describe(shown: Shown) -> str:
        known = describer.knowledge
        if shown.kind == "still":
            pictures = [read_picture(shown.path)]
        else:  # neighbours, from the middle: it knows movement
            count = len(shown.times)
            first = max(0, (count - known.frames) // 2)
            pictures = [rgb for _, rgb in film.frames(shown.path, range(first, min(count, first + known.frames)))]
        return describer.caption(np.stack([fit(p, known.width, known.height) for p in pictures]))

    return Opened(describe, "describer")


# ---- a server ---------------------------------------------------------------------------------------------------------


def _open_server(project: Project, way: CaptionWay) -> Opened:
    asked = Server(address_of(way))
    there = asked.models()
    if not way.model:
        known = f"it has {', '.join(there[:8])}" if there else "it does not tell which it has"
        raise Halt(f"set caption.model to the name of a model of the server at {base_url(way.url)}; {known}")

    def describe(shown: Shown) -> str:
        if shown.as_video:
            parts = [video_part(_small_video(shown))]
        else:
            parts = [picture_part(jpeg(rgb)) for rgb in shown.pictures]
        return asked.ask([*parts, text_part(shown.question)], options_of(way))

    return Opened(describe, f"server: {way.model}", asked)


def _small_video(shown: Shown) -> bytes:
    """A clip as small H.264 of its own rate, whatever its file is."""
    shown.scratch.mkdir(parents=True, exist_ok=True)
    path = shown.scratch / "clip.mp4"
    frames = film.frames(shown.path, times=shown.times)
    write_clip(path, (smaller(rgb, shown.way.size) for _, rgb in frames), Fraction(shown.facts["fps"]), VIDEO_CRF)
    return path.read_bytes()


# ---- a model on this machine ------------------------------------------------------------------------------------------


def _open_model(project: Project, way: CaptionWay) -> Opened:
    from ...nn.vision import VisionModel

    if not way.model:
        raise Halt(
            "set caption.model to the folder of a model that sees pictures, or to its name at the Hugging Face hub"
        )
    folder = project.folder / Path(way.model).expanduser()
    model = VisionModel.open(folder if folder.is_dir() else way.model, way.device, way.precision)
    turn = threading.Lock()  # the threads that wait for servers may hold its items too

    def describe(shown: Shown) -> str:
        with turn:
            return model.ask(
                shown.question, shown.frames, max_tokens=way.max_tokens, temperature=way.temperature, seed=way.seed
            )

    return Opened(describe, f"model: {Path(way.model).name}")


# ---- a program --------------------------------------------------------------------------------------------------------


def _open_command(project: Project, way: CaptionWay) -> Opened:
    if not way.command:
        raise Halt('set caption.command to a program and its arguments, ["python", "mine.py", "{frames}"] for instance')
    shows = any("{frames}" in argument for argument in way.command)

    def describe(shown: Shown) -> str:
        places = {"file": str(shown.path), "prompt": shown.question if shows else shown.prompt}
        if shows:
            places["frames"] = str(_as_pictures(shown))
        return ask_command(arguments(way.command, places), places["prompt"], project.folder, way.timeout)

    return Opened(describe, f"command: {Path(way.command[0]).stem}")


def _as_pictures(shown: Shown) -> Path:
    """The pictures as PNG in a folder of their own, named so that they sort by time."""
    folder = shown.scratch / "frames"
    folder.mkdir(parents=True, exist_ok=True)
    for number, (time, rgb) in enumerate(shown.frames):
        write_png(folder / f"{number:03}_{time:07.3f}s.png", rgb)
    return folder


_SEEN = ("frames", "size")
_ASKED = ("model", "max_tokens", "temperature", "seed")

BACKENDS: dict[str, Backend] = {
    "template": Backend(_open_template, ("template",)),
    "describer": Backend(_open_describer, ("template",)),
    "server": Backend(_open_server, (*_SEEN, *_ASKED, "video", "extra"), prompted=True, at_once=4),
    "model": Backend(_open_model, (*_SEEN, *_ASKED, "precision"), prompted=True),
    "command": Backend(_open_command, (*_SEEN, "command"), prompted=True),
}


def used(opened: Sequence[tuple[CaptionWay, Opened]]) -> str:
    """Tokens of all servers, and what they cost where prices are known; empty where no server was asked."""
    servers = {id(one.server): (one.server.used, way) for way, one in opened if one.server is not None}
    if not any(spent.questions for spent, _ in servers.values()):
        return ""
    read, written = (sum(getattr(spent, part) for spent, _ in servers.values()) for part in ("read", "written"))
    costs = [spent.cost(way.price_in, way.price_out) for spent, way in servers.values()]
    told = f"{read:,} tokens read, {written:,} written"
    return told if all(cost is None for cost in costs) else f"{told}, cost {sum(cost or 0 for cost in costs):.4f}"
