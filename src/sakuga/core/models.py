"""Finding the files of a model on this machine. Nothing is downloaded here, and nothing is guessed silently."""

from pathlib import Path
from typing import Any

from .errors import SakugaError
from .family import PICKLED, Member, ModelFile
from .files import fingerprint
from .project import Project
from .settings import ModelSettings

EMBEDDED = Path(__file__).parents[1] / "embedded"  # the tiny members and the describers
_MARKS = ("config.json", "tokenizer.json", "spiece.model", "model_index.json")
_CONTENT = (".safetensors", ".pth", ".bin", ".json", ".model")


def _holds_model(folder: Path) -> bool:
    """Whether a folder is a model rather than a drawer that happens to be named like one."""
    return any((folder / mark).exists() for mark in _MARKS) or any(folder.glob("diffusion_pytorch_model*"))


def _look(file: ModelFile, folder: Path) -> Path | None:
    """The first of a file's names that stands in `folder` or up to two levels below."""
    for name in file.names:
        for pattern in (name, f"*/{name}", f"*/*/{name}"):
            for found in sorted(folder.glob(pattern)):
                if found.is_file() or _holds_model(found):
                    return found
    return None


def embedded(name: str) -> Path:
    """A file that comes with Sakuga. Raises SakugaError where this installation lacks it."""
    path = EMBEDDED / name
    if not path.exists():
        raise SakugaError(f"{path} is missing from this installation; install Sakuga again")
    return path


def _comes_with(member: Member, file: ModelFile) -> Path | None:
    """The file of a tiny member, where this installation has it."""
    return _look(file, EMBEDDED) if member.tiny else None


def folder_of(project: Project) -> Path:
    """Where the project looks for model files."""
    return project.folder / Path(project.settings.models.folder).expanduser()


def of_project(project: Project) -> dict[str, Path]:
    """`find` for the model of a project."""
    return find(project.member, project.settings.models, project.folder)


def find(member: Member, settings: ModelSettings, project: Path) -> dict[str, Path]:
    """The path of every file that `member` needs, by role.

    Raises SakugaError that says of each missing one what to get, how large it is, and where to put it.
    """
    folder = project / Path(settings.folder).expanduser()
    found: dict[str, Path] = {}
    missing: list[str] = []
    for file in member.files:
        given = getattr(settings, file.role)
        path = project / Path(given).expanduser() if given else _look(file, folder) or _comes_with(member, file)
        if given and path is not None and not path.exists():
            missing.append(f"models.{file.role} = {given!r} is not there; correct it in sakuga.toml")
        elif path is None:
            missing.append(
                f"the {file.role} file is missing: get {file.names[0]} ({file.gigabytes:g} GB, {file.licence}) "
                f"from {file.source} and put it into {folder}, or give its path as models.{file.role} in sakuga.toml"
            )
        else:
            found[file.role] = path
    if missing:
        raise SakugaError(f"{member.name} cannot be used yet: " + "; ".join(missing))
    return found


def content_hash(project: Project, path: Path) -> str:
    """What a model's file or folder contains, as one hash; files are read once and remembered by size and time."""
    if path.is_file():
        return project.sha256(path)
    found = (p for p in path.rglob("*") if p.suffix in _CONTENT and p.is_file())
    # what begins with a dot is a downloader's own bookkeeping
    inside = sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(path).parts))
    return fingerprint({p.relative_to(path).as_posix(): project.sha256(p) for p in inside})


def survey(project: Project) -> list[dict[str, Any]]:
    """Every file that the project's model needs, its path where it was found, and a remark where there is a better one."""
    folder = folder_of(project)
    found = []
    for file in project.member.files:
        given = getattr(project.settings.models, file.role)
        path = (
            project.folder / Path(given).expanduser()
            if given
            else _look(file, folder) or _comes_with(project.member, file)
        )
        there = str(path) if path is not None and path.exists() else None
        what = {"role": file.role, "name": file.names[0], "gigabytes": file.gigabytes, "licence": file.licence}
        remark = _remark(file, path) if path is not None and there else ""
        found.append(what | {"source": file.source, "path": there, "remark": remark})
    return found


def _remark(file: ModelFile, path: Path) -> str:
    if path.suffix not in PICKLED:
        return ""
    safer = next((name for name in file.names if name.endswith(".safetensors")), "the same weights as .safetensors")
    return f"a {path.suffix} can hold code; none is run, and a process apart reads it, but {safer} is the better choice"
