"""The loss that is expected of a draw: learnt from draws alone, so that what is left over is what the model has learnt."""

import math
import random
from itertools import pairwise
from statistics import fmean, stdev

import pytest

from sakuga.core.expected import Drawn, Expected

ITEMS = {f"item{n}": 0.8 + 0.1 * n for n in range(5)}  # how hard each is
BUCKETS = {"96x64x1": 2.0, "96x64x9": 1.0}


def true_loss(t: float, bucket: str, item: str, step: int) -> float:
    """High at low noise, halved over 1000 steps."""
    return (0.2 + (1 - t) ** 2) * BUCKETS[bucket] * ITEMS[item] * 2 ** (-step / 1000)


def draws(steps: int, seed: int = 1, each: int = 1) -> list[list[Drawn]]:
    rng = random.Random(seed)
    made = []
    for step in range(steps):
        some = [(rng.uniform(0.02, 0.98), rng.choice(list(BUCKETS)), rng.choice(list(ITEMS))) for _ in range(each)]
        made.append([Drawn(*one, true_loss(*one, step) * math.exp(rng.gauss(0, 0.03))) for one in some])
    return made


def scatter(values: list[float]) -> float:
    """Of a step's value around that of its neighbour, as a share."""
    return stdev(math.log(b / a) for a, b in pairwise(values)) / math.sqrt(2)


@pytest.mark.parametrize(
    ("before", "share"), [({}, 0.15), ({t / 10: 0.2 + (1 - t / 10) ** 2 for t in range(1, 10)}, 0.07)]
)
def test_the_corrected_loss_is_smooth_and_falls_as_the_true_one(before: dict[float, float], share: float) -> None:
    expected, made = Expected(before), draws(1000)
    raw = [step[0].loss for step in made]
    corrected = [expected.step(step) for step in made]
    assert scatter(corrected[200:]) < share * scatter(raw[200:])
    assert fmean(corrected[800:]) / fmean(corrected[200:400]) == pytest.approx(2**-0.6, rel=0.05)


def test_it_begins_with_the_form_of_the_loss_before_training() -> None:
    before = {t / 10: 0.2 + (1 - t / 10) ** 2 for t in range(1, 10)}
    expected, nothing = Expected(before), Expected()
    assert expected.of(0.3, "any") == pytest.approx(0.69) and expected.of(0.001, "any") == pytest.approx(1.01)
    assert expected.scale == pytest.approx(fmean(before.values())) and nothing.of(0.3, "any") == 1.0
    first = [expected.step([Drawn(t, "b", "i", 0.2 + (1 - t) ** 2)]) for t in (0.2, 0.9, 0.5, 0.35, 0.75)]
    assert first == pytest.approx([expected.scale] * 5, rel=0.03)


def test_buckets_and_items_have_factors_that_few_draws_move_little() -> None:
    expected = Expected()
    for step in draws(2000):
        expected.step(step)
    for t in (0.1, 0.4, 0.8):
        ratio = expected.of(t, "96x64x1", "item0") / expected.of(t, "96x64x9", "item4")
        assert ratio == pytest.approx(2 * 0.8 / 1.2, rel=0.1)
        assert expected.of(t, "96x64x1") / expected.of(t, "96x64x9") == pytest.approx(2, rel=0.1)
    fresh = Expected()
    fresh.learn(Drawn(0.5, "b", "old", 1.0))
    fresh.learn(Drawn(0.5, "b", "new", 10.0))
    assert 1 < fresh.of(0.5, "b", "new") / fresh.of(0.5, "b", "old") < 10


def test_learning_tells_by_how_much_a_draw_exceeds_its_level_and_bucket() -> None:
    expected = Expected()
    for step in draws(2000):
        expected.step(step)
    excess: dict[str, list[float]] = {item: [] for item in ITEMS}
    for (draw,) in draws(2000, seed=2):
        excess[draw.item].append(
            expected.learn(draw._replace(loss=draw.loss / 4))
        )  # all stand lower, none is singled out
    means = {item: fmean(values[-200:]) for item, values in excess.items()}
    assert means["item4"] - means["item0"] == pytest.approx(math.log(1.2 / 0.8), abs=0.03)
    assert abs(fmean(means.values())) < 0.2  # how high all stand is followed with a lag


def test_the_same_draws_give_the_same_values_to_the_bit() -> None:
    one, other = Expected({0.5: 1.0}), Expected({0.5: 1.0})
    values = [one.step(step) for step in draws(50, each=3)]
    again = draws(50, each=3)
    for step in again[:30]:
        other.step(step)
    assert [other.step(step) for step in again[30:]] == values[30:]


def test_losses_and_levels_at_the_ends_are_numbers() -> None:
    expected = Expected({0.0: 0.0, 1.0: 1.0})
    for t in (1e-300, 1.0, 0.5):
        assert math.isfinite(expected.step([Drawn(t, "b", "i", 0.0), Drawn(t, "b", "i", 1e30)]))
