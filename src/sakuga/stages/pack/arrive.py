"""unpack: a project where it is to be trained, or a run where it came from. Nothing has its place before all is sound."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core import archive, models
from ...core.archive import Archive
from ...core.errors import SakugaError
from ...core.files import safe_stem
from ...core.progress import Progress
from ...core.project import CONFIG, Project, change_config
from ...core.stage import SCRATCH
from .home import RUN, come_home
from .leave import PROJECT


@dataclass(frozen=True)
class Model:
    """A model file that the project was prepared with: whether it is `here`, `missing`, or `another` has its place."""

    role: str
    name: str
    bytes: int
    sha256: str
    state: str


@dataclass(frozen=True)
class Unpacked:
    """What was unpacked: a project, or a run into its project; `taken` is False where the run is further there already."""

    folder: Path
    run: str | None
    taken: bool
    models: list[Model]


def unpack(file: Path, folder: Path | None, weights: Path | None, progress: Progress) -> Unpacked:
    """Unpack an archive: a project into a new `folder` (by default called as it was), a run into the project in `folder`.

    `weights` is where this machine has the model files. Raises SakugaError, and leaves nothing, where the archive is damaged
    or there is something in its way.
    """
    with archive.opened(file) as packed:
        kind = packed.told.get("kind")
        if kind == PROJECT:
            target = folder or Path(safe_stem(str(packed.told.get("project"))))
            _extract_project(packed, target, weights, progress)
            with Project(target) as project:
                return Unpacked(project.folder, None, True, _check_models(project, packed.told.get("models"), progress))
        if kind == RUN:
            with Project(folder or Path()) as project, project.writing("unpack"):
                name = str(packed.told.get("run"))
                return Unpacked(project.folder, name, _extract_run(packed, project, name, progress), [])
    raise SakugaError(f"{file.name} holds a {kind!r}, which this version does not know; update Sakuga here")


def _extract_project(packed: Archive, target: Path, weights: Path | None, progress: Progress) -> None:
    if (target / CONFIG).exists():
        raise SakugaError(
            f"{target} holds a project already; unpack into another folder, or bring a run home with `sakuga pack --run` there"
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise SakugaError(f"{target} is there and not empty; name a folder that is to be made")
    target = target.absolute()
    beside = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(beside, ignore_errors=True)  # of one that was killed
    try:
        packed.extract(beside, progress)
        if weights is not None:
            change_config(beside / CONFIG, "models.folder", str(weights.absolute()))
        Project(beside).close()  # it opens, so it is whole
        if target.exists():
            target.rmdir()
        beside.replace(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _extract_run(packed: Archive, project: Project, name: str, progress: Progress) -> bool:
    strays = [entry for entry in packed.entries if entry != "run.db" and not entry.startswith(f"runs/{name}/")]
    if strays or name != safe_stem(name):
        raise SakugaError(f"the archive of run {name} holds more than a run ({strays[:1]}); pack it again")
    scratch = project.folder / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        packed.extract(scratch / "unpacked", progress)
        return come_home(project, scratch / "unpacked", name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check_models(project: Project, told: Any, progress: Progress) -> list[Model]:
    """Which of the model files that the project was prepared with are on this machine."""
    located = {row["role"]: row["path"] for row in models.survey(project)}
    wanted = [row for row in told if isinstance(row, dict)] if isinstance(told, list) else []
    progress.start("check models", len(wanted), "files")
    found = []
    for row in wanted:
        path = located.get(row["role"])
        same = path is not None and models.content_hash(project, Path(path)) == row["sha256"]
        state = "here" if same else "missing" if path is None else "another"
        found.append(Model(row["role"], row["name"], row["bytes"], row["sha256"], state))
        progress.advance(1, row["name"])
    return found
