"""The gap between what is trained on and what is held out, by noise level."""

import math
import random

import pytest

from sakuga.core.expected import Drawn
from sakuga.core.gap import bands

LEVELS = [0.2, 0.4, 0.6, 0.8]
COUNT = 60


def trained(epochs: int, learnt_by_heart: float, above: float = 0.5) -> list[list[Drawn]]:
    """Losses 1 / t that fall by 6 % an epoch for all, and above a level by a share more of what was seen before."""
    rng = random.Random(3)
    hard = [rng.uniform(-0.3, 0.3) for _ in range(COUNT)]
    made = []
    for epoch in range(epochs):
        for item in rng.sample(range(COUNT), COUNT):
            t, step = rng.uniform(0.05, 0.95), len(made) + 1
            loss = general(step) / t * math.exp(hard[item] + rng.gauss(0, 0.05))
            made.append([Drawn(t, "b", f"i{item}", loss * (1 - learnt_by_heart * (t > above) * min(1, epoch)))])
    return made


def general(step: int) -> float:
    return 0.999**step


def held_out(steps: int, rise: float = 0.0) -> dict[float, dict[int, float]]:
    return {t: {s: general(s) / t * (1 + rise * (s == steps)) for s in range(0, steps + 1, 30)} for t in LEVELS}


def test_what_was_learnt_by_heart_is_told_where_it_was() -> None:
    found = bands(trained(6, 0.2), held_out(360), COUNT)
    assert [band.verdict for band in found] == ["learning", "learning", "memorising", "memorising"]
    assert [band.gap for band in found] == pytest.approx([0, 0, 0.22, 0.22], abs=0.09)
    assert found[3].training == pytest.approx(0.8 * found[3].validation, rel=0.09)
    assert (
        found[0].t_min == 0
        and found[-1].t_max == 1
        and found[0].t_max == found[1].t_min == pytest.approx(0.29, abs=0.01)
    )


def test_a_validation_that_rises_is_over_fitting() -> None:
    assert {band.verdict for band in bands(trained(6, 0.2, above=0.0), held_out(360, 0.2), COUNT)} == {"over-fitting"}
    assert {band.verdict for band in bands(trained(6, 0.0), held_out(360), COUNT)} == {"learning"}


def test_too_little_to_say() -> None:
    assert bands(trained(1, 0.0), held_out(60), COUNT) == []
    assert bands(trained(6, 0.0), {}, COUNT) == []
    few = bands([step for step in trained(6, 0.0) if step[0].t < 0.5], held_out(360), 25)
    assert few[-1].verdict == "too few draws" and math.isnan(few[-1].gap)
