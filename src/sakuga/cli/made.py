"""The command that tells what a video was made from, makes it again, or takes it to ComfyUI."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from .. import api
from . import show as out
from .base import HERE, Common, app


@app.command(name="show")
def show_video(
    file: Path,
    *,
    again: Annotated[bool, Parameter(negative="", help="Make it again, in this project")] = False,
    workflow: Annotated[Path | None, Parameter(help="Write it as a workflow for ComfyUI")] = None,
    common: Common = HERE,
) -> None:
    """Say what a video of `sakuga generate` was made from.

    Args:
        file: The video, the picture, or the folder of pictures
    """
    from ..core.made import read_made

    made = read_made(file)
    if again:
        with common.open() as project, out.progress() as progress:
            kind = {".webp": "webp", ".png": "png", "": "png"}.get(file.suffix.lower(), "mp4")
            video = api.again(project, made, progress=progress, format=kind)
        if common.json:
            out.print_json({"path": video.path})
        else:
            out.say(str(video.path))
        return
    if workflow is not None:
        import json

        from ..core.files import write_atomic
        from ..interop.comfy import workflow as nodes

        write_atomic(workflow, json.dumps(nodes(made), ensure_ascii=False, indent=1))
    if common.json:
        out.print_json(made.model_dump(mode="json"))
        return
    told = made.model_dump(mode="json", exclude={"experts", "loras", "more"}, exclude_none=True, exclude_defaults=True)
    out.table(("", ""), [(name, _plain(value)) for name, value in (told | made.more).items()])
    for lora in made.loras:
        out.say(f"LoRA: {lora.file} at {lora.strength:g} for {lora.expert} (sha256 {lora.sha256[:12]})")
    if workflow is not None:
        out.say(f"{workflow} is a workflow for ComfyUI; its noise is another, so is the video, all else is the same")
        if left_out := sorted(made.more.keys() - {"split"}):
            out.say(f"not in the workflow: {', '.join(left_out)}")


def _plain(value: object) -> str:
    return ", ".join(f"{name} {each:g}" for name, each in value.items()) if isinstance(value, dict) else str(value)
