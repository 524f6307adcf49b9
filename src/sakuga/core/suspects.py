"""Items whose loss is higher than it should be: a wrong caption, a hidden cut, a damaged clip.

Told from the draws of a training, each against what is expected at its noise level and bucket; or, which sees far more,
from a test in which the model predicts an item with its own caption and with those of others at the same noise.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, variance

from . import captions
from .errors import SakugaError, nearest
from .expected import Expected, before_training, drawn
from .project import Project

FEWEST = 4  # draws under which nobody is accused
ONE_SIDED = 1.645  # standard errors below the mean: the excess is larger with a probability of 95 %
FENCE = 3.0  # deviations of items from each other beyond which an item stands out
MAD = 1.4826  # times the median absolute deviation is a normal variable's standard deviation
BOTH_WAYS = 2  # passes over a training's draws: the first learns what is to be expected, the second compares with it


@dataclass(frozen=True)
class Suspect:
    """An item, by how much its loss exceeds what is expected: 0.2 is 20 %. `low` is the lower end of 95 % confidence."""

    item: str
    excess: float
    low: float
    error: float  # standard error of the excess
    draws: int
    stands_out: bool  # far from how items differ anyway
    caption: str


def suspects_of_training(project: Project, run: str | None = None, expert: str | None = None) -> list[Suspect]:
    """Every item of a run's training draws (the last run by default), the most suspicious first."""
    found: dict[str, list[float]] = {}
    for row in _experts(project, run, expert):
        expected, steps = Expected(before_training(project, row)), drawn(project, row, 2**62)
        for _ in range(BOTH_WAYS):
            seen = [(draw.item, expected.learn(draw)) for draws in steps for draw in draws]
        for item, excess in seen:
            found.setdefault(item, []).append(excess)
    return ranked(found, _words(project))


def suspects_of_captions(project: Project, expert: str | None = None) -> list[Suspect]:
    """Every item whose caption was tested as it stands now, the most suspicious first; nothing where none was.

    What is expected at a level is what captions do for other items there: the median of log (own / others).
    """
    words = _words(project)
    rows = project.rows(
        "SELECT item, expert, t, caption, own, others, level FROM caption_test ORDER BY item, expert, level"
    )
    rows = [row for row in rows if words.get(row["item"]) == row["caption"] and expert in (None, row["expert"])]
    levels: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        levels.setdefault((row["expert"], row["level"]), []).append(math.log(row["own"] / row["others"]))
    usual = {level: median(values) for level, values in levels.items()}
    found: dict[str, list[float]] = {}
    for row in rows:
        excess = math.log(row["own"] / row["others"]) - usual[row["expert"], row["level"]]
        found.setdefault(row["item"], []).append(excess)
    return ranked(found, words)


def ranked(found: Mapping[str, Sequence[float]], words: Mapping[str, str]) -> list[Suspect]:
    """Items by the lower end of the confidence interval of their mean excess (in logarithms of the loss).

    The scatter of draws is pooled over items, since each has few; items with fewer than FEWEST draws come last.
    """
    if not found:
        return []
    means = {item: fmean(values) for item, values in found.items()}
    judged = [means[item] for item, values in found.items() if len(values) >= FEWEST]
    middle = median(judged or means.values())
    between = MAD * median(abs(mean - middle) for mean in judged) if judged else math.inf
    scatter = _pooled(found.values())
    listed = []
    for item, values in found.items():
        error = scatter / math.sqrt(len(values))
        excess, low = means[item] - middle, means[item] - middle - ONE_SIDED * error
        enough = len(values) >= FEWEST
        stands_out = enough and low > 0 and excess > FENCE * between
        growth = math.exp(excess)
        listed.append(
            Suspect(item, growth - 1, math.exp(low) - 1, growth * error, len(values), stands_out, words.get(item, ""))
        )
    return sorted(listed, key=lambda one: (one.draws < FEWEST, -one.low, one.item))


def _pooled(groups: Iterable[Sequence[float]]) -> float:
    """The standard deviation within groups; nan where no group has two values."""
    within = [(len(values) - 1, variance(values)) for values in groups if len(values) > 1]
    free = sum(n for n, _ in within)
    return math.sqrt(sum(n * each for n, each in within) / free) if free else math.nan


def _words(project: Project) -> dict[str, str]:
    return {item: caption.text for item, caption in captions.current(project).items()}


def _experts(project: Project, run: str | None, expert: str | None) -> list[int]:
    """The rows of a run's experts. Raises SakugaError for names that are not there."""
    names = [row["name"] for row in project.rows("SELECT name FROM run ORDER BY id")]
    if not names:
        raise SakugaError(
            "nothing tells of suspects yet: `sakuga train` something, or let `sakuga suspects --measure` test the captions"
        )
    if run is not None and run not in names:
        raise SakugaError(f"no run is called '{run}'{nearest(run, names)}; there are {', '.join(names)}")
    query = (
        "SELECT run_expert.id, expert FROM run_expert JOIN run ON run.id = run WHERE name = ? ORDER BY run_expert.id"
    )
    rows = project.rows(query, run or names[-1])
    experts = [row["expert"] for row in rows]
    if expert is not None and expert not in experts:
        raise SakugaError(f"{run or names[-1]} has trained no expert '{expert}'{nearest(expert, experts)}")
    return [row["id"] for row in rows if expert in (None, row["expert"])]
