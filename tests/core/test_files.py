"""Files that are whole or not there, and names that every system takes."""

import errno
import os
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sakuga.core import files
from sakuga.core.errors import SakugaError


@pytest.mark.parametrize("content", ["words é\r\n", b"\x00bytes"])
def test_write_atomic_replaces_and_leaves_nothing_else(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "below" / "a.txt"
    files.write_atomic(path, "old")
    files.write_atomic(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_write_atomic_that_fails_keeps_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a.txt"
    files.write_atomic(path, "old")
    monkeypatch.setattr(*{"open": (Path, "open"), "fsync": (os, "fsync"), "replace": (Path, "replace")}[step], full)
    with pytest.raises(OSError, match="No space"):
        files.write_atomic(path, "new")
    monkeypatch.undo()
    with pytest.raises(UnicodeEncodeError):
        files.write_atomic(path, "\ud800")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_file_moves_into_place_over_another(tmp_path: Path) -> None:
    new, final = tmp_path / "new", tmp_path / "deep" / "er" / "final"
    for content in ("one", "two"):
        new.write_text(content)
        files.move_into_place(new, final)
        assert final.read_text() == content and not new.exists()


@pytest.mark.parametrize("name", ["final", "f" * 252, "f" * 255])
def test_a_file_moves_to_another_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    new, final = tmp_path / "new", tmp_path / "far" / name
    new.write_text("content")
    rename = Path.replace

    def across(self: Path, target: Path) -> Path:
        if self.parent != target.parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", across)
    files.move_into_place(new, final)
    assert final.read_text() == "content" and list(final.parent.iterdir()) == [final] and not new.exists()


@pytest.mark.parametrize("length", [250, 251, 252, 255])
def test_a_name_of_full_length_is_written(tmp_path: Path, length: int) -> None:
    path = tmp_path / ("n" * length)
    files.write_atomic(path, "one")
    assert path.read_text() == "one" and list(tmp_path.iterdir()) == [path]


def test_what_a_person_names_is_a_full_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    assert files.resolved("a/") == files.resolved("link/../link") == (tmp_path / "a").resolve()
    with pytest.raises(SakugaError, match=r"^m{40}\.\.\. is longer than a name can be \(255 bytes\); choose or give"):
        files.resolved(tmp_path / ("m" * 256) / "below")
    assert files.resolved("é" * 127).name == "é" * 127
    (tmp_path / "loop").symlink_to("loop")
    if sys.version_info < (3, 13):
        with pytest.raises(SakugaError, match=r"loop/x is a link that leads back to itself; remove it"):
            files.resolved(tmp_path / "loop" / "x")


def test_a_name_that_is_no_text_can_be_shown() -> None:
    assert files.readable(Path(os.fsdecode(b"caf\xe9"))) == "caf\\udce9"
    assert files.readable(Path("日本 é")) == "日本 é"


def test_fingerprints_do_not_depend_on_the_order_of_keys() -> None:
    one = files.fingerprint({"a": 1, "b": {"c": [1, 2], "d": "é"}})
    assert one == files.fingerprint({"b": {"d": "é", "c": [1, 2]}, "a": 1})
    assert len({one, files.fingerprint({"a": 2}), files.fingerprint({"a": "1"}), files.fingerprint({"a": 1})}) == 4
    assert len(one) == 32


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.file_sha256(tmp_path / "a") == sha256


DEVICES = ["con", "PRN", "aux", "NUL", "com1", "LPT9", "con.part 2", "Com¹", "nul .x", "CONIN$"]


@given(st.text(max_size=120) | st.text("ab. ?*/\\:\0\n", max_size=8) | st.sampled_from(DEVICES), st.integers(12, 80))
@example("", 80)
@example("...", 80)
@example("a" * 79 + "é", 80)
@example("x" * 11 + " y", 12)
@example("\ud800 name", 80)
def test_a_stem_is_a_name_that_every_system_takes(name: str, longest: int) -> None:
    stem = files.safe_stem(name, longest)
    assert stem and len(stem.encode("utf-8")) <= longest
    assert not set(stem) & set('<>:"/\\|?*') and all(ord(c) >= 32 for c in stem)
    assert stem == stem.strip(" .")
    base = stem.split(".")[0].rstrip().lower()
    assert base not in {"con", "prn", "aux", "nul", "conin$", "conout$"}
    assert not (base[:3] in ("com", "lpt") and base[3:] in tuple("123456789¹²³"))
    assert files.safe_stem(stem, longest) == stem


def test_a_stem_keeps_what_it_can() -> None:
    assert files.safe_stem("千と千尋 [1080p] v1.5") == "千と千尋 [1080p] v1.5"
    assert files.safe_stem("a/b:c") == "a_b_c" and files.safe_stem(" . ") == "film" and files.safe_stem("con") == "_con"
    assert files.safe_stem("é" * 50) == "é" * 40
