"""The command line: what each command prints, its JSON, its exit code, and its faults in one line."""

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import small
from films import numbered_film
from sakuga import __version__, cli
from sakuga.cli import commands
from sakuga.core.project import Project
from sakuga.core.settings import describe
from sakuga.nn.parts import Parts
from sakuga.stages.train.loop import _Turn

Sakuga = Callable[..., str]


@pytest.fixture
def sakuga(capsys: pytest.CaptureFixture[str]) -> Sakuga:
    """Run a command that must succeed (or end with `code`); returns what it printed."""

    def run(*arguments: object, code: int = 0) -> str:
        ended = cli.run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        assert ended == code, err
        return out

    return run


@pytest.fixture
def fault(capsys: pytest.CaptureFixture[str]) -> Sakuga:
    """Run a command that must fail; returns the one line that it says."""

    def run(*arguments: object) -> str:
        code = cli.run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        lines = [line for line in err.splitlines() if line.startswith("sakuga: ")]
        assert (code, out) == (1, "") and len(lines) == 1 and err.endswith(lines[0] + "\n"), err
        return lines[0].removeprefix("sakuga: ")

    return run


def of(project: Project) -> tuple[str, Path]:
    return "--project", project.folder


def test_without_a_command_the_journey_is_shown_in_its_order(sakuga: Sakuga) -> None:
    shown = re.findall(r"^│ (\w+) ", sakuga(), re.MULTILINE)
    journey = [
        "new",
        "add",
        "shots",
        "pick",
        "export",
        "caption",
        "lint",
        "check",
        "plan",
        "cache",
        "train",
        "generate",
        "publish",
    ]
    assert [name for name in shown if name in journey] == journey and shown[0] == "new"


def test_every_command_has_its_place_in_the_journey() -> None:
    assert set(commands.JOURNEY) == {name for name in commands.app if not name.startswith("-")}


def test_the_version_is_told(sakuga: Sakuga) -> None:
    assert sakuga("--version").strip() == __version__


@pytest.mark.parametrize("command", [name for name in commands.app if not name.startswith("-")])
def test_every_option_of_every_command_has_a_word_of_help(
    sakuga: Sakuga, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # an option is a line
    shown = sakuga(command, "--help")
    assert "--empty-" not in shown
    options = [re.split(r" {2,}", line.strip(" *")) for line in re.findall(r"^│(.*)│$", shown, re.MULTILINE)]
    assert all(len(cells) == 2 and not cells[1].startswith("[") for cells in options), options


def test_json_has_the_keys_that_others_rely_on(sakuga: Sakuga, cached: Project) -> None:
    shots = json.loads(sakuga("shots", *of(cached), "--json"))
    told = {"film": "film.mp4", "first": 24, "last": 47, "kept": True, "reason": "passes the rule"}
    assert shots[1].items() >= told.items() and shots[1]["scores"]["drawings"] > 1
    assert [(s["first"], s["last"]) for s in shots] == [(0, 23), (24, 47), (48, 71), (72, 95)]
    planned = json.loads(sakuga("plan", *of(cached), "--json", "--epochs", 2))
    assert (planned["samples"], planned["steps"], planned["dropped"]) == (8, 12, [])
    assert planned["sections"] == {"stills": {"samples": 4}, "clips": {"samples": 4}}
    (cached.folder / "dataset" / "clips" / "film_000000.mp4").unlink()
    found, *_ = json.loads(sakuga("check", *of(cached), "--json", code=1))
    assert found.keys() == {"item", "severity", "rule", "reason"}
    assert (found["item"], found["severity"], found["rule"]) == ("clips/film_000000", "error", "missing")


def test_a_drop_has_its_item_section_and_reason(sakuga: Sakuga, exported: Project) -> None:
    sakuga("set", "sections.clips.frames", "[17]", *of(exported))
    dropped = json.loads(sakuga("plan", *of(exported), "--json"))["dropped"]
    reason = '13 frames at 16 fps, section "clips" needs 17'
    assert dropped == [{"item": f"clips/{s}", "section": "clips", "reason": reason} for s in small.SHOTS]


@pytest.mark.parametrize(
    ("arguments", "timesteps", "high", "low"),
    [
        (["--steps", 6, "--shift", 5], [999, 961, 908, 833, 713, 499], 3, 3),
        (["--steps", 6, "--shift", 5, "--sampler", "dpm++"], [1000, 961, 909, 833, 714, 500], 3, 3),
        (["--steps", 4, "--shift", 5, "--sampler", "euler"], [1000, 937.5, 2500 / 3, 625], 2, 2),
    ],
)
def test_sigmas_shows_the_steps_of_each_expert(
    sakuga: Sakuga, arguments: list[Any], timesteps: list[float], high: int, low: int
) -> None:
    found = json.loads(sakuga("sigmas", "--model", "wan2.2-t2v-a14b", *arguments, "--json"))
    assert found == {"timesteps": pytest.approx(timesteps), "high": high, "low": low}
    shown = sakuga("sigmas", "--model", "wan2.2-t2v-a14b", *arguments).splitlines()
    assert [line.split()[-1] for line in shown[1:]] == ["high"] * high + ["low"] * low


def test_a_split_by_hand_shows_the_steps_outside_what_an_expert_was_trained_on(sakuga: Sakuga) -> None:
    asked = ["sigmas", "--model", "wan2.2-t2v-a14b", "--steps", 6, "--shift", 5, "--split", 4]
    found = json.loads(sakuga(*asked, "--json"))
    assert (found["high"], found["low"], found["outside"]) == (4, 2, [4])
    told = [line for line in sakuga(*asked).splitlines() if line.endswith("outside the noise levels it is trained on")]
    assert [line.split()[:2] for line in told] == [["4", "833"]]


def test_a_film_is_taken_out_again_and_what_was_decided_about_it_stays(
    sakuga: Sakuga, empty: Project, tmp_path: Path
) -> None:
    numbered_film(tmp_path / "a.mp4", 30, 24)
    (tmp_path / "b.mp4").write_text("no film")
    sakuga("add", tmp_path / "a.mp4", tmp_path / "b.mp4", *of(empty))
    sakuga("shots", *of(empty))
    sakuga("pick", "--keep", "a", *of(empty))
    left = json.loads(sakuga("add", "--remove", "b", *of(empty), "--json"))
    assert [film["name"] for film in left["films"]] == ["a"] and left["failed"] == {}
    sakuga("add", "--remove", "a", *of(empty))
    assert json.loads(sakuga("shots", *of(empty), "--json")) == [] and (tmp_path / "a.mp4").is_file()
    sakuga("add", tmp_path / "a.mp4", *of(empty))
    sakuga("shots", *of(empty))
    assert all(shot["kept"] for shot in json.loads(sakuga("pick", *of(empty), "--json")))


def test_check_fails_on_what_cannot_be_trained_on_and_not_on_less(
    sakuga: Sakuga, exported: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    caption = next((exported.folder / "dataset" / "clips").glob("*.txt"))
    caption.write_text("short", "utf-8")
    assert {f["severity"] for f in json.loads(sakuga("check", *of(exported), "--json"))} == {"warning", "advice"}
    caption.with_suffix(".mp4").write_bytes(b"no clip")
    code = cli.run(["check", *map(str, of(exported)), "--json"])
    out, err = capsys.readouterr()
    assert code == 1 and "error" in {f["severity"] for f in json.loads(out)}
    assert err.endswith("sakuga: 1 of 8 clips and stills cannot be trained on as they are; mend them first\n")


def test_add_export_and_caption_report_what_they_did(sakuga: Sakuga, empty: Project, tmp_path: Path) -> None:
    numbered_film(tmp_path / "a.mp4", 30, 24)
    (tmp_path / "b.mp4").write_text("no film")
    added = json.loads(sakuga("add", tmp_path / "a.mp4", tmp_path / "b.mp4", *of(empty), "--json"))
    assert [film["name"] for film in added["films"]] == ["a"] and list(added["failed"]) == ["b"]
    sakuga("shots", "--min-seconds", 5, *of(empty))
    picked = json.loads(sakuga("pick", "--keep", "a", "--reason", "good", *of(empty), "--json"))
    assert [(p["name"], p["kept"], p["reason"]) for p in picked] == [("a_000000", True, "good")]
    made = json.loads(sakuga("export", "--stills", 2, *of(empty), "--json"))
    assert [(i["kind"], i["frames"]) for i in made["items"]] == [("clip", 17), ("still", 1), ("still", 1)]
    captions = json.loads(sakuga("caption", *of(empty), "--json"))
    assert [c["origin"] for c in captions] == ["template"] * 3
    assert captions[0]["item"] == "clips/a_000000" and captions[0]["caption"].startswith("MyStyle. ")
    assert json.loads(sakuga("cache", *of(empty), "--json")) == {
        "encoded": 7, "unchanged": 0, "failed": {}, "unused": {"files": 0, "bytes": 0}, "pruned": False,
    }  # fmt: skip
    status = json.loads(sakuga("status", *of(empty), "--json"))
    assert {"films": 1, "shots": 1, "picked": 1, "clips": 1, "stills": 2, "encoded": 7}.items() <= status[
        "counts"
    ].items()
    assert status["failed"][0]["item"] == "b" and status["stages"]["add"] == {"done": 1, "failed": 1}


def test_the_way_from_training_to_the_published_file(sakuga: Sakuga, cached: Project, tmp_path: Path) -> None:
    settings = ("--name", "r", "--steps", 2, "--rank", 4, "--betas", 0.9, 0.95)
    run = json.loads(sakuga("train", *settings, *of(cached), "--json"))
    assert (run["run"], run["stopped"], run["losses"]["full"]["steps"]) == ("r", False, 2)
    assert Path(run["checkpoints"]["full"]).is_file() and run["validation"]["full"].keys() == {"0", "2"}
    again = sakuga("train", *settings, *of(cached))
    assert again.splitlines()[0] == "r is done" and run["checkpoints"]["full"] in again
    small_video = ("--width", 32, "--height", 32, "--frames", 5, "--steps", 2)
    video = json.loads(sakuga("generate", "a boat", *small_video, *of(cached), "--json"))
    assert Path(video["path"]).is_file() and (video["frames"], video["experts"]) == (5, ["full"] * 2)
    assert "5 frames, LoRA: full-000002)" in sakuga("generate", "a boat", *small_video, *of(cached))
    assert "5 frames, LoRA: none)" in sakuga("generate", "a boat", *small_video, "--lora", "none", *of(cached))
    (published,) = json.loads(sakuga("publish", "--out", tmp_path / "out", *of(cached), "--json"))
    assert Path(published["path"]).parent == tmp_path / "out" and published["hashes"].keys() >= {"autov2", "autov3"}
    assert "published" not in sakuga("status", *of(cached)) and "r: done (full 2/2)" in sakuga("status", *of(cached))


def test_every_table_and_report_can_be_read_by_a_person(sakuga: Sakuga, cached: Project) -> None:
    assert "film_000024      24  1.00 s" in sakuga("shots", *of(cached))
    assert "4 of 4 shots picked" in sakuga("pick", *of(cached))
    assert "the dataset has 4 clips and 4 stills" in sakuga("export", *of(cached))
    assert "caption: 0 done, 8 unchanged" in sakuga("caption", *of(cached))
    assert "nothing wrong was found in 8 clips and stills" in sakuga("check", *of(cached))
    plan = sakuga("plan", *of(cached))
    assert "6 samples to train on, 2 held out for validation" in plan
    assert "full: 60 steps, 10.0 epochs, 60 samples seen" in plan
    assert "transformer" in sakuga("models", *of(cached))
    (cached.folder / "dataset" / "clips" / "film_000000.mp4").unlink()
    assert re.search(r"^error +clips/film_000000 +missing", sakuga("check", *of(cached), code=1), re.MULTILINE)


def test_an_empty_dataset_is_not_called_good(sakuga: Sakuga, empty: Project) -> None:
    for command in ("check", "plan"):
        assert sakuga(command, *of(empty)) == "the dataset is empty: `sakuga pick` shots, then `sakuga export`\n"
    assert "no shot is picked: `sakuga pick --auto`" in sakuga("export", *of(empty))


def test_settings_lists_every_setting(sakuga: Sakuga) -> None:
    assert [row["key"] for row in json.loads(sakuga("settings", "--json"))] == [row["key"] for row in describe()]
    assert "train.learning_rate" in sakuga("settings")


def test_models_says_what_is_missing(sakuga: Sakuga, tmp_path: Path) -> None:
    sakuga("new", tmp_path / "real", "--model", "wan2.1-t2v-14b")
    found = json.loads(sakuga("models", "--project", tmp_path / "real", "--json"))
    assert {row["role"] for row in found if row["path"] is None} == {"transformer", "vae", "text", "tokenizer"}
    assert "missing: wan_2.1_vae.safetensors" in sakuga("models", "-p", tmp_path / "real")


def test_set_changes_a_setting_and_keeps_the_comments(sakuga: Sakuga, empty: Project) -> None:
    config = empty.folder / "sakuga.toml"
    comments = config.read_text("utf-8").count("#")
    assert sakuga("set", "shots.min_seconds", "0.75", *of(empty)) == "shots.min_seconds = 0.75\n"
    sakuga("set", "trigger", "Other Style", *of(empty))
    with Project(empty.folder) as changed:
        assert changed.settings.shots.min_seconds == 0.75 and changed.settings.trigger == "Other Style"
    assert config.read_text("utf-8").count("#") == comments


def test_the_rule_of_pick_is_kept(sakuga: Sakuga, exported: Project) -> None:
    def kept() -> int:
        return sum(row["kept"] for row in json.loads(sakuga("shots", *of(exported), "--json")))

    sakuga("pick", *of(exported))
    assert kept() == 4  # by the rule that was given from Python

    sakuga("pick", "--auto", "--count", 2, *of(exported))
    assert kept() == 2
    sakuga("pick", "--drop", "film_00002*", "film_000048", *of(exported))
    assert kept() == 2  # of the two that are left
    sakuga("pick", "--no-auto", *of(exported))
    assert kept() == 0
    with Project(exported.folder) as changed:
        assert (changed.settings.pick.auto, changed.settings.pick.count) == (False, 2)


def test_a_pick_that_is_refused_changes_no_setting(fault: Sakuga, exported: Project) -> None:
    before = (exported.folder / "sakuga.toml").read_bytes()
    assert "no shot is named 'nobody'" in fault("pick", "--keep", "nobody", "--count", 2, *of(exported))
    assert (exported.folder / "sakuga.toml").read_bytes() == before


def test_one_project_is_found_from_the_folders_inside_it(
    sakuga: Sakuga, exported: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(exported.folder / "dataset" / "clips")
    assert json.loads(sakuga("status", "--json"))["folder"] == str(exported.folder)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], 'Unknown command "trian". Did you mean "train"?'),
        (["shots", "--sensitivty", "1"], "Unknown option: --sensitivty. Did you mean --sensitivity?"),
        (
            ["shots", "--judge", "hsh"],
            "--judge 'hsh': input should be 'auto' or 'off'",
        ),
        (["shots", "--min-seconds", "soon"], "--min-seconds 'soon': input should be a valid number"),
        (["shots", "--min-seconds=-1"], "--min-seconds '-1': input should be greater than or equal to 0"),
        (["export", "--stills", "99"], "--stills '99': input should be less than or equal to 20"),
        (["caption", "--template", "{x}"], "--template '{x}': {x} is not one of {trigger}, {shot}, {film}, {seconds}"),
        (["train", "--name", "a/b"], "--name 'a/b': the run's folder cannot be named so; 'a_b' would do"),
        (["train", "--rank"], '"train" parameter --rank requires an argument'),
        (["shots", "more"], "'more' is more than `sakuga shots` takes; `sakuga shots --help` shows its options"),
        (["add"], "name the films to add, or a folder that holds them: `sakuga add films/*.mkv`"),
        (["add", "--remove", "b"], "no film of the project is called 'b'"),
        (["sigmas", "--steps", "0"], "a sampling needs at least 1 step, not 0"),
        (["sigmas", "--shift", "0"], "--shift is a number above 0, not 0"),
        (["sigmas", "--model", "tiny-experts", "--split", "21"], "a split is a number of steps from 0 to 20, not 21"),
        (["sigmas", "--model", "tiny", "--split", "2"], "a split is for models of two experts, and Tiny Wan has one"),
        (["sigmas", "--sampler", "uni"], "'uni' is not a sampler; did you mean unipc?"),
        (["sigmas", "--model", "wan2.2-t2v-14b"], "'wan2.2-t2v-14b' is not a model Sakuga knows; did you mean"),
        (["set", "shots.min_secs", "1"], "sakuga.toml: shots.min_secs is not a setting; did you mean min_seconds?"),
        (
            ["set", "shots.min_seconds", "soon"],
            "sakuga.toml: shots.min_seconds = 'soon': input should be a valid number",
        ),
        (
            ["export", "--project", "nowhere"],
            "nowhere is not a Sakuga project (no sakuga.toml); make one with `sakuga new`",
        ),
        (["add", "nowhere.mkv"], "nowhere.mkv is not there; check the path"),
        (["plan", "--experts", "high"], "tiny has no expert 'high', it has full"),
        (["train", "--experts", "full", "low", "--steps", "1"], "tiny has no expert 'low', it has full"),
        (["new", ".", "--model", "tiny"], "holds a project already; open it, or choose another folder"),
    ],
)
def test_a_fault_is_one_line_and_exit_code_1(
    fault: Sakuga, cached: Project, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(cached.folder)
    assert words in fault(*arguments)


def test_a_command_whose_every_item_failed_has_failed(
    empty: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp4").write_text("no film")
    assert cli.run(["add", str(tmp_path / "a.mp4"), "-p", str(empty.folder)]) == 1
    out, err = capsys.readouterr()
    assert "add: 0 done, 1 set aside (`sakuga drops` lists them)" in out
    assert err.splitlines()[-1].startswith("sakuga: nothing could be done: ") and "is not a video" in err


def test_an_interrupt_finishes_the_step_and_saves(
    cached: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sakuga: Sakuga
) -> None:
    arguments = ["train", "--steps", "4", "--rank", "4", "-p", str(cached.folder), "--json"]
    step = _Turn._step

    def interrupted(self: _Turn, loaded: Any, loader: Any) -> Any:
        if loaded.number == 3:
            signal.raise_signal(signal.SIGINT)
        return step(self, loaded, loader)

    with monkeypatch.context() as patch:
        patch.setattr(_Turn, "_step", interrupted)
        assert cli.run(arguments) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["stopped"] and "finishing this step, then saving" in err
    assert cached.rows("SELECT state, steps_done FROM run JOIN run_expert ON run = run.id") == [
        {"state": "stopped", "steps_done": 3}
    ]
    assert json.loads(sakuga(*arguments))["losses"]["full"]["steps"] == 1


def test_an_interrupt_before_the_first_step_stops_at_once(
    exported: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Parts, "vae", lambda self: signal.raise_signal(signal.SIGINT))
    assert cli.run(["train", "--steps", "1", "-p", str(exported.folder)]) == cli.INTERRUPTED
    assert capsys.readouterr().err.endswith("sakuga: stopped; the same command goes on where it stopped\n")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert exported.rows("SELECT * FROM run") == exported.rows("SELECT * FROM lock") == []


def test_names_with_spaces_quotes_and_other_scripts(sakuga: Sakuga, cached: Project, tmp_path: Path) -> None:
    home = tmp_path / "mein Stil 'ü' 🎬"
    film = tmp_path / 'Ünï [1936] "it\'s" 映画.mkv'
    numbered_film(film, 40, 24)
    sakuga("new", home, "--model", "tiny", "--trigger", "Stil ü")
    sakuga("add", film, "-p", home)
    sakuga("shots", "--min-seconds", 9, "-p", home)
    (shot,) = json.loads(sakuga("pick", "--keep", "Ünï [1936]*", "Ünï [1936] _it's_ 映画_000000", "-p", home, "--json"))
    assert shot["film"] == film.name and shot["kept"]
    sakuga("export", "-p", home)
    sakuga("caption", "-p", home)
    assert {f["severity"] for f in json.loads(sakuga("check", "-p", home, "--json"))} <= {"advice"}
    assert (home / "dataset" / "clips" / "Ünï [1936] _it's_ 映画_000000.txt").read_text("utf-8").startswith("Stil ü. ")
    run = json.loads(sakuga("train", "--steps", 1, "-p", home, "--json"))
    assert Path(run["checkpoints"]["full"]).is_file()
    settings = ("--steps", 1, "--width", 16, "--height", 16, "--frames", 1)
    video = json.loads(sakuga("generate", 'ein "Boot" 🎬', *settings, "-p", home, "--json"))
    assert Path(video["path"]).name == "ein _Boot_ 🎬-1-1.png" and Path(video["path"]).is_file()
    (published,) = json.loads(sakuga("publish", "-p", home, "--json"))
    assert Path(published["path"]) == home / "published" / "mein Stil 'ü' 🎬.safetensors"


def test_more_shots_than_anyone_reads_are_told_film_by_film(
    sakuga: Sakuga, cached: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "film_000072" in sakuga("shots", *of(cached))
    monkeypatch.setattr("sakuga.cli.footage.MOST_LISTED", 3)
    told = sakuga("shots", *of(cached))
    assert "film_000072" not in told and "4 shots; `sakuga shots --report` shows them, --json lists them" in told
    assert re.search(r"film\.mp4 +4 +4 +4\.0 s", told)


def test_a_plan_names_what_is_cut_most_and_what_is_enlarged(sakuga: Sakuga, cached: Project) -> None:
    assert "cut or enlarged most" not in sakuga("plan", *of(cached))
    cached.db.execute("UPDATE item SET width = 288 WHERE name = 'clips/film_000024'")
    cached.db.execute("UPDATE item SET width = 48, height = 32 WHERE name = 'clips/film_000048'")
    told = sakuga("plan", *of(cached))
    assert re.search(r"clips/film_000024 +clips +\d+x\d+ +\d+\.\d% +x0\.\d\d", told), told
    costs = json.loads(sakuga("plan", *of(cached), "--json"))["costs"]
    assert {"item", "section", "width", "height", "samples", "crop", "upscale"} == costs[0].keys()
