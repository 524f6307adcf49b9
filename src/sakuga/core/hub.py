"""Getting a model's file from the Hugging Face hub, when a person asks for it: begun again where it stopped, and checked.

HF_HUB_OFFLINE and HF_ENDPOINT are heeded, as the hub's own programs do.
"""

import re
import shutil
from pathlib import Path
from typing import Any

from .errors import SakugaError
from .family import ModelFile, Role
from .files import file_sha256, move_into_place
from .progress import Progress, Silent
from .weight_files import GIGABYTE, brief

HUB = "https://huggingface.co/"
# Where ComfyUI keeps each kind of file, in its own tree and, below `split_files`, in what it publishes.
DRAWERS: dict[Role, str] = {
    "transformer": "diffusion_models", "high": "diffusion_models", "low": "diffusion_models", "vae": "vae",
    "text": "text_encoders", "clip": "clip_vision",
}  # fmt: skip
PUBLISHED = "split_files"
TOKENIZER = "tokenizer.json"  # of the tokenizer's folder, the file that is enough
PARTIAL = ".download"  # in the models folder: what is begun
_SHA256 = re.compile(r"[0-9a-f]{64}")


def download(file: ModelFile, folder: Path, progress: Progress | None = None) -> Path:
    """Put `file` into `folder`, a tree as ComfyUI has it. Returns where it is.

    Raises SakugaError where the hub cannot be reached or may not be, there is no room, or the content is not what the
    hub says. What was begun stays, and the next call goes on with it.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise SakugaError(
            f"HF_HUB_OFFLINE is set, so {file.names[0]} is not downloaded; unset it, or get it from {file.source} and put "
            f"it into {folder}"
        )
    remote, final = _places(file, folder)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < file.gigabytes * GIGABYTE:
        raise SakugaError(
            f"{file.names[0]} takes {file.gigabytes:g} GB and {folder} has {free / GIGABYTE:.3g} GB left; make room, or set "
            "models.folder to another disk"
        )
    progress = progress or Silent()
    progress.start(f"download {final.name}", round(file.gigabytes * GIGABYTE), "bytes")
    fetched = _fetched(file, remote, folder / PARTIAL, progress)
    move_into_place(fetched, final)
    return final


def _places(file: ModelFile, folder: Path) -> tuple[str, Path]:
    """The file's path in its repository, and where it goes."""
    name = file.names[0]
    if file.role == "tokenizer":
        return f"{name}/{TOKENIZER}", folder / name / TOKENIZER
    return f"{PUBLISHED}/{DRAWERS[file.role]}/{name}", folder / DRAWERS[file.role] / name


def _fetched(file: ModelFile, remote: str, partial: Path, progress: Progress) -> Path:
    """The file as the hub has it, whole and checked, in `partial`."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HTTPError

    repository = file.source.removeprefix(HUB)
    try:
        told = get_hf_file_metadata(hf_hub_url(repository, remote)).etag or ""
        path = Path(hf_hub_download(repository, remote, local_dir=partial, tqdm_class=_bar(progress)))
    except (OSError, HTTPError) as error:
        raise SakugaError(
            f"{file.names[0]} could not be downloaded from {file.source} ({brief(str(error).strip())}); the same command "
            "goes on where this one stopped"
        ) from error
    if _SHA256.fullmatch(told) and file_sha256(path) != told:
        path.unlink()
        raise SakugaError(f"{file.names[0]} did not arrive as the hub has it (sha256 differs); download it again")
    return path


def _bar(progress: Progress) -> Any:
    """What the hub's library reports to, as it wants it: a tqdm."""
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            progress.advance(int(options.get("initial") or 0))
            super().__init__(
                *args, **{key: value for key, value in options.items() if key != "name"} | {"disable": True}
            )

        def update(self, n: float | None = 1) -> bool | None:
            progress.advance(int(n or 0))
            return None

    return Bar
