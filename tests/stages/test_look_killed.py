"""A pass over a film that is killed in its middle begins again, and leaves what an undisturbed one leaves."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from films import cartoon_film
from sakuga import api
from sakuga.core.project import Project


def left(folder: Path) -> dict[str, Any]:
    """What the pass keeps: its rows, and its files but for the proxy's and the archives' own clocks."""
    with Project(folder) as project:
        rows = project.rows("SELECT film, frames, rate, times, note, hashes, look_sha256 FROM timeline")
        assert project.rows("SELECT * FROM lock") == []
        proxies = [project.path(row["proxy"]).read_bytes() for row in project.rows("SELECT proxy FROM timeline")]
    inside = sorted(p.relative_to(folder).as_posix() for p in (folder / "cache" / "looks").iterdir())
    return {"rows": rows, "proxies": proxies, "files": inside}


@pytest.mark.skipif(os.name != "posix", reason="kills a process group")
def test_a_pass_killed_in_its_middle(tmp_path: Path) -> None:
    cartoon_film(tmp_path / "film.mp4", 16)
    folders = tmp_path / "whole", tmp_path / "killed"
    for folder in folders:
        with api.new(folder, "tiny", "MyStyle") as project:
            api.add(project, [tmp_path / "film.mp4"])
    words = [sys.executable, "-m", "sakuga", "shots", "-p"]
    subprocess.run([*words, str(folders[0])], check=True, capture_output=True)
    for _ in range(2):
        running = subprocess.Popen(
            [*words, str(folders[1])], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while running.poll() is None and not any(p.suffix == ".mp4" for p in folders[1].rglob("*")):
            time.sleep(0.01)
        assert running.poll() is None  # the pass has begun to write and is not done
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    with Project(folders[1]) as project:
        assert project.rows("SELECT * FROM timeline") == []
    subprocess.run([*words, str(folders[1])], check=True, capture_output=True)
    assert left(folders[1]) == left(folders[0])
