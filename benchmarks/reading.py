"""The work of mutate.py, in a module of its own: worker processes import it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sakuga.core.media import film as media
from sakuga.core.media.picture import PICTURE_SUFFIXES, read_picture
from sakuga.core.settings import Settings
from sakuga.core.stage import Rows, Scratch


def read(facts: Mapping[str, Any], settings: Settings, scratch: Scratch) -> Rows:
    """What add, shots, export and check do with a file: probe it, decode all of it, decode a part of it by seeking."""
    path = Path(facts["path"])
    if path.suffix in PICTURE_SUFFIXES:
        read_picture(path)
        return {}
    media.probe(path)
    times = media.scan_times(path, on_error=lambda message: None)
    for _ in media.frames(path, range(len(times) // 2, len(times)), size=(64, 48), times=times):
        pass
    return {}
