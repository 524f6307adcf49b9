"""Pickled weights are read by a process that can do nothing else, and what it says is believed as far as it can be true."""

import io
import json
import os
import pickle
import socket
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from sakuga.core.errors import SakugaError
from sakuga.nn import pickles
from sakuga.nn.pickles import _layout, _views, read_pickle

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="these walls are Linux's")


def table() -> "OrderedDict[str, Tensor]":
    """Tensors of every make that a table of weights can hold: views, turned ones, empty ones, numbers, parameters."""
    values = torch.randn(3, 4)
    makes = {
        "plain": values,
        "turned": values.t(),
        "part": values[1:, 2:],
        "bf16": torch.arange(10).bfloat16(),
        "half": torch.arange(6).half().view(2, 3),
        "double": torch.ones(2).double(),
        "fp8": torch.ones(5).to(torch.float8_e4m3fn),
        "bytes": torch.arange(7, dtype=torch.uint8),
        "number": torch.tensor(3.0),
        "empty": torch.zeros(0, 4096, 2),
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
    }
    return OrderedDict(makes)


def saved(path: Path, held: Any) -> Path:
    torch.save(held, path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(SakugaError) as caught:
        list(read_pickle(path))
    return str(caught.value)


CANNOT = (
    "{} cannot be read as weights: it is damaged, or not a plain table of weights; "
    "download it again, as .safetensors where there is one"
)


def test_a_table_comes_back_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_card = "cuda:0"
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: on_a_card)  # where it was made
    expected = table()
    path = saved(tmp_path / "a.pth", expected)
    found = dict(read_pickle(path))
    assert list(found) == list(expected)
    for key, tensor in found.items():
        assert (tensor.dtype, tensor.shape, tensor.stride()) == (
            expected[key].dtype, expected[key].shape, expected[key].stride()
        )  # fmt: skip
        assert torch.equal(tensor.double(), expected[key].double()), key
    begin = {place["key"]: place["begin"] for place in _layout(io.BytesIO(path.read_bytes()))}
    for key in ("turned", "bf16", "fp8"):  # views of the file where it lies: nothing was copied
        assert found[key].data_ptr() - found["plain"].data_ptr() == begin[key] - begin["plain"]


# What would be run


class Calls:
    """Unpickled without care, it calls `deed` with `arguments`."""

    def __init__(self, deed: Callable[..., Any], *arguments: Any) -> None:
        self.deed, self.arguments = deed, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.deed, self.arguments


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        yield server


def called(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
        return True
    except TimeoutError:
        return False


def hostile(folder: Path, server: socket.socket) -> dict[str, Path]:
    """Files that would make `folder`/harmed, or call the server."""
    mark = folder / "harmed"
    deeds = {
        "system": Calls(os.system, f"touch {mark}"),
        "socket": Calls(socket.create_connection, server.getsockname()),
    }
    return {name: saved(folder / f"{name}.pth", {"a": torch.ones(1), "b": deed}) for name, deed in deeds.items()} | {
        "both": saved(folder / "both.pth", deeds)
    }


def test_no_code_of_a_file_is_run(tmp_path: Path, listening: socket.socket) -> None:
    files = hostile(tmp_path, listening)
    for path in (files["system"], files["socket"]):
        assert refusal(path) == CANNOT.format(path)
    assert not (tmp_path / "harmed").exists() and not called(listening)


CARELESS = """
import torch
from sakuga.nn import pickles
load = torch.load
torch.load = lambda file, map_location, weights_only: load(file, map_location=map_location, weights_only=False)
{unconfined}
pickles.tell()
"""


def carelessly(path: Path, unconfined: str = "") -> int:
    """Let the process unpickle everything, as if `weights_only` had been broken once more."""
    command = [sys.executable, "-c", CARELESS.format(unconfined=unconfined)]
    with path.open("rb") as file:
        run = subprocess.run(command, stdin=file, capture_output=True, env=pickles.environment(), timeout=120)
    return run.returncode


def test_an_unpickler_that_is_broken_does_no_harm(tmp_path: Path, listening: socket.socket) -> None:
    files = hostile(tmp_path, listening)
    for path in (files["system"], files["socket"]):
        assert carelessly(path) != 0
    assert not (tmp_path / "harmed").exists() and not called(listening)
    carelessly(files["both"], "pickles.confine = lambda *most: None")  # and without the walls it would have
    assert (tmp_path / "harmed").exists() and called(listening)


def test_keys_in_the_environment_stay_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "secret")
    assert "secret" not in pickles.environment().values()


# The walls

DEEDS = """
import ctypes, encodings.idna, json, os, resource, shutil, signal, socket, subprocess, sys, tempfile, threading, time
from sakuga.core import confine
folder, port, pid = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
before = os.readlink("/proc/self/ns/net") if sys.platform == "linux" else ""
{preparation}
confine.confine(2**28, 60)
deeds = {{
    "make a socket": lambda: socket.socket(),
    "connect": lambda: socket.socket().connect(("127.0.0.1", port)),
    "look up a name": lambda: socket.getaddrinfo("example.org", 80),
    "run a command": lambda: subprocess.run([sys.executable, "-c", f"open({{folder + '/run'!r}}, 'w')"], check=True),
    "run in a shell": lambda: 1 / (os.system(f"touch {{folder}}/shell") == 0),
    "fork": lambda: os.fork() or os._exit(0),
    "read": lambda: open(folder + "/secret").read(),
    "list": lambda: os.listdir(folder),
    "write": lambda: open(folder + "/written", "w").write("x"),
    "write over": lambda: open(folder + "/secret", "r+").write("x"),
    "append": lambda: open(folder + "/secret", "a").write("x"),
    "cut": lambda: os.truncate(folder + "/secret", 0),
    "remove": lambda: os.unlink(folder + "/secret"),
    "rename": lambda: os.rename(folder + "/secret", folder + "/moved"),
    "make a folder": lambda: os.mkdir(folder + "/folder"),
    "link": lambda: os.symlink("x", folder + "/link"),
    "import": lambda: __import__("xml.sax.expatreader"),
    "make code": lambda: exec("1"),
    "load a library": lambda: ctypes.CDLL("libm.so.6"),
    "signal another": lambda: os.kill(pid, 0),
    "raise a limit": lambda: resource.setrlimit(resource.RLIMIT_DATA, (2**40, 2**40)),
    "take much memory": lambda: bytearray(2**29),
}}
done = []
for name, deed in deeds.items():
    try:
        deed()
        done.append(name)
    except (OSError, ValueError, MemoryError, ImportError, ZeroDivisionError, subprocess.SubprocessError):
        pass
sys.stdout.write(json.dumps(done))
sys.stdout.flush()
after = os.readlink("/proc/self/ns/net") if {look} else ""
sys.stdout.write("\\n" + str(before != after))
sys.stdout.flush()
os._exit(0)
"""


def deeds_done(folder: Path, server: socket.socket, preparation: str, look: bool) -> tuple[set[str], bool]:
    """Which deeds a confined process managed, and whether it is in a network of its own."""
    (folder / "secret").write_text("secret")
    code = DEEDS.format(preparation=preparation, look=look)
    arguments = [str(folder), str(server.getsockname()[1]), str(os.getpid())]
    command = [sys.executable, "-c", code, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, env=pickles.environment(), timeout=120)
    assert run.returncode == 0, run.stderr
    done, apart = run.stdout.split("\n")
    return set(json.loads(done)), apart == "True"


@LINUX
def test_a_confined_process_can_do_nothing(tmp_path: Path, listening: socket.socket) -> None:
    done, _ = deeds_done(tmp_path, listening, "", look=False)
    assert done == set()
    assert [p.name for p in tmp_path.iterdir()] == ["secret"] and (tmp_path / "secret").read_text() == "secret"
    assert not called(listening)


@LINUX
def test_pythons_wall_stands_alone(tmp_path: Path, listening: socket.socket) -> None:
    """As on Windows, where there is no other."""
    alone = "confine._limit = confine._leave_network = confine._close_files = lambda *given: None"
    done, _ = deeds_done(tmp_path, listening, alone, look=False)
    assert done == {"take much memory"}
    assert not called(listening)


def has_landlock() -> bool:
    import ctypes

    return sys.platform == "linux" and ctypes.CDLL(None).syscall(444, None, 0, 1) >= 4


def may_leave_the_network() -> bool:
    code = "import ctypes, sys; c = ctypes.CDLL(None); sys.exit(bool(c.unshare(1 << 30) and c.unshare(5 << 28)))"
    return sys.platform == "linux" and subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.skipif(not has_landlock(), reason="this kernel has no Landlock that knows connections")
def test_the_systems_wall_around_files_stands_alone(tmp_path: Path, listening: socket.socket) -> None:
    """As for code that has got past Python."""
    alone = "sys.addaudithook = lambda hook: None; confine._leave_network = lambda libc: None"
    done, apart = deeds_done(tmp_path, listening, alone, look=True)
    harmless = {"make a socket", "fork", "make code", "load a library", "signal another"}  # of what is loaded already
    assert done - {"raise a limit"} <= harmless and not apart  # which the system's owner may always
    assert [p.name for p in tmp_path.iterdir()] == ["secret"] and (tmp_path / "secret").read_text() == "secret"
    assert not called(listening)


@pytest.mark.skipif(not may_leave_the_network(), reason="a process may not have a network of its own here")
def test_the_systems_wall_around_the_network_stands_alone(tmp_path: Path, listening: socket.socket) -> None:
    alone = "sys.addaudithook = lambda hook: None; confine._close_files = lambda libc: None"
    done, apart = deeds_done(tmp_path, listening, alone, look=True)
    assert apart
    assert not done & {"connect", "look up a name"} and not called(listening)


# Files that are something else


def packed_anew(path: Path, method: int) -> bytes:
    """The same archive as another program writes it: what was aligned is not any more."""
    made = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return made.getvalue()


def test_what_is_no_plain_table_is_refused(tmp_path: Path) -> None:
    plain = saved(tmp_path / "a.pth", table())
    whole = plain.read_bytes()
    old = io.BytesIO()
    torch.save(dict(table()), old, _use_new_zipfile_serialization=False)
    odd = {
        "nested": saved(tmp_path / "b.pth", {"state_dict": table()}).read_bytes(),
        "numbered": saved(tmp_path / "c.pth", {1: torch.ones(1)}).read_bytes(),
        "a list": saved(tmp_path / "d.pth", [torch.ones(1)]).read_bytes(),
        "a number beside": saved(tmp_path / "e.pth", {"a": torch.ones(1), "epoch": 3}).read_bytes(),
        "sparse": saved(tmp_path / "f.pth", {"a": torch.eye(3).to_sparse()}).read_bytes(),
        "old": old.getvalue(),
        "pickle": pickle.dumps({"a": 1}),
        "empty": b"",
        "text": b"not weights at all",
        "half": whole[: len(whole) // 2],
        "end": whole[-len(whole) // 2 :],
        "archive": packed_anew(saved(tmp_path / "g.zip", []), zipfile.ZIP_STORED)[:40],
        "compressed": packed_anew(saved(tmp_path / "h.pth", {"a": torch.ones(99)}), zipfile.ZIP_DEFLATED),
        "moved": packed_anew(plain, zipfile.ZIP_STORED),
    }
    kept = []
    for name, content in odd.items():
        try:
            _layout(io.BytesIO(content))
            kept.append(name)
        except (ValueError, LookupError, AttributeError, RuntimeError, EOFError, pickle.UnpicklingError):
            pass
    assert kept == ["numbered"]
    with plain.open("rb") as file, pytest.raises(ValueError, match="key"):
        list(_views(json.dumps(_layout(io.BytesIO(odd["numbered"]))).encode(), file))


def test_what_is_no_archive_is_not_unpickled_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", lambda *given, **how: pytest.fail("torch.load was asked"))
    for content in (b"", b"not weights at all", pickle.dumps({"a": 1})):
        with pytest.raises(ValueError, match="no archive"):
            _layout(io.BytesIO(content))


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(b"PK\3\4 no archive")
    assert refusal(path) == CANNOT.format(path)


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.mkdir()
    sentence = refusal(path)
    assert sentence.startswith(f"{path} cannot be read: ") and sentence.endswith("; look whether it is there and yours")


def test_a_process_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.pth", table())
    monkeypatch.setattr(pickles, "__name__", "sakuga.nothing")
    assert refusal(path) == (
        f"the process that is to read {path} did not start; run `sakuga doctor`, or take the weights as .safetensors"
    )


def test_a_process_that_stands_still_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.pth", table())
    monkeypatch.setattr(pickles, "MOST_SECONDS", 0.05)
    assert "the process that is to read" in refusal(path)


# What the process says, should it be in strange hands

numbers = st.one_of(st.integers(-2, 70), st.integers(), st.sampled_from([2**31, 2**48, 2**62, 2**63, 2**64]))
places = st.fixed_dictionaries(
    {
        "key": st.text(max_size=5),
        "kind": st.sampled_from([*pickles._KINDS, "complex64", ""]),
        "shape": st.lists(numbers, max_size=9),
        "stride": st.lists(numbers, max_size=9),
        "begin": numbers,
    }
)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), numbers, st.text(max_size=5), places),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
)
SIZE = 64


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "file"
    path.write_bytes(bytes(range(SIZE)))
    return path


def told_of(shape: list[int], stride: list[int], begin: int = 0) -> str:
    return json.dumps([{"key": "a", "kind": "uint8", "shape": shape, "stride": stride, "begin": begin}])


@settings(max_examples=500, deadline=None)
@example(told=told_of([0, 2**40, 2**40], [1, 1, 1]))
@example(told=told_of([1], [2**70]))
@example(told=told_of([2**40], [0]))
@given(told=st.one_of(st.lists(places, max_size=3).map(json.dumps), anything.map(json.dumps), st.text()))
def test_what_is_told_is_true_of_the_file_or_refused(small_file: Path, told: str) -> None:
    with small_file.open("rb") as file:
        try:
            tensors = list(_views(told.encode("utf-8", "surrogatepass"), file))
        except ValueError:
            return
    for _, tensor in tensors:
        assert tensor.nbytes <= SIZE
        tensor.clone()


def test_what_fits_the_file_is_believed(small_file: Path) -> None:
    with small_file.open("rb") as file:
        [(key, tensor)] = _views(told_of([2, 3], [1, 2], 58).encode(), file)
        assert (key, tensor.tolist()) == ("a", [[58, 60, 62], [59, 61, 63]])
        with pytest.raises(ValueError, match="beyond the end"):
            list(_views(told_of([2, 3], [1, 2], 59).encode(), file))
