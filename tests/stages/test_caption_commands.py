"""A program as captioner: what it is given, what it may answer, and every way in which it fails."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from sakuga import api
from sakuga.core import captions
from sakuga.core.errors import Halt, SakugaError
from sakuga.core.project import Project
from sakuga.stages.caption.commands import arguments, ask_command

PROMPT = 'Say "what" is there: é\n'


def program(folder: Path, code: str) -> list[str]:
    file = folder / "my captioner.py"
    file.write_text(f"import sys, time, os, json\nfrom pathlib import Path\n{code}\n", "utf-8")
    return [sys.executable, str(file)]


def failing(folder: Path, code: str, timeout: float = 20) -> str:
    with pytest.raises(SakugaError) as raised:
        ask_command(program(folder, code), PROMPT, folder, timeout)
    return str(raised.value)


def test_places_are_filled_and_arguments_stay_whole() -> None:
    places = {"file": "C:\\my clips\\a b.mp4", "prompt": 'say "it"; rm -rf {file}', "frames": "/x"}
    given = arguments(["run", "{file}", "--prompt={prompt}", "{frames}/000.png", "{other}"], places)
    assert given == ["run", "C:\\my clips\\a b.mp4", '--prompt=say "it"; rm -rf {file}', "/x/000.png", "{other}"]


def test_it_reads_the_prompt_and_answers(tmp_path: Path) -> None:
    code = "told = sys.stdin.buffer.read().decode()\nsys.stdout.buffer.write(f'{told!r} {os.getcwd()}'.encode())"
    assert ask_command(program(tmp_path, code), PROMPT, tmp_path, 20) == f"{PROMPT!r} {tmp_path}"
    assert (
        ask_command(program(tmp_path, "print('a girl')"), PROMPT, tmp_path, 20).strip() == "a girl"
    )  # it need not read


def test_ways_to_fail(tmp_path: Path) -> None:
    name = Path(sys.executable).name
    assert failing(tmp_path, "sys.exit('no model is loaded')") == f"{name} ended with code 1: no model is loaded"
    assert failing(tmp_path, "sys.exit(3)") == f"{name} ended with code 3: it did not say why"
    assert failing(tmp_path, "print(' ')") == f"{name} answered nothing; it is to write the caption to standard output"
    assert failing(tmp_path, "sys.stdout.buffer.write(b'caf\\xe9')") == (
        f"{name} does not answer in UTF-8 (byte 3); make it write UTF-8"
    )
    assert (
        failing(tmp_path, "while True: print('x' * 1000)")
        == f"{name} answers more than 64 KB; a caption is a paragraph"
    )


def test_one_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    code = "import subprocess\nPath('pid').write_text(str(subprocess.Popen(['sleep', '60']).pid))\ntime.sleep(60)"
    started = time.monotonic()
    said = failing(tmp_path, code, timeout=1.5)
    assert said.endswith("took longer than 1.5 s (caption.timeout) and was ended") and time.monotonic() - started < 15
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split(") ")[1][:1]:
            break
        time.sleep(0.05)
    else:
        os.kill(pid, 9)
        pytest.fail("what it started still runs")


def test_a_program_that_is_not_there_ends_the_command(tmp_path: Path) -> None:
    with pytest.raises(
        Halt, match="the program 'no-such' cannot be started: No such file or directory; correct caption.command"
    ):
        ask_command(["no-such"], PROMPT, tmp_path, 5)
    with pytest.raises(SakugaError, match="the program 'x' cannot be given this: embedded null byte"):
        ask_command(["x", "a\0b"], PROMPT, tmp_path, 5)


def test_the_stage_shows_frames_to_a_program(exported: Project, tmp_path: Path) -> None:
    code = (
        "frames = sorted(p.name for p in Path(sys.argv[1]).iterdir())\n"
        "Path('seen.jsonl').open('a').write(json.dumps([sys.argv[2:], frames, sys.stdin.read()]) + '\\n')\n"
        "print(f'{len(frames)} pictures')"
    )
    command = [*program(tmp_path, code), "{frames}", "{file}"]
    summary = api.caption(exported, backend="command", command=command, frames=3)
    assert len(summary.done) == 8 and not summary.failed
    words = captions.current(exported)
    assert words["clips/film_000000"] == captions.Caption(
        "MyStyle. 3 pictures", f"command: {Path(sys.executable).stem}"
    )
    assert words["stills/film_000012"].text == "MyStyle. 1 pictures"
    seen = [json.loads(line) for line in (exported.folder / "seen.jsonl").read_text("utf-8").splitlines()]
    assert seen[0][0] == [str(exported.folder / "dataset/clips/film_000000.mp4")]
    assert seen[0][1] == ["000_000.000s.png", "001_000.375s.png", "002_000.750s.png"]
    assert "The 3 pictures are from these times, in seconds: 0.00, 0.38, 0.75." in seen[0][2]
    assert not list((exported.folder).rglob("000_*.png"))
    with pytest.raises(Halt, match="set caption.command to a program and its arguments"):
        api.caption(exported, backend="command")
