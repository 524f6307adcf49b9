"""Decoding in a thread of its own, so that it goes on while what was decoded is looked at."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Full, Queue
from threading import Event
from typing import TypeVar

T = TypeVar("T")
POLL_SECONDS = 0.05


def ahead(source: Iterator[T], count: int) -> Iterator[T]:
    """What `source` gives, taken from it in another thread, at most `count` ahead of what is asked for.

    What `source` raises is raised here. When nobody asks any more the thread ends.
    """
    waiting: Queue[tuple[T, ...]] = Queue(count)
    over = Event()

    def put(entry: tuple[T, ...]) -> None:
        while not over.is_set():
            with suppress(Full):
                waiting.put(entry, timeout=POLL_SECONDS)
                break

    def fill() -> None:
        try:
            for item in source:
                put((item,))
                if over.is_set():
                    return
        finally:
            put(())

    with ThreadPoolExecutor(1) as pool:
        filled = pool.submit(fill)
        try:
            while entry := waiting.get():
                yield entry[0]
            filled.result()
        finally:
            over.set()
