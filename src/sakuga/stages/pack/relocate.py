"""Paths that lead out of a project, told so that they mean something on another machine.

A path inside the project is told relative to it; any other becomes a place inside, named by its file and by a hash of where it
lay. The same path gives the same place each time, so what comes home is recognised.
"""

import json
import os
import posixpath
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ...core.files import fingerprint, safe_stem

ELSEWHERE = "elsewhere"


def leads_out(text: str) -> bool:
    """Whether a path is a full one (of any system), or leads out of the folder that it is relative to."""
    return _is_full(text) or ".." in PurePosixPath(text.replace("\\", "/")).parts


def _is_full(text: str) -> bool:
    windows = PureWindowsPath(text)
    return text.startswith(("/", "~/", "\\")) or bool(windows.drive and windows.root)


class Relocation:
    """How paths of a project in `folder` are told elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.as_posix()

    def __call__(self, text: str) -> str:
        """A path as it is told elsewhere: the same where it does not lead out of the project."""
        if not leads_out(text):
            return text
        slashed = text.replace("\\", "/") if PureWindowsPath(text).drive or os.sep == "\\" else text
        full = posixpath.normpath(slashed if _is_full(text) else f"{self.folder}/{slashed}")
        if full == self.folder:
            return "."
        if full.startswith(f"{self.folder}/"):
            return full.removeprefix(f"{self.folder}/")
        parent, name = posixpath.split(full)
        name, sign, strength = name.partition(":")  # a LoRA may be named with the strength it is worn at
        return f"{ELSEWHERE}/{fingerprint({'': parent})[:8]}/{safe_stem(name)}{sign}{strength}"

    def told(self, value: Any) -> Any:
        """The same of every text in a JSON value."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {key: self.told(inner) for key, inner in value.items()}
        return [self.told(inner) for inner in value] if isinstance(value, list | tuple) else value

    def json(self, text: str) -> str:
        return json.dumps(self.told(json.loads(text)), ensure_ascii=False)

    def in_place(self, table: MutableMapping[str, Any]) -> None:
        """The same of every text in a table of TOML, whose comments survive."""
        for key, value in list(table.items()):
            if isinstance(value, MutableMapping):
                self.in_place(value)
            elif isinstance(value, list) and any(isinstance(inner, MutableMapping) for inner in value):
                for inner in value:
                    self.in_place(inner)
            elif (told := self.told(value)) != value:
                table[key] = told


def restored(value: Any, known: Mapping[str, str]) -> Any:
    """Every text of a JSON value as it was before it was told elsewhere, where `known` has it."""
    if isinstance(value, str):
        return known.get(value, value)
    if isinstance(value, Mapping):
        return {key: restored(inner, known) for key, inner in value.items()}
    return [restored(inner, known) for inner in value] if isinstance(value, list) else value


def texts(value: Any) -> Iterator[str]:
    """Every text of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from texts(inner)
