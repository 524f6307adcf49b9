"""Commands about a training from outside: stop, save; and from machine to machine: pack, unpack."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from .. import api
from . import show
from .base import HERE, Common, app

Flag = Parameter(negative="")


@app.command
def stop(*, run: str | None = None, wait: Annotated[bool, Flag] = False, common: Common = HERE) -> None:
    """Ask the training in this project to finish its step, save and end; `train` goes on from there.

    Args:
        run: The run that is meant, if it is being trained (the one that is, by default)
        wait: Return when it has ended
    """
    _ask("stop", run, wait, common)


@app.command
def save(*, run: str | None = None, wait: Annotated[bool, Flag] = False, common: Common = HERE) -> None:
    """Ask the training in this project to save a checkpoint after the step in hand, and to go on.

    Args:
        run: The run that is meant, if it is being trained (the one that is, by default)
        wait: Return when it is saved
    """
    _ask("save", run, wait, common)


def _ask(wish: str, run: str | None, wait: bool, common: Common) -> None:
    with common.open() as project:
        asked = (api.stop if wish == "stop" else api.save)(project, run, wait=wait)
    if common.json:
        show.print_json({"run": asked.run, "pid": asked.pid, "host": asked.host, "asked": wish, "done": wait})
        return
    at = f", at step {asked.live.step} of {asked.live.total} of {asked.live.expert}," if asked.live else ""
    what = f"is asked to {wish} after its step"
    if wait:
        at = f", saved at step {asked.saved[1]} of {asked.saved[0]}," if asked.saved else ""
        what = "has ended" if wish == "stop" else "goes on"
    show.say(f"{asked.run}{at} {what} (process {asked.pid} on {asked.host})")


@app.command
def pack(
    *, out: Path | None = None, run: str | None = None, with_models: Annotated[bool, Flag] = False,
    with_clips: Annotated[bool, Flag] = False, common: Common = HERE,
) -> None:  # fmt: skip
    """Write all that training needs elsewhere to one archive: settings, captions, encodings, runs that are not done.

    Args:
        out: The archive (the project's name with .tar, here, by default)
        run: Only this run, to bring it home into the project it left
        with_models: The model files too
        with_clips: The clips and stills too; training needs their encodings alone
    """
    with common.open() as project, show.progress() as progress:
        packed = api.pack(
            project, out, run=run, with_models=with_models, with_clips=with_clips, progress=progress
        )  # fmt: skip
    if common.json:
        show.print_json(asdict(packed))
        return
    show.say(f"{packed.path} ({packed.files} files, {show.size(packed.bytes)})")
    for model in packed.models:
        if not model["inside"]:
            show.say(f"  the other machine needs {model['name']} ({show.size(model['bytes'])}, {model['role']})")


@app.command
def unpack(
    file: Path, folder: Path | None = None, *, models: Path | None = None, json: Annotated[bool, Flag] = False
) -> None:
    """Unpack what `pack` wrote: a project to be trained here, or a run that comes home.

    Args:
        file: The archive
        folder: A new folder for a project (its name, here, by default); for a run the project that it left (here)
        models: Folder that has the model files on this machine
        json: Print the result as JSON
    """
    with show.progress() as progress:
        found = api.unpack(file, folder, models=models, progress=progress)
    if json:
        show.print_json(asdict(found))
        return
    if found.run is not None:
        further = "is further here already; nothing was changed"
        show.say(f"{found.run} {f'came home to {found.folder}' if found.taken else further}")
        return
    show.say(f"{found.folder} is ready to train")
    for model in found.models:
        if model.state != "here":
            why = "is missing" if model.state == "missing" else "is another file here"
            show.say(
                f"  {model.name} ({model.role}) {why}: put the one of {show.size(model.bytes)} with sha256 {model.sha256} there, "
                f"or give its path as models.{model.role} in sakuga.toml"
            )
