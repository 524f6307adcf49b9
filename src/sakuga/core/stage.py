"""The contract of a stage, and the runner that carries it out.

A stage is a function plus a record. Its `items` reads the store and gives one `Item` per piece of work; its `work`
gets the facts of one item, touches no store, and returns rows and files, so that it can run in another process or on
another host. The runner does only what is not done: an item whose fingerprint (stage, version, settings that matter,
content) has a done mark is left alone. Outputs and done mark land together; what fails is a row with its reason.
"""

import errno
import json
import shutil
import sqlite3
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from . import files, store
from .errors import Halt, SakugaError
from .progress import Progress, Silent
from .project import Project
from .settings import Settings

SCRATCH = ".scratch"
S = TypeVar("S", bound=Settings)
Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Item:
    """One piece of work: its key within the stage, what its result depends on, and the record that `work` gets."""

    key: str
    content: Mapping[str, Any]
    facts: Mapping[str, Any]
    size: int = 1  # units of progress
    label: str = ""  # what progress calls it, where the key says nothing to a person

    @property
    def title(self) -> str:
        return self.label or self.key


@dataclass
class Scratch:
    """What the work of one item may write to: temporary files that the runner moves to their final names."""

    folder: Path
    context: Any = None
    report: Callable[[int], None] = lambda amount: None
    files: dict[str, Path] = field(default_factory=dict)

    def file(self, final: str) -> Path:
        """A temporary path for the output that is to be `final`, relative to the project, with forward slashes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.files[final] = self.folder / f"{len(self.files)}{Path(final).suffix}"
        return self.files[final]


@dataclass(frozen=True)
class Stage(Generic[S]):
    """A stage: what it takes and gives, its settings, its version, and its two functions.

    `version` rises when the same input and settings would give another output. `gives` are tables whose rows of an
    item are replaced; `appends` are tables that only grow. With `context` the items run in this process, one after the
    other, and share what it returns (a loaded model); else they run in parallel processes, if there are more than
    `few`. With `parallel` too, as many threads as it says share the context: for work that waits for others, as a
    server does.
    """

    name: str
    version: int
    takes: str
    gives: tuple[str, ...]
    settings: type[S]
    items: Callable[[Project, S], list[Item]]
    work: Callable[[Mapping[str, Any], S, Scratch], Rows]
    appends: tuple[str, ...] = ()
    context: Callable[[Project, S], Any] | None = None
    unit: str = "items"
    few: int = 0
    keeps: bool = False  # what was made for items that are no longer asked for stays (caches)
    lasting: bool = False  # what an item has stays while making it anew fails
    parallel: Callable[[S], int] = lambda settings: 1
    processes: Callable[[S], int] = lambda settings: 1  # more: the work opens in each what the context else holds
    tell: Callable[[Any], str] = lambda context: ""  # what progress says of the whole so far (tokens, cost)
    foresee: Callable[[Any, Sequence[Item]], None] = lambda context, todo: None  # tells the context what is coming
    here: Callable[[Item], bool] = lambda item: False  # with several processes: done before them, in this one


@dataclass(frozen=True)
class Outcome:
    """What the work of one item came to. `fatal` means the fault is not the item's: the whole command stops."""

    rows: Rows
    files: dict[str, Path]
    seconds: float
    reason: str = ""
    traceback: str = ""
    fatal: bool = False


Outcomes = Generator[tuple[Item, Outcome], None, None]


@dataclass(frozen=True)
class Summary:
    """What one run of a stage did: keys done now, left as they were, set aside with their reason, and retired."""

    done: list[str]
    unchanged: list[str]
    failed: dict[str, str]
    retired: list[str]


STOPPED = "it was stopped half way; run the same command again"
_DISK_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


def inline(project: Project, settings: Settings) -> None:
    """The context of a stage whose work is too light for processes of its own."""


def attempt(
    work: Callable[[Mapping[str, Any], S, Scratch], Rows], facts: Mapping[str, Any], settings: S, scratch: Scratch
) -> Outcome:
    """Do the work of one item. The item boundary: whatever goes wrong inside becomes a reason, not a crash."""
    started = time.perf_counter()
    try:
        rows = work(facts, settings, scratch)
    except Halt:
        raise
    except SakugaError as error:
        return Outcome({}, {}, time.perf_counter() - started, str(error) or "no reason given", traceback.format_exc())
    except OSError as error:
        fatal = error.errno in _DISK_FAULTS
        reason = str(error) or type(error).__name__
        return Outcome({}, {}, time.perf_counter() - started, reason, traceback.format_exc(), fatal)
    except Exception as error:  # noqa: BLE001 - the one place that may
        reason = f"{type(error).__name__}: {error}"
        return Outcome({}, {}, time.perf_counter() - started, reason, traceback.format_exc())
    return Outcome(rows, scratch.files, time.perf_counter() - started)


def basis_of(stage: Stage[S], settings: S, item: Item) -> str:
    """All that an item's result depends on, as JSON: version, settings that matter, a hash of each part of the content."""
    content = {key: files.fingerprint({"": value}) for key, value in item.content.items()}
    whole = {"stage": stage.name, "version": stage.version, "settings": settings.that_matter(), "content": content}
    return json.dumps(whole, sort_keys=True, ensure_ascii=False)


def fingerprint_of(basis: str) -> str:
    """A basis in short."""
    return files.fingerprint(json.loads(basis))


def run(
    stage: Stage[S], project: Project, settings: S, progress: Progress | None = None, *,
    only: Callable[[str], bool] = lambda key: True, again: bool = False,
) -> Summary:  # fmt: skip
    """Bring the outputs of `stage` up to date, of items that `only` takes; `again` makes anew what is up to date too.

    The caller holds the project's lock. Raises SakugaError when the disk fails, and Halt where no item is to blame; the
    fault of a single item is in the summary and in the store.
    """
    progress = progress or Silent()
    shutil.rmtree(project.folder / SCRATCH, ignore_errors=True)
    sweep(project)
    items = stage.items(project, settings)
    bases = {item.key: basis_of(stage, settings, item) for item in items}
    assert len(bases) == len(items), f"stage {stage.name} gives a key twice"
    retired = _retire(stage, project, set(bases))
    fresh = done_among(stage, project, bases)
    todo = [item for item in items if only(item.key) and (again or item.key not in fresh)]
    done: list[str] = []
    failed: dict[str, str] = {}
    progress.start(stage.name, sum(item.size for item in todo), stage.unit)
    waiting = {item.key for item in todo}
    try:
        with closing(_carry_out(stage, project, settings, todo, progress)) as outcomes:
            for item, outcome in outcomes:
                waiting.remove(item.key)
                _land(stage, project, item.key, bases[item.key], outcome, waiting)
                if outcome.reason:
                    failed[item.key] = outcome.reason
                else:
                    done.append(item.key)
    finally:
        shutil.rmtree(project.folder / SCRATCH, ignore_errors=True)
    return Summary(done, [i.key for i in items if i.key in fresh and not (again and only(i.key))], failed, retired)


def _carry_out(stage: Stage[S], project: Project, settings: S, todo: list[Item], progress: Progress) -> Outcomes:
    if not todo:
        return
    scratch = project.folder / SCRATCH
    if stage.context is None and len(todo) > stage.few:
        from .processes import in_processes

        yield from in_processes(stage.work, settings, todo, scratch, project.settings.workers, progress)
        return
    count = min(stage.processes(settings), len(todo))
    if stage.context is not None and count > 1:
        from .processes import in_processes

        here, rest = [i for i in todo if stage.here(i)], [i for i in todo if not stage.here(i)]
        yield from _in_this_process(stage, project, settings, here, progress)
        yield from in_processes(stage.work, settings, rest, scratch, count, progress, heavy=True)
        return
    yield from _in_this_process(stage, project, settings, todo, progress)


def _in_this_process(stage: Stage[S], project: Project, settings: S, todo: list[Item], progress: Progress) -> Outcomes:
    """The outcome of each item. What an item reports beyond its size counts for those after it."""
    if not todo:
        return
    scratch = project.folder / SCRATCH
    context = stage.context(project, settings) if stage.context else None
    stage.foresee(context, todo)
    reported = [0]

    def report(amount: int) -> None:
        reported[0] += amount
        progress.advance(amount)

    threads = min(stage.parallel(settings), len(todo))
    outcomes = (
        _in_threads(stage, settings, todo, scratch, context, threads) if threads > 1
        else _in_turn(stage, settings, todo, scratch, context, report)
    )  # fmt: skip
    for item, outcome in outcomes:
        so_far = stage.tell(context)
        progress.advance(max(0, item.size - reported[0]), f"{item.title}; {so_far}" if so_far else item.title)
        reported[0] = max(0, reported[0] - item.size)
        yield item, outcome
    if so_far := stage.tell(context):
        progress.say(f"{stage.name}: {so_far}")


def _in_turn(
    stage: Stage[S], settings: S, todo: list[Item], scratch: Path, context: Any, report: Callable[[int], None]
) -> Outcomes:
    for item in todo:
        yield item, attempt(stage.work, item.facts, settings, Scratch(scratch / uuid.uuid4().hex, context, report))


def _in_threads(stage: Stage[S], settings: S, todo: list[Item], scratch: Path, context: Any, threads: int) -> Outcomes:
    """The outcome of each item, as they end.

    Threads are daemons: what waits for a server is left behind when the command is stopped, and done again.
    """
    waiting: SimpleQueue[Item | None] = SimpleQueue()
    ended: SimpleQueue[tuple[Item, Outcome | Halt]] = SimpleQueue()
    for entry in (*todo, *[None] * threads):
        waiting.put(entry)
    over = threading.Event()

    def serve() -> None:
        while (item := waiting.get()) is not None and not over.is_set():
            try:
                own = Scratch(scratch / uuid.uuid4().hex, context)
                ended.put((item, attempt(stage.work, item.facts, settings, own)))
            except Halt as halt:
                ended.put((item, halt))

    for _ in range(threads):
        threading.Thread(target=serve, daemon=True).start()
    try:
        for _ in todo:
            item, outcome = ended.get()
            if isinstance(outcome, Halt):
                raise outcome
            yield item, outcome
    finally:
        over.set()


def done_among(stage: Stage[S], project: Project, bases: Mapping[str, str]) -> set[str]:
    """Of items, key -> basis, those that were done on this very basis, and whose files are all still there."""
    marks = project.rows("SELECT item, basis FROM work WHERE stage = ? AND state = 'done'", stage.name)
    done = {mark["item"] for mark in marks if bases.get(mark["item"]) == mark["basis"]}
    for output in project.rows("SELECT item, path FROM output WHERE stage = ?", stage.name):
        if output["item"] in done and not project.path(output["path"]).exists():
            done.remove(output["item"])
    return done


def _land(stage: Stage[S], project: Project, key: str, basis: str, outcome: Outcome, waiting: Iterable[str]) -> None:
    """Move an item's files to their names, and put its rows and its mark into the store in one transaction."""
    if outcome.fatal:
        raise SakugaError(f"the disk gave up: {outcome.reason}; make room or mend it, then run the same command again")
    if outcome.files:
        _announce(stage, project.db, key, outcome.files)
    _move(project, outcome.files)
    mark: dict[str, Any] = {"stage": stage.name, "item": key, "fingerprint": fingerprint_of(basis), "basis": basis}
    mark |= {"seconds": outcome.seconds}
    mark |= {"state": "failed" if outcome.reason else "done", "reason": outcome.reason, "traceback": outcome.traceback}
    try:
        _write(stage, project.db, key, outcome, mark)
    except sqlite3.IntegrityError:
        # a name that an item still waiting for its turn gave before: what is known of those is outdated
        with store.transaction(project.db):
            for other in waiting:
                _clear(stage, project.db, other)
        _write(stage, project.db, key, outcome, mark)
    sweep(project)


def _move(project: Project, outputs: Mapping[str, Path]) -> None:
    """Give files their names, durably: final name -> where it is."""
    moved = dict.fromkeys(project.path(final).parent for final in outputs)
    final = next(iter(outputs), "")
    try:
        files.fsync_files(outputs.values())
        for final, temporary in outputs.items():
            files.move_into_place(temporary, project.path(final), one_of_many=True)
        for folder in moved:
            files.fsync_folder(folder)
    except OSError as error:
        raise SakugaError(
            f"{project.path(final)} cannot be written: {error.strerror}; make room, change its rights, "
            "or close what has it open, then run the same command again"
        ) from error


def _announce(stage: Stage[S], db: sqlite3.Connection, key: str, finals: Iterable[str]) -> None:
    """Before files take their names: no done mark may vouch for them, and they are known should it end here."""
    with store.transaction(db):
        for final in finals:
            owner = "SELECT stage, item FROM output WHERE path = ?"
            db.execute(
                f"UPDATE work SET state = 'failed', reason = ? WHERE (stage, item) IN ({owner})", (STOPPED, final)
            )
            store.insert(db, "output", {"path": final, "stage": stage.name, "item": key}, replace=True)
        mark = {"stage": stage.name, "item": key, "fingerprint": "", "state": "failed", "reason": STOPPED}
        store.insert(db, "work", mark | {"seconds": 0.0, "ended": time.time()}, replace=True)


def _write(stage: Stage[S], db: sqlite3.Connection, key: str, outcome: Outcome, mark: Mapping[str, Any]) -> None:
    with store.transaction(db):
        if outcome.reason and stage.lasting:
            db.execute("DELETE FROM work WHERE stage = ? AND item = ?", (stage.name, key))
        else:
            _clear(stage, db, key)
        for table, rows in outcome.rows.items():
            if table not in stage.gives + stage.appends:
                raise AssertionError(f"stage {stage.name} does not declare that it gives {table}")
            for row in rows:
                store.insert(db, table, {"source": key} | row)
        for final in outcome.files:
            store.insert(db, "output", {"path": final, "stage": stage.name, "item": key}, replace=True)
            db.execute("DELETE FROM trash WHERE path = ?", (final,))
        store.insert(db, "work", {**mark, "ended": time.time()})


def unfinished(project: Project) -> dict[str, float]:
    """The outputs of items that were stopped while their files took their names, and when (s) that was."""
    query = "SELECT path, ended FROM output JOIN work USING (stage, item) WHERE state = 'failed' AND reason = ?"
    return {row["path"]: row["ended"] for row in project.rows(query, STOPPED)}


def _clear(stage: Stage[S], db: Any, key: str) -> None:
    """Take an item's rows out, and mark its files for removal (those written anew are unmarked by the caller)."""
    for table in stage.gives:
        db.execute(f"DELETE FROM {table} WHERE source = ?", (key,))
    db.execute("INSERT OR IGNORE INTO trash SELECT path FROM output WHERE stage = ? AND item = ?", (stage.name, key))
    db.execute("DELETE FROM output WHERE stage = ? AND item = ?", (stage.name, key))
    db.execute("DELETE FROM work WHERE stage = ? AND item = ?", (stage.name, key))


def _retire(stage: Stage[S], project: Project, keys: set[str]) -> list[str]:
    """Items that are no longer asked for: their rows and files go (what made them is still there to make them again)."""
    known = project.rows("SELECT item, state FROM work WHERE stage = ?", stage.name)
    gone = [row["item"] for row in known if row["item"] not in keys and not (stage.keeps and row["state"] == "done")]
    forget(stage, project, gone)
    return gone


def forget(stage: Stage[S], project: Project, keys: Iterable[str]) -> None:
    """Take out the rows, the files and the marks of items, as if they had never been done."""
    with store.transaction(project.db):
        for key in keys:
            _clear(stage, project.db, key)
    sweep(project)


def sweep(project: Project) -> None:
    """Remove the files that a committed transaction marked for removal."""
    for row in project.rows("SELECT path FROM trash"):
        with suppress(OSError):  # Windows keeps a file that is open somewhere; the next sweep takes it
            project.path(row["path"]).unlink(missing_ok=True)
            project.db.execute("DELETE FROM trash WHERE path = ?", (row["path"],))
