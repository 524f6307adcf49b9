"""Reads ahead what steps will see, in threads, so that the device never waits for the disk.

What a step sees depends on its number alone: how many threads read, and how far ahead, changes nothing.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import torch

from ...core.family import Member
from .data import Batch, Draw, Schedule, load, together

AHEAD = 2  # steps that wait ready, beside those that are being read


@dataclass(frozen=True)
class Loaded:
    """A step's draws, and their tensors: batches that are computed at once, with their places among the draws."""

    number: int
    draws: list[Draw]
    batches: list[tuple[list[int], Batch]]


class Loader:
    """The steps of a schedule, one after the other. To be used as a context: it ends its threads.

    `shrink` lets no more than so many samples be computed at once from now on, whatever settings and sections say.
    """

    def __init__(
        self, schedule: Schedule, member: Member, folder: Path, device: torch.device, *, batch: int, threads: int
    ) -> None:
        self.schedule, self.member, self.folder = schedule, member, folder
        self.pinned, self.batch, self.threads = device.type == "cuda", batch, threads
        self._pool = ThreadPoolExecutor(threads, "loader")
        self.smaller = False
        self._coming: deque[Future[Loaded]] = deque()

    def shrink(self, batch: int) -> None:
        self.batch, self.smaller = batch, True

    def steps(self, first: int, last: int) -> Iterator[Loaded]:
        """Steps `first` to `last`, each as it stands with the `batch` of now."""
        self._coming.clear()
        for number in range(first, last + 1):
            while len(self._coming) < self.threads + AHEAD and (ahead := number + len(self._coming)) <= last:
                self._coming.append(self._pool.submit(self._step, ahead))
            loaded = self._coming.popleft().result()
            if any(len(places) > self.batch for places, _ in loaded.batches) and self.smaller:
                loaded = self.load(loaded.draws, number)
            yield loaded

    def _step(self, number: int) -> Loaded:
        return self.load(self.schedule.step(number), number)

    def load(self, draws: list[Draw], number: int) -> Loaded:
        """Draws of a step, read now."""
        batches = []
        for places in together(draws, self.batch, cap=self.batch if self.smaller else None):
            batch = load([draws[place] for place in places], self.member, self.folder)
            batches.append((places, batch.pinned() if self.pinned else batch))
        return Loaded(number, draws, batches)

    def __enter__(self) -> "Loader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
