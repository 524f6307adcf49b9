"""A small stage for tests of the runner, importable by spawned processes. What it is asked for stands in asked.json."""

import errno
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sakuga.core.errors import SakugaError
from sakuga.core.project import Project
from sakuga.core.settings import Settings, setting
from sakuga.core.stage import Item, Rows, Scratch, Stage, inline


class SmallSettings(Settings):
    loud: bool = setting(False, "Write in capitals")
    note: str = setting("", "Changes nothing", affects=False)


def ask(project: Project, **items: Any) -> None:
    """What the stage is asked for: the text of each item, or {text, do, files, names, size}."""
    full = {key: item if isinstance(item, dict) else {"text": item} for key, item in items.items()}
    (project.folder / "asked.json").write_text(json.dumps(full))


def _items(project: Project, settings: SmallSettings) -> list[Item]:
    asked = json.loads((project.folder / "asked.json").read_text())
    return [
        Item(key, {k: item[k] for k in item if k != "do"}, {"key": key, **item}, item.get("size", 2))
        for key, item in asked.items()
    ]


def _work(facts: Mapping[str, Any], settings: SmallSettings, scratch: Scratch) -> Rows:
    """One row and one file for each of `files` (by default one, named as the item); `do` says what goes wrong."""
    scratch.report(1)
    what = facts.get("do", "")
    files = facts.get("files", [facts["key"]])
    text = facts["text"].upper() if settings.loud else facts["text"]
    for name in files:
        scratch.file(f"out/{name}.txt").write_text(text)
    if what == "sentence":
        raise SakugaError("this one cannot be; leave it out")
    if what == "bug":
        raise KeyError("colour")
    if what == "mute":
        raise OSError
    if what == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    if what == "die":
        os._exit(3)
    if what == "hoard":
        bytearray(2**31)
    if what == "loop":
        time.sleep(120)
    if what == "wait":
        Path(facts["pid_file"]).write_text(str(os.getpid()))
        time.sleep(120)
    row = {"kind": "text", "file": text, "bytes": len(text)}
    return {"cache_entry": [{"key": name, **row} for name in facts.get("names", files)]}


PARALLEL = Stage(
    "small", version=1, takes="text", gives=("cache_entry",), settings=SmallSettings, items=_items, work=_work
)
INLINE = Stage(
    "small", version=1, takes="text", gives=("cache_entry",), settings=SmallSettings, items=_items, work=_work,
    context=inline,
)  # fmt: skip
