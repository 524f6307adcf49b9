"""doctor: what this machine and project need, what is missing, and how to mend it."""

import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from .core.errors import Halt, SakugaError
from .core.models import survey
from .core.project import Project
from .core.server import Server, address_of, base_url

State = Literal["ok", "warning", "error"]
GB = 1e9
LITTLE_DISK = 20 * GB  # a dataset of some hundred clips with its caches
NEED_PYTHON = (3, 11)
NEED_SAFE = {"pillow": (13, 0), "av": (18, 1), "torch": (2, 9)}  # below these, files from strangers are a danger


@dataclass(frozen=True)
class Finding:
    """One thing looked at: how it stands, what was found, and the remedy where there is something to mend."""

    check: str
    state: State
    found: str
    remedy: str = ""


def examine(project: Project | None) -> list[Finding]:
    """Look at the machine, and at the project where there is one."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (_python, _packages, _torch, _codec)
    found = [finding for check in checks for finding in check()]
    found += _disk(project.folder if project else Path.cwd())
    return found + (list(_project(project)) if project else [])


def _python() -> Iterator[Finding]:
    here = platform.python_version()
    enough = sys.version_info >= NEED_PYTHON
    yield Finding("python", "ok" if enough else "error", here, "" if enough else "install Python 3.11 or newer")
    yield Finding("sqlite", "ok", sqlite3.sqlite_version)


def _packages() -> Iterator[Finding]:
    for name, least in NEED_SAFE.items():
        try:
            here = version(name)
        except PackageNotFoundError:
            yield Finding(name, "error", "not installed", f"pip install {name}")
            continue
        numbers = tuple(int(part) for part in here.split("+")[0].split(".")[:2])
        wanted = ".".join(map(str, least))
        if numbers < least:
            yield Finding(name, "error", here, f"older ones can be attacked by a file: pip install '{name}>={wanted}'")
        else:
            yield Finding(name, "ok", here)


def _torch() -> Iterator[Finding]:
    import torch

    install = "https://pytorch.org/get-started/locally/"
    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a build for the CPU"
        yield Finding("card", "warning", f"none that torch can use ({built})", f"training needs one; see {install}")
        return
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        what = f"{card.name}, {free / GB:.1f} of {total / GB:.1f} GB free, CUDA {torch.version.cuda}"
        yield Finding(f"card {index}", "ok", what)


def _codec() -> Iterator[Finding]:
    import av

    if "libx264" in av.codecs_available:
        yield Finding("x264", "ok", f"in PyAV {av.__version__}")
    else:
        yield Finding("x264", "error", "missing", "this PyAV cannot write clips: pip install --force-reinstall av")


def _disk(folder: Path) -> list[Finding]:
    free = shutil.disk_usage(folder).free
    remedy = "" if free >= LITTLE_DISK else "make room, or put the project on another disk"
    return [Finding("disk", "warning" if remedy else "ok", f"{free / GB:.0f} GB free in {folder}", remedy)]


def _project(project: Project) -> Iterator[Finding]:
    sound = project.rows("PRAGMA quick_check")[0]["quick_check"]
    remedy = "" if sound == "ok" else "restore sakuga.db from a copy, or make it anew from the films"
    yield Finding("database", "ok" if sound == "ok" else "error", sound, remedy)
    for file in survey(project):
        missing = f"get {file['name']} ({file['gigabytes']:g} GB) from {file['source']} and see `sakuga models`"
        remedy = file["remark"] if file["path"] else missing
        how: State = ("warning" if remedy else "ok") if file["path"] else "error"
        yield Finding(f"model: {file['role']}", how, file["path"] or "missing", remedy)
    for film in project.rows("SELECT name FROM source_film ORDER BY name"):
        path = project.film_path(film["name"])
        gone = "" if path.is_file() else "bring it back, or `sakuga add` it from where it is now"
        yield Finding(f"film: {film['name']}", "error" if gone else "ok", str(path), gone)
    yield from _servers(project)


def _servers(project: Project) -> Iterator[Finding]:
    """The servers that are to write captions: whether each answers, lets us in, and has the model."""
    ways = [project.settings.caption.way(kind) for kind in ("clip", "still")]
    for address in dict.fromkeys(address_of(way) for way in ways if way.backend == "server"):
        check = f"captions: {base_url(address.url)}"
        try:
            names = Server(address).models()
        except Halt as fault:
            found, _, remedy = str(fault).partition("; ")
            yield Finding(check, "warning", found, remedy)
            continue
        lacks = names is not None and address.model not in {
            part for name in names for part in (name, name.split("/")[-1])
        }
        remedy = f"set caption.model to one of {', '.join((names or [])[:8])}" if lacks else ""
        yield Finding(
            check, "warning" if lacks else "ok", f"{'has no' if lacks else 'answers,'} {address.model}", remedy
        )


def worst(findings: list[Finding]) -> SakugaError | None:
    """The error that a command should end with, or None when nothing must be mended."""
    errors = [finding for finding in findings if finding.state == "error"]
    return SakugaError(f"{errors[0].check}: {errors[0].found}; {errors[0].remedy}") if errors else None
