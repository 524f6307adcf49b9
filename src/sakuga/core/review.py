"""Which captions a person has looked at: draft, edited, seen once, seen twice, and the batches in which they look.

What is noted is a caption, not its item: one that changes has not been seen. Nothing is taken out; an undo is a mark.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from . import captions, store
from .errors import SakugaError
from .project import Project

State = Literal["draft", "edited", "seen once", "seen twice"]
PASSES = ("first", "second")
ENOUGH = len(PASSES)

NEWEST = "SELECT id, item, text, origin FROM caption WHERE id IN (SELECT max(id) FROM caption GROUP BY item)"
SEEN = "SELECT caption, count(*) AS times FROM review WHERE act = 'seen' AND undone IS NULL GROUP BY caption"
LAST_SHOWN = "SELECT max(batch) FROM review WHERE act = 'shown'"


@dataclass(frozen=True)
class Reviewed:
    """The newest caption of an item (its row's `caption`), and how often it was seen."""

    item: str
    file: str
    caption: int
    text: str
    by: str
    seen: int

    @property
    def state(self) -> State:
        if self.seen:
            return "seen once" if self.seen == 1 else "seen twice"
        return "edited" if self.by == captions.PERSON else "draft"


@dataclass(frozen=True)
class Progress:
    """`done` of `total` captions are through the pass that is under way; 2 passes are enough."""

    done: int
    total: int
    passing: int

    def __str__(self) -> str:
        if self.passing > ENOUGH:
            return f"all {self.total} seen twice"
        return f"{self.done} of {self.total}, {PASSES[self.passing - 1]} pass"


def states(project: Project) -> list[Reviewed]:
    """Every item that has words, by name."""
    times = {row["caption"]: row["times"] for row in project.rows(SEEN)}
    newest = {row["item"]: row for row in project.rows(NEWEST)}
    return [
        Reviewed(row["name"], row["file"], words["id"], words["text"], words["origin"], times.get(words["id"], 0))
        for row in project.rows("SELECT name, file FROM item ORDER BY name")
        if (words := newest.get(row["name"])) is not None and words["text"]
    ]


def progress(known: Sequence[Reviewed]) -> Progress:
    """How far the least seen captions are."""
    least = min((one.seen for one in known), default=0)
    return Progress(sum(one.seen > least for one in known), len(known), least + 1)


def next_ones(known: Iterable[Reviewed], faults: Mapping[str, int], count: int) -> list[Reviewed]:
    """The next to look at: the least seen first, of those the worst; `faults` weighs what lint found of an item."""
    waiting = [one for one in known if one.seen < ENOUGH]
    return sorted(waiting, key=lambda one: (one.seen, -faults.get(one.item, 0), one.item))[:count]


def show(project: Project, batch: Iterable[Reviewed]) -> None:
    """Note a batch as shown, so that `mark_batch` knows it. The caller holds the project's lock, as below."""
    _note(project, "shown", [(one.item, one.caption) for one in batch])


def mark(project: Project, items: Iterable[str]) -> list[str]:
    """Note the captions of items as seen. Returns the items."""
    known = {one.item: one for one in states(project)}
    wanted = list(dict.fromkeys(items))
    if silent := [item for item in wanted if item not in known]:
        raise SakugaError(f"{silent[0]} has no caption that could be reviewed; run `sakuga caption`")
    _note(project, "seen", [(item, known[item].caption) for item in wanted])
    return wanted


def mark_batch(project: Project) -> tuple[list[str], list[str]]:
    """Note the batch that was shown last as seen: the items, and those passed over since their words have changed."""
    rows = project.rows(f"SELECT item, caption FROM review WHERE act = 'shown' AND batch = ({LAST_SHOWN})")
    if not rows:
        raise SakugaError("no batch was shown yet; `sakuga review --next 100` shows one")
    since = f"SELECT caption FROM review WHERE act = 'seen' AND undone IS NULL AND batch > ({LAST_SHOWN})"
    marked = {row["caption"] for row in project.rows(since)}
    rows = [row for row in rows if row["caption"] not in marked]
    now = {one.item: one.caption for one in states(project)}
    same = [(row["item"], row["caption"]) for row in rows if now.get(row["item"]) == row["caption"]]
    if marked and not same:
        raise SakugaError("this batch was marked as seen already; `sakuga review --next 100` shows the next")
    _note(project, "seen", same)
    return [item for item, _ in same], [row["item"] for row in rows if now.get(row["item"]) != row["caption"]]


def undo(project: Project) -> list[str]:
    """Take the last marks back. Returns the items."""
    last = "SELECT max(batch) FROM review WHERE act = 'seen' AND undone IS NULL"
    rows = project.rows(f"SELECT id, item FROM review WHERE act = 'seen' AND batch = ({last}) ORDER BY item")
    if not rows:
        raise SakugaError("no caption is marked as seen, so there is nothing to take back")
    with store.transaction(project.db):
        for row in rows:
            project.db.execute("UPDATE review SET undone = ? WHERE id = ?", (time.time(), row["id"]))
    return [row["item"] for row in rows]


def _note(project: Project, act: Literal["shown", "seen"], told: Iterable[tuple[str, int]]) -> None:
    with store.transaction(project.db):
        batch = project.rows("SELECT coalesce(max(batch), 0) + 1 AS batch FROM review")[0]["batch"]
        for item, caption in told:
            row = {"item": item, "caption": caption, "act": act, "batch": batch, "made": time.time()}
            store.insert(project.db, "review", row)
