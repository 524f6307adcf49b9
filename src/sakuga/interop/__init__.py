"""Other trainers' files: their configurations come in key by key, and a project goes out as one that they take."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import SakugaError, nearest
from ..core.project import Project

if TYPE_CHECKING:
    from .layout import Exported
    from .settle import Imported

IMPORTED = ("musubi", "diffusion-pipe")
EXPORTED = (*IMPORTED, "ai-toolkit")


def import_config(
    trainer: str, file: Path, words: Sequence[str], into: Path | None, maps: Sequence[str], model: str | None
) -> "Imported":
    """Read the files of a trainer and make a project of them, or fill the one at `into`."""
    from ..core.family import member
    from .diffusion_pipe import read_diffusion_pipe
    from .musubi import read_musubi
    from .reading import parse_maps
    from .settle import settle

    if trainer not in IMPORTED:
        raise SakugaError(
            f"'{trainer}' is no trainer whose files are read{nearest(trainer, IMPORTED)}; they are {', '.join(IMPORTED)}"
        )
    read = read_musubi if trainer == "musubi" else read_diffusion_pipe
    places = parse_maps(maps)
    draft = read(file, words, places, member(model).name if model is not None else None)
    return settle(draft, into, places, file.parent)


def export_config(project: Project, trainer: str, out: Path | None) -> "Exported":
    """Write the dataset and the configuration that a trainer takes into `out`, by default a folder of the project."""
    from . import ai_toolkit, to_diffusion_pipe, to_musubi

    writers = {
        "musubi": to_musubi.write_musubi,
        "diffusion-pipe": to_diffusion_pipe.write_diffusion_pipe,
        "ai-toolkit": ai_toolkit.write_ai_toolkit,
    }
    if trainer not in writers:
        raise SakugaError(
            f"'{trainer}' is no trainer to export for{nearest(trainer, EXPORTED)}; they are {', '.join(EXPORTED)}"
        )
    with project.writing("export-config"):
        return writers[trainer](project, out or project.folder / "exported" / trainer)
