"""What every command shares: the program, the options all take, and how the work of a stage is summed up."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from .. import __version__, api
from ..core.errors import SakugaError
from ..core.project import Project
from . import show

app = App(
    name="sakuga",
    version=__version__,
    help="From films to a style LoRA for the Wan video models.",
    default_parameter=Parameter(negative_iterable="", consume_multiple=True),
    suppress_keyboard_interrupt=False,  # `run` has a sentence for it
)

Options = Parameter(name="*")


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """What every command takes."""

    project: Annotated[
        Path, Parameter(name=["--project", "-p"], help="Folder of the project (here, or above here)")
    ] = Path()
    json: Annotated[bool, Parameter(negative="", help="Print the result as JSON")] = False

    def open(self) -> Project:
        return api.open_project(self.project)


HERE = Common()

EMPTY = "the dataset is empty: `sakuga pick` shots, then `sakuga export`"


def summarise(what: str, summary: Any) -> None:
    show.summary(what, len(summary.done), len(summary.unchanged), summary.failed, len(summary.retired))


def all_failed(summary: Any) -> None:
    """A command whose every item failed has failed; one with a few set aside has not."""
    if summary.failed and not summary.done and not summary.unchanged:
        raise SakugaError(f"nothing could be done: {next(iter(summary.failed.values()))}")
