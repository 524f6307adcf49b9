"""An archive that is whole or refused: an uncompressed tar whose first member says what each of the others holds.

Written as a stream and beside its name, so that 30 GB need no memory and what breaks off leaves nothing. Read as a stream into
a folder of its own; nothing of it has its place before all of it was found sound.
"""

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from .errors import SakugaError
from .files import CHUNK, fits, fsync_file, fsync_folder, safe_stem
from .progress import Progress

FORMAT = 1  # rises when an older Sakuga could not read what is written
MANIFEST = "manifest.json"
NO_SUM = "0" * 64  # stands in the manifest until a member was read
LONGEST_MANIFEST = 256 << 20  # bytes; a hundred for each of two million files
MB = 10**6
BROKEN = (tarfile.TarError, EOFError, UnicodeError)


@dataclass(frozen=True)
class Member:
    """A file of an archive: its name there, relative and with forward slashes, and where it is read or what it holds."""

    name: str
    source: Path | bytes

    @property
    def size(self) -> int:
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size


@dataclass(frozen=True)
class Entry:
    """What the manifest says of a member."""

    size: int
    sha256: str


def write(path: Path, told: Mapping[str, Any], members: Sequence[Member], progress: Progress) -> None:
    """Write `members` to the archive `path`, with what is `told` of them all (JSON) in its manifest.

    Each file is read once: sums are filled into the manifest at the end. Raises SakugaError where the disk refuses, or a
    file is another length than it was when its turn comes.
    """
    for member in members:
        if not is_inside(member.name):
            raise SakugaError(f"{member.name!r} is no name that every system takes; rename the file, then pack again")
    sizes = {member.name: member.size for member in members}
    sums = dict.fromkeys(sizes, NO_SUM)
    temporary = path.with_name(f"{path.name}.tmp")
    progress.start("pack", max(1, sum(sizes.values()) // MB), "MB")
    step = _Megabytes(progress)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w+b") as file:
            with tarfile.TarFile(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                manifest = _manifest(told, sizes, sums)
                _add(tar, Member(MANIFEST, manifest), len(manifest), step)
                for member in members:
                    sums[member.name] = _add(tar, member, sizes[member.name], step)
            file.seek(tarfile.BLOCKSIZE)  # the manifest's own header comes first
            file.write(_manifest(told, sizes, sums))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise SakugaError(
            f"{path} cannot be written: {error.strerror or error}; make room, or give --out on another disk"
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def _manifest(told: Mapping[str, Any], sizes: Mapping[str, int], sums: Mapping[str, str]) -> bytes:
    """The same length whatever the sums are."""
    entries = {name: [sizes[name], sums[name]] for name in sizes}
    return json.dumps({"format": FORMAT, **told, "files": entries}, indent=0, sort_keys=True).encode("ascii")


def _add(tar: tarfile.TarFile, member: Member, size: int, step: "_Megabytes") -> str:
    """Add a member, and return its sha256. Nothing tells who packed it, or where it lay."""
    info = tarfile.TarInfo(member.name)
    info.size, info.mode = size, 0o644
    if isinstance(member.source, bytes):
        source: IO[bytes] = io.BytesIO(member.source)
    else:
        info.mtime = int(member.source.stat().st_mtime)
        source = member.source.open("rb")
    with source:
        summed = _Summed(source, step)
        try:
            tar.addfile(info, summed)
        except OSError as error:
            if error.errno is not None:
                raise
            raise SakugaError(f"{member.name} lost bytes while it was packed; run the same command again") from error
        if source.read(1):
            raise SakugaError(f"{member.name} was still growing while it was packed; run the same command again")
    return summed.sha256


class _Megabytes:
    """Tells progress of bytes as whole megabytes."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.rest = progress, 0

    def __call__(self, count: int) -> None:
        whole, self.rest = divmod(self.rest + count, MB)
        if whole:
            self.progress.advance(whole)


class _Summed:
    """A file being read, and the sum of what was read of it."""

    def __init__(self, file: IO[bytes], step: _Megabytes) -> None:
        self.file, self.step, self._sum = file, step, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self._sum.update(data)
        self.step(len(data))
        return data

    @property
    def sha256(self) -> str:
        return self._sum.hexdigest()


class Archive:
    """An archive being read. `told` is what was told of it when it was written, `entries` are its files by name."""

    def __init__(self, path: Path, tar: tarfile.TarFile) -> None:
        self.path, self._tar = path, tar
        self.told = self._read_manifest()
        self.entries = self._read_entries(self.told.pop("files", None))

    def extract(self, folder: Path, progress: Progress) -> None:
        """Write every file below `folder`, which is made, durable and with its sum checked.

        Raises SakugaError where the archive is damaged or broken off, holds what no packed project holds, or has no room.
        """
        whole = sum(entry.size for entry in self.entries.values())
        free = shutil.disk_usage(_existing(folder)).free
        if whole > free:
            raise SakugaError(
                f"{self.path.name} holds {whole / 1e9:.3g} GB and {folder.parent} has room for {free / 1e9:.3g} GB; make room, "
                "or unpack it on another disk"
            )
        progress.start("unpack", max(1, whole // MB), "MB")
        step, waiting = _Megabytes(progress), dict(self.entries)
        folder.mkdir(parents=True)
        with _sound(self.path):
            for info in self._tar:
                entry = waiting.pop(info.name, None)
                if info.name == MANIFEST:
                    continue
                if entry is None or not info.isreg() or info.issparse() or info.size != entry.size:
                    raise self._odd(f"holds {info.name!r} otherwise than its manifest says")
                self._write(info, folder / info.name, entry, step)
        if waiting:
            raise self._odd(f"lacks {next(iter(waiting))!r}")

    def _write(self, info: tarfile.TarInfo, place: Path, entry: Entry, step: _Megabytes) -> None:
        source = self._tar.extractfile(info)
        assert source is not None  # it is a regular file
        place.parent.mkdir(parents=True, exist_ok=True)
        summed = _Summed(source, step)
        try:
            with place.open("xb") as file:
                shutil.copyfileobj(summed, file, CHUNK)
            os.utime(place, (info.mtime, info.mtime))
            fsync_file(place)
        except OSError as error:
            if error.errno is None:  # tarfile's own word for an archive that ends too early
                raise
            raise SakugaError(
                f"{place} cannot be written: {error.strerror}; make room, or unpack into another folder"
            ) from error
        if place.stat().st_size != entry.size or summed.sha256 != entry.sha256:
            raise self._odd(f"holds a damaged {info.name!r}")

    def _read_manifest(self) -> dict[str, Any]:
        info = self._tar.next()
        if info is None or info.name != MANIFEST or not info.isreg() or info.size > LONGEST_MANIFEST:
            raise SakugaError(f"{self.path} is not an archive of `sakuga pack`; give the file that it wrote")
        source = self._tar.extractfile(info)
        assert source is not None
        try:
            told = json.loads(source.read())
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict) or not isinstance(number := told.pop("format", None), int):
            raise self._odd("has a manifest that cannot be read")
        if number > FORMAT:
            raise SakugaError(f"{self.path.name} was packed by a newer Sakuga; update Sakuga here to unpack it")
        return told

    def _read_entries(self, said: Any) -> dict[str, Entry]:
        """The files that the manifest names, none of which may lead out of the folder that it is unpacked into."""
        if not isinstance(said, dict):
            raise self._odd("has a manifest without files")
        entries: dict[str, Entry] = {}
        for name, values in said.items():
            match values:
                case [int() as size, str() as sha256] if size >= 0 and len(sha256) == len(NO_SUM):
                    entries[name] = Entry(size, sha256)
                case _:
                    raise self._odd(f"says nothing that makes sense of {name!r}")
            if not is_inside(name):
                raise self._odd(f"would write {name!r}, which leads out of its folder or is no name everywhere")
        if len({name.casefold() for name in entries}) < len(entries):
            raise self._odd("has two files of one name")
        return entries

    def _odd(self, what: str) -> SakugaError:
        return SakugaError(f"{self.path.name} {what}; fetch or pack it again")


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open an archive for reading. Raises SakugaError for what is none."""
    try:
        tar = tarfile.TarFile(path, "r")  # an uncompressed one, and no other
    except (OSError, *BROKEN) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise SakugaError(f"the archive {path} cannot be read: {error.strerror}; correct its path") from error
        raise SakugaError(
            f"{path} is not an archive that can be read; give the file that `sakuga pack` wrote"
        ) from error
    with tar:
        with _sound(path):
            archive = Archive(path, tar)
        yield archive


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    """Turn what tarfile says of a damaged archive into one sentence."""
    try:
        yield
    except (OSError, *BROKEN) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise SakugaError(f"{path.name} is damaged or ends too early; fetch or pack it again") from error


def is_inside(name: str) -> bool:
    """Whether a member's name stays in the folder, and is the same name on every system."""
    parts = PurePosixPath(name).parts
    return bool(parts) and "/".join(parts) == name and all(map(_plain, parts))


def _plain(part: str) -> bool:
    """Whether every system takes a name, which may begin with a dot."""
    bare = part.lstrip(".")
    return bool(bare) and fits(part) and bare == safe_stem(bare, len(part.encode("utf-8", "replace")) + 1)


def _existing(folder: Path) -> Path:
    """The nearest folder above that is there."""
    return next(above for above in (folder, *folder.parents) if above.is_dir())
