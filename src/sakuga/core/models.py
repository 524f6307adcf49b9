"""Finding the files of a model on this machine. Nothing is downloaded here, and nothing is guessed silently."""

from pathlib import Path

from .errors import SakugaError
from .family import Member, ModelFile
from .settings import ModelSettings

_MARKS = ("config.json", "tokenizer.json", "spiece.model", "model_index.json")


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


def find(member: Member, settings: ModelSettings, project: Path) -> dict[str, Path]:
    """The path of every file that `member` needs, by role.

    Raises SakugaError that says of each missing one what to get, how large it is, and where to put it.
    """
    folder = project / Path(settings.folder).expanduser()
    found: dict[str, Path] = {}
    missing: list[str] = []
    for file in member.files:
        given = getattr(settings, file.role)
        path = project / Path(given).expanduser() if given else _look(file, folder)
        if given and path is not None and not path.exists():
            missing.append(f"models.{file.role} = {given!r} is not there; correct it in sakuga.toml")
        elif path is None:
            missing.append(
                f"the {file.role} file is missing: get {file.names[0]} ({file.gigabytes:g} GB, {file.licence}) from {file.source} "
                f"and put it into {folder}, or give its path as models.{file.role} in sakuga.toml"
            )
        else:
            found[file.role] = path
    if missing:
        raise SakugaError(f"{member.name} cannot be used yet: " + "; ".join(missing))
    return found
