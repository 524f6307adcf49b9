"""Writing what ai-toolkit takes: a YAML job, and the dataset. Its files are not read."""

from math import sqrt
from pathlib import Path
from typing import Any

import yaml

from ..core.errors import SakugaError
from ..core.project import Project
from ..core.prompts import read_prompts
from .layout import Exported, Layout, Part, cannot, one_shift, trains_lokr

NAME = "ai-toolkit"
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".mp4", ".avi", ".mov", ".webm", ".mkv", ".wmv", ".m4v", ".flv")
)
LACKS = {
    "sizes": "it makes its own buckets",
    "rule": "a clip of a longer file starts where chance says",
    "lengths": "every clip serves every length",
}
# Its architecture, and the weights that its own examples name.
MODELS = {
    "wan2.1-t2v-1.3b": ("wan21", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"),
    "wan2.1-t2v-14b": ("wan21", "Wan-AI/Wan2.1-T2V-14B-Diffusers"),
    "wan2.1-i2v-14b": ("wan21_i2v", "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers"),
    "wan2.2-t2v-a14b": ("wan22_14b", "ai-toolkit/Wan2.2-T2V-A14B-Diffusers-bf16"),
    "wan2.2-i2v-a14b": ("wan22_14b_i2v", "ai-toolkit/Wan2.2-I2V-A14B-Diffusers-bf16"),
    "wan2.2-ti2v-5b": ("wan22_5b", "Wan-AI/Wan2.2-TI2V-5B-Diffusers"),
}
SHIFT = 3.0  # of its schedulers for Wan, where a type of time steps has one
SWITCH_EVERY = 10  # steps of one expert, then of the other, as in its example


def write_ai_toolkit(project: Project, out: Path) -> Exported:
    """job.yaml in `out`, and the dataset. Raises SakugaError for a model that ai-toolkit does not train."""
    if project.member.name not in MODELS:
        raise SakugaError(f"ai-toolkit does not train {project.member.title}; it trains {', '.join(MODELS)}")
    layout = Layout(project, out, SUFFIXES)
    exported = layout.exported
    datasets = [entry for part in layout.parts() for entry in _datasets(project, layout, part)]
    process = {
        "type": "sd_trainer", "training_folder": (exported.folder / "output").as_posix(), "device": "cuda:0",
        "network": _network(project, exported), "save": _save(project), "datasets": datasets, "train": _train(project, exported),
        "model": _model(project), "sample": _sample(project),
    }  # fmt: skip
    job = {
        "job": "extension", "config": {"name": project.name, "process": [process]}, "meta": {"name": "[name]", "version": "1.0"},
    }  # fmt: skip
    exported.write("job.yaml", yaml.safe_dump(job, sort_keys=False, allow_unicode=True, width=120))
    return exported


def _datasets(project: Project, layout: Layout, part: Part) -> list[dict[str, Any]]:
    """An entry for each length of a section."""
    section, exported = part.settings, layout.exported
    cannot(exported, NAME, section, part.section, LACKS)
    side = round(sqrt(section.resolution[0] * section.resolution[1]))
    dropout = project.settings.train.caption_dropout if section.caption_dropout is None else section.caption_dropout
    entry: dict[str, Any] = {
        "folder_path": layout.folder(part).as_posix(), "caption_ext": "txt", "caption_dropout_rate": dropout, "resolution": [side],
        "buckets": section.buckets, "num_repeats": section.repeats, "loss_multiplier": section.weight,
        "cache_latents_to_disk": True,
    }  # fmt: skip
    if part.kind == "still":
        return [entry | {"num_frames": 1}]
    frames = sorted({project.member.floor_frames(n) for n in section.frames})
    if section.rule == "full":
        frames = [project.member.floor_frames(section.max_frames or project.member.frames)]
    note = "clips that are shorter are stretched there; here they give no sample of that length"
    exported.report.add("differs", f"sections.{part.section}.frames", frames, f"num_frames = {frames}", note)
    moving = [n for n in frames if n > 1]
    if 1 in frames:
        exported.report.add(
            "refused", f"sections.{part.section}.frames", 1, "", "with one frame it reads pictures, not videos"
        )
    # off, so that time keeps its pace: else a whole file would be squeezed into the frames
    return [entry | {"num_frames": n, "shrink_video_to_frames": False, "fps": project.member.fps} for n in moving]


def _network(project: Project, exported: Exported) -> dict[str, Any]:
    train = project.settings.train
    sizes = {"linear": train.rank, "linear_alpha": train.alpha or train.rank}
    if trains_lokr(train, exported):
        return {"type": "lokr", "lokr_factor": train.factor or -1, "lokr_full_rank": train.full_matrix} | sizes
    return {"type": "lora"} | sizes


def _save(project: Project) -> dict[str, Any]:
    return {"dtype": "bf16", "save_every": project.settings.train.save_every, "max_step_saves_to_keep": 1000}


def _train(project: Project, exported: Exported) -> dict[str, Any]:
    train, report = project.settings.train, exported.report
    experts = train.experts or tuple(expert.name for expert in project.member.experts)
    steps = _steps(project) * len(experts)
    batch = train.batch
    values: dict[str, Any] = {
        "batch_size": batch, "steps": steps, "gradient_accumulation": max(1, train.accumulation // batch), "train_unet": True,
        "train_text_encoder": False, "gradient_checkpointing": train.checkpointing is not False, "noise_scheduler": "flowmatch",
        "timestep_type": "sigmoid" if train.time == "sigmoid" else "linear", "optimizer": "adamw", "lr": train.learning_rate,
        "optimizer_params": {"betas": list(train.betas), "eps": train.eps, "weight_decay": train.weight_decay},
        "max_grad_norm": train.max_norm, "dtype": "bf16", "cache_text_embeddings": True,
    }  # fmt: skip
    shift = one_shift(project, exported)
    if shift == SHIFT:
        values["timestep_type"] = "shift"
        report.add(
            "differs", "train.time", train.time, "timestep_type = shift", "uniform noise levels are shifted there"
        )
    else:
        report.add(
            "refused", "train.shift", shift, str(values["timestep_type"]), f"it shifts by {SHIFT:g} or not at all"
        )
    if train.schedule == "cosine":
        values["lr_scheduler"] = "cosine"
    elif train.warmup:
        values |= {"lr_scheduler": "constant_with_warmup", "lr_scheduler_params": {"num_warmup_steps": train.warmup}}
    if len(experts) > 1:
        values["switch_boundary_every"] = SWITCH_EVERY
        report.add(
            "differs",
            "train.steps",
            _steps(project),
            str(steps),
            "the experts take turns there, so that there are twice as many",
        )
    report.add("refused", "train.seed", train.seed, "", "it draws noise without a seed")
    if train.first_frame:
        report.add("refused", "train.first_frame", train.first_frame, "", "the job has no such share")
    if project.settings.plan.holdout:
        report.add("refused", "plan.holdout", project.settings.plan.holdout, "", "it trains on every item")
    return values


def _steps(project: Project) -> int:
    from ..core.dataset import item_facts
    from ..core.samples.enumeration import enumerate_samples

    samples, _ = enumerate_samples(item_facts(project), project.settings.sections, project.member)
    return max(1, project.settings.train.total_steps(sum(sample.repeats for sample in samples)))


def _model(project: Project) -> dict[str, Any]:
    arch, name = MODELS[project.member.name]
    values: dict[str, Any] = {
        "name_or_path": name,
        "arch": arch,
        "quantize": True,
        "quantize_te": True,
        "low_vram": True,
    }
    if len(project.member.experts) > 1:
        trained = project.settings.train.experts or ("high", "low")
        values["model_kwargs"] = {f"train_{name}_noise": name in trained for name in ("high", "low")}
    return values


def _sample(project: Project) -> dict[str, Any]:
    train, member = project.settings.train, project.member
    prompts = read_prompts(project.folder / train.prompts) if train.prompts else []
    width, height = member.sizes[-1]
    return {
        "sampler": "flowmatch", "sample_every": train.preview_every, "width": width, "height": height,
        "num_frames": member.frames, "fps": member.fps, "prompts": [line.text for line in prompts], "neg": "", "seed": train.seed,
        "walk_seed": True, "guidance_scale": member.experts[-1].guidance, "sample_steps": 25,
    }  # fmt: skip
