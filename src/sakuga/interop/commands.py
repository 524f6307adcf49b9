"""Command lines as people keep them: .cmd, .bat, .ps1 and .sh files with several commands, continued over many lines."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

_CONTINUED = re.compile(r"(?:^|\s)[\\`^]$|\^$")  # a path may end in a backslash, so one needs a space before it
_COMMENT = re.compile(r"#|::|@?rem(?:\s|$)", re.IGNORECASE)
_WORD = re.compile(r"""(?:"[^"]*"|'[^']*'|[^\s"'])+""")
_ASSIGNED = re.compile(r"""(?:@?set\s+"?|export\s+|\$env:|\$)?([A-Za-z_]\w*)\s*=\s*(.*)$""", re.IGNORECASE)
_VARIABLE = re.compile(r"%(\w+)%|\$\{(\w+)\}|\$(?:env:)?(\w+)")
_BETWEEN = {"&&", ";", "&", "|", "||"}
SCRIPT = re.compile(r"(?:^|[\\/.])(\w*(?:train|cache|finetune)\w*?)(?:\.py)?$")
LAUNCHERS = {"accelerate", "python", "python3", "py", "uv", "torchrun", "deepspeed", "poetry", "pipenv", "conda"}


@dataclass(frozen=True)
class Command:
    """One call of a script: its name without folder and suffix, what stood before it, and its arguments."""

    script: str
    before: tuple[str, ...]
    arguments: tuple[str, ...]


def commands_in(text: str) -> tuple[list[Command], list[str]]:
    """The calls of scripts in a file, and the lines that are none."""
    found: list[Command] = []
    others: list[str] = []
    known: dict[str, str] = {}
    for line in _joined(text):
        assigned = _ASSIGNED.match(line)
        if assigned and not line.startswith("-"):
            known[assigned[1].lower()] = _bare(assigned[2].rstrip('";'))
            continue
        for words in _split([_bare(word) for word in _words(_filled(line, known))]):
            command = command_of(words)
            if command is not None:
                found.append(command)
            else:
                others.append(" ".join(words))
    return found, others


def command_of(words: list[str]) -> Command | None:
    """The call that words make, or None where they call no trainer's script."""
    launched = bool(words) and PurePosixPath(words[0].replace("\\", "/")).stem.lower() in LAUNCHERS
    for place, word in enumerate(words):
        if word.startswith("-"):
            continue
        script = SCRIPT.search(word)
        if script and (word.endswith(".py") or (launched and "-m" in words[:place])):
            return Command(script[1], tuple(words[:place]), tuple(words[place + 1 :]))
    return None


def _joined(text: str) -> list[str]:
    """Whole commands: lines that are continued, or that begin with an option, are one. Comments are left out."""
    lines: list[str] = []
    going_on = False
    for raw in text.removeprefix("\ufeff").splitlines():
        line = raw.strip()
        if not line or _COMMENT.match(line):
            going_on = going_on and bool(line)
            continue
        more = _CONTINUED.search(line)
        bare = line[: more.start()].rstrip() if more else line
        if lines and (going_on or line.startswith("--")):
            lines[-1] = f"{lines[-1]} {bare}".strip()
        else:
            lines.append(bare)
        going_on = bool(more)
    return lines


def _words(line: str) -> list[str]:
    """The words of a line, quotes kept, up to a comment."""
    found: list[str] = []
    for word in _WORD.findall(line):
        if word.startswith("#"):
            break
        found.append(word)
    return found


def _split(words: list[str]) -> list[list[str]]:
    commands: list[list[str]] = [[]]
    for word in words:
        if word in _BETWEEN:
            commands.append([])
        else:
            commands[-1].append(word)
    return [command for command in commands if command]


def _bare(word: str) -> str:
    return re.sub(r'"([^"]*)"' + r"|'([^']*)'", lambda m: m[1] if m[1] is not None else m[2], word)


def _filled(line: str, known: dict[str, str]) -> str:
    """Variables that were set above; others stay as they stand."""

    def value(match: re.Match[str]) -> str:
        return known.get(next(name for name in match.groups() if name).lower(), match[0])

    return _VARIABLE.sub(value, line)
