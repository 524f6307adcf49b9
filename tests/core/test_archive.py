"""An archive is whole or refused: what is damaged, broken off, or leads out of its folder writes nothing."""

import errno
import hashlib
import io
import json
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sakuga.core import archive
from sakuga.core.archive import MANIFEST, Member
from sakuga.core.errors import SakugaError
from sakuga.core.progress import Silent

FILES = {"a.txt": b"one", "deep/er/b.bin": bytes(range(256)) * 40, "empty": b""}


def packed(folder: Path) -> Path:
    """A small archive of FILES, partly from a disk and partly from memory."""
    path, source = folder / "x.tar", folder / "b.bin"
    source.write_bytes(FILES["deep/er/b.bin"])
    os.utime(source, (1e9, 1e9))
    members = [Member(name, source if name.endswith("bin") else data) for name, data in FILES.items()]
    archive.write(path, {"kind": "test"}, members, Silent())
    return path


def unpack(path: Path, to: Path) -> dict[str, Any]:
    with archive.opened(path) as opened:
        opened.extract(to, Silent())
        return opened.told


def forged(
    path: Path, *members: tuple[tarfile.TarInfo, bytes], said: dict[str, Any] | None = None, **told: Any
) -> Path:
    """An archive whose manifest agrees with what it holds, or says what it is told to."""
    files = {info.name: [len(data), hashlib.sha256(data).hexdigest()] for info, data in members}
    manifest = json.dumps({"format": 1, "files": files if said is None else said} | told).encode()
    with tarfile.open(path, "w") as tar:
        for info, data in ((tarfile.TarInfo(MANIFEST), manifest), *members):
            info.size = len(data) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(data))
    return path


def file(name: str, data: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), data


def test_what_was_packed_is_unpacked(tmp_path: Path) -> None:
    path = packed(tmp_path)
    assert unpack(path, tmp_path / "there") == {"kind": "test"}
    found = {
        p.relative_to(tmp_path / "there").as_posix(): p.read_bytes()
        for p in (tmp_path / "there").rglob("*")
        if p.is_file()
    }
    assert found == FILES
    assert (tmp_path / "there" / "deep/er/b.bin").stat().st_mtime == 1e9
    with tarfile.open(path) as tar:
        assert tar.getnames() == [MANIFEST, *FILES] and {(i.uid, i.gid, i.uname, i.gname) for i in tar} == {
            (0, 0, "", "")
        }


def test_an_archive_cut_anywhere_or_changed_anywhere_is_one_sentence(tmp_path: Path) -> None:
    path = packed(tmp_path)
    whole = path.read_bytes()
    with tarfile.open(path) as tar:
        end = tar.getmembers()[-1].offset_data  # what follows is padding
        inside = [info.offset_data for info in tar if info.size]
    words = r"(is damaged or ends too early|is not an archive|lacks|cannot be read)"
    for length in [0, 1, 511, 512, 600, *range(1024, end, 1024)]:
        path.write_bytes(whole[:length])
        with pytest.raises(SakugaError, match=words):
            unpack(path, tmp_path / f"cut-{length}")
    for place in (*inside[1:], inside[-1] + 5000):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(SakugaError, match="holds a damaged '.*'; fetch or pack it again"):
            unpack(path, tmp_path / f"changed-{place}")


@pytest.mark.parametrize(
    "name",
    [
        "../out",
        "/out",
        "a/../../out",
        "C:/out",
        "C:out",
        "a\\..\\out",
        "con",
        "a/nul.txt",
        "a//b",
        "./a",
        "a/.",
        "a ",
        "a.",
        "a\nb",
        "",
    ],
)
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    path = forged(tmp_path / "x.tar", said={name: [1, "0" * 64]})
    with pytest.raises(SakugaError, match="which leads out of its folder or is no name everywhere"):
        unpack(path, tmp_path / "deep" / "there")
    assert not (tmp_path / "deep").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("a")
    info.type, info.linkname = kind, "/etc/passwd"
    path = forged(tmp_path / "x.tar", (info, b""), said={"a": [0, "0" * 64]})
    with pytest.raises(SakugaError, match="holds 'a' otherwise than its manifest says"):
        unpack(path, tmp_path / "there")
    assert not list((tmp_path / "there").iterdir())


def test_what_the_manifest_does_not_say_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    sums = {"a": [1, hashlib.sha256(b"x").hexdigest()]}
    cases: list[tuple[Callable[[], Path], str]] = [
        (lambda: forged(path, file("a"), file("b"), said=sums), "holds 'b' otherwise than"),
        (lambda: forged(path, file("a"), file("a"), said=sums), "holds 'a' otherwise than"),
        (lambda: forged(path, file("a", b"xy"), said=sums), "holds 'a' otherwise than"),
        (lambda: forged(path, file("a", b"y"), said=sums), "holds a damaged 'a'"),
        (lambda: forged(path, said=sums), "lacks 'a'"),
        (lambda: forged(path, said={"a": [1]}), "says nothing that makes sense of 'a'"),
        (lambda: forged(path, said={"a": [1, "0" * 64], "A": [1, "0" * 64]}), "has two files of one name"),
        (lambda: forged(path, files=[]), "has a manifest without files"),
        (lambda: forged(path, format="one"), "has a manifest that cannot be read"),
        (lambda: forged(path, format=2), "was packed by a newer Sakuga; update Sakuga here"),
        (lambda: forged(path, said={"a": [10**18, "0" * 64]}), r"holds 1e\+09 GB and .* has room for .* GB; make room"),
    ]
    for number, (make, words) in enumerate(cases):
        with pytest.raises(SakugaError, match=words):
            unpack(make(), tmp_path / str(number))


def test_a_file_that_is_no_archive_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with pytest.raises(SakugaError, match="the archive .* cannot be read: No such file or directory; correct its path"):
        unpack(path, tmp_path / "a")
    path.write_bytes(b"not a tar" * 500)
    with pytest.raises(SakugaError, match="is not an archive that can be read; give the file that `sakuga pack` wrote"):
        unpack(path, tmp_path / "a")
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("a"))
    with pytest.raises(SakugaError, match="is not an archive of `sakuga pack`; give the file"):
        unpack(path, tmp_path / "a")


def test_what_cannot_be_written_leaves_the_archive_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path)
    before, grows = path.read_bytes(), tmp_path / "grows"
    grows.write_bytes(b"12345")

    class Growing(type(path)):  # type: ignore[misc]
        def open(self, *args: Any, **kwargs: Any) -> Any:
            grows.write_bytes(self.now)
            return super().open(*args, **kwargs)

    for now, words in (
        (b"123456", "was still growing while it was packed"),
        (b"1", "lost bytes while it was packed"),
    ):
        source = Growing(grows)
        source.now = now
        grows.write_bytes(b"12345")
        with pytest.raises(SakugaError, match=words):
            archive.write(path, {}, [Member("grows", source)], Silent())
    with pytest.raises(SakugaError, match="'con' is no name that every system takes; rename the file"):
        archive.write(path, {}, [Member("con", b"")], Silent())

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        SakugaError, match=r"x\.tar cannot be written: No space left on device; make room, or give --out"
    ):
        archive.write(path, {}, [Member("a", b"1")], Silent())
    with pytest.raises(
        SakugaError, match="cannot be written: No space left on device; make room, or unpack into another"
    ):
        unpack(path, tmp_path / "there")
    assert path.read_bytes() == before and sorted(p.name for p in tmp_path.iterdir()) == [
        "b.bin",
        "grows",
        "there",
        "x.tar",
    ]


def test_a_large_file_needs_no_memory(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(200 << 20)
    tracemalloc.start()
    archive.write(tmp_path / "x.tar", {}, [Member("large", large)], Silent())
    unpack(tmp_path / "x.tar", tmp_path / "there")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20 and (tmp_path / "there" / "large").stat().st_size == 200 << 20
