"""Finding the files of a model on this machine: the official folders, ComfyUI's tree, pipelines of diffusers.

Nothing is downloaded here, and nothing is guessed silently.
"""

from pathlib import Path
from typing import Any

from .errors import SakugaError
from .family import PICKLED, Member, ModelFile, Role
from .files import fingerprint
from .project import Project
from .settings import ModelSettings
from .weight_files import GIGABYTE, expert_by_name, read_header, read_object

EMBEDDED = Path(__file__).parents[1] / "embedded"  # the tiny members and the describers
CARRIED_TOKENIZER = "spiece_model"  # a tensor of bytes in ComfyUI's files of UMT5
_MARKS = ("config.json", "tokenizer.json", "spiece.model", "model_index.json")
_CONTENT = (".safetensors", ".pth", ".bin", ".json", ".model")


def _holds_model(folder: Path) -> bool:
    """Whether a folder is a model rather than a drawer that happens to be named like one."""
    return any((folder / mark).exists() for mark in _MARKS) or any(folder.glob("diffusion_pytorch_model*"))


def _look(member: Member, file: ModelFile, folder: Path) -> Path | None:
    """The first of a file's names that stands in `folder` or up to two levels below."""
    for name in file.names:
        for pattern in (name, f"*/{name}", f"*/*/{name}"):
            for found in sorted(folder.glob(pattern)):
                if found.is_file() or (_holds_model(found) and _fits(member, file, found)):
                    return found
    return None


def _fits(member: Member, file: ModelFile, folder: Path) -> bool:
    """Whether a folder of diffusers, all of which are named alike, is of this member, as far as its config.json tells."""
    config = folder / "config.json"
    if file.role not in ("transformer", "high", "low") or folder.name not in ("transformer", "transformer_2"):
        return True
    if not config.is_file() or (folder.parent / "transformer_2").is_dir() != (len(member.experts) > 1):
        return False
    said, shape = read_object(config), member.transformer
    return (said.get("num_layers"), said.get("num_attention_heads"), said.get("in_channels")) == (
        shape.layers, shape.heads, shape.in_channels
    )  # fmt: skip


def _given(path: Path, file: ModelFile) -> Path:
    """A path that a person gives; for the folder of a whole pipeline of diffusers, that part of it."""
    parts = (path / name for name in file.names if (path / "model_index.json").is_file())
    return next((part for part in parts if part.is_dir()), path)


def _located(member: Member, settings: ModelSettings, project: Path) -> dict[Role, Path | None]:
    """Where each file of `member` is, or would be by the settings; None where nothing says."""
    folder = project / Path(settings.folder).expanduser()
    found: dict[Role, Path | None] = {}
    for file in member.files:
        given = getattr(settings, file.role)
        found[file.role] = (
            _given(project / Path(given).expanduser(), file)
            if given
            else _look(member, file, folder) or _comes_with(member, file)
        )
    if found.get("tokenizer") is None and (text := found.get("text")) and _carries_tokenizer(text):
        found["tokenizer"] = text
    return found


def _carries_tokenizer(path: Path) -> bool:
    """Whether a text encoder's file holds its tokenizer too, as ComfyUI's do."""
    try:
        return path.suffix == ".safetensors" and CARRIED_TOKENIZER in read_header(path)
    except SakugaError:  # told when it is read
        return False


def embedded(name: str) -> Path:
    """A file that comes with Sakuga. Raises SakugaError where this installation lacks it."""
    path = EMBEDDED / name
    if not path.exists():
        raise SakugaError(f"{path} is missing from this installation; install Sakuga again")
    return path


def _comes_with(member: Member, file: ModelFile) -> Path | None:
    """The file of a tiny member, where this installation has it."""
    return _look(member, file, EMBEDDED) if member.tiny else None


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
    lacking: list[str] = []
    located = _located(member, settings, project)
    for file in member.files:
        given, path = getattr(settings, file.role), located[file.role]
        if given and path is not None and not path.exists():
            lacking.append(f"models.{file.role} = {given!r} is not there; correct it in sakuga.toml")
        elif path is None:
            lacking.append(
                f"the {file.role} file is missing: get {file.names[0]} ({file.gigabytes:g} GB, {file.licence}) "
                f"from {file.source} and put it into {folder}, or give its path as models.{file.role} in sakuga.toml"
            )
        elif file.role in ("high", "low") and expert_by_name(path) not in (None, file.role):
            lacking.append(
                f"models.{file.role} = {given!r} is the other expert by its name; give each its own in sakuga.toml"
            )
        else:
            found[file.role] = path
    if lacking:
        raise SakugaError(f"{member.name} cannot be used yet: " + "; ".join(lacking))
    return found


def content_hash(project: Project, path: Path) -> str:
    """What a model's file or folder contains, as one hash; files are read once and remembered by size and time."""
    if path.is_file():
        return project.sha256(path)
    return fingerprint({p.relative_to(path).as_posix(): project.sha256(p) for p in content_files(path)})


def content_files(folder: Path) -> list[Path]:
    """The files that make a model's folder what it is."""
    found = (p for p in folder.rglob("*") if p.suffix in _CONTENT and p.is_file())
    # what begins with a dot is a downloader's own bookkeeping
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def missing(project: Project) -> list[ModelFile]:
    """The files that are not here and no setting names; without the tokenizer where the text encoder is to bring it."""
    located = _located(project.member, project.settings.models, project.folder)
    lacking = [file for file in project.member.files if located[file.role] is None]
    brought = any(file.role == "text" for file in lacking)
    return [file for file in lacking if not (brought and file.role == "tokenizer")]


def survey(project: Project) -> list[dict[str, Any]]:
    """Every file that the project's model needs, its path where it was found, and a remark where there is a better one."""
    located = _located(project.member, project.settings.models, project.folder)
    found = []
    for file in project.member.files:
        path = located[file.role]
        there = path if path is not None and path.exists() else None
        found.append({
            "role": file.role, "name": file.names[0], "gigabytes": file.gigabytes, "licence": file.licence,
            "source": file.source, "path": str(there) if there else None,
            "on_disk": _gigabytes(there) if there else None, "remark": _remark(file, there) if there else "",
        })  # fmt: skip
    return found


def _gigabytes(path: Path) -> float:
    files = [path] if path.is_file() else [p for p in path.iterdir() if p.is_file()]
    return round(sum(file.stat().st_size for file in files) / GIGABYTE, 2)


def _remark(file: ModelFile, path: Path) -> str:
    if file.role == "tokenizer" and path.suffix == ".safetensors":
        return "carried by the text encoder"
    if path.suffix not in PICKLED:
        return ""
    safer = next((name for name in file.names if name.endswith(".safetensors")), "the same weights as .safetensors")
    return f"a {path.suffix} can hold code; none is run, and a process apart reads it, but {safer} is the better choice"
