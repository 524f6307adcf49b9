"""What a result was measured on: machine, versions, commit. And where results go."""

import json
import os
import platform
import subprocess
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def describe() -> dict[str, Any]:
    """Processor, cores, card, versions and commit."""
    import torch

    return {
        "date": date.today().isoformat(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "card": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        **{name: _version(name) for name in ("torch", "diffusers", "av", "sakuga")},
        "commit": _commit(),
    }


def _version(name: str) -> str | None:
    """None for what is not installed: a card may be in a machine that has little else."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    try:
        found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return found.stdout.strip() or None


def write(name: str, figures: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Put figures beside what they were measured on, into benchmarks/results or another folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"machine": describe(), **figures}, indent=1) + "\n", encoding="utf-8")
    return path
