"""The one seam through which long work is watched. The core and the stages never print."""

from typing import Protocol


class Progress(Protocol):
    """Receives what a long piece of work reports. Surfaces implement it (terminal bar, job rows)."""

    def start(self, what: str, total: int | None, unit: str = "items", done: int = 0) -> None:
        """A new piece of work begins: `total` units of it, or None where the number is not known.

        `done` of them are done already; work of the same name goes on in its place.
        """

    def advance(self, amount: int = 1, note: str = "") -> None:
        """`amount` units more are done; `note` says what is in hand."""

    def say(self, message: str) -> None:
        """A line worth reading that is not a measure of progress."""


class Silent:
    """Nobody watches."""

    def start(self, what: str, total: int | None, unit: str = "items", done: int = 0) -> None: ...

    def advance(self, amount: int = 1, note: str = "") -> None: ...

    def say(self, message: str) -> None: ...
