"""What is kept out of training: decided by names alone, and never everything or nothing."""

from hypothesis import given
from hypothesis import strategies as st

from sakuga.core.dataset import held_out

names = st.sets(st.text(max_size=6), max_size=30)


@given(names, st.floats(0, 0.5))
def test_something_is_kept_out_and_something_is_trained_on(groups: set[str], share: float) -> None:
    chosen = held_out(groups, share)
    assert chosen <= groups and chosen == held_out(sorted(groups), share)
    if share == 0 or len(groups) < 2:
        assert chosen == set()
    else:
        assert chosen and chosen != groups


def test_a_dataset_that_grows_keeps_its_split() -> None:
    few, many = {f"shot{n}" for n in range(200)}, {f"shot{n}" for n in range(400)}
    assert held_out(few, 0.1) == held_out(many, 0.1) & few
    assert 10 <= len(held_out(few, 0.1)) <= 30


def test_two_shots_that_both_fall_below_the_share_are_not_both_kept_out() -> None:
    low = sorted(
        (f"s{n}" for n in range(200)), key=lambda name: name not in held_out([f"s{n}" for n in range(200)], 0.1)
    )
    assert len(held_out(low[:2], 0.5)) == 1
