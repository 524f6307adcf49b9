"""Makes the helpers beside the tests (`official` and the like) importable, and leaves out what needs the real film."""

import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

# A shell's background job starts with interrupts ignored, and hands that on to every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `film` run where SAKUGA_FILMS names the folder of the real film."""
    if os.environ.get("SAKUGA_FILMS"):
        return
    left_out = [item for item in items if item.get_closest_marker("film")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("film")]
