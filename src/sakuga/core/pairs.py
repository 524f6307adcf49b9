"""The two LoRA files of a model of two experts, known by their names."""

import re
from pathlib import Path

# A pair's files end in -high and -low (ours), _high_noise and _low_noise (ai-toolkit), or _HIGH and _LOW.
_PAIR = re.compile(r"(?P<stem>.*[-_.])(?P<expert>high|low)(?P<tail>([-_.]?noise)?)", re.IGNORECASE)
_OTHER = {"high": "low", "low": "high", "High": "Low", "Low": "High", "HIGH": "LOW", "LOW": "HIGH"}


def pair_of(path: Path) -> dict[str, Path]:
    """The files of both experts, as far as they are there, of a file whose name tells its expert; else nothing."""
    found = _PAIR.fullmatch(path.stem)
    if found is None:
        return {}
    other = path.with_name(f"{found['stem']}{_OTHER.get(found['expert'], '')}{found['tail']}{path.suffix}")
    both = {found["expert"].lower(): path} | ({_OTHER[found["expert"].lower()]: other} if other.is_file() else {})
    return {name: both[name] for name in ("high", "low") if name in both}


def without_expert(path: Path) -> tuple[str, str]:
    """A file's name without the ending that tells its expert, and that ending with what parts it from the name."""
    found = _PAIR.fullmatch(path.stem)
    stem = found["stem"][:-1] if found else path.stem
    return stem, path.stem[len(stem) :]


def expert_of(path: Path) -> str:
    """The expert that a file's name tells; empty when it tells none."""
    found = _PAIR.fullmatch(path.stem)
    return found["expert"].lower() if found else ""
