"""Prints of sound: the same music in another coding, level or step is known again; other music, noise and silence are not."""

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from sakuga.signals.recurring import PLAIN, SOUND, Recurrence, Track, kind_of, shared, together
from sakuga.signals.sound import RATE, TICK, sound_prints, sound_track
from tunes import tune


@cache
def melody(seed: int, seconds: float) -> np.ndarray:
    return tune(seed, seconds, RATE)


def print_of(*sounds: np.ndarray) -> np.ndarray:
    return sound_track(sound_prints([np.concatenate(sounds)]))[1]


def unlike(one: np.ndarray, two: np.ndarray) -> float:
    """In how many bits of 64 the prints differ at the median."""
    shorter = min(len(one), len(two))
    return float(np.median(np.bitwise_count(one[:shorter] ^ two[:shorter])))


def hissing(sound: np.ndarray, share: float) -> np.ndarray:
    return sound + np.random.default_rng(0).normal(0, share * sound.std(), len(sound)).astype(np.float32)


def test_there_is_a_print_for_every_sixteenth_of_a_second() -> None:
    prints = sound_prints([melody(1, 10)])
    assert prints.dtype == np.uint32 and len(prints) == 10 / TICK + 1
    times, pairs = sound_track(prints)
    assert times[:3].tolist() == [0, TICK, 2 * TICK] and len(pairs) == len(times) == len(prints) - 4


def test_blocks_of_any_length_give_the_same_prints() -> None:
    sound = melody(1, 70)
    cut = np.sort(np.random.default_rng(1).integers(0, len(sound), 40))
    pieces: Iterator[np.ndarray] = iter(np.split(sound, cut))
    assert (sound_prints(pieces) == sound_prints([sound])).all()


@pytest.mark.parametrize("level", [0.05, 0.5, 3.0])
def test_the_same_music_at_another_level_has_its_prints(level: float) -> None:
    assert unlike(print_of(melody(1, 20)), print_of(melody(1, 20) * np.float32(level))) <= 1


def test_a_copy_out_of_step_by_half_a_tick_or_under_hiss_is_near() -> None:
    assert unlike(print_of(melody(1, 20)), print_of(melody(1, 20)[250:])) <= SOUND.near - 4
    assert unlike(print_of(melody(1, 20)), print_of(hissing(melody(1, 20), 0.1))) <= SOUND.near - 4


def test_other_music_is_unlike() -> None:
    one, two = print_of(melody(1, 20)), print_of(melody(2, 20))
    apart = np.bitwise_count(one[:, None] ^ two[None])
    assert np.median(apart) == 32 and (apart <= SOUND.near).mean() < 0.005


def test_silence_and_hiss_too_low_to_hear_are_plain() -> None:
    silence = np.zeros(RATE * 3, np.float32)
    assert set(sound_prints([silence])) == {PLAIN}
    assert set(sound_prints([np.random.default_rng(0).normal(0, 3e-4, RATE * 3).astype(np.float32)])) == {PLAIN}
    assert len(sound_prints([])) <= 1 and len(sound_track(sound_prints([]))[1]) == 0


def test_music_that_two_films_share_is_found_to_a_quarter_of_a_second() -> None:
    song = melody(5, 30)
    one = np.concatenate([melody(6, 20), song, melody(7, 20)])
    two = np.concatenate([melody(8, 33.37), hissing(song, 0.05) * np.float32(0.4), melody(9, 10)])
    films = [Track(*sound_track(sound_prints([film])), SOUND) for film in (one, two)]
    [[part], [turned]] = shared(*films)
    assert part == pytest.approx((20, 50, 33.37, 63.37), abs=0.25)
    assert turned == pytest.approx((33.37, 63.37, 20, 50), abs=0.25)


# picture and sound together


def at(first: float, last: float, lead: float) -> Recurrence:
    return Recurrence(first, last, first + lead, last + lead)


def test_sound_confirms_pictures_and_goes_on_without_them() -> None:
    assert together([at(10, 50, 5)], [at(10, 100, 5.2)]) == [
        (at(10, 50, 5), "both"),
        (pytest.approx(at(50, 100, 5.2)), "sound"),
    ]
    assert together([at(10, 50, 5)], []) == [(at(10, 50, 5), "picture")]
    assert together([], [at(10, 50, 5)]) == [(at(10, 50, 5), "sound")]


def test_a_song_that_stands_elsewhere_confirms_nothing() -> None:
    assert together([at(10, 50, 5)], [at(10, 50, 300)]) == [(at(10, 50, 5), "picture"), (at(10, 50, 300), "sound")]
    assert together([at(10, 50, 5)], [at(45, 52, 5)]) == [(at(10, 50, 5), "picture")]  # what is left is too short


@pytest.mark.parametrize(
    "part, kind",
    [
        (at(60, 150, 30), "opening"),
        (at(1300, 1390, -20), "ending"),
        (at(5, 34.9, 0), "opening"),
        (at(0, 5, 0), "logo"),
        (at(0, 8, 0), "opening"),
        (at(0, 20, 0), "opening"),
        (at(1433, 1438, 0), "logo"),
        (at(1425, 1433, 0), ""),
        (at(700, 706, 30), "eyecatch"),
        (at(100, 140, 800), "recap"),
        (at(700, 760, 30), ""),
        (at(100, 110, 50), ""),
    ],
)
def test_what_a_part_is_by_its_place(part: Recurrence, kind: str) -> None:
    assert kind_of(part, 1440, 1440) == kind
