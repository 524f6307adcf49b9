"""Getting files from the hub, from a server that speaks as it does: whole, resumed, checked, offline."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub_server import Hub, hub

GET = """
import sys
from pathlib import Path
from sakuga.core.errors import SakugaError
from sakuga.core.family import ModelFile
from sakuga.core.hub import download
role, name, gigabytes = sys.argv[1:4]
class Watch:
    done = 0
    def start(self, what, total, unit="items", done=0): pass
    def say(self, message): pass
    def advance(self, amount=1, note=""): self.done += amount
watch = Watch()
try:
    print(download(ModelFile(role, (name,), float(gigabytes), "https://huggingface.co/o/r"), Path("models"), watch), watch.done)
except SakugaError as error:
    print("error:", error)
"""
REMOTE = "/o/r/resolve/main/split_files/vae/a.safetensors"
CONTENT = bytes(range(256)) * 8192  # 2 MiB


@pytest.fixture
def server() -> Iterator[Hub]:
    with hub() as state:
        state.files[REMOTE] = CONTENT
        yield state


def get(server: Hub, folder: Path, *words: str, **environment: str) -> str:
    """What a process of its own says: the hub's library reads its variables once."""
    env = {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", GET, *(words or ("vae", "a.safetensors", "0.01"))], cwd=folder, capture_output=True,
        text=True, check=False, env=env | environment, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_a_file_comes_into_comfyuis_drawer(server: Hub, tmp_path: Path) -> None:
    told = get(server, tmp_path)
    assert told == f"{Path('models/vae/a.safetensors')} {len(CONTENT)}"
    assert (tmp_path / "models/vae/a.safetensors").read_bytes() == CONTENT


def test_the_tokenizer_comes_into_its_folder(server: Hub, tmp_path: Path) -> None:
    server.files["/o/r/resolve/main/google/umt5-xxl/tokenizer.json"] = b"{}"
    assert get(server, tmp_path, "tokenizer", "google/umt5-xxl", "0.01").startswith(
        str(Path("models/google/umt5-xxl/tokenizer.json"))
    )


def test_what_broke_off_goes_on(server: Hub, tmp_path: Path) -> None:
    server.files[REMOTE] = CONTENT * 12
    server.cut = 22_000_000  # beyond the 10 MB that the hub's library writes at a time
    told = get(server, tmp_path, HF_HUB_DOWNLOAD_TIMEOUT="1")
    if told.startswith("error:"):
        assert "could not be downloaded from https://huggingface.co/o/r" in told
        assert told.endswith("; the same command goes on where this one stopped")
        server.cut = None
        told = get(server, tmp_path)
    assert (tmp_path / "models/vae/a.safetensors").read_bytes() == CONTENT * 12
    begins = [int(span[6:-1]) for method, _, span in server.asked if method == "GET" and span]
    assert begins and begins[0] >= 10_000_000, "what had come was fetched again"


def test_what_is_not_there(server: Hub, tmp_path: Path) -> None:
    told = get(server, tmp_path, "vae", "gone.safetensors", "0.01")
    assert told.startswith("error: gone.safetensors could not be downloaded from https://huggingface.co/o/r (")


def test_another_content_than_the_hub_says(server: Hub, tmp_path: Path) -> None:
    server.lie = True
    told = get(server, tmp_path)
    assert told == "error: a.safetensors did not arrive as the hub has it (sha256 differs); download it again"
    assert not (tmp_path / "models/vae/a.safetensors").exists()
    server.lie = False
    assert get(server, tmp_path).startswith(str(Path("models/vae/a.safetensors")))


def test_offline_is_heeded(server: Hub, tmp_path: Path) -> None:
    told = get(server, tmp_path, HF_HUB_OFFLINE="1")
    assert told == (
        "error: HF_HUB_OFFLINE is set, so a.safetensors is not downloaded; unset it, or get it from "
        "https://huggingface.co/o/r and put it into models"
    )
    assert not server.asked


def test_no_room(server: Hub, tmp_path: Path) -> None:
    told = get(server, tmp_path, "vae", "a.safetensors", "1e9")
    assert told.startswith("error: a.safetensors takes 1e+09 GB and models has ")
    assert told.endswith(" GB left; make room, or set models.folder to another disk")
    assert not server.asked
