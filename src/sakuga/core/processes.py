"""Items in parallel processes: spawned, never forked, so that it is the same on every system.

A file that crashes its decoder ends one process, not the command: what was in flight is done again one by one, the
culprit alone is set aside, and the rest goes on in parallel. Processes end with the command, however it ends.
"""

import multiprocessing
import os
import signal
import sys
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

from .progress import Progress
from .settings import Settings
from .stage import Item, Outcome, Outcomes, Rows, Scratch, attempt

POLL_SECONDS = 0.1
AHEAD = 4  # items handed out for each process: enough to keep it busy, few enough to look through
MOST_PROCESSES = 61  # that Windows can wait for
Work = Callable[[Mapping[str, Any], Any, Scratch], Rows]

# Films and pictures come from strangers: what reads them may not take the machine with it.
MOST_BYTES = 12 * 2**30  # of memory for one process; 8K film takes about 3 GiB
STUCK_SECONDS = 1800.0  # without a sign of progress

_reports: "SimpleQueue[tuple[str, int]] | None" = None
_stuck_seconds = STUCK_SECONDS


def _begin(reports: "SimpleQueue[tuple[str, int]]", most_bytes: int | None, stuck_seconds: float, threads: int) -> None:
    global _reports, _stuck_seconds
    _reports, _stuck_seconds = reports, stuck_seconds
    if most_bytes is not None:
        _limit_memory(most_bytes)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its processes
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _limit_memory(most_bytes: int) -> None:
    """Asking for more fails from here on. Windows has no such limit for a process of its own."""
    if os.name == "posix":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        soft = most_bytes if hard == resource.RLIM_INFINITY else min(most_bytes, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


class _Watchdog:
    """Ends the process when the item in hand shows no progress for too long: decoders have loops of their own."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.signs, self.over = seconds, threading.Event(), threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while self.signs.wait(self.seconds):
            self.signs.clear()
            if self.over.is_set():
                return
        os._exit(1)

    def end(self) -> None:
        self.over.set()
        self.signs.set()


def _end_with_parent() -> None:
    """A process that waits for work would wait for ever when its parent is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _one(work: Work, item: Item, settings: Settings, folder: Path) -> Outcome:
    watchdog = _Watchdog(_stuck_seconds)

    def report(amount: int) -> None:
        assert _reports is not None
        _reports.put((item.key, amount))
        watchdog.signs.set()

    report(0)  # begun: should this process die, the item is a suspect
    try:
        return attempt(work, item.facts, settings, Scratch(folder, None, report))
    finally:
        watchdog.end()


def in_processes(
    work: Work, settings: Settings, todo: list[Item], scratch: Path, workers: int | None, progress: Progress, *,
    heavy: bool = False,
) -> Outcomes:  # fmt: skip
    """The outcome of each item, as they end. `workers` None takes the number of cores.

    What is `heavy` holds a model: it may take any memory, and the cores are shared out among its processes.
    """
    left = {item.key: item for item in todo}
    while left:
        count = min(workers or os.cpu_count() or 1, len(left), MOST_PROCESSES)
        begun: dict[str, int] = {}
        try:
            with closing(
                _pool(work, settings, list(left.values()), scratch, count, progress, begun, heavy)
            ) as outcomes:
                for item, outcome in outcomes:
                    del left[item.key]
                    yield item, outcome
            return
        except BrokenProcessPool:
            progress.advance(-sum(begun.values()))
        for key in list(begun) or list(left):
            item = left.pop(key)
            yield item, _alone(work, settings, item, scratch, progress, heavy)


def _alone(work: Work, settings: Settings, item: Item, scratch: Path, progress: Progress, heavy: bool) -> Outcome:
    begun: dict[str, int] = {}
    try:
        [(_, outcome)] = _pool(work, settings, [item], scratch, 1, progress, begun, heavy)
        return outcome
    except BrokenProcessPool:
        progress.advance(item.size - sum(begun.values()), item.title)
        return Outcome(
            {}, {}, 0.0, "the process that read it died or stood still: the file is damaged, or memory ran out"
        )


def _pool(
    work: Work, settings: Settings, items: list[Item], scratch: Path, count: int, progress: Progress,
    begun: dict[str, int], heavy: bool,
) -> Outcomes:  # fmt: skip
    """`begun` holds what a process has in hand, with the units of progress it has reported: the suspects, if one dies."""
    context = multiprocessing.get_context("spawn")
    reports: SimpleQueue[tuple[str, int]] = context.SimpleQueue()
    limits = (None, STUCK_SECONDS, max(1, (os.cpu_count() or 1) // count)) if heavy else (MOST_BYTES, STUCK_SECONDS, 1)
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(reports, *limits))
    try:
        futures: dict[Future[Outcome], Item] = {}
        coming = deque(items)
        while futures or coming:
            with _main_left_alone():
                while coming and len(futures) < AHEAD * count:
                    item = coming.popleft()
                    futures[pool.submit(_one, work, item, settings, scratch / uuid.uuid4().hex)] = item
            ended, _ = wait(futures, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            while not reports.empty():
                key, amount = reports.get()
                begun[key] = begun.get(key, 0) + amount
                progress.advance(amount)
            for future in ended:
                outcome, item = future.result(), futures.pop(future)
                progress.advance(item.size - begun.pop(item.key, 0), item.title)
                yield item, outcome
    except BaseException:
        for process in list(pool._processes.values()):
            process.terminate()  # or the end would wait for work that nobody wants any more
        raise
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
