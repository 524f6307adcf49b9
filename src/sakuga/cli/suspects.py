"""The command suspects: items whose loss says that something is wrong with their caption or their pictures."""

from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from .. import api
from ..core.errors import SakugaError
from . import show
from .base import HERE, Common, app

SHOWN = 12
WORDS = 60  # characters of a caption

Flag = Parameter(negative="")


@app.command
def suspects(
    *, run: str | None = None, expert: str | None = None, measure: Annotated[bool, Flag] = False,
    most: int = SHOWN, common: Common = HERE,
) -> None:  # fmt: skip
    """Items whose loss is higher than it should be: wrong captions, hidden cuts. The most suspicious come first.

    Args:
        run: Tell it from the draws of this run (from the tested captions, or else from the last run, by default)
        expert: Of this expert alone
        measure: Test each caption against those of other items first: it sees far more, and needs no training
        most: How many are shown; --json has all
    """
    if run and measure:
        raise SakugaError("--run tells from a run's draws and --measure from a test of the captions; give one of them")
    with common.open() as project, show.progress() as progress:
        found = api.suspects(project, run, expert=expert, measure=measure, progress=progress)
    if common.json:
        show.print_json([asdict(one) for one in found])
        return
    rows = (
        (
            one.item,
            f"{one.excess:+.1%}",
            f"+-{one.error:.1%}",
            str(one.draws),
            "!" if one.stands_out else "",
            _begin(one.caption),
        )
        for one in found[:most]
    )
    show.table(("item ", "loss above expected ", "error ", "draws ", "", "caption"), rows)
    standing = sum(one.stands_out for one in found)
    show.say(
        f"{standing} of {len(found)} items stand out (!): look at their captions, and at their pictures for a hidden cut"
    )


def _begin(caption: str) -> str:
    line = " ".join(caption.split())
    return line if len(line) <= WORDS else f"{line[: WORDS - 3]}..."
