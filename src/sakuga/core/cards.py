"""Graphics cards as plans know them: memory, and the rate of dense bf16 matrices with sums in fp32, as their maker states.

What is not in the table can still train; only its hours are not told.
"""

import shutil
import subprocess
from dataclasses import dataclass

from .errors import SakugaError, nearest

# Of that rate, what published trainings of Wan reach with all blocks recomputed: 38 % on an H100 at 18,900 tokens, 40 % on an
# RTX 3090 at 3,744.
REACHED = 0.4
ASK_SECONDS = 5.0


@dataclass(frozen=True)
class Card:
    """A card by the name people use, its memory (GB, 10^9) and its rate (10^12 floating-point operations a second)."""

    name: str
    gigabytes: float
    teraflops: float


CARDS = tuple(
    Card(*row)
    for row in (
        ("RTX 3060", 12.9, 25.4), ("RTX 3080", 10.7, 59.5), ("RTX 3080 Ti", 12.9, 68.0), ("RTX 3090", 25.8, 71.0),
        ("RTX 3090 Ti", 25.8, 80.0), ("RTX 4060 Ti", 17.2, 44.1), ("RTX 4070", 12.9, 58.3), ("RTX 4070 Ti", 12.9, 80.2),
        ("RTX 4070 Ti SUPER", 17.2, 88.2), ("RTX 4080", 17.2, 97.5), ("RTX 4080 SUPER", 17.2, 104.4),
        ("RTX 4090", 25.8, 165.2), ("RTX 5070", 12.9, 61.7), ("RTX 5070 Ti", 17.2, 87.9), ("RTX 5080", 17.2, 112.6),
        ("RTX 5090", 34.2, 209.5), ("RTX A6000", 51.5, 154.8), ("RTX 6000 Ada", 51.5, 364.2), ("L40S", 51.5, 362.1),
        ("A100", 85.9, 312.0), ("H100", 85.9, 989.4), ("H200", 151.4, 989.4), ("B200", 193.3, 2250.0),
    )
)  # fmt: skip


def card(name: str) -> Card:
    """The card of that name, in any spelling of case, spaces and hyphens. Raises SakugaError for one that is not known."""
    for known in CARDS:
        if _plain(known.name) == _plain(name):
            return known
    names = [known.name for known in CARDS]
    raise SakugaError(f"'{name}' is no card that plans know{nearest(name, names)} (known: {', '.join(names)})")


def card_here() -> Card | None:
    """The first NVIDIA card of this machine, where the table has it: by the driver, so that torch is not needed."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=name", "--format=csv,noheader"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=ASK_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return named(told.partition("\n")[0])


def named(driver_name: str) -> Card | None:
    """The card that a driver calls so ("NVIDIA GeForce RTX 4090"): the longest known name that is part of it."""
    parts = [known for known in CARDS if _plain(known.name) in _plain(driver_name)]
    return max(parts, key=lambda known: len(known.name), default=None)


def _plain(name: str) -> str:
    return name.lower().replace(" ", "").replace("-", "").replace("_", "")
