"""Files written while training goes on: one set at a time, and what is said of them only once they are there."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from ...core.errors import SakugaError


class Writer:
    """A thread that writes what it is handed. What went wrong is raised in the thread that asks (`check`, `finish`).

    As a context it waits at the end; an error that is on its way out goes before one of writing.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "saving")
        self._job: tuple[str, Future[None], Callable[[], None]] | None = None

    def submit(self, what: str, write: Callable[[], None], then: Callable[[], None]) -> None:
        """Writes in the background, after what is under way: memory holds one copy at most.

        `then` runs in the thread that asks, once all is durable: there the rows are noted.
        """
        self.finish()
        self._job = what, self._thread.submit(write), then

    def check(self) -> None:
        """Takes note of what is done; waits for nothing. After each step."""
        if self._job is not None and self._job[1].done():
            self.finish()

    def finish(self) -> None:
        """Waits until all is written. Raises SakugaError where the disk refused it."""
        if self._job is None:
            return
        (what, job, then), self._job = self._job, None
        try:
            job.result()
        except OSError as error:
            raise SakugaError(
                f"{what} could not be written ({error.strerror or error}); what was saved before is whole: make room, then "
                "run the same command again"
            ) from error
        then()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.finish()
        except SakugaError:
            if error is None:
                raise
        finally:
            self._thread.shutdown()
