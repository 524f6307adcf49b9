"""Files that are whole or not there: written beside, made durable, then renamed. And what a file's content is."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHUNK = 1 << 20


def fsync_file(path: Path) -> None:
    """Make the content of `path` durable."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def fsync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable. Windows has no such call and needs none."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content`: at any moment the old or the new file is there, whole."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def move_into_place(temporary: Path, final: Path) -> None:
    """Make `temporary` durable and give it its final name, also where a folder of it is a link to another disk."""
    fsync_file(temporary)
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        temporary.replace(final)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = final.with_name(final.name + ".tmp")
        shutil.copyfile(temporary, beside)
        fsync_file(beside)
        beside.replace(final)
        temporary.unlink()
    fsync_folder(final.parent)


def file_sha256(path: Path) -> str:
    """sha256 (hex) of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(parts: Mapping[str, Any]) -> str:
    """A hash (32 hex digits) of plain JSON values, the same whatever the order of keys."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]


_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\ud800-\udfff]')  # what Windows, or UTF-8, does not take in a file name
_PORTS = (f"{port}{n}" for port in ("com", "lpt") for n in "123456789¹²³")
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$", *_PORTS}


def safe_stem(name: str, longest: int = 80) -> str:
    """`name` as part of a file name that every system takes; letters of any script stay.

    The limit is in UTF-8 bytes, since that is what file systems count.
    """
    stem = _FORBIDDEN.sub("_", name).strip(" .") or "film"
    if stem.split(".")[0].rstrip().lower() in _DEVICES:  # Windows looks no further than the first dot
        stem = f"_{stem}"
    return stem.encode("utf-8")[:longest].decode("utf-8", "ignore").rstrip(" .")
