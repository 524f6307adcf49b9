"""A training that runs, seen and asked from another process: what it says of itself, and to save or to stop.

The training holds the project's lock, so who asks does not take it: a request is a small file in the run's folder, which the
loop looks for after each step. It names the training it is meant for by the token of its lock: one that was left lying from
before counts for nothing. Files serve every system alike, where signals do not.
"""

import json
import os
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from . import lock
from .errors import SakugaError, nearest
from .project import Project

Wish = Literal["stop", "save"]
LIVE = "live.json"
LIVE_SECONDS = 1.0  # between two writings of what a training says of itself
LOOK_SECONDS = 0.2  # between two looks of who waits
TRIES = 20  # at a file that Windows refuses to replace while another process reads it


def request_path(folder: Path, wish: Wish) -> Path:
    """Where a wish stands in a run's folder."""
    return folder / f"{wish}.asked"


def is_passing(name: str) -> bool:
    """Whether a file of a run's folder is of the moment alone, and says nothing once the training has ended."""
    return name.endswith((".asked", ".tmp")) or name == LIVE


@dataclass(frozen=True)
class Live:
    """What a training says of itself while it runs. Times in seconds, memory in bytes (the peak), `loss` of the last step.

    `corrected` is the loss without what noise level and bucket make of it, where that is known.
    """

    expert: str
    step: int
    total: int
    loss: float | None = None
    corrected: float | None = None
    learning_rate: float | None = None
    seconds_per_step: float | None = None
    seconds_left: float | None = None
    memory: int | None = None
    note: str = ""  # what is in hand beside steps: validating, making previews
    written: float = field(default_factory=time.time)


class Control:
    """The side of the training: what was asked of it, and the file that says how far it is."""

    def __init__(self, folder: Path, token: str | None) -> None:
        self.folder, self.token = folder, token
        self.answering = ""  # the request for a save that is being fulfilled, or was last
        self._told = 0.0

    @property
    def stop_asked(self) -> bool:
        """Whether somebody wants this training to save and end."""
        return bool(self._asked("stop"))

    @property
    def save_asked(self) -> bool:
        """Whether somebody wants a checkpoint that is not being written yet; from then on `answering` is that request."""
        found = self._asked("save")
        if not found or found == self.answering:
            return False
        self.answering = found
        return True

    def done_saving(self, request: str) -> None:
        """The checkpoint that `request` asked for is durable. A request that came since stays for the next look."""
        if request and self._asked("save") == request:
            with suppress(OSError):
                request_path(self.folder, "save").unlink(missing_ok=True)

    def write(self, live: Live, *, at_once: bool = False) -> None:
        """Say how far the training is, at most once in LIVE_SECONDS. Where the disk refuses, nobody hears it this time."""
        now = time.monotonic()
        if not at_once and now - self._told < LIVE_SECONDS:
            return
        self._told = now
        with suppress(OSError):
            _replace(self.folder / LIVE, json.dumps(asdict(live)))

    def close(self) -> None:
        """The training has ended: nothing is live any more, and what was asked of it is done."""
        for path in (self.folder / LIVE, request_path(self.folder, "stop"), request_path(self.folder, "save")):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _asked(self, wish: Wish) -> str:
        """The request for `wish` that is meant for this training, else nothing."""
        found = _read(request_path(self.folder, wish))
        return found if self.token and found.split(" ")[0] == self.token else ""


@dataclass(frozen=True)
class Training:
    """A training at work in a project: its run, the lock it holds, what it last said, and once it was waited for the expert
    and the step that it saved."""

    run: str
    folder: Path
    pid: int
    host: str
    token: str
    live: Live | None
    saved: tuple[str, int] | None = None


def running(project: Project) -> Training | None:
    """The training at work in this project. None where there is none, or where its run has not begun yet."""
    holder = lock.holder(project.db)
    if holder is None or holder["command"] != "train":
        return None
    found = project.rows("SELECT name FROM run WHERE token = ?", holder["token"])
    if not found:
        return None
    name = found[0]["name"]
    folder = project.folder / "runs" / name
    return Training(name, folder, holder["pid"], holder["host"], holder["token"], read_live(folder))


def read_live(folder: Path) -> Live | None:
    """What the training in a run's folder last said. None where it says nothing that makes sense."""
    try:
        told: Any = json.loads(_read(folder / LIVE))
        return Live(**{each.name: told[each.name] for each in fields(Live)})
    except (ValueError, TypeError, KeyError):
        return None


def ask(project: Project, wish: Wish, run: str | None = None) -> tuple[Training, str]:
    """Ask the training that is at work to stop or to save. Returns it, and the request as it stands.

    Raises SakugaError where nothing is being trained, or another run than `run` is.
    """
    training = running(project)
    if training is None:
        holder = lock.holder(project.db)
        if holder is not None and holder["command"] == "train":
            raise SakugaError(
                f"the training (process {holder['pid']} on {holder['host']}) is still encoding and has no run yet; "
                "ask again when it takes steps, or press Ctrl-C where it runs"
            )
        raise SakugaError("nothing is being trained in this project; `sakuga train` begins or goes on")
    if run is not None and run != training.run:
        raise SakugaError(
            f"run {run} is not being trained now, {training.run} is{nearest(run, [training.run])}; name that one, or none"
        )
    request = f"{training.token} {uuid.uuid4().hex}"
    _replace(request_path(training.folder, wish), request)
    return training, request


def wait(project: Project, training: Training, wish: Wish, request: str) -> None:
    """Return when what was asked is done: for a stop when the training has let go of the project."""
    while True:
        holder = lock.holder(project.db)
        if holder is None or holder["token"] != training.token:
            return
        if wish == "save" and _read(request_path(training.folder, wish)) != request:
            return
        time.sleep(LOOK_SECONDS)


def saved(project: Project, training: Training) -> tuple[str, int] | None:
    """The expert and the step of the newest checkpoint of a training's run."""
    query = (
        "SELECT expert, step FROM checkpoint JOIN run_expert ON run_expert.id = run_expert JOIN run ON run.id = run "
        "WHERE name = ? ORDER BY made DESC LIMIT 1"
    )
    found = project.rows(query, training.run)
    return (found[0]["expert"], found[0]["step"]) if found else None


def _read(path: Path) -> str:
    """What a small file holds; nothing where it is not there, or is just being replaced."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _replace(path: Path, text: str) -> None:
    """Put a small file in the place of another at once. It need not outlive a power cut, so it costs no fsync."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, "utf-8")
    for left in reversed(range(TRIES)):
        try:
            temporary.replace(path)
            return
        except PermissionError:
            if not left:
                temporary.unlink(missing_ok=True)
                raise
            time.sleep(0.01)
