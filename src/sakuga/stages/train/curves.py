"""Where the numbers of a run go beside the store: TensorBoard and a file of JSON lines always, Weights & Biases on request."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from ...core.errors import SakugaError
from .board import Board


class Sink(Protocol):
    """Takes the values of a step."""

    def add(self, scalars: Mapping[str, float], step: int) -> None: ...


class Lines:
    """One JSON object a line, appended: {"step": 7, "loss/train": 0.12, ...}. Of lines with one step the last counts."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def add(self, scalars: Mapping[str, float], step: int) -> None:
        self._file.write(json.dumps({"step": step, **scalars}) + "\n")
        self._file.flush()

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class WeightsAndBiases:
    """A run at Weights & Biases, gone on with where it is there already."""

    def __init__(self, project: str, run: str, expert: str, settings: dict[str, Any]) -> None:
        try:
            import wandb  # type: ignore[import-not-found, unused-ignore]
        except ImportError as error:
            raise SakugaError("train.wandb needs the package wandb; install it, or take the setting out") from error
        self._run = wandb.init(
            project=project, name=f"{run} {expert}", id=f"{run}-{expert}", resume="allow", config=settings
        )

    def add(self, scalars: Mapping[str, float], step: int) -> None:
        self._run.log(dict(scalars), step=step)

    def __enter__(self) -> "WeightsAndBiases":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run.finish(exit_code=0 if kind is None else 1)


class Curves:
    """All of them, for one expert of a run, from its step `first` on."""

    def __init__(
        self, folder: Path, run: str, expert: str, first: int, wandb: str | None, settings: dict[str, Any]
    ) -> None:
        self._stack = ExitStack()
        self._sinks: list[Sink] = []
        try:
            self._sinks.append(self._stack.enter_context(Board(folder / "tensorboard" / expert, first)))
            self._sinks.append(self._stack.enter_context(Lines(folder / f"{expert}.jsonl")))
            if wandb is not None:
                self._sinks.append(self._stack.enter_context(WeightsAndBiases(wandb, run, expert, settings)))
        except BaseException:
            self._stack.close()
            raise

    def add(self, scalars: Mapping[str, float], step: int) -> None:
        """One value of each curve."""
        for sink in self._sinks:
            sink.add(scalars, step)

    def __enter__(self) -> "Curves":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
