"""The learning rate over a training."""

import pytest

from sakuga.core.rates import learning_rate, rate_share
from sakuga.core.settings import TrainSettings


def shares(steps: int, **how: object) -> list[float]:
    return [rate_share(step, steps, **how) for step in range(1, steps + 1)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"schedule": "constant"}, [1, 1, 1, 1, 1, 1]),
        ({"schedule": "constant", "warmup": 4}, [0.25, 0.5, 0.75, 1, 1, 1]),
        ({"schedule": "cosine", "warmup": 2}, [0.5, 1, 1, 0.8536, 0.5, 0.1464]),
        ({"schedule": "linear", "warmup": 2}, [0.5, 1, 1, 0.75, 0.5, 0.25]),
        ({"schedule": "wsd", "decay": 0.5}, [1, 1, 1, 1, 2 / 3, 1 / 3]),
        ({"schedule": "wsd", "warmup": 2, "decay": 1.0}, [0.5, 1, 1, 0.75, 0.5, 0.25]),
        ({"schedule": "wsd", "decay": 0.01}, [1, 1, 1, 1, 1, 1]),
    ],
)
def test_the_shapes(how: dict[str, object], expected: list[float]) -> None:
    assert shares(6, **how) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear", "wsd"])
@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (1, 1), (3, 5), (7, 2), (1000, 100)])
def test_no_step_is_lost_and_none_is_above_the_full_rate(schedule: str, steps: int, warmup: int) -> None:
    found = shares(steps, schedule=schedule, warmup=warmup)
    assert all(0 < share <= 1 for share in found)
    assert found[warmup:] == sorted(found[warmup:], reverse=True)


def test_the_settings_say_the_full_rate() -> None:
    settings = TrainSettings(learning_rate=2e-4, schedule="wsd", decay=0.5, warmup=1)
    assert [learning_rate(step, 4, settings) for step in (1, 2, 3, 4)] == pytest.approx([2e-4, 2e-4, 2e-4, 1e-4])
    assert learning_rate(5, 6, TrainSettings(learning_rate=1.0)) == 1.0
