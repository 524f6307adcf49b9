"""Reading other trainers' files: what is in them, whose they are, and where the paths in them lie on this machine."""

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ..core.errors import SakugaError, nearest
from ..core.media.picture import PICTURE_SUFFIXES, VIDEO_SUFFIXES

_DRIVE = re.compile(r"^(?:[A-Za-z]:[\\/]|\\\\)")
_MUSUBI = "a dataset file of musubi-tuner; `sakuga import musubi` reads it"
_PIPE_DATASET = "a dataset file of diffusion-pipe; give the main configuration, which names it"
_PIPE = "a configuration of diffusion-pipe; `sakuga import diffusion-pipe` reads it"


def read_table(path: Path) -> dict[str, Any]:
    """The content of a TOML file, or of a JSON file by its suffix. Raises SakugaError where it cannot be read."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SakugaError(f"the configuration {path} cannot be read: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise SakugaError(f"the configuration {path} is not UTF-8 text; save it as UTF-8 in an editor") from error
    try:
        found = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except ValueError as error:  # of both readers
        hint = "; ai-toolkit's YAML is not read, only written" if path.suffix.lower() in (".yaml", ".yml") else ""
        raise SakugaError(f"{path.name} is neither TOML nor JSON that can be read: {error}{hint}") from error
    if not isinstance(found, dict) or not found:
        raise SakugaError(f"{path.name} says nothing; name the file that holds the configuration")
    return found


def owner(table: Mapping[str, Any]) -> str | None:
    """Whose file this is, as the end of a sentence; None for one that cannot be told."""
    if "datasets" in table:
        return _MUSUBI
    if "directory" in table:
        return _PIPE_DATASET
    if isinstance(table.get("model"), dict) or isinstance(table.get("adapter"), dict):
        return _PIPE
    if isinstance(table.get("model"), str):
        return "the settings of a Sakuga project; open it where it is"
    return None


def another(path: Path, table: Mapping[str, Any], wanted: str) -> SakugaError:
    """The fault of a file that is not what was asked for."""
    whose = owner(table) or "none that Sakuga knows"
    return SakugaError(f"{path.name} is another file than {wanted}: it is {whose}")


def check_keys(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Raises SakugaError for the first key of `table` that the other trainer does not know either."""
    names = sorted(known)
    for key in table:
        if key not in names:
            raise SakugaError(f"{where}: it knows no key '{key}'{nearest(key, names)}; correct or remove it")


def want(value: Any, kind: type | tuple[type, ...], wanted: str, where: str) -> Any:
    """`value` where it is of a kind. Raises SakugaError that says what is wanted. True is no number."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise SakugaError(f"{where} = {value!r} makes no sense there, it takes {wanted}; correct it")
    return value


def parse_maps(given: Sequence[str]) -> list[tuple[str, str]]:
    """`H:/datasets=/mnt/h` -> (what paths begin with there, where that lies here)."""
    maps = []
    for text in given:
        there, equals, here = text.rpartition("=")
        if not equals or not there or not here:
            raise SakugaError(f"--map {text!r} does not say what lies where; write it as --map H:/datasets=/mnt/h")
        maps.append((_slashed(there).rstrip("/"), here))
    return maps


def locate(given: str, maps: Sequence[tuple[str, str]], beside: Sequence[Path] = ()) -> Path | None:
    """Where a path of another machine lies on this one, or None where it is not found."""
    plain = _slashed(given)
    tries: list[Path] = []
    for there, here in maps:
        if plain.lower() == there.lower() or plain.lower().startswith(f"{there.lower()}/"):
            tries.append(Path(here) / plain[len(there) :].lstrip("/"))
    if os.name == "nt" or not _DRIVE.match(given):
        own = Path(given if os.name == "nt" else plain if "\\" in given else given).expanduser()
        tries += [own] if own.is_absolute() else [folder / own for folder in (Path(), *beside)]
    return next((path.resolve() for path in tries if path.exists()), None)


def _slashed(path: str) -> str:
    return path.replace("\\", "/")


def last_part(path: str) -> str:
    """The name of a file or folder, wherever it lies."""
    return PurePosixPath(_slashed(path)).name


def kinds_in(folder: Path) -> tuple[bool, bool]:
    """Whether a folder itself holds pictures, and whether it holds videos."""
    found = {path.suffix.lower() for path in folder.iterdir() if path.is_file()}
    return bool(found & PICTURE_SUFFIXES), bool(found & VIDEO_SUFFIXES)
