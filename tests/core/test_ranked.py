"""Items ranked by how surely their loss exceeds what is expected."""

import random

import pytest

from sakuga.core.suspects import FEWEST, ranked


def logs(excess: float, count: int, seed: int, scatter: float = 0.1) -> list[float]:
    rng = random.Random(seed)
    return [rng.gauss(excess, scatter) for _ in range(count)]


def test_items_whose_loss_is_surely_higher_come_first() -> None:
    found = {f"item{n:02d}": logs(0.0, 20, n) for n in range(30)}
    found |= {"worst": logs(0.5, 20, 100), "bad": logs(0.3, 20, 101)}
    listed = ranked(found, {"bad": "a caption"})
    assert [one.item for one in listed[:2]] == ["worst", "bad"] and listed[1].caption == "a caption"
    assert [one.item for one in listed if one.stands_out] == ["worst", "bad"]
    assert listed[1].excess == pytest.approx(0.35, abs=0.12)
    assert listed[1].error == pytest.approx((1 + listed[1].excess) * 0.1 / 20**0.5, rel=0.15)
    assert listed[1].low < listed[1].excess - listed[1].error


def test_items_with_few_draws_are_not_accused() -> None:
    found = {f"item{n:02d}": logs(0.0, 20, n) for n in range(10)} | {"new": [2.0] * (FEWEST - 1)}
    listed = ranked(found, {})
    assert listed[-1].item == "new" and not listed[-1].stands_out and listed[-1].draws == FEWEST - 1
    found["sure"] = logs(0.2, 40, 1)
    found["unsure"] = logs(0.22, FEWEST, 2, 0.0)
    order = [one.item for one in ranked(found, {})]
    assert order.index("sure") < order.index("unsure")  # the higher mean of fewer draws says less


def test_items_that_differ_widely_anyway_do_not_stand_out() -> None:
    found = {f"item{n:02d}": logs(0.1 * (n - 15), 50, n) for n in range(30)}
    assert not any(one.stands_out for one in ranked(found, {}))


def test_nothing_and_next_to_nothing() -> None:
    assert ranked({}, {}) == []
    (only,) = ranked({"one": [0.3]}, {})
    assert only.draws == 1 and not only.stands_out
