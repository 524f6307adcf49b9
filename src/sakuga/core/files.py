"""Files that are whole or not there: written beside, made durable, then renamed. And what a file's content is."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .errors import SakugaError

CHUNK = 1 << 20
SYNCED_AT_ONCE = 16  # files: a file system commits together what waits together, which is ten times as fast
LONGEST_NAME = 255  # bytes


def fsync_file(path: Path) -> None:
    """Make the content of `path` durable."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def fsync_files(paths: Collection[Path]) -> None:
    """Make the content of many files durable."""
    if len(paths) == 1:
        fsync_file(*paths)
    elif paths:
        with ThreadPoolExecutor(min(len(paths), SYNCED_AT_ONCE)) as threads:
            list(threads.map(fsync_file, paths))


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
    temporary = _beside(path)
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


def move_into_place(temporary: Path, final: Path, *, one_of_many: bool = False) -> None:
    """Make `temporary` durable and give it its final name, also where a folder of it is a link to another disk.

    With `one_of_many` the caller makes durable: the files before they move, their folders after.
    """
    if not one_of_many:
        fsync_file(temporary)
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        temporary.replace(final)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = _beside(final)
        shutil.copyfile(temporary, beside)
        fsync_file(beside)
        beside.replace(final)
        temporary.unlink()
    if not one_of_many:
        fsync_folder(final.parent)


def _beside(path: Path) -> Path:
    """Where `path` is written before it has its name; the same each time, so that none is left lying about."""
    name = f"{path.name}.tmp"
    return path.with_name(name if fits(name) else f"{fingerprint({'': path.name})}.tmp")


def fits(name: str) -> bool:
    """Whether file systems take a name so long."""
    return len(name.encode("utf-8", "surrogateescape")) <= LONGEST_NAME


def resolved(given: Path | str) -> Path:
    """The full path of what a person names. Raises SakugaError for a link in a circle and for a name too long."""
    try:
        full = Path(given).resolve()
    except RuntimeError as error:  # Python 3.13 takes such a link for a file that is not there
        raise SakugaError(
            f"{given} is a link that leads back to itself; remove it, or name what it should lead to"
        ) from error
    if long := [part for part in full.parts if not fits(part)]:
        raise SakugaError(
            f"{long[0][:40]}... is longer than a name can be ({LONGEST_NAME} bytes); choose or give a shorter one"
        )
    return full


def readable(path: Path) -> str:
    """A path as text that can be shown and stored: in a name that is not UTF-8 the odd bytes are spelled out."""
    return str(path).encode("utf-8", "backslashreplace").decode()


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
