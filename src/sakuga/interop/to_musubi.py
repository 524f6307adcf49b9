"""Writing what musubi-tuner takes: dataset.toml, and its commands for a shell and for Windows."""

from pathlib import Path
from typing import Any

from ..core.errors import SakugaError
from ..core.family import TRAIN_TIMESTEPS, Expert, Member
from ..core.project import Project
from .buckets import musubi_sizes
from .layout import WHOLE, Exported, Layout, Part, cannot, model_paths, one_shift, toml, trains_lokr, untold
from .musubi_keys import TASKS

NAME = "musubi-tuner"
SUFFIXES = frozenset(
    (
        ".png",
        ".jpg",
        ".jpeg",
        ".webp",
        ".bmp",
        ".avif",
        ".mp4",
        ".webm",
        ".avi",
        ".mkv",
        ".mov",
        ".flv",
        ".wmv",
        ".m4v",
        ".mpg",
        ".mpeg",
    )
)
LACKS = {
    "weight": "every sample counts the same",
    "caption_dropout": "captions are never dropped",
    "lengths": "a clip serves all lengths that fit",
}
TRAIN_LACKS = "captions are never dropped"
LARGEST_SEED = 2**32
SCHEDULES = {"constant": "constant_with_warmup", "cosine": "cosine", "linear": "linear", "wsd": "warmup_stable_decay"}
HAS = {  # settings of ours that are written, or told by themselves
    "experts", "steps", "epochs", "accumulation", "batch", "seed", "rank", "alpha", "learning_rate", "betas", "weight_decay", "eps",
    "max_norm", "warmup", "schedule", "decay", "time", "time_scale", "shift", "weighting", "caption_dropout", "precision",
    "adapter", "factor", "full_matrix",
}  # fmt: skip


def write_musubi(project: Project, out: Path) -> Exported:
    """dataset.toml, train.sh and train.bat in `out`, and the dataset beside them.

    Raises SakugaError for a model that musubi-tuner does not train.
    """
    tasks = {name: task for task, name in TASKS.items() if task != "t2i-14B"}
    task = tasks.get(project.member.name)
    if task is None:
        raise SakugaError(f"musubi-tuner does not train {project.member.title}; it trains {', '.join(sorted(tasks))}")
    layout = Layout(project, out, SUFFIXES)
    exported = layout.exported
    entries = [_entry(layout, part, number) for number, part in enumerate(layout.parts(), start=1)]
    head = '[general]\ncaption_extension = ".txt"\n'
    dataset = exported.write("dataset.toml", head + "".join(entries))
    commands = _commands(project, exported, task, dataset)
    exported.write("train.sh", "#!/bin/sh\nset -e\n" + "\n".join(_lines(words, "\\", "'") for words in commands))
    exported.write("train.bat", "\n".join(_lines(words, "^", '"') for words in commands))
    return exported


# The dataset


def _entry(layout: Layout, part: Part, number: int) -> str:
    section, video, exported = part.settings, part.kind == "clip", layout.exported
    folder = layout.folder(part)
    cannot(exported, NAME, section, part.section, LACKS)
    values: dict[str, Any] = {"video_directory" if video else "image_directory": folder.as_posix()}
    values["cache_directory"] = (exported.folder / "cache" / f"{number}-{folder.name}").as_posix()
    values |= {"resolution": list(section.resolution), "batch_size": section.batch or 1, "num_repeats": section.repeats}
    values |= _buckets(exported, part)
    if video:
        values |= _windows(exported, part, layout.project.member)
    lines = "".join(f"{key} = {toml(value)}\n" for key, value in values.items())
    return f"\n# section {part.section}\n[[datasets]]\n{lines}"


def _buckets(exported: Exported, part: Part) -> dict[str, Any]:
    section, video = part.settings, part.kind == "clip"
    own = tuple(musubi_sizes(*section.resolution))
    listed = section.sizes == own and section.nearest == "aspect"
    enabled = section.buckets or video
    upscale = section.upscale or video or not section.buckets
    if (enabled and not listed) or upscale != section.upscale or enabled != section.buckets:
        note = "videos always take its buckets, and are enlarged" if video else "its own buckets are taken"
        note = "a picture is enlarged where it is smaller" if not section.buckets and not video else note
        value = {
            "sizes": [list(size) for size in section.sizes],
            "buckets": section.buckets,
            "upscale": section.upscale,
        }
        exported.report.add(
            "differs", f"sections.{part.section} (sizes)", value, f"enable_bucket = {toml(enabled)}", note
        )
    return {"enable_bucket": enabled, "bucket_no_upscale": enabled and not upscale}


def _windows(exported: Exported, part: Part, member: Member) -> dict[str, Any]:
    section = part.settings
    rule = section.rule
    if rule == "middle":
        rule = "head"
        exported.report.add(
            "refused", f"sections.{part.section}.rule", "middle", "head", "it cuts no window from the middle"
        )
    values: dict[str, Any] = {"frame_extraction": rule}
    if rule == "full":
        values["max_frames"] = section.max_frames or member.frames
    else:
        # one frame is a still, from which a model that is given it learns nothing
        values["target_frames"] = [n for n in section.frames if n > 1 or not member.needs_picture]
    values |= {"frame_stride": section.stride} if rule == "slide" else {}
    values |= {"frame_sample": section.count} if rule == "uniform" else {}
    if part.rate is not None and part.rate != 16:
        values["source_fps"] = float(part.rate)
        note = "its resampling leaves out other frames than Sakuga's, and one at the end"
        exported.report.add("differs", f"sections.{part.section} (fps)", part.rate, f"source_fps = {part.rate:g}", note)
    return values


# The commands


def _commands(project: Project, exported: Exported, task: str, dataset: Path) -> list[list[str]]:
    train = project.settings.train
    experts = [project.member.expert(name) for name in train.experts or [e.name for e in project.member.experts]]
    roles = [_role(project, expert) for expert in experts]
    wanted = {role: f"PATH-OF-{role.upper()}" for role in (*roles, "vae", "text", "clip")}
    paths = model_paths(project, exported, wanted)
    config = ["--dataset_config", dataset.as_posix()]
    image = ["--i2v"] if project.member.task == "i2v" else []
    clip = ["--clip", paths["clip"]] if "clip" in paths else []
    latents = ["python", "wan_cache_latents.py", *config, "--vae", paths["vae"], *image, *clip]
    texts = ["python", "wan_cache_text_encoder_outputs.py", *config, "--t5", paths["text"], "--batch_size", "16"]
    told = _train(project, exported)
    trainings = []
    for expert, role in zip(experts, roles, strict=True):
        launch = ["accelerate", "launch", "--num_cpu_threads_per_process", "1", "--mixed_precision", "bf16"]
        which = [
            "--task",
            task,
            "--dit",
            paths[role],
            "--vae",
            paths["vae"],
            "--t5",
            paths["text"],
            *clip,
            *_range(project, expert),
        ]
        name = project.name if len(project.member.experts) == 1 else f"{project.name}-{expert.name}"
        output = ["--output_dir", (exported.folder / "output").as_posix(), "--output_name", name]
        trainings.append([*launch, "wan_train_network.py", *which, *config, *told, *output])
    return [latents, texts, *trainings]


def _role(project: Project, expert: Expert) -> str:
    return expert.name if len(project.member.experts) > 1 else "transformer"


def _range(project: Project, expert: Expert) -> list[str]:
    """The noise levels of one of two experts."""
    if len(project.member.experts) == 1:
        return []
    low, high = (str(round(TRAIN_TIMESTEPS * t)) for t in (expert.t_min, expert.t_max))
    return ["--min_timestep", low, "--max_timestep", high, "--preserve_distribution_shape"]


def _train(project: Project, exported: Exported) -> list[str]:
    """The arguments that say how it is trained; what cannot be said is told."""
    train, report = project.settings.train, exported.report
    shift = one_shift(project, exported)
    values: dict[str, Any] = {
        "network_module": "networks.lora_wan", "network_dim": train.rank, "network_alpha": train.alpha or train.rank,
        "optimizer_type": "adamw", "learning_rate": train.learning_rate, "max_grad_norm": train.max_norm,
        "lr_scheduler": SCHEDULES[train.schedule] if train.warmup or train.schedule != "constant" else "constant",
        "lr_warmup_steps": train.warmup, "seed": train.seed % LARGEST_SEED, "mixed_precision": "bf16",
    }  # fmt: skip
    if not train.warmup:
        del values["lr_warmup_steps"]
    values |= {"max_train_steps": train.steps} if train.steps else {"max_train_epochs": train.epochs}
    values |= {"timestep_sampling": "shift", "discrete_flow_shift": shift}
    if train.time_scale != 1:
        values |= {"sigmoid_scale": train.time_scale}
    if train.weighting != "none":
        values |= {"weighting_scheme": train.weighting}
    lokr = trains_lokr(train, exported)
    if lokr:
        values |= {"network_module": "networks.lokr", "network_dim": WHOLE if train.full_matrix else train.rank}
    if train.schedule == "wsd":
        values |= {"lr_decay_steps": train.decay}
        report.add("differs", "train.schedule", "wsd", "warmup_stable_decay", "it falls along half a cosine")
    untold(train, exported, HAS)
    if train.time == "uniform":
        values |= {"timestep_sampling": "uniform"}
        del values["discrete_flow_shift"]
        if shift != 1:
            report.add("refused", "train.shift", shift, "1", "it has no shift with uniform noise levels")
    batch = max((section.batch or 1 for section in project.settings.sections.values()), default=1)
    values["gradient_accumulation_steps"] = max(1, train.accumulation // batch)
    if train.accumulation % batch:
        report.add(
            "differs",
            "train.accumulation",
            train.accumulation,
            str(values["gradient_accumulation_steps"] * batch),
            "in batches",
        )
    values |= {"save_every_n_steps": train.save_every}
    if train.prompts:
        values |= {
            "sample_prompts": (project.folder / train.prompts).as_posix(),
            "sample_every_n_steps": train.preview_every,
        }
    words = [word for key, value in values.items() for word in (f"--{key}", _plain(value))]
    if lokr:
        words += ["--network_args", f"factor={train.factor or -1}"]
    arguments = {
        "betas": f"{train.betas[0]:g},{train.betas[1]:g}",
        "eps": f"{train.eps:g}",
        "weight_decay": f"{train.weight_decay:g}",
    }
    words += ["--optimizer_args", *(f"{key}={value}" for key, value in arguments.items()), "--sdpa", "--save_state"]
    words += ["--gradient_checkpointing"] if train.checkpointing is not False else []
    _lost(project, exported)
    return words


def _lost(project: Project, exported: Exported) -> None:
    train, report = project.settings.train, exported.report
    if train.caption_dropout:
        report.add("refused", "train.caption_dropout", train.caption_dropout, "", TRAIN_LACKS)
    if train.precision == "fp32":
        report.add("differs", "train.precision", "fp32", "bf16", "its weights decide the precision")
    if project.settings.plan.holdout:
        report.add(
            "refused",
            "plan.holdout",
            project.settings.plan.holdout,
            "",
            "it validates nothing, and trains on every item",
        )
    if len(project.member.experts) > 1:
        report.add("differs", "train.experts", train.experts, "a training for each", "one after the other, as here")


def _plain(value: Any) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _lines(words: list[str], more: str, quote: str) -> str:
    """A command over several lines, an option to a line; `more` continues a line."""
    shown = [word if all(c.isalnum() or c in "-_./:,=" for c in word) else f"{quote}{word}{quote}" for word in words]
    lines = [[shown[0]]]
    script = next(n for n, word in enumerate(words) if word.endswith(".py"))
    for place, word in enumerate(shown[1:], start=1):
        if word.startswith("--") and place > script:
            lines.append([word])
        else:
            lines[-1].append(word)
    return f" {more}\n  ".join(" ".join(line) for line in lines) + "\n"
