"""The exact time of every frame of a film, as the store keeps it: found once by decoding, used by every later stage."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import lcm

from .errors import SakugaError
from .media.timing import frame_times
from .project import Project


@dataclass(frozen=True)
class Timeline:
    """`stamps` are the container's own timestamps (s), `rate` the constant rate they mean, or None where it varies."""

    stamps: Sequence[Fraction]
    rate: Fraction | None

    @cached_property
    def shown(self) -> Sequence[Fraction]:
        """When each frame is first shown (s), from 0: exact for a constant rate, as stamped for a variable one."""
        return frame_times(self.stamps, self.rate)


def pack(stamps: Sequence[Fraction]) -> bytes:
    """Timestamps as a compact blob: a common denominator, then the steps from one to the next."""
    base = lcm(*(s.denominator for s in stamps)) if stamps else 1
    ticks = [s.numerator * (base // s.denominator) for s in stamps]
    steps = [b - a for a, b in zip([0, *ticks], ticks, strict=False)]
    return zlib.compress(json.dumps([base, steps], separators=(",", ":")).encode())


def unpack(blob: bytes) -> list[Fraction]:
    """The inverse of `pack`."""
    base, steps = json.loads(zlib.decompress(blob))
    stamps, tick = [], 0
    for step in steps:
        tick += step
        stamps.append(Fraction(tick, base))
    return stamps


def of_film(project: Project, film: str) -> Timeline:
    """The timeline that the shots stage found for a film."""
    found = project.rows("SELECT times, rate FROM timeline WHERE film = ?", film)
    if not found:
        raise SakugaError(f"the frames of {film} were not counted yet; run `sakuga shots`")
    rate = found[0]["rate"]
    return Timeline(unpack(found[0]["times"]), Fraction(rate) if rate else None)
