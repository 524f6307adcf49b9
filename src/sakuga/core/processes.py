"""Items in parallel processes: spawned, never forked, so that it is the same on every system.

A file that crashes its decoder ends one process, not the command: what was in flight is done again one by one, and
the culprit alone is set aside.
"""

import multiprocessing
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

from .progress import Progress
from .settings import Settings
from .stage import Item, Outcome, Rows, Scratch, attempt

POLL_SECONDS = 0.1
Work = Callable[[Mapping[str, Any], Any, Scratch], Rows]

_reports: "SimpleQueue[tuple[str, int]] | None" = None


def _begin(reports: "SimpleQueue[tuple[str, int]]") -> None:
    global _reports
    _reports = reports
    os.environ["OMP_NUM_THREADS"] = "1"


def _one(work: Work, item: Item, settings: Settings, folder: Path) -> Outcome:
    def report(amount: int) -> None:
        assert _reports is not None
        _reports.put((item.key, amount))

    return attempt(work, item.facts, settings, Scratch(folder, None, report))


def in_processes(
    work: Work, settings: Settings, todo: list[Item], scratch: Path, workers: int | None, progress: Progress
) -> Iterator[tuple[Item, Outcome]]:
    """The outcome of each item, as they end. `workers` None takes the number of cores."""
    count = min(workers or os.cpu_count() or 1, len(todo))
    left = {item.key: item for item in todo}
    try:
        for item, outcome in _pool(work, settings, list(left.values()), scratch, count, progress):
            del left[item.key]
            yield item, outcome
    except BrokenProcessPool:
        for item in list(left.values()):
            yield item, _alone(work, settings, item, scratch, progress)


def _alone(work: Work, settings: Settings, item: Item, scratch: Path, progress: Progress) -> Outcome:
    try:
        return next(outcome for _, outcome in _pool(work, settings, [item], scratch, 1, progress))
    except BrokenProcessPool:
        reason = "the process that read it died: the file is damaged, or memory ran out"
        return Outcome({}, {}, 0.0, reason)


def _pool(
    work: Work, settings: Settings, items: list[Item], scratch: Path, count: int, progress: Progress
) -> Iterator[tuple[Item, Outcome]]:
    context = multiprocessing.get_context("spawn")
    reports: SimpleQueue[tuple[str, int]] = context.SimpleQueue()
    seen = dict.fromkeys((item.key for item in items), 0)
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(reports,))
    try:
        futures: dict[Future[Outcome], Item] = {}
        with _main_left_alone():
            for item in items:
                futures[pool.submit(_one, work, item, settings, scratch / uuid.uuid4().hex)] = item
        pending = set(futures)
        while pending:
            ended, pending = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            while not reports.empty():
                key, amount = reports.get()
                seen[key] += amount
                progress.advance(amount)
            for future in ended:
                item, outcome = futures[future], future.result()
                progress.advance(item.size - seen[item.key], item.key)
                seen[item.key] = item.size
                yield item, outcome
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _main_left_alone() -> Iterator[None]:
    """Keep spawned processes from running the caller's script again: no work of ours lives there.

    Without this a five-line script needs an `if __name__ == "__main__"` that nobody expects to write.
    """
    main = sys.modules["__main__"]
    kept: dict[str, Any] = {name: main.__dict__.pop(name) for name in ("__file__", "__spec__") if name in main.__dict__}
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(kept)
