"""Commands that read and write other trainers' files: import, export-config."""

from pathlib import Path
from textwrap import shorten
from typing import Any

from .. import api
from . import show
from .base import HERE, Common, app

LONGEST = 80  # characters of a value that are shown


@app.command(name="import")
def import_(
    trainer: str, file: Path, words: list[str] | None = None, *, into: Path | None = None,
    map: list[str] | None = None, model: str | None = None, json: bool = False,
) -> None:  # fmt: skip
    """Make a project of another trainer's files, and say of every key what became of it.

    Args:
        trainer: musubi or diffusion-pipe
        file: The dataset file of musubi-tuner, or the main configuration of diffusion-pipe
        words: musubi: a file of its commands, or -- and the arguments of its training; diffusion-pipe: its dataset file, moved
        into: The project to make or fill; named like the training by default
        map: Where paths lie on this machine, as H:/datasets=/mnt/h
        model: The model the LoRA is for, where the files do not say
        json: Print the report as JSON
    """
    done = api.import_config(trainer, file, words or (), into=into, maps=map or (), model=model)
    with done.project as project:
        if json:
            show.print_json({"project": str(project.folder), "items": done.items, "report": done.report.as_rows()})
            return
        _told(done.report)
        show.say(
            f"{project.folder} is a project for {project.member.title} with {done.items} clips and stills: {done.report.summary()}"
        )
        show.say("import-report.txt in it says what became of every key; `sakuga plan` counts an epoch")


@app.command
def export_config(trainer: str, *, out: Path | None = None, common: Common = HERE) -> None:
    """Write the dataset and a configuration that another trainer takes as they are, and say what it cannot express.

    Args:
        trainer: musubi, diffusion-pipe or ai-toolkit
        out: The folder that they go to; exported/TRAINER in the project by default
    """
    with common.open() as project:
        done = api.export_config(project, trainer, out)
    if common.json:
        show.print_json(
            {"files": [str(path) for path in done.files], "items": done.items, "report": done.report.as_rows()}
        )
        return
    _told(done.report)
    for path in done.files:
        show.say(str(path))


def _told(report: Any) -> None:
    """What is not taken exactly, as a table."""
    rows = [entry for entry in report if entry.kind != "exact"]
    if rows:
        from ..interop.report import plain

        cells = ((e.kind, e.key, shorten(plain(e.value), LONGEST, placeholder=" ..."), e.became, e.note) for e in rows)
        show.table(("", "key", "value", "became", "why"), cells)
