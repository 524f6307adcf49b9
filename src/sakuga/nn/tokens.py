"""The tokenizer of the text encoder alone, opened when it is first asked: counting tokens needs no torch before that."""

from collections.abc import Callable
from functools import cache
from pathlib import Path


def open_tokenizer(path: Path | None) -> Callable[[str], list[int]] | None:
    """Texts to token ids, the end mark included; None where there is no `path`.

    `path` is a folder with tokenizer.json or spiece.model, or such a file. Raises SakugaError on the first call where
    it is none.
    """
    if path is None:
        return None

    @cache
    def opened() -> Callable[[str], list[int]]:
        from .text import load_tokenizer

        return load_tokenizer(path)

    return lambda text: opened()(text)
