"""The distribution of noise levels: shares that are known, inverses, and ranges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sakuga.core import noise
from sakuga.core.errors import SakugaError

SHIFTS = st.floats(1, 20)
LEVELS = st.floats(0.01, 0.99)


@pytest.mark.parametrize(
    ("boundary", "shift", "percent"),
    [
        (0.875, 1, 2.6), (0.875, 3, 19.8), (0.875, 5, 36.8), (0.875, 12, 70.5),
        (0.900, 1, 1.4), (0.900, 3, 13.6), (0.900, 5, 27.8), (0.900, 12, 61.3),
    ],
)  # fmt: skip
def test_share_above_the_boundary(boundary: float, shift: float, percent: float) -> None:
    assert round(100 * noise.share(boundary, 1, "sigmoid", shift), 1) == percent


@given(LEVELS, SHIFTS)
def test_unshift_inverts_shift(t: float, shift: float) -> None:
    assert noise.unshift_time(noise.shift_time(t, shift), shift) == pytest.approx(t)


@given(LEVELS, st.sampled_from(["uniform", "sigmoid"]), SHIFTS, st.floats(0.5, 2), st.floats(-1, 1))
def test_time_at_inverts_the_cdf(u: float, kind: noise.Kind, shift: float, scale: float, mean: float) -> None:
    t = noise.time_at(u, kind, shift, scale, mean)
    assert noise.time_cdf(t, kind, shift, scale, mean) == pytest.approx(u, abs=1e-9)


@pytest.mark.parametrize("kind", ["uniform", "sigmoid"])
def test_a_range_truncates_and_keeps_the_shape(kind: noise.Kind) -> None:
    """P(t <= x | in range) is the whole's share up to x, as a fraction of the range's share: squeezing fails it."""
    low, high, shift = 0.875, 1.0, 5.0
    inside = noise.share(low, high, kind, shift)
    for u in (0.1, 0.5, 0.9):
        t = noise.time_at(u, kind, shift, t_min=low, t_max=high)
        assert low <= t <= high
        assert noise.share(low, t, kind, shift) / inside == pytest.approx(u, abs=1e-9)


@pytest.mark.parametrize("kind", ["uniform", "sigmoid"])
@pytest.mark.parametrize("u", [0.0, 1e-300, 1 - 2**-53, 1.0])
def test_times_are_above_zero_and_at_most_one(kind: noise.Kind, u: float) -> None:
    assert 0 < noise.time_at(u, kind, 5) <= 1


def test_a_range_that_is_never_drawn_is_an_error() -> None:
    with pytest.raises(SakugaError, match=r"never fall between 0\.999 and 1: widen the range"):
        noise.time_at(0.5, "sigmoid", 1, mean=-5, t_min=0.999)
