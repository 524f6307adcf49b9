"""adopt: a person's folder becomes items as it is, and nothing in it is ever written, moved or removed."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from films import numbered_film, read_number
from sakuga import api
from sakuga.cli import run
from sakuga.core import captions
from sakuga.core.dataset import item_facts
from sakuga.core.errors import SakugaError
from sakuga.core.project import Project
from sakuga.core.settings import CacheSettings, Settings
from sakuga.core.stage import Scratch, inline

CONFIG = """
model = "tiny"
trigger = "MyStyle"

[sections.clips]
resolution = [64, 64]
rule = "chunk"
frames = [9]

[sections.stills]
items = "stills"
resolution = [64, 64]
"""


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same work in this process: quicker for files as small as these."""
    for name in ("add", "shots", "export", "adopt", "check"):
        module = import_module(f"sakuga.stages.{name}")
        monkeypatch.setattr(module, "STAGE", replace(module.STAGE, context=inline))


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with opened(tmp_path / "p") as project:
        yield project


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder as LoRA makers have it: a clip of 24 fps and a picture with words, a clip in folders without."""
    clip(tmp_path / "mine" / "a.mp4", rate=24, words="MyStyle. a girl runs")
    picture(tmp_path / "mine" / "Ünï 1.png", words="MyStyle. a boat")
    clip(tmp_path / "mine" / "run" / "fast" / "b.mkv", rate=16)
    return tmp_path / "mine"


def opened(folder: Path) -> Project:
    folder.mkdir(parents=True)
    (folder / "sakuga.toml").write_text(CONFIG, "utf-8")
    return Project(folder)


def clip(path: Path, frames: int = 20, rate: int = 16, words: str | None = None, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    say(path, words)
    return numbered_film(path, frames, rate, (64, 48), **more)


def picture(path: Path, words: str | None = None, colour: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    say(path, words)
    Image.new("RGB", (80, 60), (colour, 0, 0)).save(path)
    return path


def say(path: Path, words: str | None) -> None:
    if words is not None:
        path.with_suffix(".txt").write_text(words, "utf-8")


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder, with when it was written and what it holds."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def items(project: Project) -> list[str]:
    return [row["name"] for row in project.rows("SELECT name FROM item ORDER BY name")]


def words(project: Project) -> dict[str, str]:
    return {name: caption.text for name, caption in captions.current(project).items()}


def kept(project: Project, item: str) -> Path:
    return project.folder / "dataset" / "adopted" / f"{item}.txt"


def found(project: Project) -> list[tuple[str, str]]:
    return [(f["item"], f["rule"]) for f in api.check(project) if f["severity"] != "advice"]


def test_a_folder_becomes_items_with_their_words_and_tags(project: Project, mine: Path) -> None:
    before = tree(mine)
    summary = api.adopt(project, [mine])
    assert (len(summary.done), summary.failed) == (3, {})
    columns = "name, kind, file, width, height, frames, fps, tags, folder, times"
    assert [tuple(row.values()) for row in project.rows(f"SELECT {columns} FROM item ORDER BY name")] == [
        ("mine/a", "clip", "../mine/a.mp4", 64, 48, 20, "24", "[]", "mine", None),
        ("mine/run/fast/b", "clip", "../mine/run/fast/b.mkv", 64, 48, 20, "16", '["run", "fast"]', "mine", None),
        ("mine/Ünï 1", "still", "../mine/Ünï 1.png", 80, 60, 1, "0", "[]", "mine", None),
    ]
    assert captions.current(project) == {
        "mine/a": captions.Caption("MyStyle. a girl runs", captions.PERSON),
        "mine/Ünï 1": captions.Caption("MyStyle. a boat", captions.PERSON),
    }
    assert [fact.frames for fact in item_facts(project)] == [14, 20, 1]  # at the model's 16 fps
    api.caption(project)
    assert found(project) == [("mine/run/fast/b", "caption-short")]
    assert api.plan(project).sections == {"clips": {"samples": 3}, "stills": {"samples": 1}}
    assert tree(mine) == before


def test_what_is_taken_out_of_the_project_stays_in_its_folder(project: Project, mine: Path) -> None:
    before = tree(mine)
    for _ in range(2):
        api.adopt(project, [mine])
        api.caption(project)
        assert project.rows("SELECT path FROM output WHERE path NOT LIKE 'dataset/adopted/%'") == []
        summary = api.adopt(project, remove=[mine])
        assert len(summary.retired) == 3 and items(project) == []
        api.caption(project)
        assert not list((project.folder / "dataset").rglob("*.txt"))  # the project's own
        assert tree(mine) == before
    assert words(project)["mine/a"] == "MyStyle. a girl runs"  # the history stays


def test_words_of_a_stage_stand_in_the_project(project: Project, mine: Path) -> None:
    before = tree(mine)
    api.adopt(project, [mine])
    api.caption(project, template="{trigger}. a clip")
    assert kept(project, "mine/run/fast/b").read_text("utf-8") == "MyStyle. a clip\n"
    assert not kept(project, "mine/a").exists()
    kept(project, "mine/run/fast/b").write_text("MyStyle. a dog", "utf-8")
    api.caption(project, template="{trigger}. another clip")
    assert words(project)["mine/run/fast/b"] == "MyStyle. a dog"
    assert kept(project, "mine/run/fast/b").read_text("utf-8") == "MyStyle. a dog\n"
    kept(project, "mine/run/fast/b").write_text("MyStyle. a wolf", "utf-8")
    api.adopt(project, remove=[mine])
    api.caption(project)
    api.adopt(project, [mine])
    api.caption(project)
    assert kept(project, "mine/run/fast/b").read_text("utf-8") == "MyStyle. a wolf\n"
    assert tree(mine) == before


def test_words_beside_the_file_go_before_those_in_the_project(project: Project, mine: Path) -> None:
    api.adopt(project, [mine])
    api.caption(project)
    beside = mine / "run" / "fast" / "b.txt"
    beside.write_text("MyStyle. a cat", "utf-8")
    api.caption(project)
    assert words(project)["mine/run/fast/b"] == "MyStyle. a cat"
    assert not kept(project, "mine/run/fast/b").exists() and beside.read_text("utf-8") == "MyStyle. a cat"
    beside.write_text(" \n", "utf-8")
    api.caption(project, template="{trigger}. a clip")
    assert kept(project, "mine/run/fast/b").read_text("utf-8") == "MyStyle. a clip\n"
    assert beside.read_text("utf-8") == " \n" and words(project)["mine/run/fast/b"] == "MyStyle. a clip"
    assert api.caption(project, template="{trigger}. a clip").failed == {}
    assert api.caption(project, template="{trigger}. a clip").done == []


def test_captions_in_other_encodings(project: Project, mine: Path) -> None:
    (mine / "a.txt").write_bytes("MyStyle. ein Mädchen läuft".encode("utf-16"))
    latin = "MyStyle. ein Mädchen läuft".encode("latin-1")
    (mine / "run" / "fast" / "b.txt").write_bytes(latin)
    api.adopt(project, [mine])
    api.caption(project)
    assert words(project)["mine/a"] == "MyStyle. ein Mädchen läuft"
    assert found(project) == [("mine/run/fast/b", "caption-unreadable")]
    assert "mine/run/fast/b" not in words(project)  # the template's words would hide the fault
    assert (mine / "run" / "fast" / "b.txt").read_bytes() == latin


def test_an_unreadable_caption_of_an_exported_clip_stays_too(project: Project, tmp_path: Path) -> None:
    export(project, tmp_path)
    (sidecar,) = (project.folder / "dataset" / "clips").glob("*.txt")
    latin = "ein Mädchen".encode("latin-1")
    sidecar.write_bytes(latin)
    assert api.caption(project, template="{trigger}. something else").failed == {}
    assert sidecar.read_bytes() == latin


def export(project: Project, tmp_path: Path) -> None:
    """A clip and a still of a film, with captions."""
    api.add(project, [clip(tmp_path / "films" / "film.mp4", 30)])
    api.shots(project, min_seconds=10)
    api.pick(project, auto=True)
    api.export(project)
    api.caption(project)


def test_what_cannot_be_read_is_set_aside_and_the_rest_goes_on(project: Project, mine: Path) -> None:
    (mine / "zero.mp4").write_bytes(b"")
    (mine / "notes.webm").write_text("hello\n" * 300)
    (mine / "head.mkv").write_bytes((mine / "run" / "fast" / "b.mkv").read_bytes()[:600])  # no frame left
    (mine / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no")
    (mine / "gone.png").symlink_to(mine / "nowhere.png")
    (mine / "captions.json").write_text('{"a.mp4": ["hello"]')
    summary = api.adopt(project, [mine])
    names = ("zero", "notes", "head", "broken", "gone", "captions.json")
    assert summary.failed.keys() == {f"adopted:mine/{name}" for name in names}
    assert all(reason and "\n" not in reason for reason in summary.failed.values())
    assert "zero.mp4 is not a video that can be read: it is empty" in summary.failed["adopted:mine/zero"]
    assert "captions.json is not JSON; mend it" in summary.failed["adopted:mine/captions.json"]
    assert items(project) == ["mine/a", "mine/run/fast/b", "mine/Ünï 1"]
    for name in ("zero.mp4", "notes.webm", "head.mkv", "broken.jpg", "gone.png", "captions.json"):
        (mine / name).unlink()
    summary = api.adopt(project)
    assert summary.failed == {} and summary.done == [] and len(summary.unchanged) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_set_aside(project: Project, mine: Path) -> None:
    for name in (b"caf\xe9.png", b"caf\xe8.png"):
        shutil.copy(mine / "Ünï 1.png", os.fsencode(mine) + b"/" + name)
    summary = api.adopt(project, [mine])
    assert list(summary.failed) == [f"adopted:mine/caf\\udc{byte}" for byte in ("e8", "e9")]
    assert all("is not UTF-8; rename the file" in reason for reason in summary.failed.values())
    assert len(items(project)) == 3


def test_a_name_that_leaves_no_room_for_words_is_set_aside(project: Project, mine: Path) -> None:
    long = "n" * 251
    picture(mine / f"{long}.png", words="MyStyle. just fits")
    shutil.copy(mine / "Ünï 1.png", mine / f"{'o' * 250}.avif")  # with 250 + 4 bytes its words fit beside it
    shutil.copy(mine / "run" / "fast" / "b.mkv", mine / f"{'t' * 252}.ts")
    for suffix in ("mp4", "png"):  # two of one stem go by their whole names, and their words would too
        shutil.copy(mine / "a.mp4" if suffix == "mp4" else mine / "Ünï 1.png", mine / f"{'p' * 250}.{suffix}")
    summary = api.adopt(project, [mine])
    assert sorted(name[13:15] for name in summary.failed) == ["pp", "pp", "tt"]
    assert all("leaves no room for a .txt beside it; rename the file" in why for why in summary.failed.values())
    assert api.caption(project).failed == {}
    assert words(project)[f"mine/{long}"] == "MyStyle. just fits" and captions.sync(project) == {}
    assert kept(project, f"mine/{'o' * 250}").is_file()


def test_a_clip_that_breaks_off_is_told_by_check(project: Project, mine: Path) -> None:
    long = clip(mine / "long.mp4", 60, words="MyStyle. a long clip")
    with av.open(str(long)) as container:
        spans = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.pos is not None]
    data = bytearray(long.read_bytes())
    for start, size in spans[30:]:
        data[start : start + size] = b"\xff" * size
    long.write_bytes(data)
    assert api.adopt(project, [mine]).failed == {}
    (row,) = project.rows("SELECT frames FROM item WHERE name = 'mine/long'")
    assert 9 < row["frames"] <= 30
    (reason,) = (f["reason"] for f in api.check(project) if f["item"] == "mine/long")
    assert f"breaks off after frame {row['frames']}" in reason


def test_a_long_clip_gives_signs_of_progress(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sakuga.stages import adopt

    monkeypatch.setattr(adopt, "SIGN_EVERY", 8)
    signs: list[int] = []
    facts = dict.fromkeys(("name", "file", "sha256", "tags", "folder"), "") | {"path": str(mine / "a.mp4")}
    adopt._work(facts, Settings(), Scratch(tmp_path, report=signs.append))
    assert signs == [0, 0, 0]  # at frames 0, 8 and 16 of 20: no units of work, but alive


def test_every_file_has_a_name_of_its_own(project: Project, tmp_path: Path) -> None:
    for number, way in enumerate(("one/set/1.png", "two/set/1.png", "two/set/sub/1.png", "three/clips/1.png")):
        picture(tmp_path / way, words=way, colour=number)
    picture(tmp_path / "one" / "set" / "2.png", colour=9)
    clip(tmp_path / "one" / "set" / "2.mp4")
    picture(tmp_path / "one" / "set" / "2.mp4.jpg", colour=10)
    picture(tmp_path / "one" / "set" / "captions.json.png", colour=11)
    (tmp_path / "one" / "set" / "captions.json").write_text("[]")
    api.adopt(project, [tmp_path / "one" / "set", tmp_path / "two" / "set", tmp_path / "three" / "clips"])
    assert items(project) == [
        "clips-2/1", "set-2/1", "set-2/sub/1",
        "set/1", "set/2.mp4", "set/2.mp4.jpg", "set/2.png", "set/captions.json.png",
    ]  # fmt: skip
    said = words(project)
    assert (said["set/1"], said["set-2/1"], said["clips-2/1"]) == (
        "one/set/1.png",
        "two/set/1.png",
        "three/clips/1.png",
    )
    api.adopt(project, remove=["set"])
    picture(tmp_path / "four" / "set" / "1.png", colour=12)
    api.adopt(project, [tmp_path / "four" / "set"])
    assert "set-3/1" in items(project)  # a name that is free again may have words in the history
    assert "set-3/1" not in words(project)


def test_a_file_is_one_item_however_often_its_folder_is_named(project: Project, mine: Path) -> None:
    (mine / "loop").symlink_to(mine)
    api.adopt(project, [mine / "run", mine, mine])
    assert items(project) == ["mine/a", "mine/Ünï 1", "run/fast/b"]
    api.adopt(project, remove=[mine / "run"])
    assert items(project) == ["mine/a", "mine/run/fast/b", "mine/Ünï 1"]


def test_hidden_files_and_what_the_project_makes_are_left_alone(project: Project, mine: Path, tmp_path: Path) -> None:
    picture(mine / "._a.png")
    picture(mine / ".thumbnails" / "x.png")
    export(project, tmp_path)
    before = project.rows("SELECT * FROM item ORDER BY name")
    assert len(before) == 2
    picture(project.folder / "dataset" / "extra" / "e.png")
    api.adopt(project, [tmp_path])
    name = tmp_path.name
    ours = [f"{name}/films/film", f"{name}/mine/a", f"{name}/mine/run/fast/b", f"{name}/mine/Ünï 1"]
    assert items(project) == sorted([*(row["name"] for row in before), f"{name}/p/dataset/extra/e", *ours])
    api.adopt(project, remove=[tmp_path])
    api.export(project)
    assert project.rows("SELECT * FROM item ORDER BY name") == before
    assert [f for f in api.check(project) if f["severity"] != "advice"] == []
    with pytest.raises(SakugaError, match="is what this project makes itself"):
        api.adopt(project, [project.folder / "dataset" / "clips"])


def test_rows_of_export_and_adopt_never_meet(project: Project, tmp_path: Path) -> None:
    export(project, tmp_path)
    exported = project.rows("SELECT * FROM item")
    picture(tmp_path / "film_000000" / "film_000000.png")
    picture(tmp_path / "clips" / "film_000000.png")
    api.adopt(project, [tmp_path / "film_000000", tmp_path / "clips"])
    adopted = project.rows("SELECT * FROM item WHERE folder IS NOT NULL")
    assert len(adopted) == 2
    api.export(project, stills=0)
    api.export(project)
    api.check(project)
    api.check(project, min_words=5)
    assert project.rows("SELECT * FROM item WHERE folder IS NOT NULL") == adopted
    api.adopt(project, remove=["film_000000", tmp_path / "clips"])
    assert project.rows("SELECT * FROM item") == exported


def test_only_what_is_new_or_changed_is_read_again(project: Project, mine: Path) -> None:
    api.adopt(project, [mine])
    assert api.adopt(project).done == []
    picture(mine / "new.png")
    clip(mine / "a.mp4", 12, 24)
    assert ("mine/a", "changed") in found(project)
    assert sorted(api.adopt(project).done) == ["adopted:mine/a", "adopted:mine/new"]
    assert project.rows("SELECT frames FROM item WHERE name = 'mine/a'") == [{"frames": 12}]
    assert ("mine/a", "changed") not in found(project)
    (mine / "new.png").unlink()
    assert ("mine/new", "missing") in found(project)
    assert api.adopt(project).retired == ["adopted:mine/new"]


def test_lists_of_captions_are_read_where_no_words_are_beside(project: Project, mine: Path) -> None:
    for name in ("c", "d", "e", "f", "g"):
        picture(mine / "run" / f"{name}.png")
    picture(mine / "d.png")
    listed = {"Ünï 1.png": ["from the list"], "c.png": ["MyStyle. see", "again", "and again"], "x.png": "?"}
    listed["g.png"] = ["MyStyle. gee \ud800", "second"]  # half a character, as JSON can have it
    (mine / "run" / "captions.json").write_text(json.dumps(listed), "utf-8")
    lines = [
        {"image_path": str(mine / "run" / "d.png"), "caption": "MyStyle. dee"},
        {"file_name": "C:\\old\\e.png", "text": "MyStyle. éé"},
        {"video_path": "run/fast/b.mkv", "caption": "MyStyle. bee"},
        {"file_name": "Ünï 1.png", "text": "from the list"},
        {"file_name": "c.png", "text": "another see"},
        {"file_name": "f.png", "text": 5},
        {"other": 1},
    ]
    (mine / "metadata.jsonl").write_bytes("\r\n".join(json.dumps(line) for line in lines).encode())
    summary = api.adopt(project, [mine])
    assert list(summary.failed.values()) == ["metadata.jsonl: the caption of f.png is no text; mend it"]
    said = {name: words(project)[f"mine/run/{name}"] for name in ("c", "d", "e", "fast/b", "g")}
    assert said == {
        "c": "another see", "d": "MyStyle. dee", "e": "MyStyle. éé", "fast/b": "MyStyle. bee", "g": "MyStyle. gee ?",
    }  # fmt: skip
    history = project.rows("SELECT text FROM caption WHERE item IN ('mine/Ünï 1', 'mine/d')")
    assert history == [{"text": "MyStyle. a boat"}]
    reasons = {(f["item"], f["rule"]): f["reason"] for f in api.check(project)}
    assert reasons["mine/run/captions.json", "further-captions"].startswith("further captions that were left aside: 4;")
    # of Ünï 1, which is not in the list's folder, and x
    assert reasons["mine/run/captions.json", "unknown-files"].startswith("2 of its files are not in the folder")


def test_a_list_that_changes_and_a_person_who_edits(project: Project, mine: Path) -> None:
    def listed(text: str) -> None:
        (mine / "captions.json").write_text(json.dumps({"run/fast/b.mkv": text}), "utf-8")
        api.adopt(project)

    def now() -> str:
        api.caption(project)
        written = kept(project, "mine/run/fast/b").read_text("utf-8").strip()
        assert words(project)["mine/run/fast/b"] == written
        return written

    (mine / "run" / "fast" / "b.txt").touch()
    api.adopt(project, [mine])
    assert now() == "MyStyle."
    listed("one")
    assert now() == "one"
    kept(project, "mine/run/fast/b").write_text("a person's", "utf-8")
    listed("one")
    clip(mine / "run" / "fast" / "b.mkv", 25)
    api.adopt(project)
    assert now() == "a person's"
    listed("two")
    assert now() == "two"
    listed("one")
    assert now() == "one"
    (mine / "captions.json").unlink()
    api.adopt(project)
    assert now() == "one"


def test_frames_are_those_a_player_shows_whatever_the_rate(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sakuga.stages.cache import _items, pixels

    monkeypatch.setattr("sakuga.core.models.of_project", lambda project: dict.fromkeys(("vae", "text", "tokenizer")))
    monkeypatch.setattr("sakuga.core.models.content_hash", lambda *which: "")  # no model is needed to read frames
    steps = [40] * 12 + [125] * 4 + [10] * 10 + [300]  # ms
    stamps = [sum(steps[:n]) for n in range(len(steps))]
    clip(tmp_path / "mine" / "varying.mkv", len(steps), 24, "", pts=stamps, time_base=Fraction(1, 1000))
    clip(tmp_path / "mine" / "film.mp4", 30, 24, "x")
    api.adopt(project, [tmp_path / "mine"])
    api.caption(project, template="a clip")
    times = {"varying": stamps, "film": [1000 * Fraction(n, 24) for n in range(30)]}
    ends = {"varying": stamps[-1] + 10, "film": 1250}  # the last frame is shown as long as the one before
    for fact in item_facts(project):
        assert fact.frames == -(-ends[fact.name.removeprefix("mine/")] * 16 // 1000)
    api.plan(project)
    latents = [item.facts for item in _items(project, CacheSettings()) if item.facts["kind"] == "latent"]
    assert {(facts["item"], facts["start"]) for facts in latents} == {
        ("mine/varying", 0), ("mine/varying", 9), ("mine/film", 0), ("mine/film", 9)
    }  # fmt: skip
    for facts in latents:
        read = ((pixels(facts)[0].permute(1, 2, 3, 0) + 1) * 127.5).round().numpy().astype(np.uint8)
        moments = [Fraction(1000 * (facts["start"] + k), 16) for k in range(facts["frames"])]
        shown = times[facts["item"].removeprefix("mine/")]
        assert [read_number(rgb) for rgb in read] == [max(n for n, t in enumerate(shown) if t <= m) for m in moments]


@pytest.mark.parametrize("along", [True, False], ids=["with its folder", "alone"])
def test_a_project_that_moves_finds_its_files(mine: Path, tmp_path: Path, along: bool) -> None:
    with opened(tmp_path / "p") as project:
        api.adopt(project, [mine])
        api.caption(project)
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "p").rename(tmp_path / "elsewhere" / "deep" / "p")
    if along:
        mine = mine.rename(tmp_path / "elsewhere" / "deep" / "mine")
    with Project(tmp_path / "elsewhere" / "deep" / "p") as project:
        assert project.path("../mine/a.mp4") == mine / "a.mp4"
        assert found(project) == [("mine/run/fast/b", "caption-short")]
        (mine / "a.txt").write_text("MyStyle. a girl walks", "utf-8")
        assert captions.sync(project) == {} and words(project)["mine/a"] == "MyStyle. a girl walks"
        assert api.adopt(project).done == []


def test_a_folder_inside_the_project_and_one_on_another_drive(project: Project, mine: Path) -> None:
    picture(project.folder / "own" / "o.png", words="MyStyle. own words")
    api.adopt(project, [project.folder / "own", mine])
    assert project.rows("SELECT file FROM item WHERE folder = 'own'") == [{"file": "own/o.png"}]
    project.db.execute("UPDATE source_folder SET relative = NULL WHERE name = 'mine'")  # as Windows has it
    api.adopt(project)
    files = {row["file"] for row in project.rows("SELECT file FROM item WHERE folder = 'mine'")}
    assert files == {(mine / way).as_posix() for way in ("a.mp4", "Ünï 1.png", "run/fast/b.mkv")}
    api.caption(project)
    assert found(project) == [("mine/run/fast/b", "caption-short"), ("own/o", "twice")]
    (mine / "a.txt").write_text("MyStyle. a girl walks", "utf-8")
    captions.sync(project)
    assert words(project)["mine/a"] == "MyStyle. a girl walks"
    assert kept(project, "mine/run/fast/b").exists()


def test_a_folder_whose_disk_is_away_stays_known(project: Project, mine: Path, tmp_path: Path) -> None:
    api.adopt(project, [mine])
    before = project.rows("SELECT * FROM item ORDER BY name")
    mine.rename(tmp_path / "away")
    picture(tmp_path / "other" / "o.png")
    summary = api.adopt(project, [tmp_path / "other"])
    assert summary.done == ["adopted:other/o"] and list(summary.failed) == ["adopted:mine"]
    assert "mine is not there; bring it back" in summary.failed["adopted:mine"]
    assert project.rows("SELECT * FROM item WHERE folder = 'mine' ORDER BY name") == before
    assert api.adopt(project, [tmp_path / "away"]).failed == {}  # it was moved
    assert items(project) == [*(row["name"] for row in before), "other/o"]
    assert project.rows("SELECT file FROM item WHERE name = 'mine/a'") == [{"file": "../away/a.mp4"}]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("mine/a.mp4", r"a\.mp4 is a file; name the folder it is in, or `sakuga add` it"),
        ("nowhere", "nowhere is not there; check the path"),
        ("empty", "empty holds no clip and no picture"),
        (None, "no folder is adopted yet; name one"),
    ],
)
def test_what_cannot_be_adopted_is_refused(
    project: Project, mine: Path, tmp_path: Path, given: str | None, sentence: str
) -> None:
    (tmp_path / "empty" / "a.png").mkdir(parents=True)  # a folder that is named like a picture is none
    with pytest.raises(SakugaError, match=sentence):
        api.adopt(project, [mine, tmp_path / given] if given else [])
    assert project.rows("SELECT * FROM source_folder") == []
    with pytest.raises(SakugaError, match="mine is not a folder that was adopted; these are: none"):
        api.adopt(project, remove=[mine])


def test_the_command(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()  # in processes, as it is
    opened(tmp_path / "p").close()
    monkeypatch.chdir(tmp_path / "p")
    (mine / "zero.mp4").write_bytes(b"")
    assert run(["adopt", "../mine", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert list(shown["failed"]) == ["adopted:mine/zero"]
    assert [(i["name"], i["tags"], i["captioned"]) for i in shown["items"]] == [
        ("mine/a", [], True), ("mine/run/fast/b", ["run", "fast"], False), ("mine/Ünï 1", [], True),
    ]  # fmt: skip
    assert run(["adopt"]) == 0
    assert "mine        2       1          2" in capsys.readouterr().out
    assert run(["adopt", "--remove", "../mine"]) == 0 and run(["adopt"]) == 1
