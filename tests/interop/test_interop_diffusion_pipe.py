"""diffusion-pipe's configurations, key by key."""

import math
import re
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest
from PIL import Image

from interop_files import Write, clip, still
from sakuga import api
from sakuga.core.errors import SakugaError
from sakuga.core.noise import time_at
from sakuga.interop import diffusion_pipe_keys as keys
from sakuga.interop.diffusion_pipe import read_diffusion_pipe
from sakuga.interop.draft import Draft

MAIN = """
output_dir = "/out"
dataset = "dataset.toml"
epochs = 40
save_every_n_epochs = 2
{top}
[model]
type = "wan"
ckpt_path = "/m/Wan2.1-T2V-14B"
dtype = "bfloat16"
{model}
[adapter]
type = "lora"
rank = 16
{adapter}
[optimizer]
type = "adamw_optimi"
lr = 2e-5
betas = [0.9, 0.99]
"""
DATASET = """
resolutions = [512]
enable_ar_bucket = true
min_ar = 0.5
max_ar = 2.0
num_ar_buckets = 3
frame_buckets = [1, 33, 65]
[[directory]]
path = "/data/x"
"""
LAYERS = ["blocks.1.self_attn.q", "blocks.1.self_attn.k", "blocks.1.ffn.0", "blocks.1.ffn.2"]
PART = """
[model]
type = 'wan'
ckpt_path = '/x/wan2.2-I2V-A14B'
transformer_path = '/x/wan2.2-I2V-A14B/high_noise_model'
dtype = 'bfloat16'
transformer_dtype = 'float8'
timestep_sample_method = 'logit_normal'
min_t = 0.9
max_t = 1
[adapter]
type = 'lora'
rank = 32
dtype = 'bfloat16'
[optimizer]
type = 'adamw_optimi'
lr = 2e-5
betas = [0.9, 0.99]
weight_decay = 0.01
eps = 1e-8
"""


@pytest.fixture
def read(write: Write) -> Any:
    def of(
        top: str = "", model: str = "", dataset: str = DATASET, name: str | None = None, adapter: str = ""
    ) -> Draft:  # fmt: skip
        write("dataset.toml", dataset)
        text = MAIN.format(top=top, model=model, adapter=adapter)
        return read_diffusion_pipe(write("config.toml", text), (), (), name)

    return of


def said(draft: Draft, key: str) -> list[tuple[str, str]]:
    return [(entry.kind, entry.became) for entry in draft.report.of(key)]


def test_a_whole_configuration(read: Any) -> None:
    draft = read()
    assert draft.model == "wan2.1-t2v-14b"
    sizes = [[368, 720], [512, 512], [720, 368]]
    common = {"resolution": [512, 512], "sizes": sizes, "nearest": "log-aspect", "upscale": True}
    assert draft.sections == {
        "stills": {"items": "stills", **common},
        "clips": {"items": "clips", **common, "rule": "head", "frames": [33, 65], "lengths": "longest"},
    }
    assert draft.settings == {
        "train.rank": 16, "train.alpha": 16.0, "train.learning_rate": 2e-5, "train.betas": [0.9, 0.99], "train.eps": 1e-6,
        "train.weight_decay": 0.01, "train.max_norm": 1.0, "train.schedule": "constant", "train.warmup": 0, "train.epochs": 40,
        "train.accumulation": 1, "train.batch": 1, "train.time": "sigmoid", "train.shift": 1.0, "train.checkpointing": False,
        "train.precision": "bf16", "plan.holdout": 0.0,
    }  # fmt: skip
    assert [(later.key, later.by, later.value) for later in draft.later] == [("train.save_every", "epochs", 2.0)]
    assert "no shift" in draft.report.of("model.shift")[0].note


def test_a_part_of_a_configuration_names_what_is_missing(write: Write) -> None:
    draft = read_diffusion_pipe(write("golden.diffusion-pipe.toml", PART), (), ())
    assert (draft.model, draft.name, draft.sections) == ("wan2.2-i2v-a14b", "golden", {})
    assert draft.settings["train.experts"] == ["high"]
    assert said(draft, "model.min_t, max_t") == [("exact", 'train.experts = ["high"]')]
    assert (draft.settings["train.rank"], draft.settings["train.alpha"], draft.settings["train.eps"]) == (
        32,
        32.0,
        1e-8,
    )
    missing = [entry.key for entry in draft.report if "missing from the file" in entry.note]
    assert missing == ["dataset", "epochs", "save_every_n_epochs"]
    assert "plan.holdout" not in draft.settings and "train.checkpointing" not in draft.settings


def test_a_range_outside_of_model_is_passed_over_there(read: Any) -> None:
    draft = read("min_t = 0.875")
    (entry,) = draft.report.of("min_t")
    assert entry.kind == "ignored there" and "move it into [model]" in entry.note
    assert "train.experts" not in draft.settings


def test_a_range_of_a_model_of_one_expert_is_the_same(read: Any) -> None:
    draft = read(model="min_t = 0.5\nsigmoid_scale = 2.0")
    assert said(draft, "model.min_t, max_t") == [("exact", "train.min_t = 0.5"), ("exact", "train.max_t = 1.0")]
    assert said(draft, "model.sigmoid_scale") == [("exact", "train.time_scale = 2.0")]


def test_noise_levels_are_drawn_as_theirs(read: Any) -> None:
    """By their own construction: quantiles of 1e-4 ... 1 - 1e-4 through sigmoid and shift, cut off at the range."""
    found = read(model="min_t = 0.5\nmax_t = 0.9\nsigmoid_scale = 2.0\nshift = 3").settings
    normal = NormalDist()
    x = [1 / (1 + math.exp(-2 * normal.inv_cdf(1e-4 + (1 - 2e-4) * n / 9999))) for n in range(10000)]
    theirs = [t for t in (3 * each / (1 + 2 * each) for each in x) if 0.5 <= t <= 0.9]
    for u in (0.01, 0.25, 0.5, 0.75, 0.99):
        ours = time_at(u, found["train.time"], found["train.shift"], found["train.time_scale"], 0, found["train.min_t"],
                       found["train.max_t"])  # fmt: skip
        assert ours == pytest.approx(theirs[int(u * len(theirs))], abs=1e-3)


def test_layers_and_dropout_of_the_adapter(read: Any) -> None:
    draft = read(adapter="dropout = 0.1\nexclude_modules = ['ffn.0', 'q']")
    assert draft.settings["train.dropout"] == 0.1
    patterns = draft.settings["train.exclude"]
    hits = [name for name in LAYERS if any(re.search(p, name) for p in patterns)]
    assert hits == ["blocks.1.self_attn.q", "blocks.1.ffn.0"]
    (pattern,) = read(adapter="exclude_modules = '.*ffn.*'").settings["train.exclude"]
    assert [name for name in LAYERS if re.search(pattern, name)] == ["blocks.1.ffn.0", "blocks.1.ffn.2"]


@pytest.mark.parametrize(
    ("dataset", "stills", "clips"),
    [
        ("resolutions = [500]", {"resolution": [496, 496], "buckets": False, "upscale": True}, None),
        ("resolutions = [[640, 360]]\nframe_buckets = [34]",
         {"resolution": [480, 480], "buckets": False, "upscale": True}, {"rule": "head", "frames": [33], "lengths": "longest"}),
        ("size_buckets = [[640, 368, 1], [640, 368, 33], [368, 640, 1], [368, 640, 33]]",
         {"resolution": [640, 368], "sizes": [[640, 368], [368, 640]], "nearest": "log-aspect", "upscale": True},
         {"rule": "head", "frames": [33], "lengths": "longest"}),
    ],
)  # fmt: skip
def test_sizes_and_frames(read: Any, dataset: str, stills: dict[str, Any], clips: dict[str, Any] | None) -> None:
    found = read(dataset=f"{dataset}\n[[directory]]\npath = 'x'\n").sections
    assert found["stills"] == {"items": "stills", **stills}
    assert found.get("clips") == (None if clips is None else {"items": "clips", **stills, **clips})


def test_every_resolution_is_a_section(read: Any) -> None:
    text = "resolutions = [256, 512]\nframe_buckets = [9]\nnum_repeats = 3\n[[directory]]\npath = 'x'\n"
    text += "[[directory]]\npath = 'y'\nnum_repeats = 0.4\n"
    draft = read(dataset=text)
    assert list(draft.sections) == [
        "stills",
        "clips",
        "stills-2",
        "clips-2",
        "stills-3",
        "clips-3",
        "stills-4",
        "clips-4",
    ]
    assert [draft.folders[name] for name in draft.sections] == ["x"] * 4 + ["y"] * 4
    assert draft.sections["clips-2"]["repeats"] == 3 and "repeats" not in draft.sections["clips-3"]
    assert said(draft, "directory 2: num_repeats") == [("differs", "repeats = 1")]


def test_folders_that_can_be_looked_into_give_the_sections_they_can(read: Any, tmp_path: Path) -> None:
    clip(tmp_path / "v/a.mp4", 3)
    still(tmp_path / "s/a.png", 1)
    text = (
        f"resolutions = [512]\nframe_buckets = [9]\n[[directory]]\npath = '{tmp_path}/v'\n[[directory]]\npath = 's'\n"
    )
    draft = read(dataset=text)
    assert {name: draft.folders[name][-1] for name in draft.sections} == {"clips": "v", "stills": "s"}


def test_image_to_video_takes_no_stills(read: Any) -> None:
    draft = read(name="wan2.2-i2v-a14b")
    assert list(draft.sections) == ["clips"]
    assert ("refused", "") in said(draft, "directory 1: path")


@pytest.mark.parametrize(
    ("top", "settings"),
    [
        ("micro_batch_size_per_gpu = 2\ngradient_accumulation_steps = 3", {"train.accumulation": 6, "train.batch": 2}),
        ("micro_batch_size_per_gpu = [[512, 4], [1024, 1]]", {"train.accumulation": 4, "train.batch": 1}),
        ("max_steps = 500", {"train.steps": 500}),
        ("lr_scheduler = 'cosine'\nwarmup_steps = 9", {"train.schedule": "cosine", "train.warmup": 9}),
        ("lr_scheduler = 'linear'", {"train.schedule": "linear"}),
        ("lr_scheduler = 'step'", {"train.schedule": "constant"}),
        ("huber_delta = 0.5", {"train.loss": "huber", "train.huber_delta": 0.5}),
        ("smooth_l1_beta = 0.25", {"train.loss": "huber", "train.huber_delta": 0.25}),
        ("activation_checkpointing = 'unsloth'", {"train.checkpointing": True}),
        ("uncond_fraction = 0.1", {"train.caption_dropout": 0.1}),
        ("save_dtype = 'float16'", {"publish.precision": "fp16"}),
        ("eval_datasets = [{name = 'a', config = 'b.toml'}]", {"plan.holdout": 0.05}),
        ("gradient_accumulation_steps = 4\neval_every_n_examples = 100", {"train.validate_every": 25}),
        ("gradient_clipping = 0.5", {"train.max_norm": 0.5}),
    ],
)  # fmt: skip
def test_settings_of_a_training(read: Any, top: str, settings: dict[str, Any]) -> None:
    found = read(top).settings
    assert {key: found.get(key) for key in settings} == settings


@pytest.mark.parametrize(
    ("top", "model", "key"),
    [
        ("gradient_clipping = 0", "", "gradient_clipping"),
        ("save_dtype = 'float8'", "", "save_dtype"),
    ],
)
def test_what_is_refused(read: Any, top: str, model: str, key: str) -> None:
    assert ("refused", "") in said(read(top, model), key)


def test_pictures_have_a_batch_of_their_own(read: Any) -> None:
    draft = read("image_micro_batch_size_per_gpu = 4")
    assert draft.sections["stills"]["batch"] == 4 and "batch" not in draft.sections["clips"]


@pytest.mark.parametrize(
    ("model", "time", "shift"),
    [
        ("shift = 3", "sigmoid", 3.0),
        ("timestep_sample_method = 'uniform'", "uniform", 1.0),
        ("flux_shift = true", "sigmoid", 1.8776),
    ],
)
def test_noise_levels(read: Any, model: str, time: str, shift: float) -> None:
    found = read(model=model).settings
    assert (found["train.time"], found["train.shift"]) == (time, pytest.approx(shift, abs=1e-3))


def test_a_middle_and_a_prefix(read: Any) -> None:
    draft = read("video_clip_mode = 'single_middle'", dataset="caption_prefix = 'MyStyle. '\n" + DATASET)
    assert draft.sections["clips"]["rule"] == "middle" and draft.settings["trigger"] == "MyStyle"


def test_keys_of_accounts_are_neither_kept_nor_shown(write: Write) -> None:
    text = PART + "[monitoring]\nenable_wandb = true\nwandb_api_key = 'abc123'\n"
    draft = read_diffusion_pipe(write("c.toml", text), (), ())
    assert draft.report.of("monitoring.wandb_api_key")[0].value == "(not copied)"
    assert "abc123" not in draft.report.as_text("")


NUMBERS = {"micro", "gradient", "epochs", "max_steps", "warmup", "every", "uncond", "min_t", "max_t", "shift", "rank"}


@pytest.mark.parametrize(
    "key", [*keys.TOP, *(f"model.{key}" for key in keys.MODEL), *(f"adapter.{key}" for key in keys.ADAPTER)]
)
def test_every_key_is_told(write: Write, key: str) -> None:
    import tomlkit

    table: Any = tomlkit.parse(MAIN.format(top="", model="", adapter=""))
    write("dataset.toml", DATASET)
    group, _, name = key.rpartition(".")
    values = {"timestep_sample_method": "uniform", "lr_scheduler": "cosine", "video_clip_mode": "single_middle", "type": None,
              "dataset": None, "ckpt_path": None, "uncond_fraction": 0.5, "dtype": "bfloat16", "eval_datasets": ["x"],
              "exclude_modules": "q"}  # fmt: skip
    value = values.get(name, 1)
    if value is not None:
        (table[group] if group else table)[name] = value
    draft = read_diffusion_pipe(write("config.toml", tomlkit.dumps(table)), (), ())
    told = draft.report.tells(f"{group}." if group else "", name) or draft.report.tells("model: ", name)
    assert told or draft.report.tells("directory 1: ", name) or name in {later.there for later in draft.later}, key


@pytest.mark.parametrize("key", keys.DATASET | keys.DIRECTORY)
def test_every_key_of_the_dataset_is_told(read: Any, key: str) -> None:
    values = {"resolutions": [256], "ar_buckets": [1.0], "frame_buckets": [9], "size_buckets": [[64, 64, 9]], "path": "/data/x",
              "caption_prefix": "x", "mask_path": "m",
              "default_mask_file": "m", "min_ar": 0.5, "max_ar": 2.0, "num_ar_buckets": 3}  # fmt: skip
    line = f"{key} = {values.get(key, 1)!r}\n"
    base = "\n".join(row for row in DATASET.splitlines() if not row.startswith(key))
    draft = read(dataset=f"{base}\n{line}")
    assert draft.report.tells("directory 1: ", key)


@pytest.mark.parametrize(
    ("top", "model", "sentence"),
    [
        ("epohcs = 3", "", "config.toml: it knows no key 'epohcs'; did you mean epochs?"),
        ("", "min_tt = 3", "config.toml: [model]: it knows no key 'min_tt'; did you mean min_t?"),
        ("warmup_steps = 'x'", "", "config.toml: warmup_steps = 'x' makes no sense there"),
        (
            "",
            "timestep_sample_method = 'logit_norml'",
            "timestep_sample_method = 'logit_norml' is none there; did you mean logit_normal?",
        ),
        (
            "video_clip_mode = 'multiple_overlapping'",
            "",
            "'multiple_overlapping' is none any more; it is single_beginning or",
        ),
    ],
)
def test_faults_of_the_main_configuration(read: Any, top: str, model: str, sentence: str) -> None:
    with pytest.raises(SakugaError) as caught:
        read(top, model)
    assert sentence in str(caught.value)


def test_masks_of_a_folder_come_along(write: Write, tmp_path: Path) -> None:
    for number in range(3):
        still(tmp_path / "pictures" / f"s{number}.png", number)
    size = Image.open(tmp_path / "pictures" / "s0.png").size
    (tmp_path / "masks").mkdir()
    for name in ("masks/s1.png", "masks/other.png", "default.png"):
        Image.new("L", size, 128).save(tmp_path / name)
    dataset = DATASET.replace("/data/x", (tmp_path / "pictures").as_posix())
    again = f'[[directory]]\npath = "{(tmp_path / "pictures").as_posix()}"\nmask_path = "/nowhere/masks"\n'
    places = {"mask_path": tmp_path / "masks", "default_mask_file": tmp_path / "default.png"}
    write("dataset.toml", dataset + "".join(f'{key} = "{path.as_posix()}"\n' for key, path in places.items()) + again)
    config = write("config.toml", MAIN.format(top="", model="", adapter=""))
    done = api.import_config("diffusion-pipe", config, into=tmp_path / "p")
    with done.project as project:
        masks = {row["item"]: row["file"] for row in api.masks(project)}
        assert masks == {f"pictures/s{n}": f"masks/pictures/s{n}.png" for n in range(3)}
    told = [(entry.kind, entry.became, entry.note) for entry in done.report.of("masks")]
    kept = "kept in the project's folder masks"
    assert told == [
        ("exact", "1 masks", f"{kept}; 1 are set aside, as no clip and no still bears its name"),
        ("exact", "2 masks", kept),
        ("refused", "", "it is not on this machine: `sakuga masks FOLDER --of pictures` takes it from where it is"),
    ]
    (differs, *_) = done.report.of("directory 1: mask_path")
    assert differs.kind == "differs" and "over the whole picture, Sakuga over what counts" in differs.note


def test_faults_around_it(write: Write) -> None:
    def fault(text: str, *words: str) -> str:
        with pytest.raises(SakugaError) as caught:
            read_diffusion_pipe(write("config.toml", text), words, ())
        return str(caught.value)

    assert "config.toml is another file than a configuration of diffusion-pipe" in fault("[[datasets]]\nx = 1")
    assert "config.toml trains a model of type 'flux', and Sakuga the Wan" in fault("[model]\ntype = 'flux'")
    assert "which model ckpt_path = '/m' holds is not to be seen" in fault("[model]\nckpt_path = '/m'")
    assert "is not to be seen" in fault("[model]\nckpt_path = '/m/Wan2.1-FLF2V-14B'")
    named = MAIN.format(top="", model="", adapter="")
    assert "config.toml names the dataset file dataset.toml, which is not there" in fault(named)
    write("other.toml", "[model]\ntype = 'wan'")
    assert "other.toml is another file than a dataset file of diffusion-pipe" in fault(
        named, str(write("other.toml", "[model]\na = 1"))
    )
    write("dataset.toml", "resolutoins = [1]\n[[directory]]\npath = 'x'")
    assert "dataset.toml: it knows no key 'resolutoins'; did you mean resolutions?" in fault(named)
