"""The reference pages, made from the commands and settings themselves so that they cannot be out of date."""

import inspect
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

from cyclopts import App, Parameter
from pydantic import BaseModel

from ..core.settings import describe
from .commands import app

_NOTE = "Written by `python scripts/reference.py`; change the code, not this page."


def commands_page() -> str:
    """Every command with what it does and its options."""
    parts = ["# Commands", "", _NOTE, "", "`sakuga COMMAND --help` says the same in the terminal.", ""]
    for name, function in _commands(app):
        summary, _, rest = inspect.cleandoc(function.__doc__ or "").partition("\n")
        described, _, arguments = rest.partition("Args:")
        parts += [f"## sakuga {name}", "", summary, ""]
        parts += [described.strip(), ""] if described.strip() else []
        named = [line.strip().partition(":") for line in arguments.split("\n") if ":" in line]
        lines = [f"- `{argument}`:{words}" for argument, _, words in named]
        lines += list(_options(function))
        parts += [*lines, ""] if lines else []
    return "\n".join(parts).rstrip() + "\n"


def _commands(program: App, before: str = "") -> Iterator[tuple[str, Any]]:
    """The name and function of every command, those of groups of commands under both names."""
    for name in sorted(n for n in program if not n.startswith("-")):
        if program[name].default_command is None:
            yield from _commands(program[name], f"{before}{name} ")
        else:
            yield before + name, program[name].default_command


def _options(function: Any) -> Iterator[str]:
    """A line for each option that comes from settings, or from what all commands share."""
    for hint in get_type_hints(function, include_extras=True).values():
        for kind in (hint, *get_args(hint), *(inner for part in get_args(hint) for inner in get_args(part))):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                for name, field in kind.model_fields.items():
                    yield f"- `--{name.replace('_', '-')}`: {field.description}"
            elif is_dataclass(kind) and isinstance(kind, type):
                for name, parameter in _shared(kind):
                    yield f"- `--{name}`: {parameter.help}"


def _shared(kind: type) -> Iterator[tuple[str, Parameter]]:
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        found = [p for p in get_args(hints[field.name]) if isinstance(p, Parameter)]
        if found:
            yield field.name, found[0]


def settings_page() -> str:
    """Every setting with its default."""
    parts = ["# Settings", "", _NOTE, "", "All of `sakuga.toml`; `NAME` is the name you give a section.", ""]
    parts += ["| setting | default | what it does |", "|---|---|---|"]
    for row in describe():
        default = "" if row["default"] is None else f"`{_short(row['default'])}`"
        parts.append(f"| `{row['key']}` | {default} | {row['help']} |")
    return "\n".join(parts) + "\n"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
