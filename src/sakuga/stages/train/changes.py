"""What changed in the dataset since a run last went on: told, for such a run is no longer what it would have been."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.dataset import Encoded
from ...core.files import write_atomic

FILE = "samples.json"
MOST = 5  # names of items that are told
OF_SECTION = ("repeats", "caption_dropout", "batch")


def changes_since(folder: Path, samples: Sequence[Encoded]) -> list[str]:
    """A sentence for each kind of change since the run in `folder` last noted its samples; notes them as they are now."""
    now = {s.key: _noted(s) for s in samples}
    path = folder / FILE
    try:
        before: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        before = None
    if before != now:
        write_atomic(path, json.dumps(now, ensure_ascii=False, indent=0, sort_keys=True))
    return _told(before, now) if isinstance(before, dict) else []


def _noted(sample: Encoded) -> dict[str, Any]:
    kept = ("item", "section", "text", "latent", "held_out", "weight", "mask", *OF_SECTION)
    return {name: getattr(sample, name) for name in kept}


def _told(before: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]]) -> list[str]:
    both = [(before[key], now[key]) for key in now.keys() & before.keys()]
    words = {new["item"] for old, new in both if old.get("text") != new["text"]}
    pictures = {new["item"] for old, new in both if old.get("latent") != new["latent"]}
    masks = {new["item"] for old, new in both if old.get("mask", "") != new["mask"]}
    sections = {f"{name} of {new['section']}" for old, new in both for name in OF_SECTION if old.get(name) != new[name]}
    heavier, weights = _weights(both)
    sections |= heavier
    added = {now[key]["item"] for key in now.keys() - before.keys()}
    gone = {before[key].get("item", key) for key in before.keys() - now.keys()}
    held = {new["item"] for old, new in both if old.get("held_out") != new["held_out"]}
    kinds = (
        ("other captions", words), ("other pictures or encoders", pictures), ("other masks", masks),
        ("other weights", weights), ("new samples", added),
        ("samples that are gone", gone), ("held out or no longer", held), ("other settings", sections),
    )  # fmt: skip
    return [f"since it stopped, {what}: {_few(names)}" for what, names in kinds if names]


def _weights(both: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> tuple[set[str], set[str]]:
    """Sections of which all samples have another weight, and the items that have elsewhere."""
    sections = {new["section"] for _, new in both}
    same = {new["section"] for old, new in both if old.get("weight") == new["weight"]}
    changed = {new["item"] for old, new in both if new["section"] in same and old.get("weight") != new["weight"]}
    return {f"weight of {section}" for section in sections - same}, changed


def _few(names: set[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - MOST} more" if len(listed) > MOST else ""
    return ", ".join(listed[:MOST]) + more
