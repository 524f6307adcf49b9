"""Cuts, dissolves and fades are found to the frame in drawn films, and what cel animation has instead of them is none."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise

import cv2
import numpy as np
import pytest

from sakuga.signals.cuts import CLEAR, Candidate, Span, asked_about, decide, find_candidates, spans
from sakuga.signals.look import Look, Watcher
from sakuga_world.draw import draw
from sakuga_world.look import CEL
from sakuga_world.scene import Scene

SIZE = (128, 96)
MEADOW = Scene("bird", "red", "day", "meadow", "right", "still", 3)
TOWN = Scene("car", "blue", "sunset", "town", "left", "still", 5)
SNOW = Scene("robot", "green", "night", "snow", "right", "follow", 7)
Film = list[np.ndarray]


@cache
def drawn(scene: Scene, step: int, speed: float = 1) -> np.ndarray:
    return draw(scene, CEL, speed * step / 24, SIZE)


def shot(scene: Scene, frames: int, hold: int = 2, speed: float = 1) -> Film:
    """A drawing lasts `hold` frames."""
    return [drawn(scene, n // hold * hold, speed) for n in range(frames)]


def mixed(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    return cv2.addWeighted(other, share, one, 1 - share, 0)


def dissolved(before: Film, after: Film, frames: int) -> Film:
    """The last frames of one shot become the first of the other."""
    both = zip(before[-frames:], after[:frames], strict=True)
    blend = [mixed(a, b, (n + 1) / (frames + 1)) for n, (a, b) in enumerate(both)]
    return [*before[:-frames], *blend, *after[frames:]]


def faded(film: Film, frames: int, level: int) -> Film:
    """The film with its last frames going to black (0) or white (255)."""
    blank = np.full_like(film[0], level)
    return [*film[:-frames], *(mixed(p, blank, (n + 1) / (frames + 1)) for n, p in enumerate(film[-frames:]))]


def seen(film: Film) -> Look:
    watcher = Watcher(SIZE, 12)
    for picture in film:
        luma, red, blue = cv2.split(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb))
        half = (SIZE[0] // 2, SIZE[1] // 2)
        watcher.feed(luma, *(cv2.resize(c, half, interpolation=cv2.INTER_AREA) for c in (blue, red)))
    return watcher.look()


def found(film: Film) -> list[Candidate]:
    return decide(find_candidates(seen(film)))


def cuts(film: Film) -> list[int]:
    return [transition.cut for transition in found(film)]


@pytest.mark.parametrize("hold", [1, 2, 3])
def test_cuts_are_found_to_the_frame_and_nobody_is_asked(hold: int) -> None:
    transitions = found([*shot(MEADOW, 30, hold), *shot(TOWN, 25, hold), *shot(SNOW, 18, hold), *shot(TOWN, 30, hold)])
    assert [(t.first, t.after, t.cut) for t in transitions] == [(30, 30, 30), (55, 55, 55), (73, 73, 73)]
    assert not any(t.doubtful for t in transitions)


def test_the_same_room_and_someone_else_is_a_cut() -> None:
    assert cuts([*shot(MEADOW, 30), *shot(replace(MEADOW, subject="car", seed=23), 30)]) == [30]


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize(
    "make", [lambda p: np.full_like(p, 255), lambda p: 255 - p, lambda p: mixed(p, p * 0 + 255, 0.8)]
)
def test_flashes_and_impact_frames_are_no_cuts(frames: int, make: Callable[[np.ndarray], np.ndarray]) -> None:
    film = shot(MEADOW, 60)
    film[30 : 30 + frames] = [make(picture) for picture in film[30 : 30 + frames]]
    assert cuts(film) == []


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_flash_between_two_shots_belongs_to_neither(frames: int) -> None:
    white = [np.full_like(drawn(TOWN, 0), 255)] * frames
    (transition,) = found([*shot(MEADOW, 30), *white, *shot(TOWN, 30)])
    assert transition[:3] == (30, 30 + frames, 30 + frames)


def test_a_whip_pan_is_no_cut() -> None:
    slow, fast = shot(SNOW, 24, 1), [drawn(SNOW, 24 + 12 * n) for n in range(8)]
    assert cuts([*slow, *fast, *(drawn(SNOW, 108 + n) for n in range(24))]) == []


def test_a_flapping_wing_is_no_cut() -> None:
    film = [picture.copy() for picture in shot(TOWN, 72, 3)]
    for n, picture in enumerate(film):
        if n // 3 % 2:
            cv2.fillPoly(picture, [np.array([(128, 20), (30, 5), (50, 60), (128, 80)], np.int32)], (60, 20, 30))
    assert cuts(film) == []


@pytest.mark.parametrize("frames", [6, 12, 20, 32])
def test_a_dissolve_is_found_with_its_ends(frames: int) -> None:
    (transition,) = found(dissolved(shot(MEADOW, 60), shot(SNOW, 60), frames))
    assert abs(transition.first - (60 - frames)) <= 2 and abs(transition.after - 60) <= 2
    assert abs(transition.cut - (60 - frames / 2)) <= 2


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("black", [1, 8, 20])
def test_a_fade_out_and_in_is_one_transition(level: int, black: int) -> None:
    blank = [np.full_like(drawn(TOWN, 0), level)] * black
    film = [*faded(shot(TOWN, 48), 12, level), *blank, *reversed(faded([*reversed(shot(MEADOW, 48))], 16, level))]
    (transition,) = found(film)
    assert abs(transition.first - 36) <= 1 and abs(transition.after - (48 + black + 16)) <= 1
    assert abs(transition.cut - (48 + black / 2)) <= 2


def test_fades_at_the_ends_of_a_film_are_soft_frames() -> None:
    film = faded([*reversed(faded([*reversed(shot(TOWN, 60))], 12, 0))], 16, 0)
    (span,) = spans(found(film), 60)
    assert span[:2] == (0, 59) and abs(span.soft_in - 12) <= 1 and abs(span.soft_out - 16) <= 1


def test_a_blink_to_black_is_no_cut_and_a_pause_is_one() -> None:
    def paused(black: int) -> list[int]:
        out, back = faded(shot(TOWN, 30), 8, 0), [*reversed(faded([*reversed(shot(TOWN, 30))], 8, 0))]
        return cuts([*out, *[np.zeros_like(out[0])] * black, *back])

    assert paused(2) == [] and len(paused(24)) == 1


def test_one_shot_and_films_of_few_frames_have_no_cut() -> None:
    assert cuts(shot(MEADOW, 48)) == cuts(shot(SNOW, 48)) == [] and cuts([drawn(TOWN, 0)] * 30) == []
    assert [find_candidates(seen(shot(TOWN, n))) for n in (1, 2, 3, 6)] == [[]] * 4


def test_candidates_stand_apart_in_order() -> None:
    film = [*dissolved(shot(MEADOW, 40), shot(SNOW, 40), 12), *shot(TOWN, 20)]
    some = find_candidates(seen(film))
    assert all(a.after < b.first for a, b in pairwise(some))


# deciding

UNSURE = Candidate(40, 40, 40, 0.4)


def test_sensitivity_is_how_small_a_chance_is_enough() -> None:
    some = [Candidate(10, 10, 10, 0.95), UNSURE, Candidate(70, 82, 76, 0.1)]
    assert decide(some, 0.5) == some[:1] and decide(some, 0.6) == some[:2]
    assert decide(some, 0.95) == some and decide(some, 0.05) == some[:1]


def test_the_network_has_its_word_where_it_is_doubtful() -> None:
    def judged(at: int, probability: float) -> np.ndarray:
        told = np.zeros(100, np.float32)
        told[at] = probability
        return told

    assert [c.cut for c in decide([UNSURE], 0.5, judged(39, 0.99))] == [40]
    assert decide([UNSURE], 0.5, judged(45, 0.99)) == [] == decide([UNSURE], 0.95, judged(39, 0.0))
    clear = UNSURE._replace(chance=CLEAR)
    assert decide([clear], 0.5, judged(39, 0.0)) == [clear]
    assert decide([UNSURE], 0.6, np.full(100, np.nan, np.float32)) == [UNSURE]  # it was not asked
    assert asked_about(Candidate(1, 1, 1, 0.5), 100) == range(0, 2)


def at(*frames: int) -> list[Candidate]:
    return [Candidate(frame, frame, frame, 1.0) for frame in frames]


@pytest.mark.parametrize(
    "lengths, firsts",
    [((30, 4, 30, 30), [0, 34, 64]), ((30, 5, 5, 30), [0, 40]), ((30, 30, 4), [0, 30]), ((4, 30, 30), [0, 34]),
     ((30, 12, 30), [0, 30, 42]), ((30, 11, 30), [0, 41]), ((5, 6), [0]), ((4, 5, 40), [0]), ((30,), [0])],
)  # fmt: skip
def test_what_is_too_short_joins_the_shot_before_and_is_left_out_of_it(
    lengths: Sequence[int], firsts: list[int]
) -> None:
    starts = np.cumsum(lengths)
    shots = spans(at(*starts[:-1].tolist()), int(starts[-1]), 12)
    assert [s.first for s in shots] == firsts
    assert [s.last + 1 for s in shots] == [*firsts[1:], starts[-1]]
    inner = {(s.first + s.soft_in, s.last + 1 - s.soft_out) for s in shots}
    pieces = {(int(end) - n, int(end)) for n, end in zip(lengths, starts, strict=True) if n >= 12}
    assert inner == (pieces or {(0, starts[-1])})  # no cut lies within what is used of a shot


def test_soft_frames_are_those_of_the_transitions() -> None:
    transitions = [Candidate(20, 32, 26, 0.9), Candidate(60, 60, 60, 1.0)]
    assert spans(transitions, 90, 12) == [Span(0, 25, 0, 6), Span(26, 59, 6, 0), Span(60, 89, 0, 0)]
    assert spans([Candidate(0, 10, 0, 1.0), Candidate(80, 90, 90, 1.0)], 90, 12) == [Span(0, 89, 10, 10)]
