"""An import as a person makes it: folders adopted, samples counted, and a project that others can be exported from."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interop_files import COMMANDS, DATASET, Write, clip, still
from sakuga import api
from sakuga.core import store
from sakuga.core.errors import SakugaError
from sakuga.core.project import Project, read_config
from sakuga.core.settings import change
from sakuga.interop.diffusion_pipe import read_diffusion_pipe
from sakuga.interop.musubi import read_musubi

MAPS = ["h:\\sets=disk"]


@pytest.fixture
def imported(write: Write, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The recipe, imported with the folders that are on this machine."""
    monkeypatch.chdir(tmp_path)
    done = api.import_config("musubi", write("d.toml", DATASET), [str(write("run.cmd", COMMANDS))], maps=MAPS)
    return done.project


def test_folders_are_adopted_once_and_sections_take_them(imported: Project) -> None:
    assert imported.folder.name == "my_style"
    names = {row["name"] for row in imported.rows("SELECT name FROM source_folder")}
    assert names == {"768x768", "1920x1040"}
    sections = imported.settings.sections
    assert [section.folders for section in sections.values()] == [("768x768",), ("1920x1040",), ("1920x1040",)]
    planned = api.plan(imported)
    assert {name: n["samples"] for name, n in planned.sections.items()} == {"stills": 2, "clips": 6, "clips-2": 3}
    assert imported.settings.train.save_every == 11  # steps of an epoch
    report = (imported.folder / "import-report.txt").read_text(encoding="utf-8")
    assert 'adopted as "1920x1040", 3 clips and stills' in report


def test_steps_of_an_epoch_are_those_of_the_accumulation(write: Write, disk: Path, tmp_path: Path) -> None:
    words = ["--gradient_accumulation_steps", "4", "--save_every_n_epochs", "2", "--max_train_epochs", "10"]
    words += ["--lr_scheduler", "cosine", "--lr_warmup_steps", "0.1"]
    done = api.import_config("musubi", write("d.toml", DATASET), words, into=tmp_path / "p", maps=[f"H:/sets={disk}"])
    with done.project as project:
        train = project.settings.train
        assert (train.accumulation, train.save_every, train.warmup) == (4, 6, 3)  # of 11 samples, and of 28 steps


def rows(project: Project, lengths: tuple[int, ...]) -> None:
    """120 stills and 240 clips of 81 frames, the first of which have these lengths."""
    whole = {"source": "adopted:x", "sha256": "0", "width": 1920, "height": 1040}
    with store.transaction(project.db):
        for n in range(120):
            own = {"name": f"768x768/s{n:03}", "kind": "still", "file": f"s{n}.png", "frames": 1, "fps": "0"}
            store.insert(project.db, "item", {**whole, **own, "folder": "768x768"})
        for n in range(240):
            frames = lengths[n] if n < len(lengths) else 81
            own = {"name": f"1920x1040/c{n:03}", "kind": "clip", "file": f"c{n}.mp4", "frames": frames, "fps": "16"}
            store.insert(project.db, "item", {**whole, **own, "folder": "1920x1040"})


@pytest.mark.parametrize(("lengths", "samples"), [((), 1080), ((45, 45), 1078), ((44, 44), 1076)])
def test_an_epoch_of_the_recipe(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lengths: tuple[int, ...], samples: int
) -> None:
    monkeypatch.chdir(tmp_path)
    done = api.import_config("musubi", write("d.toml", DATASET), [str(write("run.cmd", COMMANDS))])
    with done.project as project:
        folders = [entry for entry in done.report.of("folder") if "not on this machine" in entry.note]
        assert [entry.value for entry in folders] == ["H:/sets/images/768x768", "H:/sets/videos/1920x1040"]
        rows(project, lengths)
        planned = api.plan(project)
        assert planned.samples == samples
        assert [drop["item"] for drop in planned.dropped] == [f"1920x1040/c{n:03}" for n in range(len(lengths))]
        assert {name: n["samples"] for name, n in planned.sections.items()}["clips"] == 480


@pytest.mark.recipes
@pytest.mark.parametrize(("lengths", "samples"), [((45, 45), 1078), ((44, 44), 1076)])
def test_the_published_files_import_verbatim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lengths: tuple[int, ...], samples: int
) -> None:
    files = Path(os.environ["SAKUGA_RECIPES"]).resolve()
    monkeypatch.chdir(tmp_path)
    words = [str(files / "ghibli.musubi.cmd")]
    given_maps = [f"G:/samples/musubi-tuner/_studio_ghibli_wan14b_v01_sampling.txt={files / 'ghibli.sampling.txt'}"]
    done = api.import_config("musubi", files / "ghibli.dataset.toml", words, maps=given_maps)
    with done.project as project:
        assert (project.settings.model, project.settings.train.prompts) == ("wan2.1-t2v-14b", "prompts.txt")
        assert len(api.read_prompts(project.folder / "prompts.txt")) == 2
        assert not [entry for entry in done.report if entry.kind == "refused" and entry.key != "folder"]
        rows(project, lengths)
        planned = api.plan(project)
        assert planned.samples == samples
        assert {drop["item"] for drop in planned.dropped} == {"1920x1040/c000", "1920x1040/c001"}
    part = api.import_config("diffusion-pipe", files / "goldenboy.diffusion-pipe.toml")
    with part.project as project:
        assert project.settings.model == "wan2.2-i2v-a14b" and project.settings.train.experts == ("high",)


def test_folders_that_come_later_have_the_names_that_were_expected(write: Write, disk: Path, tmp_path: Path) -> None:
    done = api.import_config("musubi", write("d.toml", DATASET), into=tmp_path / "p")
    with done.project as project:
        assert done.items == 0
        api.adopt(project, [disk / "images/768x768", disk / "videos/1920x1040"])
        assert api.plan(project).samples == 2 + 6 + 3


def test_another_rate_is_told(write: Write, disk: Path, tmp_path: Path) -> None:
    clip(disk / "videos/1920x1040/fast.mp4", 48, rate=24)
    done = api.import_config("musubi", write("d.toml", DATASET), into=tmp_path / "p", maps=[f"H:/sets={disk}"])
    with done.project:
        notes = [entry.note for entry in done.report.of("folder") if "not of 16 fps" in entry.note]
    assert notes == ["1 of 4 clips are not of 16 fps, the first is of 24: theirs shows it 0.67 times as fast; Sakuga at its own "
                     "speed, so that it has other frames"]  # fmt: skip


def test_folders_below_are_told_and_inner_ones_come_first(write: Write, tmp_path: Path) -> None:
    still(tmp_path / "a/x.png", 1)
    still(tmp_path / "a/b/y.png", 2)
    still(tmp_path / "a/c/z.png", 3)
    entry = '[[datasets]]\nimage_directory = "{}"\nresolution = 256\n'
    text = entry.format("a") + entry.format("a/b")
    done = api.import_config("musubi", write("d.toml", text), into=tmp_path / "p")
    with done.project as project:
        api.plan(project)
        samples = {(row["section"], row["item"]) for row in project.rows("SELECT section, item FROM sample")}
        assert samples == {("stills", "a/x"), ("stills", "a/c/z"), ("stills-2", "b/y")}
        told = [entry for entry in done.report.of("folder") if entry.kind == "differs"]
        assert [entry.note for entry in told] == ["1 of them lie in folders below it, where theirs does not look"]


def test_an_empty_folder_is_told(write: Write, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    text = '[[datasets]]\nimage_directory = "empty"\nresolution = 256\n'
    done = api.import_config("musubi", write("d.toml", text), into=tmp_path / "p")
    with done.project:
        assert any("holds no clip and no picture" in entry.note for entry in done.report.of("folder"))


def test_a_project_is_filled_only_by_name(
    write: Write, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    api.new("d", "wan2.1-t2v-14b", "Mine").close()
    path = write("d.toml", DATASET)
    with pytest.raises(SakugaError, match="holds a project already; say --into d to fill it"):
        api.import_config("musubi", path, ["--task", "t2v-14B"])
    with pytest.raises(SakugaError, match="is a project for wan2.1-t2v-14b, and the import is for wan2.2-t2v-a14b"):
        api.import_config("musubi", path, into="d")
    with api.import_config("musubi", path, ["--task", "t2v-14B"], into="d", maps=["H:/sets=disk"]).project as project:
        assert project.settings.trigger == "Mine" and project.settings.train.rank == 4
        assert list(project.settings.sections) == ["stills", "clips", "clips-2"]
    assert list(read_config(tmp_path / "d" / "sakuga-before-import.toml").sections) == ["stills", "clips"]


def test_prompts_come_along(write: Write, tmp_path: Path) -> None:
    path = write("d.toml", DATASET)
    write("p.txt", "# one\na girl --w 384 --h 384 --f 45 --d 7 --s 20\na boy --ci 3\n")
    words = ["--sample_prompts", "p.txt", "--sample_every_n_steps", "50"]
    with api.import_config("musubi", path, words, into=tmp_path / "p").project as project:
        assert project.settings.train.prompts == "prompts.txt" and project.settings.train.preview_every == 50
        assert api.read_prompts(project.folder / "prompts.txt")[0].frames == 45
        assert 'preview prompts = "--ci 3"' in (project.folder / "import-report.txt").read_text(encoding="utf-8")
    write("p.txt", "# nothing\n")
    done = api.import_config("musubi", path, words, into=tmp_path / "q")
    with done.project as project:
        assert project.settings.train.prompts is None
        assert done.report.of("preview prompts")[0].kind == "refused"


def test_maps_and_trainers_are_checked(write: Write, imported: Project) -> None:
    path = write("d.toml", DATASET)
    with pytest.raises(SakugaError, match="--map 'H:' does not say what lies where"):
        api.import_config("musubi", path, maps=["H:"])
    with pytest.raises(SakugaError, match="'musubi-tuner' is no trainer whose files are read; did you mean musubi"):
        api.import_config("musubi-tuner", path)
    with pytest.raises(SakugaError, match="'aitoolkit' is no trainer to export for; did you mean ai-toolkit"):
        api.export_config(imported, "aitoolkit")


# Exports


def test_an_export_for_musubi_links_the_dataset(imported: Project) -> None:
    done = api.export_config(imported, "musubi")
    assert [path.name for path in done.files] == ["dataset.toml", "train.sh", "train.bat"] and done.items == 5
    clips = imported.folder / "exported/musubi/dataset/clips"
    assert sorted(path.name for path in clips.iterdir())[:2] == ["1920x1040__c0.mp4", "1920x1040__c0.txt"]
    source = imported.path(imported.rows("SELECT file FROM item WHERE name = '1920x1040/c0'")[0]["file"])
    assert (clips / "1920x1040__c0.mp4").samefile(source)
    assert (clips / "1920x1040__c0.txt").read_text(encoding="utf-8") == "a clip\n"
    again = api.export_config(imported, "musubi")
    assert again.files == done.files


@pytest.mark.parametrize("script", ["train.sh", "train.bat"])
def test_what_is_exported_for_musubi_comes_back(imported: Project, script: str) -> None:
    api.export_config(imported, "musubi")
    out = imported.folder / "exported/musubi"
    draft = read_musubi(out / "dataset.toml", [str(out / script)], ())
    sections = imported.settings.sections
    assert [_bare(values) for values in draft.sections.values()] == [
        _bare(section.model_dump(mode="json")) for section in sections.values()
    ]
    train = imported.settings.train
    keys = (
        "rank",
        "alpha",
        "learning_rate",
        "eps",
        "weight_decay",
        "time",
        "shift",
        "seed",
        "epochs",
        "accumulation",
        "max_norm",
    )
    assert {key: draft.settings[f"train.{key}"] for key in keys} == {key: getattr(train, key) for key in keys}
    assert not [entry for entry in draft.report if entry.kind == "refused"]


def _bare(values: dict[str, Any]) -> dict[str, Any]:
    """A section's settings where they are not at their default, without its folder."""
    from sakuga.core.settings import Section

    told = Section.model_validate(values).model_dump(mode="json", exclude_defaults=True, exclude={"folders"})
    return {key: value for key, value in told.items() if (key, value) != ("batch", 1)}


RULES = st.sampled_from(["head", "chunk", "slide", "uniform", "full"])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    RULES, st.lists(st.sampled_from([1, 5, 21]), min_size=1, max_size=3, unique=True), st.integers(2, 9), st.integers(1, 3),
    st.integers(1, 4), st.sampled_from([(384, 208), (512, 512), (832, 480)]), st.integers(1, 64), st.floats(1e-6, 1e-2),
)  # fmt: skip
def test_sections_and_settings_go_there_and_back(
    imported: Project, rule: str, frames: list[int], number: int, repeats: int, batch: int, size: tuple[int, int], rank: int,
    rate: float,
) -> None:  # fmt: skip
    """Whatever musubi-tuner can express is the same after an export and an import."""
    from sakuga.interop.buckets import musubi_sizes

    values: dict[str, Any] = {
        "folders": ("1920x1040",),
        "items": "clips",
        "resolution": size,
        "sizes": musubi_sizes(*size),
    }
    values |= {"nearest": "aspect", "upscale": True, "rule": rule, "repeats": repeats, "batch": batch}
    values |= {"slide": {"stride": number}, "uniform": {"count": number}, "full": {"max_frames": number * 8}}.get(
        rule, {}
    )
    values |= {"frames": sorted(frames)} if rule != "full" else {}
    from sakuga.core.settings import Section

    section = Section.model_validate(values)
    train = imported.settings.train.model_copy(
        update={"rank": rank, "alpha": float(rank), "learning_rate": rate, "accumulation": 2 * batch}
    )
    imported.settings = imported.settings.model_copy(update={"sections": {"clips": section}, "train": train})
    out = imported.folder / "there"
    api.export_config(imported, "musubi", out)
    draft = read_musubi(out / "dataset.toml", [str(out / "train.sh")], ())
    assert [_bare(found) for found in draft.sections.values()] == [_bare(section.model_dump(mode="json"))]
    back = {key: draft.settings[f"train.{key}"] for key in ("rank", "alpha", "accumulation", "learning_rate")}
    assert back == {"rank": rank, "alpha": rank, "accumulation": 2 * batch, "learning_rate": pytest.approx(rate)}


def test_what_is_exported_for_diffusion_pipe_comes_back(imported: Project) -> None:
    done = api.export_config(imported, "diffusion-pipe")
    kinds = {(entry.key, entry.kind) for entry in done.report}
    assert {
        ("sections.clips-2.rule", "refused"),
        ("sections.clips.frames", "refused"),
        ("train.seed", "refused"),
    } <= kinds
    draft = read_diffusion_pipe(imported.folder / "exported/diffusion-pipe/config.toml", (), ())
    stills, clips, motion = draft.sections.values()
    sizes = {name: [list(size) for size in section.sizes] for name, section in imported.settings.sections.items()}
    assert (stills["items"], stills["sizes"]) == ("stills", sizes["stills"])
    assert (clips["items"], clips["frames"], clips["sizes"]) == ("clips", [21], sizes["clips"])
    assert (motion["frames"], motion["sizes"], motion["rule"]) == ([45], sizes["clips-2"], "head")
    train = imported.settings.train
    keys = ("rank", "learning_rate", "eps", "weight_decay", "time", "shift", "epochs", "accumulation", "max_norm")
    assert {key: draft.settings[f"train.{key}"] for key in keys} == {key: getattr(train, key) for key in keys}
    assert len(set(draft.folders.values())) == 3  # its caches lie in them


def test_a_job_for_ai_toolkit(imported: Project) -> None:
    (path,) = api.export_config(imported, "ai-toolkit").files
    job = yaml.safe_load(path.read_text(encoding="utf-8"))
    (process,) = job["config"]["process"]
    assert (job["job"], process["type"], process["model"]["arch"]) == ("extension", "sd_trainer", "wan21")
    assert process["network"] == {"type": "lora", "linear": 32, "linear_alpha": 32.0}
    train = process["train"]
    assert (train["lr"], train["timestep_type"], train["steps"]) == (5e-5, "shift", 50 * 11)
    assert [(d["num_frames"], d["resolution"]) for d in process["datasets"]] == [(1, [768]), (21, [565]), (45, [283])]
    assert all(Path(d["folder_path"]).is_dir() for d in process["datasets"])


@pytest.mark.parametrize("full", [True, False])
def test_a_lokr_goes_there_and_comes_back(imported: Project, full: bool) -> None:
    chosen = {"adapter": "lokr", "factor": 4, "full_matrix": full}
    imported.settings = imported.settings.model_copy(update={"train": change(imported.settings.train, chosen)})
    for trainer in ("musubi", "diffusion-pipe"):
        told = api.export_config(imported, trainer).report
        assert not [entry for entry in told if entry.key in ("train.adapter", "train.factor", "train.full_matrix")]
    out = imported.folder / "exported"
    musubi = read_musubi(out / "musubi/dataset.toml", [str(out / "musubi/train.sh")], ()).settings
    pipe = read_diffusion_pipe(out / "diffusion-pipe/config.toml", (), ()).settings
    for found in (musubi, pipe):
        assert (found["train.adapter"], found["train.factor"]) == ("lokr", 4)
        assert (found.get("train.full_matrix", False), found.get("train.rank")) == (full, None if full else 32)
    (path,) = api.export_config(imported, "ai-toolkit").files
    (process,) = yaml.safe_load(path.read_text(encoding="utf-8"))["config"]["process"]
    assert process["network"] == {
        "type": "lokr", "lokr_factor": 4, "lokr_full_rank": full, "linear": 32, "linear_alpha": 32.0,
    }  # fmt: skip


@pytest.mark.parametrize("trainer", ["musubi", "diffusion-pipe", "ai-toolkit"])
def test_a_dora_is_a_lora_elsewhere_and_that_is_told(imported: Project, trainer: str) -> None:
    imported.settings = imported.settings.model_copy(
        update={"train": change(imported.settings.train, {"adapter": "dora"})}
    )
    told = {entry.key: entry for entry in api.export_config(imported, trainer).report}
    assert told["train.adapter"].kind == "refused" and told["train.adapter"].became == "a LoRA"


def test_two_experts_are_two_trainings(imported: Project) -> None:
    imported.settings = imported.settings.model_copy(update={"model": "wan2.2-t2v-a14b"})
    api.export_config(imported, "musubi")
    script = (imported.folder / "exported/musubi/train.sh").read_text(encoding="utf-8")
    assert (
        script.count("wan_train_network.py") == 2 and "--min_timestep 875" in script and "--max_timestep 875" in script
    )
    out = imported.folder / "exported/musubi"
    back = read_musubi(out / "dataset.toml", [str(out / "train.sh")], ())
    assert (back.model, back.settings["train.experts"]) == ("wan2.2-t2v-a14b", ["high", "low"])
    assert not [entry for entry in back.report if entry.kind == "refused"]
    files = [path.name for path in api.export_config(imported, "diffusion-pipe").files]
    assert files == ["dataset.toml", "config-high.toml", "config-low.toml"]
    high = read_diffusion_pipe(imported.folder / "exported/diffusion-pipe/config-high.toml", (), ())
    assert (high.model, high.settings["train.experts"]) == ("wan2.2-t2v-a14b", ["high"])
    (job,) = api.export_config(imported, "ai-toolkit").files
    kinds = yaml.safe_load(job.read_text(encoding="utf-8"))["config"]["process"][0]["model"]["model_kwargs"]
    assert kinds == {"train_high_noise": True, "train_low_noise": True}


def test_settings_that_another_trainer_lacks_are_told(imported: Project) -> None:
    chosen = {
        "shift": "tokens",
        "time_scale": 1.5,
        "time_mean": 0.5,
        "schedule": "wsd",
        "ema": 0.99,
        "weighting": "cosmap",
    }
    imported.settings = imported.settings.model_copy(update={"train": change(imported.settings.train, chosen)})
    own = f"{imported.member.shift:g}"
    musubi = api.export_config(imported, "musubi")
    script = (imported.folder / "exported/musubi/train.sh").read_text(encoding="utf-8").replace("\\\n", " ")
    words = " ".join(script.split())
    for part in (
        f"--discrete_flow_shift {own}",
        "--sigmoid_scale 1.5",
        "--lr_scheduler warmup_stable_decay",
        "--weighting_scheme cosmap",
    ):
        assert part in words
    kinds = {entry.key: entry.kind for entry in musubi.report}
    assert kinds["train.shift"] == kinds["train.schedule"] == "differs"
    assert kinds["train.ema"] == kinds["train.time_mean"] == "refused" and "train.rank" not in kinds
    out = imported.folder / "exported/musubi"
    back = read_musubi(out / "dataset.toml", [str(out / "train.sh")], ()).settings
    assert (back["train.time_scale"], back["train.weighting"], back["train.decay"]) == (1.5, "cosmap", 0.2)
    pipe = api.export_config(imported, "diffusion-pipe")
    kinds = {entry.key: entry.kind for entry in pipe.report}
    assert (
        kinds["train.ema"]
        == kinds["train.time_mean"]
        == kinds["train.weighting"]
        == kinds["train.schedule"]
        == "refused"
    )
    found = read_diffusion_pipe(imported.folder / "exported/diffusion-pipe/config.toml", (), ()).settings
    assert (found["train.time_scale"], found["train.shift"], found["train.schedule"]) == (
        1.5,
        imported.member.shift,
        "constant",
    )
    api.export_config(imported, "ai-toolkit")


def of_model(project: Project, model: str, **train: Any) -> Project:
    """The project as one of another model, with clips that have a length of one frame too."""
    sections = project.settings.sections
    clips = sections["clips"].model_copy(update={"frames": (1, 21)})
    told = {"model": model, "sections": {**sections, "clips": clips}}
    told["train"] = project.settings.train.model_copy(update=train)
    project.settings = project.settings.model_copy(update=told)
    return project


NO_STILLS = ("sections.stills (stills)", "refused", "a model that is given the first frame learns nothing from a still")


def told_of(done: Any) -> set[tuple[str, str, str]]:
    return {(entry.key, entry.kind, entry.note) for entry in done.report}


@pytest.mark.parametrize("model", ["wan2.1-i2v-14b", "wan2.2-i2v-a14b"])
def test_image_to_video_for_musubi(imported: Project, model: str) -> None:
    """`--i2v` when latents are cached, or training ends with a KeyError; CLIP for Wan 2.1 alone; no single frame."""
    done = api.export_config(of_model(imported, model), "musubi")
    assert NO_STILLS in told_of(done)
    out = imported.folder / "exported/musubi"
    dataset, script = ((out / name).read_text(encoding="utf-8") for name in ("dataset.toml", "train.sh"))
    assert "image_directory" not in dataset and "target_frames = [21]" in dataset
    latents = script.partition("wan_cache_text_encoder_outputs.py")[0]
    assert "--i2v" in latents and ("--clip" in script) == (model == "wan2.1-i2v-14b")
    one = model == "wan2.1-i2v-14b"
    assert script.count("wan_train_network.py") == (1 if one else 2)
    assert f"--task {'i2v-14B' if one else 'i2v-A14B'}" in script
    assert one or ("--min_timestep 900 --max_timestep 1000" in " ".join(script.replace("\\\n", " ").split()))
    back = read_musubi(out / "dataset.toml", [str(out / "train.sh")], ())
    assert back.model == model and not [entry for entry in back.report if entry.kind == "refused"]


@pytest.mark.parametrize(
    ("model", "configs", "folder"),
    [
        ("wan2.1-i2v-14b", ["config.toml"], "Wan2.1-I2V-14B-720P"),
        ("wan2.2-i2v-a14b", ["config-high.toml", "config-low.toml"], "Wan2.2-I2V-A14B"),
    ],
)
def test_image_to_video_for_diffusion_pipe(imported: Project, model: str, configs: list[str], folder: str) -> None:
    """A still among the samples ends its training by an assertion."""
    done = api.export_config(of_model(imported, model), "diffusion-pipe")
    assert NO_STILLS in told_of(done) and [path.name for path in done.files] == ["dataset.toml", *configs]
    out = imported.folder / "exported/diffusion-pipe"
    draft = read_diffusion_pipe(out / configs[0], (), ())
    assert draft.model == model and {section["items"] for section in draft.sections.values()} == {"clips"}
    text = (out / configs[0]).read_text(encoding="utf-8")
    assert f'/{folder}"' in text and ("min_t = 0.9\nmax_t = 1.0" in text) == (len(configs) == 2)


def test_text_and_image_to_video_for_others(imported: Project) -> None:
    of_model(imported, "wan2.2-ti2v-5b", first_frame=0.5)
    with pytest.raises(SakugaError, match="musubi-tuner does not train Wan 2.2 TI2V 5B; it trains wan2.1"):
        api.export_config(imported, "musubi")
    done = api.export_config(imported, "diffusion-pipe")
    assert ("train.first_frame", "refused", "it trains this model on words alone") in told_of(done)
    out = imported.folder / "exported/diffusion-pipe"
    draft = read_diffusion_pipe(out / "config.toml", (), ())
    assert draft.model == "wan2.2-ti2v-5b" and "/Wan2.2-TI2V-5B" in (out / "config.toml").read_text("utf-8")
    assert {section["items"] for section in draft.sections.values()} == {"stills", "clips"}  # it learns from both
    done = api.export_config(imported, "ai-toolkit")
    assert ("train.first_frame", "refused", "the job has no such share") in told_of(done)
    (process,) = yaml.safe_load(done.files[0].read_text("utf-8"))["config"]["process"]
    assert process["model"]["arch"] == "wan22_5b" and process["sample"]["fps"] == 24
    assert {entry["fps"] for entry in process["datasets"] if entry["num_frames"] > 1} == {24}


@pytest.mark.parametrize(("model", "arch"), [("wan2.1-i2v-14b", "wan21_i2v"), ("wan2.2-i2v-a14b", "wan22_14b_i2v")])
def test_image_to_video_for_ai_toolkit(imported: Project, model: str, arch: str) -> None:
    done = api.export_config(of_model(imported, model), "ai-toolkit")
    assert NO_STILLS in told_of(done)
    (process,) = yaml.safe_load(done.files[0].read_text("utf-8"))["config"]["process"]
    assert process["model"]["arch"] == arch and min(entry["num_frames"] for entry in process["datasets"]) > 1


@pytest.mark.parametrize("trainer", ["musubi", "diffusion-pipe", "ai-toolkit"])
def test_stills_alone_are_nothing_for_image_to_video(imported: Project, trainer: str) -> None:
    stills = {"stills": imported.settings.sections["stills"]}
    imported.settings = imported.settings.model_copy(update={"model": "wan2.2-i2v-a14b", "sections": stills})
    with pytest.raises(
        SakugaError, match="there is nothing to export: Wan 2.2 I2V A14B learns from clips alone, and no"
    ):
        api.export_config(imported, trainer)


def test_clips_of_another_rate_get_a_folder_of_their_own(imported: Project, disk: Path) -> None:
    clip(disk / "videos/1920x1040/fast.mp4", 72, rate=24)
    api.adopt(imported)
    api.export_config(imported, "musubi")
    text = (imported.folder / "exported/musubi/dataset.toml").read_text(encoding="utf-8")
    assert "clips-24fps" in text and "source_fps = 24.0" in text


def test_what_cannot_be_exported(imported: Project, disk: Path, tmp_path: Path) -> None:
    (disk / "videos/1920x1040/c0.txt").unlink()
    imported.db.execute("DELETE FROM caption WHERE item = '1920x1040/c0'")
    done = api.export_config(imported, "musubi")
    assert [entry.note for entry in done.report.of("item 1920x1040/c0")] == ["it has no caption; run `sakuga caption`"]
    (disk / "videos/1920x1040/c1.mp4").unlink()
    with pytest.raises(SakugaError, match="c1.mp4 has gone since it became an item"):
        api.export_config(imported, "musubi", tmp_path / "other")
    imported.settings = imported.settings.model_copy(update={"model": "tiny"})
    told = {
        "musubi": "musubi-tuner does not train Tiny Wan; it trains wan2.1",
        "diffusion-pipe": "diffusion-pipe does not train Tiny Wan; it trains the models",
        "ai-toolkit": "ai-toolkit does not train Tiny Wan; it trains wan2.1",
    }
    for trainer, sentence in told.items():
        with pytest.raises(SakugaError, match=sentence):
            api.export_config(imported, trainer)


def test_an_empty_project_exports_nothing(tmp_path: Path) -> None:
    with (
        api.new(tmp_path / "p", "wan2.1-t2v-14b") as project,
        pytest.raises(SakugaError, match="there is nothing to export: no section"),
    ):
        api.export_config(project, "musubi")


def test_single_frames_alone_are_nothing_for_diffusion_pipe(imported: Project) -> None:
    section = imported.settings.sections["clips"].model_copy(update={"frames": (1,)})
    imported.settings = imported.settings.model_copy(update={"sections": {"clips": section}})
    with pytest.raises(SakugaError, match="there is nothing that diffusion-pipe could train on"):
        api.export_config(imported, "diffusion-pipe")
