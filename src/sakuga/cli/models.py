"""The command about model files: models."""

from pathlib import Path
from typing import Any

from .. import api
from . import show
from .base import HERE, Common, app


@app.command
def models(files: list[Path] | None = None, *, download: bool = False, common: Common = HERE) -> None:
    """Which files the project's model needs, where each was found and what is in it; or what given files are.

    Args:
        files: Weight files or folders; what each is, told from its tensors (no project is needed)
        download: Get what is missing from the Hugging Face hub, going on with what was begun; HF_HUB_OFFLINE is heeded
    """
    if files:
        _told([{"path": str(path), **api.recognise(path)} for path in files], common)
        return
    with common.open() as project, show.progress() as progress:
        if download:
            api.download_models(project, progress=progress)
        found = api.models(project)
    if common.json:
        show.print_json(found)
        return
    show.table(
        ("part", "size ", "licence", "found, or where to get it", "what it is"),
        ((f["role"], f"{f['on_disk'] or f['gigabytes']:g} GB", f["licence"], _where(f), _what(f)) for f in found),
    )


def _where(file: dict[str, Any]) -> str:
    if not file["path"]:
        return f"missing: {file['name']} from {file['source']}"
    return f"{file['path']} {file['remark']}".rstrip()


def _what(file: dict[str, Any]) -> str:
    would_do = f"{file['would_do']} would do: give it as models.{file['role']}" if file["would_do"] else ""
    return f"{file['content']} {file['precision']}".strip() or would_do


def _told(found: list[dict[str, Any]], common: Common) -> None:
    if common.json:
        show.print_json(found)
        return
    for file in found:
        show.say(f"{file['path']}: {file['title']}" + (f" ({file['precision']})" if file["precision"] else ""))
        if file["ask"]:
            show.say(file["ask"])
