"""A training that was stopped or killed anywhere gives what an uninterrupted one gives, bit for bit."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sakuga
import small
from sakuga import api
from sakuga.core.errors import SakugaError
from sakuga.core.progress import Silent
from sakuga.core.project import Project
from sakuga.core.settings import TrainSettings
from sakuga.stages.train import Run, StepReport, measure, record
from sakuga.stages.train.loop import _Turn

SETTINGS: dict[str, Any] = {
    "name": "r", "rank": 4, "learning_rate": 1e-2, "steps": 5, "accumulation": 2, "warmup": 3, "save_every": 2,
    "validate_every": 3,
}  # fmt: skip


def what_is_left(project: Project) -> dict[str, Any]:
    """Everything that a training leaves behind, apart from times and from where it was interrupted."""
    query = "SELECT expert, step, {} FROM {} JOIN run_expert ON run_expert.id = run_expert ORDER BY 1, 2, 3, 4"
    experts = [row["expert"] for row in project.rows("SELECT expert FROM run_expert")]
    folder = project.folder / "runs" / "r"
    return {
        "steps": project.rows(query.format("loss, norm, learning_rate", "step")),
        "items": project.rows(query.format("part, sample, t, loss", "item_loss")),
        "validation": project.rows(query.format("t, loss", "validation")),
        "previews": project.rows("SELECT expert, step, prompt, text, file FROM preview"),
        "loras": {e: (folder / "checkpoints" / f"{e}-000005.safetensors").read_bytes() for e in experts},
        "runs": project.rows("SELECT name, state FROM run"),
    }


def train(project: Project, **more: Any) -> Run:
    return api.train(project, **SETTINGS | more)


@pytest.fixture(scope="module", autouse=True)
def few_levels() -> Iterator[None]:
    """Validation at two noise levels says as much about resuming as at eight."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "LEVELS", 2)
        yield


@pytest.fixture(scope="module")
def uninterrupted(cached_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with small.copy(cached_root, tmp_path_factory.mktemp("whole") / "root") as project:
        train(project)
        left = what_is_left(project)
    assert len(left["steps"]) == 5 and len(left["items"]) == 10 and len(left["validation"]) == 3 * 2
    return left


def test_the_same_seed_gives_the_same_bits_and_another_does_not(cached: Project, uninterrupted: dict[str, Any]) -> None:
    train(cached)
    assert what_is_left(cached) == uninterrupted
    other = train(cached, name="other", seed=2)
    assert other.checkpoints["full"].read_bytes() != uninterrupted["loras"]["full"]


def test_an_encoding_damaged_on_the_way_costs_no_step(cached: Project, uninterrupted: dict[str, Any]) -> None:
    taken: list[int] = []

    def damage(report: StepReport) -> None:
        taken.append(report.step)
        for path in (cached.folder / "cache" / "latents").iterdir():
            path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(SakugaError, match="missing from the cache or damaged; `sakuga cache --verify` makes it anew"):
        train(cached, steps=20, save_every=100, loaders=1, on_step=damage)
    assert 1 <= taken[-1] < 20
    assert cached.rows("SELECT state, steps_done FROM run JOIN run_expert ON run = run.id") == [
        {"state": "stopped", "steps_done": taken[-1]}
    ]
    api.cache(cached, verify=True)
    train(cached, steps=5, save_every=100)
    assert what_is_left(cached) == uninterrupted


def test_the_state_of_another_run_is_refused(cached: Project) -> None:
    train(cached, steps=1)
    train(cached, steps=1, name="other")
    folder = cached.folder / "runs"
    there = folder / "r" / "state-full.safetensors"
    there.write_bytes((folder / "other" / there.name).read_bytes())
    with pytest.raises(SakugaError) as error:
        train(cached)
    assert str(error.value) == (
        f"{there} is the state of full of tiny in other, not of full of tiny in r; bring its own file back, or start a new run "
        "with another --name"
    )


def test_a_training_stopped_after_every_step_is_the_same(cached: Project, uninterrupted: dict[str, Any]) -> None:
    for step in range(1, 5):
        run = train(cached, should_stop=lambda: True)
        assert run.stopped and cached.rows("SELECT state, steps_done FROM run JOIN run_expert ON run = run.id") == [
            {"state": "stopped", "steps_done": step}
        ]
    assert not train(cached).stopped
    assert what_is_left(cached) == uninterrupted
    assert train(cached).losses == {} and what_is_left(cached) == uninterrupted


class Crash(Exception):
    """What no code of ours expects."""


def crash_at(step: int) -> Callable[[StepReport], None]:
    def on_step(report: StepReport) -> None:
        if report.step == step:
            raise Crash

    return on_step


def test_a_training_that_crashed_goes_back_to_its_last_state(cached: Project, uninterrupted: dict[str, Any]) -> None:
    for step in (1, 3, 5):  # before the first save, after it, and before the last
        with pytest.raises(Crash):
            train(cached, on_step=crash_at(step))
    train(cached)
    assert what_is_left(cached) == uninterrupted


@pytest.mark.parametrize("method", ["_note_checkpoint", "_validate", "_preview"])
def test_a_crash_between_saving_and_what_comes_after_loses_nothing(
    cached: Project, uninterrupted: dict[str, Any], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cached.folder / "looks.txt").write_text("MyStyle. a boat --w 32 --h 32 --f 1 --s 2", "utf-8")
    settings = {"prompts": "looks.txt", "preview_every": 3}

    def crash(self: _Turn, number: int, *_: object) -> None:
        raise Crash

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(_Turn, method, crash)
            with pytest.raises(Crash):
                train(cached, **settings)
        train(cached, **settings, should_stop=lambda: True)
    train(cached, **settings)
    left = what_is_left(cached)
    assert [row["step"] for row in left.pop("previews")] == [0, 3, 5]
    assert left == {key: value for key, value in uninterrupted.items() if key != "previews"}


KILLED = """
import json, os, pathlib, signal, sys, time
import small
from sakuga import api
from sakuga.stages.train import measure

measure.LEVELS = 2

def on_step(report):
    if report.step == 3:  # step 2 is being written meanwhile, and is noted after this one
        while not list((pathlib.Path(sys.argv[1]) / "runs" / "r").glob("state-*.safetensors")):
            time.sleep(0.05)
        time.sleep(1)
    if report.step == 4:
        os.kill(os.getpid(), signal.SIGKILL)

small.one_thread()
api.train(api.open_project(sys.argv[1]), on_step=on_step, **json.loads(sys.argv[2]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a thing of POSIX")
def test_a_killed_process_leaves_a_training_that_goes_on(cached: Project, uninterrupted: dict[str, Any]) -> None:
    home = Path(small.__file__).parent
    source = Path(sakuga.__file__).parents[1]
    tests = os.pathsep.join(map(str, (source, home, home.parent / "scripts" / "base")))
    command = [sys.executable, "-c", KILLED, str(cached.folder), json.dumps(SETTINGS)]
    ended = subprocess.run(command, env=os.environ | {"PYTHONPATH": tests}, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert cached.rows("SELECT command FROM lock") == [{"command": "train"}]
    assert cached.rows("SELECT state, steps_done FROM run JOIN run_expert ON run = run.id") == [
        {"state": "running", "steps_done": 2}
    ]
    train(cached)
    assert what_is_left(cached) == uninterrupted


def test_two_experts_stopped_in_either_are_the_same(experts: Project) -> None:
    settings: dict[str, Any] = {"steps": 3, "validate_every": 100, "save_every": 100}
    with small.copy(experts.folder.parent, experts.folder.parent.parent / "whole") as whole:
        expected = {name: path.read_bytes() for name, path in train(whole, **settings).checkpoints.items()}
    stops = 0
    while (run := train(experts, **settings, should_stop=lambda: True)).stopped:
        stops += 1
    assert stops == 4  # after steps 1 and 2 of each
    assert {name: path.read_bytes() for name, path in run.checkpoints.items()} == expected


def test_a_run_without_a_name_goes_on_until_it_is_done(cached: Project) -> None:
    plain: dict[str, Any] = {"rank": 4, "steps": 2}
    assert api.train(cached, **plain, should_stop=lambda: True).name == "run-1"
    assert api.train(cached, rank=4, steps=1).name == "run-2"  # other settings are another run
    assert api.train(cached, **plain, should_stop=lambda: True).name == "run-1"
    assert api.train(cached, **plain).name == "run-3"
    assert cached.rows("SELECT name, state FROM run") == [{"name": f"run-{n}", "state": "done"} for n in (1, 2, 3)]


def test_a_done_run_can_be_trained_longer(cached: Project, uninterrupted: dict[str, Any]) -> None:
    train(cached, steps=2)
    train(cached)
    left = what_is_left(cached)
    assert left["steps"] == uninterrupted["steps"] and left["loras"] == uninterrupted["loras"]
    assert train(cached, steps=3).losses == {}
    assert cached.rows("SELECT steps, steps_done FROM run_expert") == [{"steps": 5, "steps_done": 5}]


def test_a_resumed_training_learns_from_the_words_as_they_are_now(cached: Project) -> None:
    train(cached, should_stop=lambda: True)
    for path in (cached.folder / "dataset").rglob("*.txt"):
        path.write_text("MyStyle. a quite different boat", "utf-8")
    run = train(cached)
    with small.copy(cached.folder.parent, cached.folder.parent.parent / "whole") as whole:
        anew = train(whole, name="anew")
    assert run.losses["full"] != anew.losses["full"][1:]  # its first step saw other words
    assert run.losses["full"][0] == pytest.approx(anew.losses["full"][1], rel=0.2)
    assert len(cached.rows("SELECT 1 FROM cache_entry WHERE kind = 'text'")) > 1


def test_a_changed_checkpoint_is_written_again(cached: Project, uninterrupted: dict[str, Any]) -> None:
    checkpoint = train(cached).checkpoints["full"]
    checkpoint.write_bytes(checkpoint.read_bytes()[:-4] + b"\0\0\0\0")
    train(cached)
    assert checkpoint.read_bytes() == uninterrupted["loras"]["full"]
    checkpoint.unlink()
    train(cached)
    assert checkpoint.read_bytes() == uninterrupted["loras"]["full"]


@pytest.mark.parametrize("damage", [b"", b"not a state", None])
def test_a_damaged_state_is_a_sentence(cached: Project, damage: bytes | None) -> None:
    train(cached, should_stop=lambda: True)
    state = cached.folder / "runs" / "r" / "state-full.safetensors"
    state.write_bytes(state.read_bytes()[:-100] if damage is None else damage)
    with pytest.raises(SakugaError, match=r"state-full.safetensors is not the state of a run .*another --name"):
        train(cached)


class Said(Silent):
    def __init__(self) -> None:
        self.words: list[str] = []

    def say(self, words: str) -> None:
        self.words.append(words)


def test_a_longer_training_goes_on_and_a_shorter_one_is_another(cached: Project) -> None:
    assert api.train(cached, rank=4, steps=2, should_stop=lambda: True).name == "run-1"
    said = Said()
    run = api.train(cached, rank=4, steps=1, should_stop=lambda: True, progress=said)
    assert run.name == "run-2" and any(
        "run-1, at step 1, was begun with another length" in words for words in said.words
    )
    cached.db.execute("UPDATE run SET state = 'done' WHERE name = 'run-2'")
    run = api.train(cached, rank=4, steps=3)
    assert run.name == "run-1" and len(run.losses["full"]) == 2


@pytest.mark.parametrize(
    ("asked", "begun", "shorter"),
    [
        ({"steps": 5}, {"steps": 5}, False), ({"steps": 6}, {"steps": 5}, False), ({"steps": 4}, {"steps": 5}, True),
        ({"epochs": 4}, {"epochs": 5}, True), ({"epochs": 5}, {"epochs": 4}, False), ({"steps": 5}, {"epochs": 5}, True),
        ({"steps": 5, "low": {"steps": 2}}, {"steps": 5, "low": {"steps": 3}}, True),
        ({"steps": 5, "low": {"steps": 3}}, {"steps": 5}, True),
    ],
)  # fmt: skip
def test_a_length_is_compared_in_its_own_terms(asked: dict[str, Any], begun: dict[str, Any], shorter: bool) -> None:
    assert record._shorter(TrainSettings(**asked), TrainSettings(**begun)) == shorter
