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
from ...nn.world import ALONE, World, shared_out
from .data import Batch, Draw, Schedule, load, together

AHEAD = 2  # steps that wait ready, beside those that are being read


@dataclass(frozen=True)
class Loaded:
    """A step's draws, and the tensors of those that this process computes: batches, with their places among the draws."""

    number: int
    draws: list[Draw]
    batches: list[tuple[list[int], Batch]]


class Loader:
    """The steps of a schedule, one after the other. To be used as a context: it ends its threads.

    `shrink` lets no more than so many samples be computed at once from now on, whatever settings and sections say.
    """

    def __init__(
        self, schedule: Schedule, member: Member, folder: Path, device: torch.device, *, batch: int, threads: int,
        world: World = ALONE,
    ) -> None:  # fmt: skip
        self.world = world
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
        for places in self._mine(draws, together(draws, self.batch, cap=self.batch if self.smaller else None)):
            batch = load([draws[place] for place in places], self.member, self.folder)
            batches.append((places, batch.pinned() if self.pinned else batch))
        return Loaded(number, draws, batches)

    def _mine(self, draws: list[Draw], batches: list[list[int]]) -> list[list[int]]:
        """What of a step this process computes: shared out by tokens."""
        if self.world.size == 1:
            return batches

        def tokens(places: list[int]) -> int:
            s = draws[places[0]].sample
            return len(places) * self.member.tokens(s.width, s.height, s.frames)

        takers = shared_out([tokens(places) for places in batches], self.world.size)
        return [places for places, taker in zip(batches, takers, strict=True) if taker == self.world.rank]

    def __enter__(self) -> "Loader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
