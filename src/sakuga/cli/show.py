"""How the command line shows things: progress with rate and time left, tables, and JSON."""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Column, Table
from rich.text import Text

WIDE = 130  # characters of a terminal in which a bar stands beside what it tells
LINE_SECONDS = 10.0  # between lines where no bar can be drawn
_UNFOLDED = 10_000  # characters

errors = Console(stderr=True, highlight=False, soft_wrap=True)
out = Console(highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """The value as JSON on standard output, and nothing else."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1, default=str) + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """A table on standard output; columns whose name ends in a space are right-aligned."""
    grid = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column.strip(), justify="right" if column.endswith(" ") else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(str(cell)) for cell in row))
    # a pipe has no width: nothing is folded there, so that a line is a row
    (out if out.is_terminal else Console(highlight=False, width=_UNFOLDED)).print(grid)


def say(message: str) -> None:
    """A line on standard output, as it is (no markup: names may hold brackets)."""
    out.print(Text(message))


class Rate(ProgressColumn):
    """Units a second, or seconds a unit where that is more than one."""

    def render(self, task: Task) -> Text:
        return Text(pace(task.speed, task.fields["unit"]) if task.speed else "")


class Left(ProgressColumn):
    """The time left."""

    def render(self, task: Task) -> Text:
        return Text("" if task.time_remaining is None else f"{duration(task.time_remaining)} left")


def pace(rate: float, unit: str) -> str:
    """12.3 steps/s, or 4.5 s/step."""
    return f"{rate:.1f} {unit}/s" if rate >= 1 else f"{1 / rate:.1f} s/{unit.removesuffix('s')}"


def duration(seconds: float) -> str:
    """3.2 s, 1:05, 2:03:04."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count: float) -> str:
    """Bytes as 512 B, 3.4 MB, 1.2 GB."""
    for unit in ("B", "kB", "MB"):
        if round(count) < 10**3:
            return f"{count:.3g} {unit}"
        count /= 10**3
    return f"{count:.3g} GB"


class Shown:
    """Progress on the terminal: a bar for each piece of work, lines in between."""

    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self.task: TaskID | None = None
        self.shown: dict[str, TaskID] = {}

    def start(self, what: str, total: int | None, unit: str = "items", done: int = 0) -> None:
        if what in self.shown:
            self.bars.remove_task(self.shown.pop(what))
        self.task = None
        if total != 0:
            self.task = self.shown[what] = self.bars.add_task(what, total=total, completed=done, unit=unit, note="")

    def advance(self, amount: int = 1, note: str = "") -> None:
        if self.task is not None:
            self.bars.update(self.task, advance=amount)
            if note:
                self.bars.update(self.task, note=note)

    def say(self, message: str) -> None:
        self.bars.console.print(Text(message))


class Lines:
    """Progress where no bar can be drawn (a log, a pipe): a line now and then."""

    def __init__(self) -> None:
        self.what, self.unit, self.done, self.before = "", "", 0, 0
        self.total: int | None = None
        self.started = self.told = time.monotonic()

    def start(self, what: str, total: int | None, unit: str = "items", done: int = 0) -> None:
        self.what, self.unit, self.total, self.done, self.before = what, unit, total, done, done
        self.started = self.told = time.monotonic()

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.done += amount
        now = time.monotonic()
        spent, ended = now - self.started, self.total is not None and self.done >= self.total
        if self.done > self.before and (now - self.told >= LINE_SECONDS or (ended and spent >= 1 and amount)):
            self.told = now
            rate = (self.done - self.before) / max(spent, 1e-6)
            of = f"/{self.total}" if self.total else ""
            left = f"{duration((self.total - self.done) / rate)} left" if self.total else duration(spent)
            last = f"in {duration(spent)}" if ended else f"{left} {note}".rstrip()
            errors.print(Text(f"{self.what}: {self.done}{of} {self.unit}, {pace(rate, self.unit)}, {last}"))

    def say(self, message: str) -> None:
        errors.print(Text(message))


def _unbroken(text: str) -> TextColumn:
    return TextColumn(text, markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))


@contextmanager
def progress() -> Iterator["Shown | Lines"]:
    """Watch work on standard error, so that standard output stays for results."""
    if not errors.is_terminal:
        yield Lines()
        return
    name, count = _unbroken("{task.description:<10}"), MofNCompleteColumn(table_column=Column(no_wrap=True))
    speed, note = (Rate(Column(no_wrap=True)), Left(Column(no_wrap=True))), _unbroken("{task.fields[note]}")
    columns: tuple[ProgressColumn, ...] = (name, count, *speed, note)
    if errors.width >= WIDE:
        columns = (name, BarColumn(24), count, _unbroken("{task.fields[unit]}"), *speed, TimeElapsedColumn(), note)
    with Bars(*columns, console=errors) as bars:
        yield Shown(bars)


def summary(what: str, done: int, unchanged: int, failed: Mapping[str, str], retired: int = 0) -> None:
    """What a stage did, and what was set aside."""
    parts = [f"{done} done"]
    parts += [f"{unchanged} unchanged"] if unchanged else []
    parts += [f"{retired} taken out"] if retired else []
    parts += [f"{len(failed)} set aside (`sakuga drops` lists them)"] if failed else []
    say(f"{what}: " + ", ".join(parts))
    for key, reason in failed.items():
        errors.print(Text(f"  {key}: {reason}", style="yellow"))
