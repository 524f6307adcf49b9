"""Makes the helpers beside the tests importable, and leaves out what needs the real film or other people's recipes."""

import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

# A shell's background job starts with interrupts ignored, and hands that on to every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `film` run where SAKUGA_FILMS names the folder of the real film; so `recipes` and SAKUGA_RECIPES."""
    named = {"film": "SAKUGA_FILMS", "recipes": "SAKUGA_RECIPES"}
    marks = [mark for mark, variable in named.items() if not os.environ.get(variable)]
    left_out = [item for item in items if any(item.get_closest_marker(mark) for mark in marks)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not any(item.get_closest_marker(mark) for mark in marks)]
