"""musubi-tuner's files, key by key."""

import re
from pathlib import Path
from typing import Any

import pytest

from interop_files import COMMANDS, DATASET, Write
from sakuga.core.errors import SakugaError
from sakuga.interop import musubi_keys
from sakuga.interop.buckets import musubi_sizes
from sakuga.interop.draft import Draft
from sakuga.interop.musubi import read_musubi

ONE = '[general]\nresolution = [832, 480]\n[[datasets]]\n{}_directory = "x"\n{}\n'
A14B = ("--task", "t2v-A14B", "--dit", "wan2.2_high.safetensors", "--sdpa")


@pytest.fixture
def read(write: Write) -> Any:
    """The draft of one dataset entry of a kind (video, image) with more lines, and arguments."""

    def of(kind: str = "video", more: str = "", *words: str, model: str | None = None) -> Draft:
        return read_musubi(write("d.toml", ONE.format(kind, more)), words, (), model)

    return of


def said(draft: Draft, key: str) -> list[tuple[str, str]]:
    return [(entry.kind, entry.became) for entry in draft.report.of(key)]


def section(draft: Draft) -> dict[str, Any]:
    (found,) = draft.sections.values()
    return found


def test_the_recipe(write: Write) -> None:
    draft = read_musubi(write("d.toml", DATASET), [str(write("run.cmd", COMMANDS))], ())
    assert (draft.model, draft.name) == ("wan2.1-t2v-14b", "my_style")
    assert list(draft.sections) == ["stills", "clips", "clips-2"]
    assert draft.folders == {
        "stills": "H:/sets/images/768x768", "clips": "H:/sets/videos/1920x1040", "clips-2": "H:/sets/videos/1920x1040",
    }  # fmt: skip
    stills, clips, motion = draft.sections.values()
    assert (stills["items"], stills["resolution"], stills["upscale"], stills["nearest"]) == (
        "stills",
        [768, 768],
        False,
        "aspect",
    )
    assert stills["sizes"] == [list(size) for size in musubi_sizes(768, 768)]
    assert (clips["rule"], clips["frames"], clips["upscale"]) == ("head", [1, 21], True)
    assert (motion["rule"], motion["frames"], motion["count"], motion["resolution"]) == ("uniform", [45], 2, [384, 208])
    train = {key.removeprefix("train."): value for key, value in draft.settings.items() if key.startswith("train.")}
    assert train == {
        "rank": 32, "alpha": 32.0, "learning_rate": 5e-5, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01,
        "max_norm": 1.0, "schedule": "constant", "accumulation": 1, "epochs": 50, "time": "sigmoid", "shift": 3.0, "seed": 2025,
        "checkpointing": True, "precision": "bf16",
    }  # fmt: skip
    assert draft.settings["plan.holdout"] == 0.0
    assert [(later.key, later.value) for later in draft.later] == [("train.save_every", 1)]
    assert said(draft, "train: vae") == [("differs", "")]


def test_what_holds_there_is_written_out_where_nothing_is_said(read: Any) -> None:
    draft = read("video", "", "--sdpa")
    kept = {key.removeprefix("train."): value for key, value in draft.settings.items()}
    assert (kept["rank"], kept["alpha"], kept["learning_rate"], kept["steps"]) == (4, 1.0, 2e-6, 1600)
    assert (kept["time"], kept["shift"], kept["checkpointing"]) == ("uniform", 1.0, False)
    (alpha,) = draft.report.of("train: network_alpha")
    assert "alpha / rank = 0.25" in alpha.note and "left out" in alpha.note
    assert section(draft)["frames"] == [1] and section(draft)["rule"] == "head"
    assert section(read_default(draft, read))["resolution"] == [960, 544]


def read_default(draft: Draft, read: Any) -> Draft:
    return read("video", "resolution = [960, 544]")


def test_alpha_left_out_at_rank_32_scales_by_a_thirty_second(read: Any) -> None:
    draft = read("video", "", "--network_dim", "32")
    assert (draft.settings["train.rank"], draft.settings["train.alpha"]) == (32, 1.0)
    assert "alpha / rank = 0.03125" in draft.report.of("train: network_alpha")[0].note


def test_the_default_resolution(write: Write) -> None:
    draft = read_musubi(write("d.toml", '[[datasets]]\nvideo_directory = "x"\n'), (), ())
    assert section(draft)["resolution"] == [960, 544]


def test_pictures_without_buckets_have_one_size(read: Any) -> None:
    found = section(read("image", "bucket_no_upscale = true"))
    assert (found["buckets"], found["upscale"], "sizes" in found) == (False, True, False)
    assert said(read("image", "bucket_no_upscale = true"), "datasets 1: bucket_no_upscale")[0][0] == "ignored there"
    odd = read("image", "resolution = [500, 300]")
    assert said(odd, "datasets 1: enable_bucket") == [("differs", "buckets = false")]


def test_videos_have_buckets_and_are_enlarged_whatever_is_said(read: Any) -> None:
    draft = read("video", "enable_bucket = false\nbucket_no_upscale = true")
    found = section(draft)
    assert len(found["sizes"]) == 42 and found["upscale"] is True
    assert said(draft, "datasets 1: bucket_no_upscale") == [("ignored there", "upscale = true")]


def test_a_side_alone_is_a_square(read: Any) -> None:
    assert section(read("image", "resolution = 512"))["resolution"] == [512, 512]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("target_frames = [27, 4, 14, 13]", {"rule": "head", "frames": [1, 13, 25]}),
        ('frame_extraction = "uniform"\ntarget_frames = [9]', {"rule": "head", "frames": [9]}),
        (
            'frame_extraction = "slide"\nframe_stride = 7\ntarget_frames = [9]',
            {"rule": "slide", "stride": 7, "frames": [9]},
        ),
        ('frame_extraction = "chunk"\ntarget_frames = [9]', {"rule": "chunk", "frames": [9]}),
        ('frame_extraction = "full"', {"rule": "full", "max_frames": 129}),
        ('frame_extraction = "full"\nmax_frames = 31', {"rule": "full", "max_frames": 31}),
    ],
)
def test_frame_rules(read: Any, lines: str, expected: dict[str, Any]) -> None:
    found = section(read("video", lines))
    assert {key: found[key] for key in ("rule", "frames", "stride", "count", "max_frames") if key in found} == expected


def test_uniform_of_one_is_told_to_be_head(read: Any) -> None:
    draft = read("video", 'frame_extraction = "uniform"')
    assert said(draft, "datasets 1: frame_extraction") == [("differs", 'rule = "head"')]


def test_what_takes_no_part_is_ignored_there(read: Any) -> None:
    draft = read("video", 'frame_extraction = "full"\nframe_stride = 2\ntarget_frames = [5]')
    assert said(draft, "datasets 1: frame_stride") == [("ignored there", "")]
    assert said(draft, "datasets 1: target_frames") == [("ignored there", "")]


def test_time_is_read_from_the_file(read: Any) -> None:
    assert said(read(), "datasets 1: source_fps") == [("differs", "the rate of each file")]
    draft = read("video", "source_fps = 24.0")
    assert draft.rates == {"x": 24.0}


def test_batches_and_repeats(read: Any) -> None:
    draft = read("video", "batch_size = 2\nnum_repeats = 3", "--gradient_accumulation_steps", "4")
    assert (section(draft)["batch"], section(draft)["repeats"]) == (2, 3)
    assert draft.settings["train.accumulation"] == 8


def test_control_pictures_are_refused_and_other_models_keys_ignored(read: Any) -> None:
    draft = read("video", 'control_directory = "c"\nfp_latent_window_size = 9')
    assert said(draft, "datasets 1: control_directory") == [("refused", "")]
    assert said(draft, "datasets 1: fp_latent_window_size") == [("ignored there", "")]


def test_a_list_of_captions_means_its_folder(write: Write) -> None:
    text = '[[datasets]]\nimage_jsonl_file = "D:/a/b/list.jsonl"\ncache_directory = "c"\n'
    draft = read_musubi(write("d.toml", text), (), ())
    assert draft.folders == {"stills": "D:/a/b"}
    assert ("differs", "") in said(draft, "datasets 1: image_jsonl_file")


# Noise levels


def noise(draft: Draft) -> tuple[Any, Any]:
    return draft.settings["train.time"], draft.settings["train.shift"]


def test_sigma_is_uniform_whatever_the_shift(read: Any) -> None:
    draft = read("video", "", "--discrete_flow_shift", "12")
    assert noise(draft) == ("uniform", 1.0)
    assert said(draft, "train: discrete_flow_shift") == [("ignored there", "train.shift = 1.0")]


def test_sigma_with_logit_normal_is_sigmoid(read: Any) -> None:
    assert noise(read("video", "", "--weighting_scheme", "logit_normal")) == ("sigmoid", 1.0)
    other = read("video", "", "--weighting_scheme", "logit_normal", "--logit_mean", "0.5")
    assert said(other, "train: logit_mean") == [("exact", "train.time_mean = -0.5")]
    assert other.settings["train.time_scale"] == 1.0
    weighed = read("video", "", "--weighting_scheme", "cosmap")
    assert said(weighed, "train: weighting_scheme") == [("exact", 'train.weighting = "cosmap"')]
    assert said(read("video", "", "--weighting_scheme", "mode"), "train: weighting_scheme") == [("refused", "")]
    mode = read("video", "", "--weighting_scheme", "mode", "--timestep_sampling", "shift")
    assert said(mode, "train: weighting_scheme") == [("ignored there", "")]


def test_shift_without_a_number_is_no_shift(read: Any) -> None:
    assert noise(read("video", "", "--timestep_sampling", "shift")) == ("sigmoid", 1.0)
    assert noise(read("video", "", "--timestep_sampling", "sigmoid", "--discrete_flow_shift", "3")) == ("sigmoid", 1.0)
    assert noise(read("video", "", "--timestep_sampling", "uniform")) == ("uniform", 1.0)
    assert said(read("video", "", "--timestep_sampling", "shift", "--sigmoid_scale", "2"), "train: sigmoid_scale") == [
        ("exact", "train.time_scale = 2.0")
    ]


def test_a_shift_by_size_is_written_out(read: Any) -> None:
    draft = read("video", "resolution = [1024, 1024]", "--timestep_sampling", "flux_shift")
    assert noise(draft) == ("sigmoid", pytest.approx(3.1582, abs=1e-4))  # e^1.15 at 4096 tokens


def test_another_way_of_sampling_is_refused(read: Any) -> None:
    draft = read("video", "", "--timestep_sampling", "qinglong_flux", "--discrete_flow_shift", "5")
    assert said(draft, "train: timestep_sampling")[0][0] == "refused" and noise(draft) == ("sigmoid", 5.0)


def test_sigma_trains_the_wrong_range(read: Any) -> None:
    draft = read("video", "", *A14B, "--min_timestep", "875", "--max_timestep", "1000")
    notes = [entry.note for entry in draft.report.of("train: min_timestep, max_timestep")]
    assert notes[0].startswith("their sigma mode trains the wrong noise range: min 875 max 1000 trains t 0.000-0.125")
    assert draft.settings["train.experts"] == ["high"]


@pytest.mark.parametrize(
    ("more", "experts", "kind"),
    [
        (("--min_timestep", "875", "--max_timestep", "1000", "--preserve_distribution_shape"), ["high"], "exact"),
        (("--min_timestep", "0", "--max_timestep", "875", "--preserve_distribution_shape"), ["low"], "exact"),
        (("--min_timestep", "875"), ["high"], "differs"),
        (("--min_timestep", "900", "--preserve_distribution_shape"), ["high"], "exact"),
    ],
)
def test_a_range_is_an_expert(read: Any, more: tuple[str, ...], experts: list[str], kind: str) -> None:
    draft = read("video", "", *A14B, "--timestep_sampling", "shift", *more)
    assert draft.settings["train.experts"] == experts
    assert said(draft, "train: min_timestep, max_timestep")[0][0] == kind


def test_a_range_within_that_of_an_expert_is_kept(read: Any) -> None:
    narrow = ("--min_timestep", "900", "--preserve_distribution_shape")
    draft = read("video", "", *A14B, "--timestep_sampling", "shift", *narrow)
    assert (draft.settings["train.min_t"], draft.settings["train.max_t"]) == (0.9, 1.0)


def test_a_range_of_a_model_of_one_expert_is_the_same_where_it_is_cut_off(read: Any) -> None:
    def became(*more: str) -> list[tuple[str, str]]:
        return said(read("video", "", "--min_timestep", "500", *more), "train: min_timestep, max_timestep")

    exact = [("exact", "train.min_t = 0.5"), ("exact", "train.max_t = 1.0")]
    assert became("--timestep_sampling", "shift", "--preserve_distribution_shape") == exact
    assert became("--timestep_sampling", "uniform") == exact  # a part of uniform levels is uniform, squeezed or cut off
    assert {kind for kind, _ in became("--timestep_sampling", "shift")} == {"differs"}


def test_the_logarithm_of_the_signal_is_a_sigmoid(read: Any) -> None:
    draft = read("video", "", "--timestep_sampling", "logsnr", "--logit_mean", "-1", "--logit_std", "3")
    assert noise(draft) == ("sigmoid", 1.0)
    assert (draft.settings["train.time_mean"], draft.settings["train.time_scale"]) == (0.5, 1.5)


def test_a_lokr_of_the_nearest_factors(read: Any) -> None:
    draft = read("video", "", "--network_module", "networks.lokr", "--network_args", "factor=-1")
    assert draft.settings["train.adapter"] == "lokr" and "train.factor" not in draft.settings
    assert said(draft, "train: network_args.factor")[0][0] == "exact"


def test_layers_dropout_and_schedule_of_a_training(read: Any) -> None:
    patterns = [
        "exclude_patterns=['.*ffn.*', '.*cross_attn.*']",
        "include_patterns=[r'.*ffn\\.2']",
        "loraplus_lr_ratio=4",
    ]
    draft = read("video", "", "--network_args", *patterns, "--network_dropout", "0.1")
    layers = [f"blocks.0.{name}" for name in ("self_attn.q", "cross_attn.k", "ffn.0", "ffn.2")]
    left = [name for name in layers if not any(re.search(p, name) for p in draft.settings["train.exclude"])]
    assert left == ["blocks.0.self_attn.q", "blocks.0.ffn.2"]
    assert (draft.settings["train.lora_plus"], draft.settings["train.dropout"]) == (4.0, 0.1)
    assert said(draft, "train: network_dropout")[0][0] == "differs"
    with pytest.raises(SakugaError, match="takes a list of patterns"):
        read("video", "", "--network_args", "exclude_patterns=ffn")
    with pytest.raises(SakugaError, match="loraplus_lr_ratio takes a number"):
        read("video", "", "--network_args", "loraplus_lr_ratio='x'")


@pytest.mark.parametrize(
    ("more", "schedule", "decay"),
    [
        (("linear",), "linear", None),
        (("warmup_stable_decay", "--lr_decay_steps", "0.3"), "wsd", 0.3),
        (("warmup_stable_decay", "--lr_decay_steps", "400"), "wsd", 0.25),
        (("warmup_stable_decay", "--lr_decay_steps", "400", "--max_train_epochs", "3"), "wsd", None),
        (("rex",), "constant", None),
    ],
)
def test_schedules(read: Any, more: tuple[str, ...], schedule: str, decay: float | None) -> None:
    found = read("video", "", "--lr_scheduler", *more).settings
    assert (found["train.schedule"], found.get("train.decay")) == (schedule, decay)


def test_weights_tell_their_expert_by_name(read: Any) -> None:
    assert read("video", "", *A14B).settings["train.experts"] == ["high"]
    both = read(
        "video",
        "",
        "--task",
        "t2v-A14B",
        "--dit",
        "l.safetensors",
        "--dit_high_noise",
        "h.safetensors",
        "--timestep_boundary",
        "875",
    )
    assert both.settings["train.experts"] == ["high", "low"]
    assert said(both, "train: timestep_boundary") == [("exact", "a fact of the model")]
    other = read("video", "", *A14B, "--timestep_boundary", "900")
    assert said(other, "train: timestep_boundary") == [("refused", "")]
    assert read("video", "", "--task", "t2v-A14B", "--dit", "x").settings["train.experts"] == ["high", "low"]


def test_two_trainings_are_two_experts(write: Write) -> None:
    line = "python wan_train_network.py --task t2v-A14B --timestep_sampling shift --dit {} --output_name {} --network_dim {} {}\n"
    high = line.format("h", "a-high", 16, "--min_timestep 875 --max_timestep 1000")
    low = line.format("l", "a-low", 8, "--min_timestep 0 --max_timestep 875")
    draft = read_musubi(write("d.toml", ONE.format("video", "")), [str(write("two.sh", high + low))], ())
    assert draft.settings["train.experts"] == ["high", "low"] and draft.settings["train.rank"] == 16
    assert draft.pair == {"high": "h", "low": "l"}
    assert said(draft, "second training: network_dim") == [("refused", "")]


def test_commands_that_fill_caches_are_no_training(write: Write) -> None:
    commands = write("c.sh", "python wan_cache_latents.py --vae v")
    draft = read_musubi(write("d.toml", ONE.format("video", "")), [str(commands)], ())
    assert draft.settings == {} and said(draft, "train: vae") == [("differs", "")]


# The rest of a training


def test_optimizers(read: Any) -> None:
    draft = read(
        "video", "", "--optimizer_type", "AdamW", "--optimizer_args", "betas=0.9,0.95", "weight_decay=0.1", "foo=1"
    )
    assert (draft.settings["train.betas"], draft.settings["train.weight_decay"]) == ([0.9, 0.95], 0.1)
    assert said(draft, "train: optimizer_type.foo") == [("refused", "")]
    other = read(
        "video", "", "--optimizer_type", "prodigyopt.Prodigy", "--learning_rate", "1", "--optimizer_args", "d_coef=2"
    )
    assert "train.learning_rate" not in other.settings
    assert said(other, "train: learning_rate") == [("refused", "")]


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (("--lr_scheduler", "cosine", "--lr_warmup_steps", "50"), {"train.schedule": "cosine", "train.warmup": 50}),
        (
            ("--lr_scheduler", "constant_with_warmup", "--lr_warmup_steps", "9"),
            {"train.schedule": "constant", "train.warmup": 9},
        ),
        (("--lr_scheduler", "rex"), {"train.schedule": "constant"}),
        (("--lr_warmup_steps", "9"), {"train.schedule": "constant"}),
        (("--mixed_precision", "no"), {"train.precision": "fp32"}),
        (
            ("--save_precision", "fp16", "--metadata_author", "me"),
            {"publish.precision": "fp16", "publish.author": "me"},
        ),
        (("--max_train_steps", "500", "--save_every_n_steps", "20"), {"train.steps": 500, "train.save_every": 20}),
        (("--max_train_epochs", "5", "--max_train_steps", "500"), {"train.epochs": 5}),
        (("--network_dim=16", "--network_alpha=8"), {"train.rank": 16, "train.alpha": 8.0}),
    ],
)
def test_settings_of_a_training(read: Any, words: tuple[str, ...], settings: dict[str, Any]) -> None:
    found = read("video", "", *words).settings
    keys = {"train.schedule", "train.warmup"} if any("lr_" in word for word in words) else settings.keys()
    assert {key: found[key] for key in keys if key in found} == settings


def test_warmup_as_a_share_waits_for_the_steps(read: Any) -> None:
    draft = read("video", "", "--lr_scheduler", "cosine", "--lr_warmup_steps", "0.05")
    assert [(later.key, later.by, later.value) for later in draft.later] == [("train.warmup", "share", 0.05)]


@pytest.mark.parametrize("word", ["wandb_api_key", "huggingface_token"])
def test_keys_of_accounts_are_neither_kept_nor_shown(read: Any, word: str) -> None:
    draft = read("video", "", f"--{word}", "abc123")
    assert draft.report.of(f"train: {word}")[0].value == "(not copied)"
    assert "abc123" not in draft.report.as_text("")


@pytest.mark.parametrize("name", musubi_keys.TRAIN)
def test_every_argument_is_told(read: Any, name: str) -> None:
    """Whatever is given, the report says what became of it."""
    value = {"task": "t2v-14B", "mixed_precision": "bf16", "network_args": "verbose=True", "optimizer_args": "eps=1e-8",
             "timestep_sampling": "uniform", "config_file": "c.toml", "save_precision": "bf16"}  # fmt: skip
    takes = musubi_keys.TRAIN[name].takes
    if name == "config_file":
        return  # its arguments are told in its place
    draft = read("video", "", f"--{name}", *([] if takes == "nothing" else [value.get(name, "1")]))
    told = {entry.key for entry in draft.report} | {later.there for later in draft.later}
    assert any(name in key for key in told), name


def test_arguments_from_a_file(write: Write) -> None:
    write("more.toml", "[network]\nnetwork_dim = 24\n[x]\nnetwork_alpha = 12\nsdpa = true\nsplit_attn = false\n")
    path = write("d.toml", ONE.format("video", ""))
    draft = read_musubi(path, ["--config_file", "more.toml", "--network_alpha", "6"], ())
    assert (draft.settings["train.rank"], draft.settings["train.alpha"]) == (24, 6.0)
    whole = read_musubi(path, [str(path.parent / "more.toml")], ())
    assert whole.settings["train.alpha"] == 12.0
    with pytest.raises(SakugaError, match="the file of arguments no.toml is not there"):
        read_musubi(path, ["--config_file", "no.toml"], ())


def test_a_pasted_command_line_is_taken(write: Write) -> None:
    path = write("d.toml", ONE.format("video", ""))
    words = [
        "accelerate",
        "launch",
        "--mixed_precision",
        "bf16",
        "src/musubi_tuner/wan_train_network.py",
        "--task",
        "t2v-1.3B",
    ]
    draft = read_musubi(path, words, ())
    assert (draft.model, draft.settings["train.precision"]) == ("wan2.1-t2v-1.3b", "bf16")


def test_without_a_training_only_the_dataset_is_read(read: Any) -> None:
    draft = read()
    assert draft.model == "wan2.2-t2v-a14b" and draft.settings == {}
    assert read(model="wan2.1-t2v-14b").model == "wan2.1-t2v-14b"


def test_json_is_read_as_toml_is(write: Write) -> None:
    draft = read_musubi(write("d.json", '{"datasets": [{"video_directory": "x", "resolution": [832, 480]}]}'), (), ())
    assert section(draft)["resolution"] == [832, 480]


# Faults


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("not = [toml", "d.toml is neither TOML nor JSON that can be read"),
        ("", "d.toml says nothing; name the file"),
        ("[model]\ntype = 'wan'", "d.toml is another file than a dataset file of musubi-tuner, which has [[datasets]]: it is a "
         "configuration of diffusion-pipe; `sakuga import diffusion-pipe` reads it"),
        ("[[directory]]\npath = 'x'", "it is a dataset file of diffusion-pipe; give the main configuration"),
        ('model = "tiny"', "it is the settings of a Sakuga project"),
        ("a = 1", "it is none that Sakuga knows"),
        (
            '[[datasets]]\nvideo_directory = "x"\nresolutoin = 1',
            "datasets 1: it knows no key 'resolutoin'; did you mean resolution?",
        ),
        ('[general]\nx = 1\n[[datasets]]\nvideo_directory = "x"', "[general]: it knows no key 'x'"),
        ('[general]\ntarget_frames = [1]\n[[datasets]]\nvideo_directory = "x"', "target_frames stands in [general], where it is"),
        ("datasets = []", "d.toml has no [[datasets]] entry"),
        ("datasets = 3", "datasets = 3 makes no sense there, it takes [[datasets]] tables"),
        ("[[datasets]]\nresolution = 1", "d.toml: datasets 1 needs one of image_directory, video_directory"),
        ('[[datasets]]\nvideo_directory = "x"\nnum_repeats = 0', "num_repeats = 0 is too small, it is a whole"),
        ('[[datasets]]\nvideo_directory = "x"\nnum_repeats = true', "num_repeats = True makes no sense there"),
        ('[[datasets]]\nvideo_directory = "x"\nresolution = [1]', "makes no sense there, it takes a width and a height"),
        (
            '[[datasets]]\nvideo_directory = "x"\nframe_extraction = "haed"',
            "frame_extraction = 'haed' is none there; did you mean head?",
        ),
        ('[[datasets]]\nvideo_directory = "x"\ntarget_frames = [0]', "target_frames holds 0; each is a whole number"),
    ],
)  # fmt: skip
def test_faults_of_the_dataset_file(write: Write, text: str, sentence: str) -> None:
    with pytest.raises(SakugaError) as caught:
        read_musubi(write("d.toml", text), (), ())
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--netwrok_dim", "4"), "wan_train_network: it knows no key 'netwrok_dim'; did you mean network_dim?"),
        (("--network_dim",), "--network_dim has no value; give it one"),
        (("--sdpa", "x"), "'x' belongs to no argument; quote values"),
        (("--network_dim", "x"), "wan_train_network: --network_dim takes a whole number, not 'x'"),
        (("--learning_rate", "x"), "wan_train_network: --learning_rate takes a number, not 'x'"),
        (("--task", "flf2v-14B"), "--task flf2v-14B trains a model that Sakuga does not have"),
        (("--task", "t2v-14"), "--task t2v-14 is no task of musubi-tuner; did you mean t2v-14B?"),
        (("--optimizer_args", "betas"), "'betas' is not of the form key=value"),
        (("python", "hv_train_network.py", "--sdpa"), "hv_train_network is for a model that Sakuga does not know"),
        (("a.cmd", "b.cmd"), "'b.cmd' is one too many: a dataset file, then"),
        (("no.cmd",), "the file of commands no.cmd cannot be read: No such file"),
    ],
)
def test_faults_of_the_commands(write: Write, words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(SakugaError) as caught:
        read_musubi(write("d.toml", ONE.format("video", "")), words, ())
    assert sentence in str(caught.value)


def test_faults_of_a_file_of_commands(write: Write, tmp_path: Path) -> None:
    path = write("d.toml", ONE.format("video", ""))
    with pytest.raises(SakugaError, match="empty.cmd calls no script of musubi-tuner"):
        read_musubi(path, [str(write("empty.cmd", "pause"))], ())
    two = "python wan_train_network.py --task t2v-14B\n" * 2
    with pytest.raises(SakugaError, match="two.sh holds two trainings that are not of two experts"):
        read_musubi(path, [str(write("two.sh", two))], ())
    (tmp_path / "odd.cmd").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(SakugaError, match="the file of commands .*odd.cmd is not UTF-8 text"):
        read_musubi(path, [str(tmp_path / "odd.cmd")], ())
    with pytest.raises(SakugaError, match="the configuration .*no.toml cannot be read"):
        read_musubi(tmp_path / "no.toml", (), ())
    with pytest.raises(SakugaError, match="the configuration .*odd.cmd is not UTF-8 text"):
        read_musubi(tmp_path / "odd.cmd", (), ())
    with pytest.raises(SakugaError, match="job.yaml is neither TOML nor JSON.*ai-toolkit's YAML is not read"):
        read_musubi(write("job.yaml", "job: extension\nconfig:\n  name: x\n"), (), ())
