"""Validation: the loss on items that training never sees, at fixed noise levels with fixed noise.

Only the weights change between two validations, so the curve shows learning and over-fitting, and no luck.
"""

from collections.abc import Callable, Sequence

import torch

from ...core.dataset import Encoded
from ...core.family import Expert, Member
from ...core.noise import time_at
from ...core.settings import TrainSettings
from .data import Draw, together

LEVELS = 8  # noise levels, at the middles of equal shares of what training draws
MOST_SAMPLES = 16


def validation_draws(
    samples: Sequence[Encoded], settings: TrainSettings, expert: Expert, member: Member
) -> dict[float, list[Draw]]:
    """Noise level -> what is predicted at it. Held-out samples, evenly chosen when there are many."""
    held = [s for s in samples if s.held_out]
    count = min(len(held), MOST_SAMPLES)
    chosen = [held[k * len(held) // count] for k in range(count)]
    levels = levels_at(settings, expert, member, LEVELS) if chosen else []
    return {round(t, 6): [Draw(s, t, ("validation", s.key, n)) for s in chosen] for n, t in enumerate(levels)}


def levels_at(settings: TrainSettings, expert: Expert, member: Member, count: int) -> list[float]:
    """Noise levels at the middles of `count` equal shares of what training draws; one shift for samples of all sizes."""
    mine = settings.of(expert)
    shift = mine.shift if isinstance(mine.shift, float) else member.shift
    how = mine.time, shift, mine.time_scale, mine.time_mean, *settings.levels(expert)
    return [time_at((n + 0.5) / count, *how) for n in range(count)]


@torch.no_grad()
def validate(
    losses_of: Callable[[list[Draw]], torch.Tensor],
    draws: dict[float, list[Draw]],
    batch: int,
    told: Callable[[str], object],
) -> dict[float, float]:
    """The mean loss at each noise level; `told` hears how far it is, for it takes as long as many steps."""
    found: dict[float, float] = {}
    for t, at in draws.items():
        told(f"validating, {len(found)} of {len(draws)} noise levels")
        losses = [losses_of([at[place] for place in places]) for places in together(at, batch)]
        found[t] = float(torch.cat(losses).mean())
    return found
