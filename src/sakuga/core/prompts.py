"""Prompt files in the form that trainers share: a prompt a line with its settings as flags at the end, # for comments.

`a girl on the beach, camera zooms out. --w 384 --h 384 --f 45 --d 7 --s 20`
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from .errors import SakugaError


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


@dataclass(frozen=True)
class _Flag:
    field: str
    read: Callable[[str], int | float | str]
    wants: str


def _count(word: str) -> int:
    return _at_least(1, int(word))


def _at_least(least: int, value: int) -> int:
    if value < least:
        raise ValueError
    return value


def _finite(word: str) -> float:
    if not math.isfinite(value := float(word)):
        raise ValueError
    return value


_WHOLE, _NUMBER = "a whole number above 0", "a number"
FLAGS = {
    "w": _Flag("width", _count, _WHOLE),
    "h": _Flag("height", _count, _WHOLE),
    "f": _Flag("frames", _count, _WHOLE),
    "d": _Flag("seed", lambda word: _at_least(0, int(word)), "a whole number from 0"),
    "s": _Flag("steps", _count, _WHOLE),
    "g": _Flag("guidance", _finite, _NUMBER),
    "l": _Flag("guidance", _finite, _NUMBER),  # the other trainers' name for it; they use --g for models Wan is not
    "fs": _Flag("shift", _finite, _NUMBER),
    "n": _Flag("negative", str, "a text"),
}
_LAST_FLAG = re.compile(rf"(?:^|.*\s)--({'|'.join(FLAGS)})(?:\s(.*))?$")


def parse_prompts(text: str) -> list[PromptLine]:
    """The prompts of a file. Known flags at the end of a line are settings; any other `--` belongs to the prompt.

    Raises SakugaError, with the line's number, for a known flag without its value, given twice, or without a prompt.
    """
    lines = enumerate(text.removeprefix("\ufeff").splitlines(), start=1)
    return [_line(number, line.strip()) for number, line in lines if line.strip() and not line.lstrip().startswith("#")]


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
        raise SakugaError(f"line {number}: --{name} ({flag.field}) takes {flag.wants}, not '{value}'") from None
