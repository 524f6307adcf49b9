"""Captions whose numbering slipped: found as one stretch; none found where nothing slipped."""

import pytest

from sakuga.core.coverage.mismatch import phrase_fits, slips, stretches
from sakuga.core.coverage.phrases import phrases
from scenes_told import scenes


def found(firsts: list[str], seconds: list[str | None]) -> list[tuple[str, str, int]]:
    told = phrase_fits(
        [phrases(text, "MyStyle") for text in firsts], [None if t is None else phrases(t) for t in seconds]
    )
    return [
        (slip.items[0], slip.items[-1], slip.offset) for slip in slips([f"{n:02}" for n in range(len(firsts))], told)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_found_where_nothing_slipped(seed: int) -> None:
    made = scenes(60, seed)
    assert found([scene.first for scene in made], [scene.second for scene in made]) == []


@pytest.mark.parametrize("seed", range(20))
def test_twenty_of_sixty_slipped_by_one(seed: int) -> None:
    made = scenes(60, seed)
    firsts, seconds = [scene.first for scene in made], [scene.second for scene in made]
    slipped = [*firsts[:20], firsts[20], *firsts[20:39], *firsts[40:]]  # 21 to 39 have the words of the file before
    ((first, last, offset),) = found(slipped, list(seconds))
    assert (offset, abs(int(first) - 21) <= 1, abs(int(last) - 39) <= 1) == (-1, True, True)
    early = [*firsts[:20], *firsts[21:41], firsts[40], *firsts[41:]]
    ((first, last, offset),) = found(early, list(seconds))
    assert (offset, abs(int(first) - 20) <= 1, abs(int(last) - 39) <= 1) == (1, True, True)


def test_two_that_were_exchanged() -> None:
    made = scenes(30, 3)
    firsts: list[str] = [scene.first for scene in made]
    firsts[10], firsts[11] = firsts[11], firsts[10]
    assert found(firsts, [scene.second for scene in made]) == [("10", "11", 0)]


def test_where_nobody_else_told_nothing_is_known() -> None:
    made = scenes(30, 3)
    seconds = [scene.second if n % 2 else None for n, scene in enumerate(made)]
    assert found([scene.first for scene in made], seconds) == []


def test_what_all_captions_say_tells_nothing() -> None:
    said = [frozenset({"street", word}) for word in ("lamp", "gate", "cart")]
    fits = phrase_fits(said, said)
    assert [round(fit[0], 6) for fit in fits] == [1.0, 1.0, 1.0]
    assert {value for fit in fits for offset, value in fit.items() if offset} == {0.0}


def test_what_is_said_of_a_slip() -> None:
    after = [{0: 0.0, 1: 0.8}] * 4 + [{0: 0.9, 1: 0.0}] * 4
    (slip,) = slips(list("abcdefgh"), after)
    assert slip.why == "the captions of a to d (4) fit the file after them better: their numbering has slipped"
    (slip,) = slips(list("abcdefgh"), [{0: 0.9, -1: 0.0}] * 4 + [{0: 0.0, -1: 0.8}] * 4)
    assert slip.why == "the captions of e to h (4) fit the file before them better: their numbering has slipped"
    (slip,) = slips(["a", "b"], [{0: 0.0, 1: 0.8}, {0: 0.0, -1: 0.8}])
    assert slip.why == "the captions of a and b fit each other's files better: they may be exchanged"


def test_stretches_of_the_highest_sum() -> None:
    assert stretches([]) == stretches([-1.0, -2.0]) == []
    assert stretches([4, -5, 3, -3, 1, 2, -2, 2, -2, 1, 5]) == [(0, 0), (2, 2), (4, 10)]  # of Ruzzo and Tompa's paper
