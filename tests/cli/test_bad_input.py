"""What a person does wrong on the command line: one line that names it and the remedy, an honest exit code, the project whole."""

import json
import os
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from films import cartoon_film, numbered_film
from sakuga import cli
from sakuga.core import store
from sakuga.core.family import FAMILY
from sakuga.core.project import CONFIG, Project, change_config

Said = Callable[..., str]


@pytest.fixture
def said(empty: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """Run a command that must fail in an empty project; returns its one line. `status` works before and after."""
    monkeypatch.chdir(empty.folder)

    def run(*arguments: object) -> str:
        before = empty.rows("SELECT * FROM source_film"), empty.rows("SELECT * FROM source_folder")
        assert cli.run([str(a) for a in arguments]) == 1
        _, err = capsys.readouterr()
        lines = [line for line in err.splitlines() if line.startswith("sakuga: ")]
        assert len(lines) == 1 and err.endswith(lines[0] + "\n") and "Traceback" not in err, err
        assert (empty.rows("SELECT * FROM source_film"), empty.rows("SELECT * FROM source_folder")) == before
        assert cli.run(["status"]) == 0
        capsys.readouterr()
        assert empty.rows("SELECT * FROM lock") == []
        return lines[0].removeprefix("sakuga: ")

    return run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "no\nthing.mkv"], r"no\nthing.mkv is not there; check the path"),
        (["add", "nothing.mkv/"], "nothing.mkv is not there; check the path"),
        (["add", "films/"], "films holds no film; name the films, or a folder that holds them"),
        (["add", "m" * 300], "... is longer than a name can be (255 bytes); choose or give a shorter one"),
        (["adopt", "m" * 300], "... is longer than a name can be"),
        (["new", "m" * 300, "--model", "tiny"], "... is longer than a name can be"),
        (["status", "-p", "m" * 300], "... is longer than a name can be"),
        (["status", "-p", "nowhere/"], "is not a Sakuga project (no sakuga.toml); make one with `sakuga new`"),
        (["adopt", "films/"], "films holds no clip and no picture; name a folder that does"),
        (["new", ".", "--model", "tiny"], "holds a project already; open it, or choose another folder"),
        (["new", "sakuga.toml/x", "--model", "tiny"], "cannot be written: Not a directory; choose a folder"),
    ],
)
def test_what_is_no_film_and_no_folder(said: Said, empty: Project, arguments: list[str], words: str) -> None:
    (empty.folder / "films").mkdir()
    assert words in said(*arguments)


@pytest.mark.skipif(os.name != "posix" or sys.version_info >= (3, 13), reason="a link in a circle is not there, then")
@pytest.mark.parametrize("command", ["add", "adopt", "new", "status -p", "adopt --remove"])
def test_a_link_in_a_circle(said: Said, empty: Project, command: str) -> None:
    (empty.folder / "loop").symlink_to("loop")
    assert "loop is a link that leads back to itself; remove it" in said(*command.split(), "loop")


def test_the_project_of_a_newer_version(empty: Project, capsys: pytest.CaptureFixture[str]) -> None:
    empty.db.execute("PRAGMA user_version = 99")
    for command in ("status", "shots", "doctor", "drops"):
        assert cli.run([command, "-p", str(empty.folder)]) == 1
        assert "was written by a newer Sakuga (schema 99" in capsys.readouterr().err
    empty.db.execute(f"PRAGMA user_version = {len(store.MIGRATIONS)}")
    assert cli.run(["status", "-p", str(empty.folder)]) == 0


def test_one_bad_film_among_good_ones_is_no_failure_and_alone_it_is(
    empty: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbered_film(tmp_path / "good.mp4", 10, 24)
    (tmp_path / "text.mp4").write_text("no film")
    where = ("-p", str(empty.folder))
    assert cli.run(["add", str(tmp_path), *where]) == 0
    assert "add: 1 done, 1 set aside (`sakuga drops` lists them)" in capsys.readouterr().out
    assert cli.run(["add", str(tmp_path), *where]) == 0  # there is nothing left to do
    capsys.readouterr()
    assert cli.run(["add", f"{tmp_path}/text.mp4/", *where]) == 1
    out, err = capsys.readouterr()
    assert (
        out.startswith("add: 0 done, 1 set aside")
        and "text.mp4 is not a video that can be read" in err.splitlines()[-1]
    )
    assert cli.run(["add", str(tmp_path / "good.mp4"), *where]) == 0
    capsys.readouterr()
    assert cli.run(["drops", *where]) == 0
    assert "add    text  " in capsys.readouterr().out


# films that are broken, odd or replaced, through the whole way


def cut_in_half(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def overwrite(path: Path, packets: range) -> None:
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        spans = [(p.pos, p.size) for p in container.demux(video=0) if p.pos is not None and p.size]
    for start, size in (spans[n] for n in packets):
        data[start : start + size] = b"\xff" * size
    path.write_bytes(data)


def sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def raw(path: Path, parts: list[tuple[int, int]]) -> None:
    """A stream without timestamps, whose pictures change their size."""
    with path.open("wb") as file:
        for size in parts:
            part = path.with_name("part.h264")
            cartoon_film(part, 2, shots=1, size=size)
            file.write(part.read_bytes())
            part.unlink()


def backwards(path: Path) -> None:
    """Two films in one stream, the second from 0 again."""
    first, second = path.with_name("1.part.ts"), path.with_name("2.part.ts")
    for part in (first, second):
        cartoon_film(part, 2, shots=1)
    path.write_bytes(first.read_bytes() + second.read_bytes())
    for part in (first, second):
        part.unlink()


def odd_films(folder: Path) -> Path:
    """Films that a person may have: bad ones, odd ones and a good one."""
    folder.mkdir()
    cartoon_film(folder / "good.mp4", 4)
    cartoon_film(folder / "truncated.mkv", 4)
    cut_in_half(folder / "truncated.mkv")
    cartoon_film(folder / "no-index.mp4", 4)
    cut_in_half(folder / "no-index.mp4")
    cartoon_film(folder / "corrupt.mp4", 4)
    overwrite(folder / "corrupt.mp4", range(40, 43))
    (folder / "empty.mkv").touch()
    cartoon_film(folder / "a.avi", 4)
    (folder / "a.avi").rename(folder / "wrong-name.mp4")
    (folder / "text.avi").write_text("no film")
    sound(folder / "sound.mp4")
    raw(folder / "resized.ts", [(128, 96), (160, 96)])
    backwards(folder / "backwards.ts")
    numbered_film(folder / "one.mp4", 1, 24)
    return folder


BAD = ("no-index", "empty", "text", "sound")
GOOD = ("good", "truncated", "corrupt", "wrong-name", "resized", "backwards", "one")


def test_bad_and_odd_films_go_the_whole_way(empty: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("-p", str(empty.folder))
    folder = odd_films(tmp_path / "films")
    assert cli.run(["add", str(folder), *where]) == 0
    out, err = capsys.readouterr()
    assert f"add: {len(GOOD)} done, {len(BAD)} set aside" in out and "Traceback" not in out + err
    assert {row["name"] for row in empty.rows("SELECT name FROM film")} == set(GOOD)
    assert cli.run(["shots", *where]) == 0
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    notes = {row["film"]: row["note"] for row in empty.rows("SELECT film, note FROM timeline")}
    assert "is broken from 0:01." in notes["corrupt"] and "breaks off after frame" in notes["truncated"]
    assert {name for name, note in notes.items() if note} - {"backwards"} == {"corrupt", "truncated"}
    frames = {row["film"]: row["frames"] for row in empty.rows("SELECT film, frames FROM timeline")}
    assert frames["good"] == frames["wrong-name"] == frames["resized"] == 96 and frames["one"] == 1
    assert frames["backwards"] > 80  # the last pictures before the seam are called damaged
    assert 20 < frames["truncated"] < 80 and 84 <= frames["corrupt"] < 96
    assert all(name in " ".join(out.split()) for name in ("corrupt", "truncated"))
    assert cli.run(["pick", "--auto", *where]) == 0
    assert cli.run(["export", *where]) == 0
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    exported = {row["film"] for row in empty.rows("SELECT DISTINCT film FROM item JOIN shot ON shot.name = item.shot")}
    picked = {
        row["film"] for row in empty.rows("SELECT DISTINCT film FROM pick JOIN shot ON shot.name = shot WHERE kept")
    }
    assert exported and exported == picked
    assert cli.run(["drops", *where]) == 0
    told = capsys.readouterr().out
    assert all(f"add    {name}" in told for name in BAD)


def test_a_film_replaced_under_the_same_name(
    empty: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("-p", str(empty.folder))
    film = tmp_path / "a.mp4"
    cartoon_film(film, 4)
    for command in (["add", str(film)], ["shots"], ["pick", "--auto"]):
        assert cli.run([*command, *where]) == 0
    cartoon_film(film, 3, shots=2)
    capsys.readouterr()
    assert cli.run(["export", *where]) == 1
    err = capsys.readouterr().err
    assert "has changed since it was added; run `sakuga add` and `sakuga shots` again" in " ".join(err.split())
    for command in (["add", str(film)], ["shots"], ["pick", "--auto"], ["export"]):
        assert cli.run([*command, *where]) == 0
    assert [row["last"] for row in empty.rows("SELECT last FROM shot ORDER BY first")] == [35, 71]


# model files and requests that cannot be: `generate` as a person calls it


TINY = FAMILY["tiny"].title
SMALL = ("--steps", "1", "--frames", "5", "--width", "48", "--height", "32")


def put(path: Path, content: bytes) -> None:
    """In the place of a file that other projects share."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def with_models(project: Project, **paths: str) -> None:
    for role, path in paths.items():
        change_config(project.folder / CONFIG, f"models.{role}", f'"{path}"')


def truncated(project: Project) -> None:
    file = project.folder / "models" / "transformer.safetensors"
    put(file, file.read_bytes()[:-1000])


def not_numbers(role: str, key: str) -> Callable[[Project], None]:
    def damage(project: Project) -> None:
        file = project.folder / "models" / role
        weights = {name: tensor.clone() for name, tensor in load_file(file).items()}
        weights[key].view(-1)[3] = float("nan")
        put(file, save(weights))

    return damage


def zipped(project: Project) -> None:
    with zipfile.ZipFile(project.folder / "zip.pth", "w") as archive:
        archive.writestr("readme.txt", "no checkpoint")
    with_models(project, transformer="zip.pth")


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path("ran").touch, ()


def with_code(project: Project) -> None:
    torch.save({"blocks.0.ffn.0.weight": Code()}, project.folder / "code.pth")
    with_models(project, transformer="code.pth")


def no_tokenizer(project: Project) -> None:
    (project.folder / "empty").mkdir()
    with_models(project, tokenizer="empty")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncated, "models/transformer.safetensors is cut short: 0.00"),
        (
            not_numbers("transformer.safetensors", "blocks.1.ffn.0.weight"),
            "holds what are no numbers (NaN or infinite) in blocks.1.ffn.0.weight as float32; download it again",
        ),
        (
            not_numbers("text_encoder/model.safetensors", "encoder.block.1.layer.0.SelfAttention.k.weight"),
            "no numbers (NaN or infinite) in encoder.block.1.layer.0.SelfAttention.k.weight as float32; download it again",
        ),
        (
            zipped,
            "zip.pth cannot be read as weights: it is damaged, or not a plain table of weights; download it again",
        ),
        (with_code, "code.pth cannot be read as weights: it is damaged, or not a plain table of weights; download it"),
        (no_tokenizer, "empty holds no tokenizer; give the folder with tokenizer.json or spiece.model"),
        (
            lambda project: with_models(project, tokenizer="nowhere"),
            "tiny cannot be used yet: models.tokenizer = 'nowhere' is not there; correct it in sakuga.toml",
        ),
    ],
)
def test_model_files_that_cannot_be(said: Said, empty: Project, damage: Callable[[Project], None], words: str) -> None:
    damage(empty)
    assert words in said("generate", "a cat", *SMALL)
    assert not Path("ran").exists() and not list(empty.folder.glob("generated/*"))


def lora_file(
    path: Path, width: int = 192, ranks: Sequence[int] = (4, 4), halves: int = 0, number: float = 1.0
) -> None:
    """A LoRA of two layers of these ranks; `halves` is what the second half of each has more, `number` one value of it."""
    made = {}
    for layer, rank in enumerate(ranks):
        name = f"diffusion_model.blocks.{layer}.self_attn.q"
        made[f"{name}.lora_A.weight"] = torch.full((rank, width), 0.01)
        made[f"{name}.lora_B.weight"] = torch.full((width, rank + halves), 0.01)
        made[f"{name}.lora_B.weight"][0, 0] = number
    path.write_bytes(save(made))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            {"width": 5120},
            "l.safetensors was made for another model: its blocks.0.self_attn.q is 5120 x 5120, this model's",
        ),
        (
            {"halves": 4},
            "l.safetensors: the halves of blocks.0.self_attn.q have ranks 4 and 8; the file is damaged, take",
        ),
        (
            {"number": float("nan")},
            "l.safetensors: blocks.0.self_attn.q is not made of numbers that a LoRA can have; the",
        ),
    ],
)
def test_loras_that_cannot_be(said: Said, empty: Project, made: dict[str, Any], words: str) -> None:
    lora_file(empty.folder / "l.safetensors", **made)
    assert words in said("generate", "a cat", "--lora", "l.safetensors", *SMALL)


def test_a_lora_whose_layers_have_different_ranks_is_a_lora(
    empty: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(empty.folder)
    lora_file(empty.folder / "l.safetensors", ranks=(4, 8))
    assert cli.run(["generate", "a cat", "--lora", "l.safetensors", *SMALL]) == 0
    out = capsys.readouterr().out
    assert "LoRA: l)" in out and "not used" not in out


@pytest.mark.parametrize("prompt", ["", " \n"])
def test_an_empty_prompt(said: Said, prompt: str) -> None:
    assert said("generate", prompt, *SMALL) == "a prompt is empty; say what should be seen"


def test_what_generation_rounds_and_what_it_does_not_read_is_said(
    empty: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(empty.folder)
    assert cli.run(["generate", "a cat", *SMALL]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    long = "a girl runs along the sea wall " * 715  # 5,005 words
    assert cli.run(["generate", long, "--steps", "1", "--frames", "10", "--width", "50", "--height", "45"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "(48x32, 9 frames, LoRA: none)" in out
    assert f"50 pixels wide were asked for and 48 made: {TINY} takes multiples of 16" in out
    assert f"45 pixels high were asked for and 32 made: {TINY} takes multiples of 16" in out
    assert f"10 frames were asked for and 9 made: {TINY} takes 1, 5, 9 and so on" in out
    assert "the prompt is longer than the text encoder reads (32 tokens): it was read as far as '" in out
    capsys.readouterr()
    assert cli.run(["generate", long, "--negative", long, *SMALL, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["told"]
    assert [words.partition(" is longer")[0] for words in told] == ["the prompt", "the negative prompt"]


def test_82_frames_are_81(empty: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(empty.folder)
    assert cli.run(["generate", "a cat", "--steps", "1", "--frames", "82", "--width", "32", "--height", "32"]) == 0
    assert "82 frames were asked for and 81 made" in " ".join(capsys.readouterr().out.split())


def test_a_caption_that_is_cut_is_named_by_lint(exported: Project, capsys: pytest.CaptureFixture[str]) -> None:
    words = exported.folder / "dataset" / "clips" / "film_000000.txt"
    words.write_text("MyStyle. " + "a girl runs along the sea wall " * 715, "utf-8")
    assert cli.run(["lint", "--rule", "too-long", "-p", str(exported.folder)]) in (0, 1)
    out = " ".join(capsys.readouterr().out.split())
    assert "film_000000" in out and "tokens; the text encoder reads" in out
