"""Commands that say what of the items counts in training: masks, weigh."""

from pathlib import Path
from typing import Any

from .. import api
from . import show
from .base import HERE, Common, app

MOST_FAULTS = 10


@app.command
def masks(
    path: Path | None = None, *, of: str | None = None, remove: tuple[str, ...] = (), common: Common = HERE
) -> None:
    """Take masks: white places of a clip or still are learnt, black ones are not. Without a path, list those there are.

    A mask bears the name of its item, with _mask, -mask or -masklabel behind it or not. Transparent pictures need none.

    Args:
        path: A folder of masks (pictures, or videos with as many frames as their clip), or one file
        of: The folder of items that they are for (clips, stills, an adopted one), or one item
        remove: Items whose masks are to go, by name or pattern
    """
    with common.open() as project:
        taken = api.take_masks(project, path, of) if path is not None else None
        gone = api.remove_masks(project, remove) if remove else []
        found = api.masks(project)
    faults = taken.faults if taken else {}
    if common.json:
        show.print_json({"masks": found, "removed": gone, "failed": faults})
        return
    if gone:
        show.say(f"{len(gone)} masks are gone")
    if taken:
        show.say(f"{len(taken.shares)} masks taken, {len(faults)} set aside")
        for file, why in list(faults.items())[:MOST_FAULTS]:
            show.say(f"{file}: {why}")
    elif not gone:
        show.table(("item", "mask", "counts "), (_row(m) for m in found))
        if not found:
            show.say("no clip and no still has a mask; `sakuga masks FOLDER` takes some")


def _row(mask: dict[str, Any]) -> tuple[str, str, str]:
    return mask["item"], mask["file"], "" if mask["share"] is None else f"{mask['share']:.0%}"


@app.command
def weigh(weight: float | None = None, items: list[str] | None = None, *, common: Common = HERE) -> None:
    """Say how much the loss of items counts: 0.5 is half as much, 2 twice, 1 as before. Without any, list the weights.

    Args:
        weight: The weight, beside that of the items' section
        items: Clips and stills, by name or pattern
    """
    with common.open() as project:
        found = api.weights(project) if weight is None else api.weigh(project, weight, items or ())
    if common.json:
        show.print_json([{"item": item, "weight": value} for item, value in found.items()])
    else:
        show.table(("item", "weight "), ((item, f"{value:g}") for item, value in found.items()))
        if not found:
            show.say("every item counts alike")
