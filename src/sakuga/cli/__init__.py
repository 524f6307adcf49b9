"""The command line: parses, calls `sakuga.api`, prints. Faults a person can mend are one sentence and exit code 1."""

import os
import sqlite3
import sys
from typing import TYPE_CHECKING

from ..core.errors import SakugaError

if TYPE_CHECKING:
    from cyclopts import CycloptsError

FAULT, INTERRUPTED = 1, 130


def main(arguments: list[str] | None = None) -> None:
    """Run one command and leave with its exit code."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    from cyclopts import CycloptsError

    from .commands import app

    # small processes side by side: threads that spin for work they do not get slow each other down
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except SakugaError as error:
        return _fault(str(error))
    except CycloptsError as error:
        return _fault(_sentence(error))
    except BrokenPipeError:
        # who read our output has had enough (`| head`); nothing more is to be written at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, sqlite3.Error) as error:
        return _fault(f"{error}; look at the disk and its rights, then run the same command again")
    except KeyboardInterrupt:
        return _fault("stopped; the same command goes on where it stopped", INTERRUPTED)
    return 0


def _sentence(error: "CycloptsError") -> str:
    """Why a command line cannot be read, in one line."""
    from cyclopts.exceptions import UnusedCliTokensError
    from pydantic import ValidationError

    if isinstance(error.__cause__, ValidationError):
        return _bad_value(error.__cause__)
    if isinstance(error, UnusedCliTokensError):
        command = " ".join(["sakuga", *(error.command_chain or ())])
        return f"{' '.join(error.unused_tokens or ())!r} is more than `{command}` takes; `{command} --help` shows its options"
    return " ".join(str(error).split())


def _bad_value(error: "ValueError") -> str:
    """An option whose value its setting does not take."""
    from pydantic import ValidationError

    from ..core.settings import ProjectSettings, explain

    assert isinstance(error, ValidationError)
    told = explain(error, ProjectSettings)
    name, equals, rest = told.partition(" = ")
    return told if not equals else f"--{name.replace('_', '-')} {rest}"


def _fault(message: str, code: int = FAULT) -> int:
    print(f"sakuga: {message}", file=sys.stderr)
    return code
