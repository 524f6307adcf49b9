"""Prompt files in the form that trainers share: a prompt a line with its settings as flags at the end, # for comments.

`a girl on the beach, camera zooms out. --w 384 --h 384 --f 45 --d 7 --s 20`
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten

from .errors import SakugaError
from .family import TRAIN_TIMESTEPS

LONGEST_QUOTE = 80


@dataclass(frozen=True)
class PromptLine:
    """A prompt, and what its line says of the video; None where the line says nothing."""

    text: str
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    shift: float | None = None
    negative: str | None = None
    image: str | None = None  # a file; relative to the prompt file where it comes from one


@dataclass(frozen=True)
class _Flag:
    field: str
    read: Callable[[str], int | float | str]
    wants: str


def _whole(least: int, most: int) -> tuple[Callable[[str], int], str]:
    """A reader of whole numbers, and what it wants. A file from elsewhere may not ask for what never ends."""

    def read(word: str) -> int:
        if not least <= (value := int(word)) <= most:
            raise ValueError
        return value

    return read, f"a whole number from {least} to {most}"


def _from_zero(word: str) -> float:
    if not 0 <= (value := float(word)) < math.inf:
        raise ValueError
    return value


def _some(word: str) -> str:
    if not word:
        raise ValueError
    return word


def _above_zero(word: str) -> float:
    if (value := _from_zero(word)) == 0:
        raise ValueError
    return value


MOST_PIXELS, MOST_FRAMES, MOST_SEED = 16384, 10_000, 2**63 - 1
FLAGS = {
    "w": _Flag("width", *_whole(1, MOST_PIXELS)),
    "h": _Flag("height", *_whole(1, MOST_PIXELS)),
    "f": _Flag("frames", *_whole(1, MOST_FRAMES)),
    "d": _Flag("seed", *_whole(0, MOST_SEED)),
    "s": _Flag("steps", *_whole(1, TRAIN_TIMESTEPS)),
    "g": _Flag("guidance", _from_zero, "a number from 0"),
    "l": _Flag("guidance", _from_zero, "a number from 0"),  # other trainers' name for it; --g is of models Wan is not
    "fs": _Flag("shift", _above_zero, "a number above 0"),
    "n": _Flag("negative", str, "a text"),
    "i": _Flag("image", _some, "a picture's file"),
}
_LAST_FLAG = re.compile(rf"(?:^|.*\s)--({'|'.join(FLAGS)})(?:\s(.*))?$")


def parse_prompts(text: str) -> list[PromptLine]:
    """The prompts of a file. Known flags at the end of a line are settings; any other `--` belongs to the prompt.

    Raises SakugaError, with the line's number, for a known flag without its value, given twice, or without a prompt.
    """
    lines = enumerate(text.removeprefix("\ufeff").splitlines(), start=1)
    return [_line(number, line.strip()) for number, line in lines if line.strip() and not line.lstrip().startswith("#")]


def read_prompts(path: Path) -> list[PromptLine]:
    """The prompts of a file. Raises SakugaError where it is not there or holds none."""
    try:
        lines = parse_prompts(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SakugaError(f"the prompt file {path} cannot be read: {error.strerror}; correct its path") from error
    except UnicodeDecodeError as error:
        raise SakugaError(f"the prompt file {path} is not UTF-8 text; save it as UTF-8 in an editor") from error
    except SakugaError as error:
        raise SakugaError(f"{path}: {error}") from error
    if not lines:
        raise SakugaError(f"the prompt file {path} holds no prompt; write one to a line")
    return [replace(line, image=str(path.parent / line.image)) if line.image else line for line in lines]


def _line(number: int, line: str) -> PromptLine:
    found: dict[str, int | float | str] = {}
    while match := _LAST_FLAG.match(line):
        name, value = match[1], (match[2] or "").strip()
        if name != "n" and " --" in f" {value}":  # what follows the value is no flag of ours: all of it is prompt
            break
        flag = FLAGS[name]
        if flag.field in found:
            raise SakugaError(f"line {number}: --{name} sets the {flag.field} a second time; leave one of the two")
        found[flag.field] = _value(number, name, flag, value)
        line = line[: match.start(1) - 2].rstrip()
    if not line:
        raise SakugaError(f"line {number} has settings but no prompt; write the prompt before the first --")
    return PromptLine(line, **found)  # type: ignore[arg-type]


def _value(number: int, name: str, flag: _Flag, value: str) -> int | float | str:
    try:
        return flag.read(value)
    except ValueError:
        value = shorten(value, LONGEST_QUOTE, placeholder="...")
        raise SakugaError(f"line {number}: --{name} ({flag.field}) takes {flag.wants}, not '{value}'") from None
