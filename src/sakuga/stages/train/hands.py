"""What the other processes of a training on several cards do: their part of each step, as the leader tells them."""

import signal
from dataclasses import dataclass
from pathlib import Path

from ...core import models
from ...core.dataset import Encoded
from ...core.project import Project
from ...core.settings import TrainSettings
from ...nn.device import pick_device, pick_dtype
from ...nn.parts import Parts
from ...nn.world import World
from .data import Schedule
from .loader import Loader
from .step import Learner


@dataclass(frozen=True)
class Setup:
    """What the leader tells before the first turn."""

    name: str
    folder: Path
    settings: TrainSettings
    samples: list[Encoded]


@dataclass(frozen=True)
class Turn:
    """An expert's turn: from which step it goes on, and up to which."""

    expert: str
    done: int
    last: int


def help_out(project: Project, device: str | None, world: World) -> Setup | None:
    """Do this process's part of a training until the leader says that it is over. Reads the project, and writes nothing.

    Returns what was trained; None where the leader could not begin.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it goes to all processes: the leader finishes the step and tells
    setup = world.tell()
    if setup is None:
        return None
    s, member = setup.settings, project.member
    here = pick_device(device)
    parts = Parts(
        member, models.of_project(project), here, pick_dtype(s.precision, here), weights=s.weights, stream=s.stream,
        vram=s.vram, compile=s.compile,
    )  # fmt: skip
    while isinstance(turn := world.tell(), Turn):
        _turn(setup, turn, parts, project, world)
    return setup


def _turn(setup: Setup, turn: Turn, parts: Parts, project: Project, world: World) -> None:
    expert = parts.member.expert(turn.expert)
    schedule = Schedule(setup.samples, setup.settings, expert, parts.member)
    learner = Learner(parts, expert, schedule.settings, lambda words: None, world)
    learner.hand_out()
    s = schedule.settings
    with Loader(
        schedule, parts.member, project.folder, parts.device, batch=s.batch, threads=s.loaders, world=world
    ) as loader:
        for loaded in loader.steps(turn.done + 1, turn.last):
            if world.tell() is None:  # the leader stops before the last
                break
            learner.help(loaded, loader)
        else:
            world.tell()
    learner.close()
