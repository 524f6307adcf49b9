"""Writing what diffusion-pipe takes: a dataset file, and a main configuration for each expert."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..core.errors import SakugaError
from ..core.family import Expert
from ..core.project import Project
from ..core.samples.buckets import landscape_buckets
from ..core.samples.windows import lengths
from .layout import WHOLE, Exported, Layout, Part, cannot, model_paths, one_shift, toml, trains_lokr, untold

NAME = "diffusion-pipe"
SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".mp4", ".webm", ".avi", ".mkv", ".mov", ".m4v"))
LACKS = {"weight": "every sample counts the same", "caption_dropout": "one share holds for all"}
HAS = {  # settings of ours that are written, or told by themselves
    "experts", "steps", "epochs", "accumulation", "batch", "seed", "rank", "alpha", "learning_rate", "betas", "weight_decay", "eps",
    "max_norm", "warmup", "schedule", "time", "time_scale", "shift", "min_t", "max_t", "low_full_range", "loss", "huber_delta",
    "dropout", "caption_dropout", "first_frame", "precision", "adapter", "factor", "full_matrix",
}  # fmt: skip
MODES = {"head": "single_beginning", "middle": "single_middle"}


def write_diffusion_pipe(project: Project, out: Path) -> Exported:
    """dataset.toml and config.toml (of two experts config-high.toml and config-low.toml) in `out`, and the dataset.

    Raises SakugaError for a model that diffusion-pipe does not train.
    """
    if project.member.tiny:
        raise SakugaError(
            f"diffusion-pipe does not train {project.member.title}; it trains the models of Wan's own sizes"
        )
    layout = Layout(project, out, SUFFIXES)
    exported = layout.exported
    parts = layout.parts()
    entries = [entry for part in parts for entry in _entries(project, layout, part)]
    if not entries:
        raise SakugaError("there is nothing that diffusion-pipe could train on: its clips need more than one frame")
    shift = one_shift(project, exported)
    dataset = exported.write(
        "dataset.toml", "enable_ar_bucket = true\n" + "".join(_directory(entry) for entry in entries)
    )
    for expert in [project.member.expert(name) for name in _experts(project)]:
        name = "config.toml" if len(project.member.experts) == 1 else f"config-{expert.name}.toml"
        exported.write(name, _config(project, exported, expert, dataset, (_mode(exported, parts), shift)))
    _lost(project, exported)
    return exported


def _experts(project: Project) -> list[str]:
    return list(project.settings.train.experts or [expert.name for expert in project.member.experts])


# The dataset


def _directory(entry: dict[str, Any]) -> str:
    return "\n[[directory]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in entry.items())


def _entries(project: Project, layout: Layout, part: Part) -> Iterator[dict[str, Any]]:
    """A directory for a section's items with its sizes; one for each length where every length is to be served.

    Its caches lie inside of the directory, so that no two entries share one.
    """
    section, exported = part.settings, layout.exported
    cannot(exported, NAME, section, part.section, LACKS)
    sizes = _sizes(project, exported, part)
    entry: dict[str, Any] = {"num_repeats": section.repeats}
    if part.kind == "still":
        path = layout.folder(part, own=True)
        yield {"path": path.as_posix(), **entry, "size_buckets": [[*size, 1] for size in sizes]}
        return
    frames = [n for n in _lengths(project, exported, part) if n > 1]
    groups = [frames] if section.lengths == "longest" else [[n] for n in frames]
    for group in groups:
        if group:
            path = layout.folder(part, own=True)
            yield {"path": path.as_posix(), **entry, "size_buckets": [[*size, n] for size in sizes for n in group]}


def _sizes(project: Project, exported: Exported, part: Part) -> list[tuple[int, int]]:
    """The sizes of a section written out: those it lists, its one size, or all of Sakuga's own."""
    section, step = part.settings, project.member.side_step
    key = f"sections.{part.section}"
    if not section.upscale:
        exported.report.add("differs", f"{key}.upscale", False, "", "it enlarges what is smaller than its bucket")
    if section.sizes:
        if section.nearest != "log-aspect":
            exported.report.add(
                "differs", f"{key}.nearest", section.nearest, "log-aspect", "it goes by the ratio of the aspects"
            )
        return list(section.sizes)
    width, height = section.resolution
    if not section.buckets:
        return [(max(step, width // step * step), max(step, height // step * step))]
    wide = landscape_buckets(width * height, step)
    return list(dict.fromkeys([*wide, *((h, w) for w, h in wide)]))


def _lengths(project: Project, exported: Exported, part: Part) -> list[int]:
    section, member = part.settings, project.member
    key = f"sections.{part.section}"
    if section.rule not in MODES:
        note = "it cuts one window from a file, from its head or its middle"
        exported.report.add("refused", f"{key}.rule", section.rule, "head", note)
    if section.rule == "full":
        return sorted(
            {member.floor_frames(min(item.frames, section.max_frames or member.frames)) for item in part.items}
        )
    found = lengths(section.rule, 0, section.frames, None, member.floor_frames)
    if 1 in found:
        exported.report.add(
            "refused", f"{key}.frames", 1, "", "it takes no single frame of a video; export stills instead"
        )
    return found


def _mode(exported: Exported, parts: list[Part]) -> str:
    rules = {part.settings.rule for part in parts if part.kind == "clip"} & MODES.keys()
    if len(rules) > 1:
        exported.report.add(
            "refused", "sections (rule)", sorted(rules), "head", "one way of cutting holds for all directories"
        )
    return MODES["middle" if rules == {"middle"} else "head"]


# The main configuration


def _config(project: Project, exported: Exported, expert: Expert, dataset: Path, how: tuple[str, float]) -> str:
    train, member = project.settings.train, project.member
    mode, shift = how
    two = len(member.experts) > 1
    role = expert.name if two else "transformer"
    paths = model_paths(project, exported, {role: f"PATH-OF-{role.upper()}", "text": "PATH-OF-TEXT"})
    batch = train.batch
    top: dict[str, Any] = {
        "output_dir": (exported.folder / "output" / expert.name).as_posix(), "dataset": dataset.as_posix(), "epochs": train.epochs,
        "micro_batch_size_per_gpu": batch, "gradient_accumulation_steps": max(1, train.accumulation // batch),
        "gradient_clipping": train.max_norm, "warmup_steps": train.warmup,
        "lr_scheduler": train.schedule if train.schedule != "wsd" else "constant",
        "activation_checkpointing": train.checkpointing is not False, "save_every_n_steps": train.save_every,
        "video_clip_mode": mode, "save_dtype": "bfloat16",
    }  # fmt: skip
    top |= {"max_steps": train.steps} if train.steps else {}
    top |= {"huber_delta": train.huber_delta} if train.loss == "huber" else {}
    top |= {"uncond_fraction": train.caption_dropout} if train.caption_dropout else {}
    model: dict[str, Any] = {"type": "wan", "ckpt_path": _checkpoint(project), "transformer_path": paths[role]}
    model |= {"llm_path": paths["text"], "dtype": "bfloat16" if train.precision != "fp32" else "float32"}
    model |= {
        "timestep_sample_method": "logit_normal" if train.time == "sigmoid" else "uniform",
        "shift": shift,
    }
    model |= {"sigmoid_scale": train.time_scale} if train.time_scale != 1 else {}
    low, high = train.levels(expert)
    model |= {"min_t": low, "max_t": high} if two or (low, high) != (0, 1) else {}
    adapter: dict[str, Any] = {"type": "lora", "rank": train.rank, "dtype": "bfloat16"}
    if train.adapter == "lokr":
        adapter |= {
            "type": "lokr",
            "decompose_factor": train.factor or -1,
            "rank": WHOLE if train.full_matrix else train.rank,
        }
    adapter |= {"dropout": train.dropout} if train.dropout else {}
    optimizer = {
        "type": "adamw",
        "lr": train.learning_rate,
        "betas": list(train.betas),
        "weight_decay": train.weight_decay,
        "eps": train.eps,
    }
    tables = {"model": model, "adapter": adapter, "optimizer": optimizer}
    return _values(top) + "".join(f"\n[{name}]\n{_values(values)}" for name, values in tables.items())


def _values(values: dict[str, Any]) -> str:
    return "".join(f"{key} = {toml(value)}\n" for key, value in values.items())


def _checkpoint(project: Project) -> str:
    """The official folder, which holds its VAE, tokenizer and config.json; named as its publisher names it."""
    official = {
        "wan2.1-t2v-1.3b": "Wan2.1-T2V-1.3B", "wan2.1-t2v-14b": "Wan2.1-T2V-14B", "wan2.1-i2v-14b": "Wan2.1-I2V-14B-720P",
        "wan2.2-t2v-a14b": "Wan2.2-T2V-A14B", "wan2.2-i2v-a14b": "Wan2.2-I2V-A14B", "wan2.2-ti2v-5b": "Wan2.2-TI2V-5B",
    }  # fmt: skip
    return (project.folder / project.settings.models.folder / official[project.member.name]).as_posix()


def _lost(project: Project, exported: Exported) -> None:
    train, report = project.settings.train, exported.report
    note = "the folder as its publisher gives it: VAE, tokenizer and config.json are read from there"
    report.add("differs", "models.folder", project.settings.models.folder, f"ckpt_path = {_checkpoint(project)}", note)
    if train.alpha is not None and train.alpha != train.rank:
        report.add(
            "refused",
            "train.alpha",
            train.alpha,
            str(train.rank),
            "alpha is the rank there; the rate would have to make up",
        )
    trains_lokr(train, exported)
    untold(train, exported, HAS)
    if train.schedule == "wsd":
        report.add("refused", "train.schedule", "wsd", "constant", "it has constant, linear and cosine")
    report.add("refused", "train.seed", train.seed, "", "it draws noise without a seed")
    if train.first_frame:
        report.add("refused", "train.first_frame", train.first_frame, "", "it trains this model on words alone")
    if train.prompts:
        report.add("refused", "train.prompts", train.prompts, "", "it makes no previews")
    if project.settings.plan.holdout:
        report.add(
            "refused", "plan.holdout", project.settings.plan.holdout, "", "it validates on folders of their own only"
        )
