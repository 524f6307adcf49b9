"""The one seam through which long work is watched. The core and the stages never print."""

from typing import Protocol


class Progress(Protocol):
    """Receives what a long piece of work reports. Surfaces implement it (terminal bar, job rows)."""

    def start(self, what: str, total: int | None, unit: str = "items") -> None:
        """A new piece of work begins: `total` units of it, or None where the number is not known."""

    def advance(self, amount: int = 1, note: str = "") -> None:
        """`amount` units more are done; `note` says what is in hand."""

    def say(self, message: str) -> None:
        """A line worth reading that is not a measure of progress."""


class Silent:
    """Nobody watches."""

    def start(self, what: str, total: int | None, unit: str = "items") -> None: ...

    def advance(self, amount: int = 1, note: str = "") -> None: ...

    def say(self, message: str) -> None: ...
