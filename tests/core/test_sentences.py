"""What is said where a project, a run, a rule or a file cannot be used: the whole sentence, with its remedy."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from random_model import make_tiny
from sakuga.core import runs, store
from sakuga.core.dataset import encoded_samples
from sakuga.core.errors import SakugaError
from sakuga.core.listings import read_listing
from sakuga.core.project import Project, change_config, read_config
from sakuga.core.samples.windows import windows
from sakuga.core.settings import parse, parse_train
from sakuga.core.stage import Rows, Scratch, attempt, run
from small_stages import INLINE, SmallSettings, ask


def said(call: Callable[[], object]) -> str:
    with pytest.raises(SakugaError) as caught:
        call()
    return str(caught.value)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.create(tmp_path / "p", "tiny") as project:
        yield project


# projects and their files


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    folder = tmp_path / "file" / "p"
    sentence = said(lambda: Project.create(folder, "tiny"))
    assert sentence.startswith(f"{folder} cannot be written: ")
    assert sentence.endswith("; choose a folder you may write to")


def test_settings_that_are_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "sakuga.toml"
    path.mkdir()
    assert said(lambda: read_config(path)).startswith(f"{path} cannot be read: ")


def test_a_file_that_is_a_folder_has_no_content(project: Project) -> None:
    assert said(lambda: project.sha256(project.folder)).startswith(f"{project.folder} cannot be read: ")


def test_a_setting_is_not_a_group(project: Project) -> None:
    path = project.folder / "sakuga.toml"
    before = path.read_text("utf-8")
    assert said(lambda: change_config(path, "trigger.word", "x")) == (
        "sakuga.toml: trigger is a setting, not a group of settings"
    )
    assert path.read_text("utf-8") == before


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"shots": 3}, "t: shots = 3: this is a group of settings, not one of them"),
        ({"sections": {"a": {"resolution": [384]}}}, "t: sections.a.resolution = [384]: too few values"),
        ({"train": {"name": "a/b"}}, "t: train.name = 'a/b': the run's folder cannot be named so; 'a_b' would do"),
    ],
)
def test_settings_that_are_none(values: dict[str, object], sentence: str) -> None:
    assert said(lambda: parse(values, "t")) == sentence


def test_a_run_of_settings_that_are_gone() -> None:
    assert said(lambda: parse_train({"rnak": 3}, "run-1")) == (
        "run-1: rnak is not a setting; did you mean rank?; it was begun by another version"
    )


def test_an_output_whose_name_is_taken(project: Project) -> None:
    ask(project, a="one")
    taken = project.path("out/a.txt")
    (taken / "something").mkdir(parents=True)
    sentence = said(lambda: run(INLINE, project, SmallSettings()))
    assert sentence.startswith(f"{taken} cannot be written: ")
    assert sentence.endswith(
        "; make room, change its rights, or close what has it open, then run the same command again"
    )
    [mark] = project.rows("SELECT state, reason FROM work")
    assert mark == {"state": "failed", "reason": "it was stopped half way; run the same command again"}
    taken.joinpath("something").rmdir()
    taken.rmdir()
    assert run(INLINE, project, SmallSettings()).done == ["a"]


def test_an_error_without_words(tmp_path: Path) -> None:
    def wordless(*given: object) -> Rows:
        raise SakugaError

    outcome = attempt(wordless, {}, SmallSettings(), Scratch(tmp_path))
    assert (outcome.reason, outcome.fatal) == ("no reason given", False)


def test_a_list_of_captions_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "metadata.json").mkdir()
    [fault] = read_listing(tmp_path / "metadata.json").faults
    assert fault.startswith("metadata.json cannot be read: ")


def test_a_list_of_captions_of_another_form(tmp_path: Path) -> None:
    path = tmp_path / "metadata.json"
    path.write_text('["a.mp4", "a boat"]', "utf-8")
    assert read_listing(path).faults == ['metadata.json is not of the form {"file name": ["a caption"]}; mend it']


# datasets and runs


def test_nothing_is_planned(project: Project) -> None:
    make_tiny(project.member, project.folder / "models")
    assert said(lambda: encoded_samples(project)) == (
        "no sample is planned: export clips or stills that a section of sakuga.toml takes, then `sakuga plan`"
    )


def test_a_run_without_that_checkpoint(project: Project) -> None:
    row = {"id": 1, "name": "run-1", "model": "tiny", "seed": 1, "settings": "{}", "weights": "{}", "state": "stopped"}
    store.insert(project.db, "run", row | {"started": time.time()})
    assert said(lambda: runs.checkpoints(project, "run-1")) == (
        "run run-1 has no checkpoint (saved: none); train further, or name another"
    )
    expert = {"id": 1, "run": 1, "expert": "full", "rank": 4, "alpha": 4.0, "steps": 20, "steps_done": 10}
    store.insert(project.db, "run_expert", expert | {"t_min": 0.0, "t_max": 1.0})
    for step in (10, 5):
        file = f"runs/run-1/{step}.safetensors"
        saved = {"run_expert": 1, "step": step, "file": file, "sha256": "", "made": time.time()}
        store.insert(project.db, "checkpoint", saved)
    assert said(lambda: runs.checkpoints(project, None, step=7)) == (
        "run run-1 has no checkpoint of step 7 (saved: 5, 10); train further, or name another"
    )
    assert said(lambda: runs.checkpoints(project, None, step=5)) == (
        f"{project.folder / 'runs/run-1/5.safetensors'} is missing; name another step, or train the run again"
    )


# rules


@pytest.mark.parametrize(
    ("rule", "numbers", "sentence"),
    [
        (
            "haed",
            {},
            "'haed' is not a frame rule; did you mean head? (rules: head, middle, chunk, slide, uniform, full)",
        ),
        ("slide", {"stride": 0}, "frame rule 'slide' needs a stride and a count of at least 1, not 0 and 1"),
        ("uniform", {"count": 0}, "frame rule 'uniform' needs a stride and a count of at least 1, not 1 and 0"),
    ],
)
def test_a_rule_that_is_none(rule: str, numbers: dict[str, int], sentence: str) -> None:
    assert said(lambda: windows(rule, 9, [5], floor=lambda n: n, **numbers)) == sentence  # type: ignore[arg-type]
