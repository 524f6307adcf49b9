"""Over-fitting by noise level: how much further the loss fell on what was trained on than on what was held out.

A draw's loss over that of the validation at its level and time is how hard its item is, less what was learnt of it by heart.
In the first epoch nothing was: every sample is new to the model. What has gone since then is the gap. Between two
validations the loss is taken to fall along a line, so that the first epoch wants one near its end.
"""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, linear_regression, stdev
from typing import Literal

from .expected import LEAST, Drawn, drawn, logit
from .project import Project

FEWEST = 4  # draws of a band in an epoch from which something can be said
SURE = 2.0  # standard errors that a gap is wider than
SMALL = 0.05  # a gap below 5 % is nothing to act on
RISEN = 0.02  # validation so far above its least is rising

Verdict = Literal["too few draws", "learning", "memorising", "over-fitting"]
Curve = Sequence[tuple[float, float]]  # x rising, and y


@dataclass(frozen=True)
class Band:
    """Noise levels from `t_min` to `t_max`. `training` and `validation` are the loss now over that in the first epoch, `gap` is
    log(validation / training) with its standard error.

    memorising: the gap is sure and not small; over-fitting: the validation has risen from its least, and the gap is open.
    """

    t_min: float
    t_max: float
    training: float
    validation: float
    gap: float
    error: float
    verdict: Verdict


def gaps(project: Project, run_expert: int, step: int, epoch: int) -> list[Band]:
    """The bands of an expert's training after `step`, one around each level of the validation; `epoch` is the draws in one.

    Empty where nothing is held out, and before the second epoch is through.
    """
    query = "SELECT step, t, loss FROM validation WHERE run_expert = ? AND step <= ? ORDER BY t, step"
    validation: dict[float, dict[int, float]] = defaultdict(dict)
    for row in project.rows(query, run_expert, step):
        validation[row["t"]][row["step"]] = row["loss"]
    return bands(drawn(project, run_expert, step), validation, epoch)


def bands(steps: Sequence[Sequence[Drawn]], validation: Mapping[float, Mapping[int, float]], epoch: int) -> list[Band]:
    """As `gaps`, of the draws of each step (from 1) and of the validation by level and step, the same steps at each level."""
    draws = [(number, draw) for number, step in enumerate(steps, start=1) for draw in step]
    if len(draws) < 2 * epoch or not validation:
        return []
    curves = [(logit(t), _over_time(known)) for t, known in sorted(validation.items())]
    excess = [
        math.log(max(draw.loss, LEAST)) - _at([(x, _at(curve, number)) for x, curve in curves], logit(draw.t))
        for number, draw in draws
    ]
    own = _difficulty([draw.item for _, draw in draws], excess, epoch)
    plain = [
        (logit(draw.t), value - own[draw.item], number) for (number, draw), value in zip(draws, excess, strict=True)
    ]
    middles = [(a + b) / 2 for (a, _), (b, _) in pairwise(curves)]
    found = []
    for (low, high), (_, curve) in zip(pairwise([-math.inf, *middles, math.inf]), curves, strict=True):
        values = _level_out([(x, value) if low < x <= high else None for x, value, _ in plain])
        first, last = ([value for value in part if value is not None] for part in (values[:epoch], values[-epoch:]))
        began = fmean(_at(curve, time) for _, _, time in plain[:epoch])
        found.append(_band(low, high, first, last, curve, began))
    return found


def _band(low: float, high: float, first: Sequence[float], last: Sequence[float], curve: Curve, began: float) -> Band:
    """`first` and `last`: what draws of the first and the last epoch have over the validation, in logarithms."""
    now = curve[-1][1]
    validation = math.exp(now - began)
    if min(len(first), len(last)) < FEWEST:
        return Band(_level(low), _level(high), math.nan, validation, math.nan, math.nan, "too few draws")
    gap = fmean(first) - fmean(last)
    error = math.sqrt(stdev(first) ** 2 / len(first) + stdev(last) ** 2 / len(last))
    sure = gap > max(SMALL, SURE * error)
    risen = now - min(y for _, y in curve) > RISEN
    verdict: Verdict = "over-fitting" if risen and gap > 0 else "memorising" if sure else "learning"
    return Band(_level(low), _level(high), validation * math.exp(-gap), validation, gap, error, verdict)


def _level_out(draws: Sequence[tuple[float, float] | None]) -> list[float | None]:
    """Values of a band without their slope over its width, which the levels of the validation are too few to follow."""
    inside = [draw for draw in draws if draw is not None]
    if len({x for x, _ in inside}) < FEWEST:
        return [None if draw is None else draw[1] for draw in draws]
    xs, values = zip(*inside, strict=True)
    slope, middle = linear_regression(xs, values).slope, fmean(xs)
    return [None if draw is None else draw[1] - slope * (draw[0] - middle) for draw in draws]


def _difficulty(items: Sequence[str], excess: Sequence[float], epoch: int) -> dict[str, float]:
    """How much harder than others each item is at any time: the mean of its excess over that of its epoch."""
    values: dict[str, list[float]] = defaultdict(list)
    for start in range(0, len(items), epoch):
        part = excess[start : start + epoch]
        middle = fmean(part)
        for item, value in zip(items[start : start + epoch], part, strict=True):
            values[item].append(value - middle)
    return {item: fmean(each) for item, each in values.items()}


def _over_time(known: Mapping[int, float]) -> Curve:
    """log loss over steps."""
    return [(step, math.log(max(loss, LEAST))) for step, loss in sorted(known.items())]


def _at(curve: Curve, x: float) -> float:
    """A curve between its points by straight lines, and level beyond its ends."""
    place = bisect_right(curve, x, key=lambda point: point[0])
    if place in (0, len(curve)):
        return curve[min(place, len(curve) - 1)][1]
    (left, low), (right, high) = curve[place - 1], curve[place]
    return low + (high - low) * (x - left) / (right - left)


def _level(x: float) -> float:
    """The noise level of a logit."""
    return 0.0 if x == -math.inf else 1 / (1 + math.exp(-x))
