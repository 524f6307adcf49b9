"""The command line: parses, calls `sakuga.api`, prints. Faults a person can mend are one sentence and exit code 1."""

import os
import sqlite3
import sys

from ..core.errors import SakugaError

FAULT, INTERRUPTED = 1, 130


def main(arguments: list[str] | None = None) -> None:
    """Run one command and leave with its exit code."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    from pydantic import ValidationError

    from .commands import app

    # small processes side by side: threads that spin for work they do not get slow each other down
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except SakugaError as error:
        return _fault(str(error))
    except ValidationError as error:
        return _fault(_explain(error))
    except app_errors() as error:
        return _fault(str(error))
    except (OSError, sqlite3.Error) as error:
        return _fault(f"{error}; look at the disk and its rights, then run the same command again")
    except KeyboardInterrupt:
        return _fault("stopped; the same command goes on where it stopped", INTERRUPTED)
    return 0


def app_errors() -> type[Exception]:
    """What cyclopts raises for a command line it cannot read."""
    from cyclopts import CycloptsError

    return CycloptsError


def _explain(error: Exception) -> str:
    from pydantic import ValidationError

    from ..core.settings import ProjectSettings, explain

    assert isinstance(error, ValidationError)
    return explain(error, ProjectSettings)


def _fault(message: str, code: int = FAULT) -> int:
    print(f"sakuga: {message}", file=sys.stderr)
    return code
