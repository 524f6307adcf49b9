"""Which frames of a shot become its clips."""

from sakuga.core.stretch import busiest, inner_span, stretches


def floor(n: int) -> int:
    return (n - 1) // 4 * 4 + 1


def test_soft_frames_and_the_margin_are_left_out() -> None:
    assert inner_span(100, 199, 2) == (102, 197)
    assert inner_span(100, 199, 1, soft_in=6, soft_out=9) == (107, 189)
    assert inner_span(100, 109, 1, soft_in=4, soft_out=5) == (104, 104)  # one firm frame
    assert inner_span(100, 109, 0, soft_in=6, soft_out=6) == (100, 109)  # all is soft
    assert inner_span(10, 12, 4) == (11, 11)


def test_each_choice_takes_its_own_stretch() -> None:
    chosen = list(range(0, 60, 2))
    assert stretches(chosen, 10, "head", 4, floor) == [chosen[:9]]
    assert stretches(chosen, 10, "middle", 4, floor) == [chosen[10:19]]
    assert stretches(chosen, 10, "split", 2, floor) == [chosen[:9], chosen[9:18]]
    assert stretches(chosen[:7], 10, "split", 2, floor) == [chosen[:5]]
    motion = [1.0 if 31 <= n <= 46 else 0.0 for n in range(60)]
    assert stretches(chosen, 10, "motion", 4, floor, motion) == [chosen[15:24]]  # 30 to 46
    assert busiest(chosen, 9, [0.5] * 60) == 0
