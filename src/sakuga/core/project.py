"""A project: one folder with sakuga.toml (what a person decides) and sakuga.db (what the program knows)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from . import family, files, lock, store
from .errors import SakugaError
from .settings import ProjectSettings, parse

CONFIG, DATABASE = "sakuga.toml", "sakuga.db"


class Project:
    """An open project. `settings` are those of sakuga.toml; `db` is the store.

    Use `Project.create(folder, ...)` or `Project(folder)`; as a context manager it closes the store.
    """

    def __init__(self, folder: Path | str = ".") -> None:
        self.folder = _resolved(folder)
        if not (self.folder / CONFIG).is_file():
            raise SakugaError(f"{self.folder} is not a Sakuga project (no {CONFIG}); make one with `sakuga new`")
        self.settings = read_config(self.folder / CONFIG)
        self.db = store.connect(self.folder / DATABASE)

    @classmethod
    def create(cls, folder: Path | str, model: str, trigger: str = "") -> "Project":
        """Make the folder of a new project for `model`, with a commented sakuga.toml, and open it."""
        folder = _resolved(folder)
        if (folder / CONFIG).exists():
            raise SakugaError(f"{folder} holds a project already; open it, or choose another folder")
        text = first_config(family.member(model), trigger)
        parse(tomlkit.parse(text).unwrap(), CONFIG)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            files.write_atomic(folder / CONFIG, text)
        except OSError as error:
            raise SakugaError(
                f"{folder} cannot be written: {error.strerror}; choose a folder you may write to"
            ) from error
        return cls(folder)

    def __enter__(self) -> "Project":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.db.close()

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def member(self) -> family.Member:
        return self.settings.member

    @contextmanager
    def writing(self, command: str) -> Iterator[None]:
        """Hold the project's lock: every command that writes does."""
        with lock.hold(self.folder / DATABASE, command) as self.db.token:
            try:
                yield
            finally:
                self.db.token = None

    def path(self, relative: str) -> Path:
        """A file from the path that rows hold: relative to the project, with forward slashes.

        That of an adopted file may lead out of the project, or be a full path where there is no way from here to there.
        """
        if relative.startswith("../"):
            return Path(os.path.normpath(self._outside(relative)))
        return self.folder / relative

    def _outside(self, relative: str) -> Path:
        """A file of an adopted folder: beside the project as it was when adopted, else where it was then."""
        for folder in self.rows("SELECT path, relative FROM source_folder WHERE relative IS NOT NULL"):
            inside = relative.removeprefix(f"{folder['relative']}/")
            if inside != relative and not (self.folder / folder["relative"]).is_dir():
                return Path(folder["path"], inside)
        return self.folder / relative

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return store.rows(self.db, query, values)

    def film_path(self, name: str) -> Path:
        """Where a film is now: beside the project as it was when added, else at its full path."""
        found = self.rows("SELECT path, relative FROM source_film WHERE name = ?", name)
        if not found:
            raise SakugaError(f"no film named '{name}' was added to {self.folder}; `sakuga add` it")
        full, relative = found[0]["path"], found[0]["relative"]
        beside = Path(os.path.normpath(self.folder / relative)) if relative else None
        return beside if beside is not None and beside.is_file() else Path(full)

    def sha256(self, path: Path) -> str:
        """sha256 of a file, remembered by its size and time of change."""
        if files.readable(path) != str(path):
            raise SakugaError(f"the name of {files.readable(path)} is not UTF-8; rename the file")
        try:
            stat = path.stat()
            known = self.rows("SELECT * FROM file_hash WHERE path = ?", str(path))
            if known and (known[0]["size"], known[0]["mtime"]) == (stat.st_size, stat.st_mtime_ns):
                return str(known[0]["sha256"])
            sha256 = files.file_sha256(path)
        except FileNotFoundError as error:
            if (stayed := self._away(path)) is not None:
                return stayed
            raise SakugaError(f"{path} cannot be read: {error.strerror}") from error
        except OSError as error:
            raise SakugaError(f"{path} cannot be read: {error.strerror}") from error
        row = {"path": str(path), "size": stat.st_size, "mtime": stat.st_mtime_ns, "sha256": sha256}
        store.insert(self.db, "file_hash", row, replace=True)
        return sha256

    def _away(self, path: Path) -> str | None:
        """What a file held that stayed where this project was packed; None of one that was to be here."""
        inside = relative_to(path, self.folder) or path.as_posix()
        found = self.rows("SELECT sha256 FROM away WHERE path = ?", inside)
        return str(found[0]["sha256"]) if found else None


def _resolved(folder: Path | str) -> Path:
    full = files.resolved(folder)
    if files.readable(full) != str(full):
        raise SakugaError(f"{files.readable(full)} cannot hold a project: its name is not UTF-8; rename the folder")
    return full


def relative_to(path: Path, folder: Path) -> str | None:
    """`path` seen from `folder` with forward slashes, or None where they share no root (Windows drives)."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return None


def read_config(path: Path) -> ProjectSettings:
    """The settings of a sakuga.toml; every fault is one sentence that names the key and the remedy."""
    return parse(_document(path).unwrap(), CONFIG)


def read_values(path: Path) -> dict[str, Any]:
    """What a file of settings says, as it stands there; `parse` tells whether it makes sense."""
    return _document(path).unwrap()


def change_config(path: Path, key: str, value: str) -> None:
    """Set `key` (`shots.min_seconds`) in a sakuga.toml to `value`, TOML or a bare word. Comments survive."""
    document = _document(path)
    table: Any = document
    *parents, last = key.split(".")
    for part in parents:
        if part not in table:
            table.add(part, tomlkit.table())
        table = table[part]
        if not isinstance(table, dict):
            raise SakugaError(f"{path.name}: {part} is a setting, not a group of settings")
    faults: list[SakugaError] = []
    for reading in _readings(value):
        table[last] = reading
        try:
            parse(document.unwrap(), CONFIG)
        except SakugaError as error:
            faults.append(error)
            continue
        files.write_atomic(path, tomlkit.dumps(document))
        return
    raise faults[0]


def _readings(value: str) -> list[Any]:
    """What a value given in a shell may mean: TOML, or else the bare word, since nobody wants to quote quotes there."""
    try:
        return [tomlkit.value(value), value]
    except TOMLKitError:
        return [value]


def _document(path: Path) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(path.read_bytes().decode("utf-8-sig"))  # as bytes, so that line ends stay what they are
    except OSError as error:
        raise SakugaError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SakugaError(f"{path} is not UTF-8 text; save it as UTF-8") from error
    except TOMLKitError as error:
        raise SakugaError(f"{path} is not valid TOML: {error}") from error


def first_config(member: family.Member, trigger: str) -> str:
    """The sakuga.toml of a new project: what most people change, with a word on each."""
    document = tomlkit.document()
    document.add(
        tomlkit.comment("What you decide about this project. `sakuga settings` lists every setting with its default.")
    )
    document.add("model", tomlkit.item(member.name))
    document.add("trigger", tomlkit.item(trigger))
    document["trigger"].comment("the word that calls the style; captions start with it")
    document.add(tomlkit.nl())
    document.add(tomlkit.comment("Parts of the dataset: which items, at what area (the aspect is kept), which frames."))
    sections = tomlkit.table(is_super_table=True)
    for name, values in member.dataset.items():
        table = tomlkit.table()
        for key, value in values.items():
            table.add(key, list(value) if isinstance(value, tuple) else value)
        sections.add(name, table)
    document.add("sections", sections)
    train = tomlkit.table()
    for key, value in member.recipe.items():
        train.add(key, value)
    document.add("train", train)
    return tomlkit.dumps(document)
