"""Captions by a server and by a model on this machine: what is shown and asked, what lands, what is made anew."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from chat_server import CAPTION, KEY, Play, serving
from sakuga import api
from sakuga.core import captions, server
from sakuga.core.errors import Halt, SakugaError
from sakuga.core.project import Project, change_config
from sakuga.core.server import options_of
from sakuga.core.settings import CaptionSettings
from sakuga.stages.caption.backends import smaller, spread
from tiny_vision import write_vision_model

CLIP, STILL = "clips/film_000000", "stills/film_000012"
MODEL = "qwen2.5vl:7b"


class Told:
    """What a watcher was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.said: list[str] = []

    def start(self, what: str, total: int | None, unit: str = "items", done: int = 0) -> None: ...

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.notes.append(note)

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def play() -> Play:
    return Play()


@pytest.fixture
def url(play: Play) -> Iterator[str]:
    with serving(play) as url:
        yield url


def by_server(project: Project, url: str, **settings: Any) -> Any:
    return api.caption(project, backend="server", url=url, model=MODEL, **settings)


def parts(body: dict[str, Any]) -> list[dict[str, Any]]:
    return list(body["messages"][0]["content"])


def asked(body: dict[str, Any]) -> str:
    return str(parts(body)[-1]["text"])


def sent(part: dict[str, Any]) -> bytes:
    return base64.b64decode(
        next(iter(part.values() if "type" not in part else [part[part["type"]]]))["url"].partition(",")[2]
    )


def stored(project: Project) -> bytes:
    """All that the project keeps."""
    return b"".join(
        p.read_bytes() for p in sorted(project.folder.rglob("*")) if p.is_file() and "models" not in p.parts
    )


def test_frames_are_spread_over_a_clip() -> None:
    assert spread(81, 5) == [0, 20, 40, 60, 80] and spread(3, 8) == [0, 1, 2]
    assert spread(9, 1) == [4] and spread(1, 1) == [0] and spread(1, 4) == [0]


def test_pictures_are_shrunk_and_never_enlarged() -> None:
    rgb = av.VideoFrame(200, 100, "rgb24").to_ndarray()
    assert smaller(rgb, 50).shape == (25, 50, 3) and smaller(rgb, 400) is rgb


def test_a_server_captions_clips_and_stills(exported: Project, play: Play, url: str) -> None:
    told = Told()
    summary = by_server(exported, url, frames=3, size=64, progress=told, price_in=1.0, price_out=4.0)
    assert len(summary.done) == 8 and not summary.failed and len(play.bodies) == 8
    words = captions.current(exported)
    assert set(words.values()) == {captions.Caption(f"MyStyle. {CAPTION}", f"server: {MODEL}")}
    assert (exported.folder / "dataset" / f"{CLIP}.txt").read_text("utf-8") == f"MyStyle. {CAPTION}\n"
    clips = [body for body in play.bodies if len(parts(body)) == 4]
    stills = [body for body in play.bodies if len(parts(body)) == 2]
    assert len(clips) == len(stills) == 4
    picture = Image.open(BytesIO(sent(parts(clips[0])[0])))
    assert picture.format == "JPEG" and max(picture.size) == 64
    assert asked(clips[0]).endswith("The 3 pictures are from these times, in seconds: 0.00, 0.38, 0.75.")
    assert "It lasts 0.8 s." in asked(clips[0]) and "It lasts" not in asked(stills[0])
    assert 'Begin with exactly "MyStyle. "' in asked(clips[0])
    assert clips[0]["max_tokens"] == 512 and clips[0]["stream"] is False and "temperature" not in clips[0]
    assert told.said == ["caption: 8,000 tokens read, 400 written, cost 0.0096"]
    assert told.notes[0].endswith("; 1,000 tokens read, 50 written, cost 0.0012") or "tokens read" in told.notes[0]
    assert by_server(exported, url, frames=3, size=64).done == [] and len(play.bodies) == 8


def test_a_clip_may_be_shown_as_video(exported: Project, play: Play, url: str) -> None:
    by_server(exported, url, video=True, size=64, item=["clips/*"])
    assert len(play.bodies) == 4 and [part["type"] for part in parts(play.bodies[0])] == ["video_url", "text"]
    with av.open(BytesIO(sent(parts(play.bodies[0])[0]))) as video:
        assert sum(1 for _ in video.decode(video=0)) == 13 and video.streams.video[0].width == 64
    assert "from these times" not in asked(play.bodies[0])


def test_settings_of_the_body() -> None:
    way = CaptionSettings(max_tokens=100, seed=3, temperature=0.5, extra={"top_p": 0.9, "seed": 4})
    assert options_of(way) == {"max_tokens": 100, "seed": 4, "temperature": 0.5, "top_p": 0.9}
    assert options_of(CaptionSettings(extra={"max_completion_tokens": 9})) == {"max_completion_tokens": 9}


def test_requests_are_under_way_at_once(exported: Project, play: Play, url: str) -> None:
    play.seconds = 0.3
    by_server(exported, url, concurrency=4, frames=1)
    assert play.most == 4
    play.most = 0
    by_server(exported, url, concurrency=1, frames=2)
    assert play.most == 1


def test_each_kind_has_a_backend_of_its_own(exported: Project, play: Play, url: str) -> None:
    config = exported.folder / "sakuga.toml"
    for key, value in {
        "caption.backend": "server", "caption.url": url, "caption.model": MODEL, "caption.clips.frames": "2",
        "caption.stills.backend": "template",
    }.items():  # fmt: skip
        change_config(config, key, value)
    with Project(exported.folder) as project:
        assert sorted(api.caption(project).done) == [f"clips/film_{n:06}" for n in (0, 24, 48, 72)]
        words = captions.current(project)
        assert words[CLIP].origin == f"server: {MODEL}" and words[STILL].origin == "template"
        assert len(parts(play.bodies[0])) == 3
        change_config(config, "caption.clips.frames", "4")
        change_config(config, "caption.size", "100")
    with Project(exported.folder) as project:
        stale = [item for item in api.status(project)["stale"] if item["stage"] == "caption"]
        assert [item["item"] for item in stale] == [f"clips/film_{n:06}" for n in (0, 24, 48, 72)]
        assert stale[0]["why"] == "what it reads has changed (caption.frames, caption.size)"
        with pytest.raises(SakugaError, match="caption.clips.frame is not a setting; did you mean frames?"):
            change_config(config, "caption.clips.frame", "4")


def test_another_prompt_or_model_makes_drafts_stale_and_leaves_a_persons_words(
    exported: Project, play: Play, url: str
) -> None:
    by_server(exported, url)
    (exported.folder / "dataset" / f"{CLIP}.txt").write_text("MyStyle. mine", "utf-8")
    (exported.folder / "prompts").mkdir()
    (exported.folder / "prompts" / "clip.txt").write_text("Tell it in ten words, from: {camera}")
    play.answer = "another"
    assert len(by_server(exported, url).done) == 4 and len(play.bodies) == 8 + 3
    assert asked(play.bodies[-1]).startswith("Tell it in ten words, from: static camera, camera pans left")
    assert captions.current(exported)[CLIP] == captions.Caption("MyStyle. mine", "person")
    play.models = None
    summary = api.caption(exported, backend="server", url=url, model="other")
    assert len(summary.done) == 8 and captions.current(exported)[STILL].origin == "server: other"
    assert captions.current(exported)[CLIP].text == "MyStyle. mine"
    history = [row["origin"] for row in exported.rows("SELECT origin FROM caption WHERE item = ? ORDER BY id", STILL)]
    assert history == ["template", f"server: {MODEL}", "server: other"]


def test_named_items_are_made_anew(exported: Project, play: Play, url: str) -> None:
    by_server(exported, url)
    assert by_server(exported, url, item=[CLIP]).done == []
    play.answer = "another"
    summary = by_server(exported, url, item=[CLIP, "stills/film_00001*"], again=True)
    assert sorted(summary.done) == [CLIP, STILL] and len(summary.unchanged) == 6
    assert captions.current(exported)[CLIP].text == "MyStyle. another"
    with pytest.raises(SakugaError, match="no item is named 'clips/film_00000'; did you mean clips/film_000000?"):
        by_server(exported, url, item=["clips/film_00000"])


def test_what_fails_is_set_aside_with_its_reason_and_keeps_its_words(exported: Project, play: Play, url: str) -> None:
    play.faults = [(400, {}, b'{"error": {"message": "too dark"}}')]
    summary = by_server(exported, url, concurrency=1)
    assert summary.failed == {CLIP: "the server does not take this question (400): too dark"} and len(summary.done) == 7
    text = (exported.folder / "dataset" / f"{CLIP}.txt").read_text("utf-8")
    assert (
        text == "MyStyle. a dark scene, hardly anything moves\n"
        and captions.current(exported)[CLIP].origin == "template"
    )
    play.answer = "I'm sorry, but I can't help with that."
    assert by_server(exported, url).failed[CLIP].startswith("the model declines: \"I'm sorry, but")
    assert {"stage": "caption", "item": CLIP, "reason": by_server(exported, url).failed[CLIP]} in api.drops(exported)
    play.answer = CAPTION
    assert by_server(exported, url).done == [CLIP]


def test_no_key_is_kept_anywhere(
    exported: Project, play: Play, url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    play.key = KEY
    change_config(exported.folder / "sakuga.toml", "caption.key_variable", "MY_KEY")
    play.faults = [(400, {}, f"bad: {KEY}".encode()), (200, {}, b"[1]")]
    with Project(exported.folder) as project:
        summary = by_server(project, url)
        assert len(summary.failed) == 1 and next(iter(summary.failed.values())).endswith("(400): bad: ***")
        assert project.rows("SELECT traceback FROM work WHERE state = 'failed'")[0]["traceback"]
        project.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    play.key = "another"
    with Project(exported.folder) as project, pytest.raises(Halt, match="lets nobody in with this key") as raised:
        by_server(project, url, again=True)
    assert KEY not in str(raised.value)
    assert KEY.encode() not in stored(exported) and KEY not in "".join(capfd.readouterr())


def test_a_server_that_goes_away_ends_the_command_and_what_landed_stays(
    exported: Project, play: Play, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "FIRST_WAIT", 0.001)
    play.faults = [402]
    with pytest.raises(Halt, match="wants to be paid first"):
        by_server(exported, url, concurrency=2)
    assert exported.rows("SELECT count(*) AS n FROM work WHERE stage = 'caption' AND state = 'failed'") == [{"n": 0}]
    assert by_server(exported, url).failed == {}


def test_a_model_must_be_named(exported: Project, play: Play, url: str) -> None:
    with pytest.raises(
        Halt, match="set caption.model to the name of a model of the server at .*; it has qwen2.5vl:7b, joy"
    ):
        api.caption(exported, backend="server", url=url)
    play.models = None
    with pytest.raises(Halt, match="; it does not tell which it has"):
        api.caption(exported, backend="server", url=url)
    with pytest.raises(
        Halt, match="set caption.model to the folder of a model that sees pictures, or to its name at the Hugg"
    ):
        api.caption(exported, backend="model")


@pytest.mark.parametrize("url", ["localhost:8000", "http://me:secret@host/v1", "http://host/v1?key=abc", "ftp://host"])
def test_addresses_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(
        ValueError, match="an address is like http://localhost:8000/v1, without a name, a key or a question"
    ):
        CaptionSettings(url=url)
    with pytest.raises(ValueError, match="a variable's name has letters, digits and underscores; a key itself never"):
        CaptionSettings(key_variable="sk-4f9a")


def test_killed_in_the_middle_it_goes_on(exported: Project, play: Play, url: str) -> None:
    play.seconds = 1.0
    config = exported.folder / "sakuga.toml"
    for key, value in {"backend": "server", "url": url, "model": MODEL, "concurrency": "2"}.items():
        change_config(config, f"caption.{key}", value)
    for stop in (signal.SIGKILL, signal.SIGINT):
        before = len(play.bodies)
        command = [sys.executable, "-m", "sakuga", "caption", "-p", str(exported.folder)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while len(play.bodies) < before + 4:  # two are answered, two in flight
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(0.5)  # those that are answered land
        os.kill(process.pid, stop)
        asked_at = time.monotonic()
        _, said = process.communicate(timeout=20)
        assert time.monotonic() - asked_at < 5
        assert stop == signal.SIGKILL or (process.returncode == 130 and "stopped; the same command goes on" in said)
    play.seconds = 0.0
    with Project(exported.folder) as project:
        assert 1 <= len(api.caption(project).done) <= 6
        rows = project.rows("SELECT item, count(*) AS n FROM caption WHERE origin != 'template' GROUP BY item")
        assert len(rows) == 8 and {row["n"] for row in rows} == {1}
        assert all(
            (project.folder / "dataset" / f"{row['item']}.txt").read_text() == f"MyStyle. {CAPTION}\n" for row in rows
        )
    assert len(play.bodies) <= 8 + 2 * 2


def test_a_model_on_this_machine_captions(exported: Project, tmp_path: Path) -> None:
    folder = write_vision_model(tmp_path / "joycaption", "llava")
    summary = api.caption(exported, backend="model", model=str(folder), frames=2, size=64, device="cpu")
    assert len(summary.done) == 8 and not summary.failed
    words = captions.current(exported)
    assert {caption.origin for caption in words.values()} == {"model: joycaption"}
    assert all(caption.text.startswith("MyStyle. ") and len(caption.text) > 10 for caption in words.values())
    assert json.dumps(str(tmp_path)) not in json.dumps([caption.origin for caption in words.values()])


def test_only_what_a_rule_of_lint_hits_is_made_anew(exported: Project, play: Play, url: str) -> None:
    by_server(exported, url)
    play.answer = "a male in a red coat runs"
    by_server(exported, url, item=[CLIP], again=True)
    (rule,) = {found["rule"] for found in api.lint(exported, items=[CLIP]) if found["found"] == "male"}
    play.answer = CAPTION
    assert by_server(exported, url, rule=[rule]).done == [CLIP]
    assert captions.current(exported)[CLIP].text == f"MyStyle. {CAPTION}" and api.lint_hits(exported, rule) == []
