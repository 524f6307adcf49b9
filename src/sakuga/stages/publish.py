"""publish: the LoRA as other programs load it, with what they and people want to know in its metadata."""

import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors import safe_open

from .. import __version__
from ..core import captions, runs
from ..core.errors import SakugaError
from ..core.family import LORA_ARCHITECTURE, TRAIN_TIMESTEPS, member
from ..core.files import safe_stem
from ..core.progress import Progress, Silent
from ..core.project import Project
from ..core.settings import PublishSettings
from ..nn.device import DTYPES
from ..nn.lora import Hashes, hashes, load_lora, save_lora
from ..nn.lora_changes import Change, Dora
from ..nn.weights import BROKEN

LORAS = ("models/loras", "loras")  # below the folder of a program that generates
MADE_BY = "Sakuga "  # in a file's metadata
# By kind of adapter: the network that makes such files elsewhere, and its arguments as our settings (or as they stand).
NETWORKS: dict[str, tuple[str, dict[str, str]]] = {
    "lora": ("networks.lora_wan", {}),
    "lokr": ("networks.lokr", {"factor": "factor"}),
    "dora": ("lycoris.kohya", {"algo": "locon", "dora_wd": "True"}),
}


@dataclass(frozen=True)
class Published:
    """A file ready to share, and the names that sites and viewers know it by."""

    path: Path
    expert: str
    step: int
    layers: int
    hashes: Hashes


def publish(project: Project, settings: PublishSettings, progress: Progress | None = None) -> list[Published]:
    """Write the chosen checkpoint of each expert. The same checkpoint and settings give the same bytes."""
    progress = progress or Silent()
    chosen = runs.checkpoints(project, settings.run, settings.step)
    title = settings.title or project.name
    folder = Path(settings.out) if settings.out else project.folder / "published"
    shelf = loras_folder(Path(settings.link)) if settings.link else None
    progress.start("publish", len(chosen), "files")
    made = []
    for checkpoint in chosen:
        lora = load_lora(checkpoint.path)
        if not lora.layers or lora.unused:
            raise SakugaError(
                f"{checkpoint.path} is not a whole LoRA ({len(lora.unused)} keys make no layer); name another step"
            )
        ending = f"-{checkpoint.expert}" if len(chosen) > 1 or len(project.member.experts) > 1 else ""
        path = folder / f"{safe_stem(title)}{ending}.safetensors"
        save_lora(path, lora.layers, metadata(project, checkpoint, title, settings), DTYPES[settings.precision])
        if shelf:
            link(path, shelf)
        made.append(Published(path, checkpoint.expert, checkpoint.step, len(lora.layers), hashes(path)))
        for words in _limits(path, lora.others.values()):
            progress.say(words)
        progress.advance(1, path.name)
    runs.note_use(project, "publish", (checkpoint.sha256 for checkpoint in chosen))
    return made


def _limits(path: Path, kinds: Collection[Change | Dora]) -> list[str]:
    """What a person is to know of a file that is no plain LoRA: which programs do not read it, and what helps."""
    if not kinds:
        return []
    if any(isinstance(change, Dora) for change in kinds):
        return [
            f"{path.name} is a DoRA: ComfyUI reads it; no plain LoRA is the same, so diffusers' form cannot hold it"
        ]
    return [
        f"{path.name} is a LoKr: ComfyUI reads it; for diffusers, sakuga lora convert makes plain LoRA of it (--to diffusers)"
    ]


def loras_folder(folder: Path) -> Path:
    """Where a program that generates keeps LoRAs, seen from its own folder, its models folder, or that of the LoRAs."""
    if not folder.is_dir():
        raise SakugaError(
            f"{folder} is no folder, so nothing can be linked into it; give ComfyUI's folder or its loras"
        )
    return next((folder / place for place in LORAS if (folder / place).is_dir()), folder)


def link(path: Path, shelf: Path) -> None:
    """Give `path` a place in `shelf` too: a link, or a copy where links are not to be had. What it had there is replaced.

    Raises SakugaError where a file that is not ours has that name.
    """
    place = shelf / path.name
    if place.absolute() == path.absolute():
        return
    if place.exists() and not _ours(place):
        raise SakugaError(f"{place} is there already and no LoRA of Sakuga's; rename it, or give --title another name")
    beside = place.with_name(f"{place.name}.tmp")
    beside.unlink(missing_ok=True)
    try:
        beside.symlink_to(path.absolute())
    except OSError:  # Windows gives links to few
        shutil.copyfile(path, beside)
    beside.replace(place)


def _ours(path: Path) -> bool:
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("ss_training_comment", "").startswith(MADE_BY)
    except BROKEN:
        return False


def metadata(project: Project, checkpoint: runs.Checkpoint, title: str, settings: PublishSettings) -> dict[str, str]:
    """What the header says, in the two vocabularies that viewers read: kohya's ss_* and modelspec."""
    run = runs.find_run(project, checkpoint.run)
    train = json.loads(run["settings"])
    wan = member(run["model"])
    trigger = project.settings.trigger
    began = datetime.fromtimestamp(run["started"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    whole = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": LORA_ARCHITECTURE,
        "modelspec.implementation": "https://github.com/Wan-Video/Wan2.2",
        "modelspec.title": title,
        "modelspec.date": began,
        "modelspec.author": settings.author,
        "modelspec.license": settings.licence,
        "modelspec.description": settings.description,
        "modelspec.trigger_phrase": trigger,
        "modelspec.resolution": "x".join(map(str, wan.sizes[0])),
        "modelspec.prediction_type": "flow",
        "modelspec.timestep_range": f"{_timestep(checkpoint.t_min)},{_timestep(checkpoint.t_max)}",
        "ss_base_model_version": wan.base_version,
        **_network(train),
        "ss_network_dim": str(checkpoint.rank),
        "ss_network_alpha": f"{checkpoint.alpha:g}",
        "ss_steps": str(checkpoint.step),
        "ss_max_train_steps": str(checkpoint.steps),
        "ss_epoch": _epochs(project, checkpoint.step, train["accumulation"]),
        "ss_num_epochs": _epochs(project, checkpoint.steps, train["accumulation"]),
        "ss_seed": str(run["seed"]),
        "ss_learning_rate": f"{train['learning_rate']:g}",
        "ss_optimizer": "torch.optim.AdamW",
        "ss_output_name": title,
        "ss_training_comment": f"{MADE_BY}{__version__}, run {checkpoint.run}, expert {checkpoint.expert}",
        "ss_datasets": json.dumps(_datasets(project), sort_keys=True),
        "ss_tag_frequency": json.dumps({"captions": _frequency(project)}, sort_keys=True, ensure_ascii=False),
    }
    return {key: value for key, value in whole.items() if value}


def _network(train: Mapping[str, Any]) -> dict[str, str]:
    """By which network of the scripts that wrote this vocabulary a file could have been made."""
    module, arguments = NETWORKS[train["adapter"]]
    told = {key: train.get(value, value) for key, value in arguments.items()}
    told = {key: value for key, value in told.items() if value is not None}
    return {"ss_network_module": module, "ss_network_args": json.dumps(told, sort_keys=True) if told else ""}


def _timestep(t: float) -> int:
    return round(t * TRAIN_TIMESTEPS)


def _epochs(project: Project, steps: int, accumulation: int) -> str:
    """In which epoch a step stands; empty where nothing is planned any more."""
    count = project.rows("SELECT sum(repeats) AS n FROM sample WHERE NOT held_out")[0]["n"]
    return str(-(-steps * accumulation // count)) if count else ""


def _datasets(project: Project) -> list[dict[str, object]]:
    query = "SELECT section, width, height, frames, count(*) AS samples, sum(repeats) AS epoch FROM sample"
    return project.rows(f"{query} GROUP BY section, width, height, frames ORDER BY section, frames, width")


def _frequency(project: Project) -> dict[str, int]:
    """How many captions hold each phrase between commas or full stops; the commonest, so that the header stays small."""
    counts: dict[str, int] = {}
    for caption in captions.current(project).values():
        for phrase in {p.strip().lower() for p in caption.text.replace(".", ",").split(",")} - {""}:
            counts[phrase] = counts.get(phrase, 0) + 1
    commonest = sorted(counts, key=lambda phrase: (-counts[phrase], phrase))[:100]
    return {phrase: counts[phrase] for phrase in commonest}
