"""Documentation that cannot rot: the reference is what the code says, and the README's commands and script are run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from films import cartoon_film
from sakuga.cli import run
from sakuga.cli.reference import commands_page, settings_page

ROOT = Path(__file__).parent.parent


def between(text: str, mark: str) -> str:
    found = re.search(rf"<!-- {mark} -->\n(.*?)<!-- /{mark} -->", text, re.DOTALL)
    assert found, f"the README lost its part '{mark}'"
    return found[1]


@pytest.mark.parametrize(("name", "page"), [("commands.md", commands_page), ("settings.md", settings_page)])
def test_the_reference_is_current(name: str, page: object) -> None:
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert written == page(), "run: python scripts/reference.py"  # type: ignore[operator]


def test_every_setting_has_help() -> None:
    rows = [line.split("|") for line in settings_page().splitlines() if line.startswith("| `")]
    assert len(rows) > 60
    assert [row[1] for row in rows if len(row[3].strip()) < 3] == []


def test_every_guarantee_names_a_test_that_exists() -> None:
    named = re.findall(
        r"`((?:test_|benchmarks/)[\w./]+)`", (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    )
    files = [*(ROOT / "tests").rglob("test_*.py")]
    there = {
        name
        for file in files
        for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    there |= {file.name for file in files} | {f"benchmarks/{p.name}" for p in (ROOT / "benchmarks").glob("*.py")}
    assert len(named) > 20
    assert sorted(set(named) - there) == []


def test_the_journey_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "films").mkdir()
    cartoon_film(tmp_path / "films" / "film.mkv", 6, shots=3)
    monkeypatch.chdir(tmp_path)
    lines = [line.strip() for line in between((ROOT / "README.md").read_text(encoding="utf-8"), "journey").splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if line]
    assert [c[1] for c in commands if c[0] == "sakuga"][:4] == ["new", "add", "shots", "pick"]
    for words in commands:
        if words[0] == "cd":
            monkeypatch.chdir(words[1])
            continue
        globbed = [str(p) for word in words[1:] for p in (sorted(Path().glob(word)) if "*" in word else [word])]
        assert run(globbed) == 0, f"README: {shlex.join(words)}"
    assert list((tmp_path / "my-style" / "published").glob("*.safetensors"))


def test_the_script_of_the_readme(tmp_path: Path) -> None:
    cartoon_film(tmp_path / "film.mkv", 6, shots=3)
    script = (
        between((ROOT / "README.md").read_text(encoding="utf-8"), "python").replace("```python", "").replace("```", "")
    )
    (tmp_path / "five_lines.py").write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "five_lines.py"], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    video, lora = map(Path, re.findall(r"\S.*?\.(?:mp4|safetensors)", done.stdout.strip().replace(".mp4 ", ".mp4\n")))
    assert video.suffix == ".mp4" and video.is_file()
    assert lora.suffix == ".safetensors" and lora.is_file()
