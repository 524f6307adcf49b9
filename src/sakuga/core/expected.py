"""What loss is to be expected of a draw, from those before it: by its noise level, its bucket and its item.

The loss of a step says more about which noise levels and items were drawn than about what was learnt. Divided by what was
to be expected of its draws it says what was learnt, step by step and epoch by epoch alike.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from .project import Project

SPACING, REACH = 0.5, 7.0  # of the curve's nodes, in the logit of the noise level: t from 0.0009 to 0.9991
NODES = round(2 * REACH / SPACING) + 1
DOUBT = 2.0  # draws that a node begins with, all as the curve before training has it: few draws move it little
OWN_DOUBT = 0.5  # likewise of a bucket and an item, which differ more than draws of one do
MEMORY = 100.0  # draws that count at a node: the curve changes its form while the model learns
LEVEL_MEMORY = 200.0  # draws over which the level of the loss is followed
LEAST = 1e-12  # of a loss, for its logarithm


class Drawn(NamedTuple):
    """One draw of a step, and its loss as mean squared error."""

    t: float
    bucket: str
    item: str
    loss: float


@dataclass
class Factors:
    """By name, how far the logarithm of the loss lies from what the noise level says; 0 on the mean over all draws."""

    values: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    _sum: float = 0.0  # of values, each as often as it was drawn
    _drawn: float = 0.0

    def of(self, name: str) -> float:
        return self.values.get(name, 0.0) - (self._sum / self._drawn if self._drawn else 0.0)

    def learn(self, name: str, excess: float) -> None:
        value, count = self.values.get(name, 0.0), self.counts.get(name, 0.0)
        learnt = value + excess / (count + 1 + OWN_DOUBT)
        self._sum += (count + 1) * learnt - count * value
        self._drawn += 1
        self.values[name], self.counts[name] = learnt, count + 1


class Expected:
    """log e = before(t) + curve(t) + factor(bucket) + factor(item), learnt draw by draw in constant time.

    `before` are losses by noise level before training, where they were measured: the form that the curve begins with. The
    curve is piecewise linear in logit(t). Curve and factors are 0 on the mean over draws, so that they hold the form alone
    and how high the loss stands remains in the ratio.
    """

    def __init__(self, before: Mapping[float, float] = {}) -> None:
        self._known = sorted((logit(t), math.log(max(loss, LEAST))) for t, loss in before.items())
        self.scale = sum(before.values()) / len(before) if before else 1.0  # turns a ratio into a loss
        self._curve, self._counts = [0.0] * NODES, [0.0] * NODES
        self._middle = 0.0
        self._level, self._seen = 0.0, 0.0
        self.buckets, self.items = Factors(), Factors()

    def of(self, t: float, bucket: str, item: str | None = None) -> float:
        """The loss that is expected, up to how high all losses stand; of any item where none is named."""
        return math.exp(self._log(t, bucket, item))

    def step(self, draws: Sequence[Drawn]) -> float:
        """The corrected loss of a step: scale times the mean of loss / e by what was known before it; then learns from it."""
        ratios = [draw.loss / self.of(draw.t, draw.bucket, draw.item) for draw in draws]
        for draw in draws:
            self.learn(draw)
        return self.scale * sum(ratios) / len(ratios)

    def learn(self, draw: Drawn) -> float:
        """Takes a draw in. Returns how far the logarithm of its loss is from what is expected of its level and bucket."""
        seen = math.log(max(draw.loss, LEAST))
        excess = seen - self._log(draw.t, draw.bucket, draw.item) - self._level
        of_any = excess + self.items.of(draw.item)
        self._seen = min(self._seen + 1, LEVEL_MEMORY)
        self._level += excess / self._seen
        for node, share in _nodes(draw.t):
            self._counts[node] = min(self._counts[node] + share, MEMORY)
            self._curve[node] += share * excess / (self._counts[node] + DOUBT)
        total = sum(self._counts)
        self._middle = sum(n * value for n, value in zip(self._counts, self._curve, strict=True)) / total
        self.buckets.learn(draw.bucket, excess)
        self.items.learn(draw.item, excess)
        return of_any

    def _log(self, t: float, bucket: str, item: str | None) -> float:
        curve = sum(share * self._curve[node] for node, share in _nodes(t)) - self._middle
        own = 0.0 if item is None else self.items.of(item)
        return self._before(t) + curve + self.buckets.of(bucket) + own

    def _before(self, t: float) -> float:
        """The logarithm of the loss before training, linear in logit(t) between the levels that were measured."""
        if not self._known:
            return 0.0
        x, known = logit(t), self._known
        place = sum(at <= x for at, _ in known)
        if place in (0, len(known)):
            return known[min(place, len(known) - 1)][1]
        (left, low), (right, high) = known[place - 1], known[place]
        return low + (high - low) * (x - left) / (right - left)


def bucket_name(width: int, height: int, frames: int) -> str:
    return f"{width}x{height}x{frames}"


DRAWS = """
SELECT step, t, item_loss.item, loss, width, height, frames FROM item_loss LEFT JOIN sample ON sample.key = sample
WHERE run_expert = ? AND step <= ? ORDER BY step, part
"""


def drawn(project: Project, run_expert: int, last_step: int) -> list[list[Drawn]]:
    """The draws of each step of an expert's training up to `last_step`, as they were noted."""
    rows = project.rows(DRAWS, run_expert, last_step)
    return [
        [Drawn(row["t"], _bucket(row), row["item"], row["loss"]) for row in step]
        for _, step in groupby(rows, key=lambda row: row["step"])
    ]


def _bucket(row: Mapping[str, Any]) -> str:
    """Of a sample that is no longer planned nothing is known but that it is none of the others."""
    return "" if row["width"] is None else bucket_name(row["width"], row["height"], row["frames"])


def expected_of(project: Project, run_expert: int, last_step: int) -> Expected:
    """What an expert's training expects after `last_step`: as if it had run on from its beginning."""
    expected = Expected(before_training(project, run_expert))
    for draws in drawn(project, run_expert, last_step):
        expected.step(draws)
    return expected


def before_training(project: Project, run_expert: int) -> dict[float, float]:
    """The validation before the first step, by noise level; nothing where nothing is held out."""
    rows = project.rows("SELECT t, loss FROM validation WHERE run_expert = ? AND step = 0 ORDER BY t", run_expert)
    return {row["t"]: row["loss"] for row in rows}


def logit(t: float) -> float:
    """log(t / (1 - t)), finite at the ends."""
    t = min(max(t, LEAST), 1 - 1e-9)
    return math.log(t / (1 - t))


def _nodes(t: float) -> tuple[tuple[int, float], tuple[int, float]]:
    """The two nodes of the curve that a level lies between, each with its share of it."""
    place = (min(max(logit(t), -REACH), REACH) + REACH) / SPACING
    node = min(int(place), NODES - 2)
    return (node, node + 1 - place), (node + 1, place - node)
