"""Parts that films share: drawn episodes with one opening, hashes made up for the hard cases, the real film."""

import os
from collections.abc import Iterable
from functools import cache
from itertools import combinations, islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from films import write_film
from sakuga.core.media.film import scan
from sakuga.signals.measures import luma
from sakuga.signals.recurring import PICTURE, PLAIN, Recurrence, Track, again, picture_hash, shared
from sakuga_world.films import OPENING, _pictures, plan
from sakuga_world.look import CEL

SIZE = (96, 64)
NEAR = PICTURE.near
Film = tuple[np.ndarray, np.ndarray]


@cache
def opening(rate: int) -> list[np.ndarray]:
    """The 8 seconds that every drawn episode begins with."""
    return list(_pictures(plan(0, 8, rate)[: len(OPENING)], CEL, SIZE, rate))


@cache
def after_opening(episode: int, rate: int, seconds: float = 4) -> list[np.ndarray]:
    return list(_pictures(plan(episode, 8 + seconds, rate)[len(OPENING) :], CEL, SIZE, rate))


def shown(pictures: Iterable[np.ndarray], rate: float = 24) -> Film:
    return made_of([picture_hash(luma(picture)) for picture in pictures], rate)


def made_of(hashes: Iterable[int], rate: float = 24) -> Film:
    found = np.array(list(hashes), dtype=np.uint64)
    return np.arange(len(found)) / rate, found


def bits_between(one: np.ndarray, two: np.ndarray) -> int:
    return (picture_hash(luma(one)) ^ picture_hash(luma(two))).bit_count()


def barred(picture: np.ndarray) -> np.ndarray:
    bar = round(picture.shape[0] * 0.12)
    return np.pad(picture[bar:-bar], ((bar, bar), (0, 0), (0, 0)))


def brighter(picture: np.ndarray) -> np.ndarray:
    return np.clip(picture * 1.15, 0, 255).astype(np.uint8)


def cropped(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    y, x = round(height * 0.02), round(width * 0.02)
    return cv2.resize(picture[y : height - y, x : width - x], (width, height))


# the hash


@pytest.mark.parametrize("change", [barred, brighter, cropped])
def test_a_copy_of_a_picture_has_nearly_its_hash(change) -> None:  # type: ignore[no-untyped-def]
    for picture in opening(24)[::16]:
        assert bits_between(picture, change(picture)) <= NEAR


def test_other_pictures_have_other_hashes() -> None:
    firsts = [after_opening(episode, 12, 12)[0] for episode in range(6)]
    apart = [bits_between(a, b) for n, a in enumerate(firsts) for b in firsts[:n]]
    assert min(apart) > 1.5 * NEAR


def test_a_picture_that_tells_nothing_is_plain() -> None:
    rng = np.random.default_rng(0)
    down = np.linspace(0.2, 0.8, 64)[:, None]
    for level in (0.0, 0.06, 0.5, 1.0):
        assert picture_hash(np.full((64, 96), level, np.float32)) == PLAIN
    assert picture_hash(np.float32(0.5) + rng.normal(0, 0.03, (64, 96)).astype(np.float32)) == PLAIN  # grain
    assert picture_hash(np.repeat(down, 96, axis=1).astype(np.float32)) == PLAIN  # a sky
    assert picture_hash(np.float32(0.04) * luma(opening(24)[0])) == PLAIN  # the end of a fade
    assert picture_hash(np.float32(0.25) * luma(opening(24)[0])) != PLAIN


# drawn episodes


def test_the_opening_of_three_episodes_is_found_and_nothing_else(tmp_path: Path) -> None:
    first = [*opening(24), *after_opening(0, 24)]
    other_rate = [*opening(25), *after_opening(1, 25)]
    cold = [*after_opening(3, 24, 5), *opening(24), *after_opening(2, 24)]
    copied = write_film(tmp_path / "copy.mkv", map(barred, map(brighter, cold)), 24, options={"crf": "32"})
    films = {
        "first": shown(first),
        "other rate": shown(other_rate, 25),
        "cold": shown(frame.rgb for frame in scan(copied)),
    }
    starts = {"first": 0.0, "other rate": 0.0, "cold": 5.0}
    for one, two in combinations(films, 2):
        for name, other, parts in zip(
            (one, two), (two, one), shared(Track(*films[one]), Track(*films[two])), strict=True
        ):
            [part] = parts
            assert part[:2] == pytest.approx((starts[name], starts[name] + 8), abs=0.1)
            assert part[2:] == pytest.approx((starts[other], starts[other] + 8), abs=0.1)


def test_the_other_shots_of_six_episodes_share_nothing() -> None:
    films = [Track(*shown(after_opening(n, 12, 12), 12), PICTURE._replace(at_least=1.0)) for n in range(6)]
    assert all(shared(one, two) == ([], []) for one, two in combinations(films, 2))


# hashes made up: `moving` shows a new picture every 2 frames, all unlike each other


def moving(seed: int, frames: int) -> list[int]:
    return np.repeat(np.random.default_rng(seed).integers(1, 2**63, frames), 2)[:frames].tolist()


def noisy(hashes: list[int], bits: int, seed: int = 0) -> list[int]:
    """Each with up to `bits` bits turned over."""
    rng = np.random.default_rng(seed)
    return [h ^ sum(1 << int(b) for b in rng.choice(64, rng.integers(bits + 1), replace=False)) for h in hashes]


def parts(one: Film, two: Film, at_least: float = 2.0) -> list[Recurrence]:
    sense = PICTURE._replace(at_least=at_least)
    return shared(Track(*one, sense), Track(*two, sense))[0]


def places(found: list[Recurrence]) -> list[tuple[float, float, float]]:
    """From where to where, and where it begins elsewhere."""
    return [part[:3] for part in found]


SHARED = moving(1, 120)


@settings(max_examples=25, deadline=None)
@given(before=st.integers(0, 200), other_before=st.integers(0, 200), seed=st.integers(0, 9))
def test_a_part_is_found_wherever_it_stands(before: int, other_before: int, seed: int) -> None:
    one = made_of([*moving(2, before), *SHARED, *moving(3, 90)])
    two = made_of([*moving(4, other_before), *noisy(SHARED, 4, seed), *moving(5, 60)])
    [[part], [turned]] = shared(Track(*one), Track(*two))
    here, there = (before / 24, (before + 119) / 24), (other_before / 24, (other_before + 119) / 24)
    assert part == (*here, *there)
    assert turned == (*there, *here)


@settings(max_examples=15, deadline=None)
@given(late=st.floats(-100, 1e5))
def test_a_film_that_begins_later_has_its_parts_later(late: float) -> None:
    times, hashes = made_of([*moving(2, 70), *SHARED])
    [part] = parts((times + late, hashes), made_of([*SHARED, *moving(5, 60)]))
    assert part[:2] == pytest.approx((70 / 24 + late, 189 / 24 + late)) and part.other_first == 0


@pytest.mark.parametrize("rate, other_rate", [(24, 24 / 1.001), (24, 25), (25, 24 / 1.001)])
def test_the_same_frames_at_another_speed(rate: float, other_rate: float) -> None:
    """A minute of them: films sped up for television end it 2.4 s earlier."""
    long = moving(6, 1440)
    one, two = made_of([*moving(2, 100), *long, *moving(3, 90)], rate), made_of([*long, *moving(4, 90)], other_rate)
    [part] = parts(one, two)
    assert part[:2] == pytest.approx((100 / rate, 1539 / rate), abs=0.1) and part.other_first == pytest.approx(
        0, abs=0.1
    )
    [turned] = parts(two, one)
    assert turned[:2] == pytest.approx((0, 1439 / other_rate), abs=0.1)


def test_a_frame_lasts_as_long_as_it_is_shown() -> None:
    """A film that keeps each drawing once, against one that repeats it."""
    times, hashes = made_of([*moving(2, 70), *SHARED, *moving(3, 40)])
    two = made_of([*moving(4, 30), *SHARED, *moving(5, 60)])
    assert places(parts((times[::2], hashes[::2]), two)) == [(70 / 24, 188 / 24, 30 / 24)]


def test_the_shortest_part() -> None:
    one, two = made_of([*moving(2, 100), *SHARED]), made_of([*moving(4, 50), *SHARED])
    assert len(parts(one, two, at_least=5.0)) == 1
    assert parts(one, two, at_least=5.1) == []


def test_black_is_no_part_but_may_stand_in_one() -> None:
    black = [PLAIN] * 72
    assert parts(made_of([*black, *moving(2, 90)]), made_of([*black, *moving(3, 90)])) == []
    assert parts(made_of([PLAIN] * 240), made_of([PLAIN] * 240)) == []
    joined = [*SHARED, *black, *moving(7, 120)]
    assert places(parts(made_of([*joined, *black, *moving(2, 90)]), made_of([*joined, *black, *moving(3, 90)]))) == [
        (0, 311 / 24, 0)
    ]


def still(frames: int, turned: int = 0) -> list[int]:
    return [0x0F1E2D3C4B5A6978 ^ (1 << turned) - 1] * frames


def test_a_still_is_a_part_where_it_stands_whole() -> None:
    def between(seed: int, picture: list[int]) -> Film:
        return made_of([*moving(seed, 60), *picture, *moving(seed + 1, 60)])

    card = between(10, still(72))
    assert places(parts(card, between(20, noisy(still(72), 3)))) == [(60 / 24, 131 / 24, 60 / 24)]
    assert parts(card, between(20, still(24))) == []  # alike for a second
    assert parts(card, between(20, still(90))) == []  # a look at a place, longer in the other film
    assert parts(card, between(20, still(72, turned=4))) == []  # like it
    talk = [*still(4), *still(4, turned=20)]  # a mouth that opens and shuts
    assert parts(between(10, talk * 9), between(20, talk * 12)) == []


def test_a_loop_is_told_in_the_fewest_parts() -> None:
    cycle = moving(8, 24)
    one = made_of([*moving(2, 60), *cycle * 8, *moving(3, 60)])
    assert places(parts(one, made_of([*moving(4, 30), *noisy(cycle * 8, 3)]))) == [(60 / 24, 251 / 24, 30 / 24)]
    two = made_of([*moving(4, 30), *cycle * 12, *moving(5, 60)])  # for longer
    assert [part[:2] for part in parts(one, two)] == [(60 / 24, 251 / 24)]
    turned = parts(two, one)
    assert (
        turned[0].first == 30 / 24 and turned[-1].last == 317 / 24 and len(turned) == 2
    )  # all rounds, none three times


@pytest.mark.parametrize("rate", [24, 60])
def test_other_words_over_a_part_for_a_moment_leave_it_whole(rate: int) -> None:
    def with_words(seconds: float) -> Film:
        return made_of(
            [*long[: 3 * rate], *moving(9, round(seconds * rate)), *long[round((3 + seconds) * rate) :]], rate
        )

    long = moving(1, 8 * rate)
    assert places(parts(made_of(long, rate), with_words(0.9))) == [(0, (8 * rate - 1) / rate, 0)]
    around = [(0, (3 * rate - 1) / rate), (5, (8 * rate - 1) / rate)]
    assert [part[:2] for part in parts(made_of(long, rate), with_words(2))] == around


def test_films_that_agree_now_and_then_share_no_part() -> None:
    often = [a if n % 10 < 6 else b for n, (a, b) in enumerate(zip(SHARED, moving(9, 120), strict=True))]
    assert parts(made_of([*SHARED, *moving(2, 60)]), made_of([*often, *moving(3, 60)])) == []


def test_a_part_that_the_other_film_has_twice_is_told_once() -> None:
    one = made_of([*moving(2, 60), *SHARED, *moving(3, 60)])
    two = made_of([*SHARED[:72], *moving(4, 60), *SHARED])
    assert places(parts(one, two)) == [(60 / 24, 179 / 24, 132 / 24)]
    assert [part[:2] for part in parts(two, one)] == [(0, 71 / 24), (132 / 24, 251 / 24)]


def test_several_parts_in_another_order() -> None:
    ending = moving(7, 96)
    one = made_of([*SHARED, *moving(2, 60), *ending, *moving(3, 30)])
    two = made_of([*moving(4, 10), *ending, *moving(5, 90), *SHARED])
    assert places(parts(one, two)) == [(0, 119 / 24, 196 / 24), (180 / 24, 275 / 24, 10 / 24)]


# repeats inside one film


def test_what_a_film_shows_again_later_is_told_where_it_is_repeated() -> None:
    film = made_of([*moving(2, 60), *SHARED, *moving(3, 24 * 40), *noisy(SHARED, 3), *moving(4, 60)])
    assert again(Track(*film)) == [(1140 / 24, 1259 / 24, 60 / 24, 179 / 24)]


def test_what_a_film_goes_back_to_is_no_repeat() -> None:
    talk = [*still(48), *moving(6, 24 * 40), *noisy(still(48), 2), *moving(7, 60)]
    soon = [*SHARED, *moving(3, 24 * 20), *SHARED, *moving(4, 60)]
    loop = moving(8, 24) * 60
    assert [again(Track(*made_of(hashes))) for hashes in (talk, soon, loop)] == [[], [], []]


def test_films_of_few_frames_or_none() -> None:
    none = made_of([])
    assert again(Track(*none)) == again(Track(*made_of(SHARED[:1]))) == []
    assert parts(none, made_of(SHARED)) == parts(made_of(SHARED), none) == parts(none, none) == []
    assert parts(made_of(SHARED[:1]), made_of(SHARED[:1])) == []


# the real film


@pytest.mark.film
def test_real_film_recurs_in_its_recut_self_alone() -> None:
    folder = Path(os.environ["SAKUGA_FILMS"])
    one, two = (
        [frame.rgb for frame in islice(scan(folder / name, (256, 192)), 720)]
        for name in ("popeye-1.mkv", "popeye-2.mkv")
    )
    assert parts(shown(one), shown(two)) == []
    recut = shown(map(barred, map(brighter, [*two[:100], *one[300:600], *two[400:500], *one[60:160]])), 25)
    found = parts(recut, shown(one))
    assert [part[:2] for part in found] == [pytest.approx(ends, abs=0.1) for ends in [(4, 16), (20, 24)]]
    assert [part.other_first for part in found] == pytest.approx([12.5, 2.5], abs=0.1)
