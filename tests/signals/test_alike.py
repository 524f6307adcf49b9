"""Shots that are the same, that look alike, that stand out, and few that stand for all."""

import numpy as np
import pytest

from sakuga.signals.alike import Seen, clusters, cover, layout, outliers, twins
from sakuga.signals.recurring import PICTURE, PLAIN

RATE = 24.0


def shot(seed: int, seconds: float = 3, hold: int = 2, held: bool = False) -> Seen:
    """A shot of its own: a hash for each drawing, of which neighbours have most bits in common, as in a film."""
    rng = np.random.default_rng(seed)
    frames = round(seconds * RATE)
    now, hashes = rng.integers(0, 2**63, dtype=np.uint64), []
    changes = np.zeros(frames)
    for n in range(frames):
        if n and n % hold == 0 and not held:
            for bit in rng.integers(0, 64, 3):
                now ^= np.uint64(1) << np.uint64(bit)
            changes[n] = rng.uniform(0.1, 0.9)
        hashes.append(now)
    return Seen(
        RATE, np.array(hashes, np.uint64), changes.astype(np.float32), rng.uniform(0, 40, 72).astype(np.float32)
    )


def coded_anew(seen: Seen, seed: int = 1, bits: int = 3) -> Seen:
    rng = np.random.default_rng(seed)
    flips = np.bitwise_or.reduce(
        np.uint64(1) << rng.integers(0, 64, (len(seen.hashes), bits)).astype(np.uint64), axis=1
    )
    noise = rng.uniform(0, 0.02, len(seen.local)).astype(np.float32)
    return seen._replace(hashes=seen.hashes ^ flips, local=seen.local + noise)


def part(seen: Seen, first: int, last: int) -> Seen:
    return seen._replace(hashes=seen.hashes[first:last], local=seen.local[first:last])


def pairs(shots: list[Seen]) -> list[tuple[int, int]]:
    return [(twin.shot, twin.original) for twin in twins(shots)]


def test_a_shot_shown_again_is_found_and_the_earlier_is_the_original() -> None:
    shots = [shot(seed) for seed in range(12)]
    assert pairs(shots) == []
    assert pairs([*shots, coded_anew(shots[5])]) == [(12, 5)]


def test_a_part_of_a_shot_is_its_copy_wherever_it_stands() -> None:
    shots = [shot(seed, seconds=5) for seed in range(6)]
    cut = coded_anew(part(shots[2], 40, 90))
    assert pairs([*shots, cut]) == [(6, 2)]
    assert pairs([cut, *shots]) == [(0, 3)]
    assert twins([cut, *shots])[0].share > 0.95


def test_some_frames_in_common_make_no_copy() -> None:
    one, two = shot(1, seconds=4), shot(2, seconds=4)
    half = two._replace(hashes=np.r_[one.hashes[:48], two.hashes[48:]], local=np.r_[one.local[:48], two.local[48:]])
    assert pairs([one, half]) == []


def test_another_take_of_the_same_set_up_moves_at_other_moments() -> None:
    one = shot(1, seconds=4)
    other = one._replace(local=shot(9, seconds=4, hold=3).local, hashes=coded_anew(one, bits=2).hashes)
    assert pairs([one, other]) == []
    still = one._replace(local=np.zeros_like(one.local))
    assert pairs([one, still]) == []


def test_standing_shots_are_copies_where_they_look_the_same() -> None:
    one = shot(1, held=True)
    assert pairs([one, one._replace(layout=one.layout + 0.1)]) == [(1, 0)]
    assert pairs([one, one._replace(layout=one.layout + 2)]) == []


def test_a_copy_at_another_rate_is_found() -> None:
    one = shot(3, seconds=4)
    at = np.minimum(np.arange(round(4 * 25 * 24 / 25)), len(one.hashes) - 1)  # sped up from 24 to 25
    assert pairs([one, Seen(25.0, one.hashes[at], one.local[at], one.layout)]) == [(1, 0)]
    thirty = np.arange(120) * 24 // 30
    changes = np.where(np.diff(thirty, prepend=0) > 0, one.local[thirty], 0)
    assert pairs([one, Seen(30.0, one.hashes[thirty], changes, one.layout)]) == [(1, 0)]


def test_shots_of_one_colour_are_nobodys_copy() -> None:
    blank = shot(1)._replace(hashes=np.full(72, PLAIN, np.uint64))
    assert pairs([blank, blank]) == [] and twins([]) == []
    assert PICTURE.near == 10  # what SHARE and the bands were measured with


def test_the_layout_tells_where_it_is_light() -> None:
    tiny, tint = np.full((2, 12, 16), 100, np.uint8), np.full((2, 2, 6, 8), 128, np.uint8)
    lighter = tiny.copy()
    lighter[:] += 10
    assert np.linalg.norm(layout(tiny, tint) - layout(lighter, tint)) == pytest.approx(10, rel=0.01)
    left, right = tiny.copy(), tiny.copy()
    left[:, :, :8] = right[:, :, 8:] = 200
    assert np.linalg.norm(layout(left, tint) - layout(right, tint)) == pytest.approx(100, rel=0.01)
    red = tint.copy()
    red[:, 1] = 168
    assert np.linalg.norm(layout(tiny, tint) - layout(tiny, red)) > 30


def blobs(counts: list[int], spread: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(1)
    centres = rng.normal(0, 60, (len(counts), 8))
    return np.concatenate([c + rng.normal(0, spread, (n, 8)) for c, n in zip(centres, counts, strict=True)])


def test_look_alikes_are_grouped_and_no_member_is_far_from_the_one_that_stands_for_it() -> None:
    features = blobs([30, 5, 1, 12])
    leaders = clusters(features, 12)
    assert sorted(np.unique(leaders, return_counts=True)[1]) == [1, 5, 12, 30]
    line = np.arange(100, dtype=np.float64)[:, None]  # a chain: near only from one to the next
    assert np.abs(line[clusters(line, 3)] - line).max() <= 3
    assert list(clusters(features, 12)) == list(leaders)
    assert len(clusters(np.empty((0, 8)), 1)) == 0


def test_few_stand_for_all_and_the_common_do_not_crowd_out_the_rare() -> None:
    counts = [200, 60, 20, 10, 10]
    of = np.repeat(np.arange(5), counts)
    taken = cover(blobs(counts), 5)
    assert sorted(of[taken]) == [0, 1, 2, 3, 4]
    assert cover(blobs(counts), 5) == taken and cover(blobs(counts), 3) == taken[:3]
    assert sorted(cover(blobs([3, 2]), 9)) == [0, 1, 2, 3, 4]
    assert cover(np.empty((0, 8)), 3) == []


def test_what_is_taken_already_is_not_taken_again() -> None:
    counts = [50, 40, 10]
    features, of = blobs(counts), np.repeat(np.arange(3), counts)
    assert sorted(of[cover(features, 2, features[[3]])]) == [1, 2]


def test_many_shots_are_stood_for_by_some_of_them() -> None:
    counts = [3000, 1500]
    assert sorted(np.repeat([0, 1], counts)[cover(blobs(counts), 2)]) == [0, 1]


def test_a_shot_of_another_style_stands_out_and_is_told_why() -> None:
    rng = np.random.default_rng(1)
    groups = {"palette": rng.normal(0, 1, (60, 4)), "edges": rng.normal(5, 2, (60, 2))}
    groups["edges"][7] += 30
    told = outliers(groups)
    assert told.score.argmax() == 7 and told.why[7] == "edges" and told.rank[7] == pytest.approx(59 / 60)
    assert told.rank.min() == 0 and outliers({"palette": np.ones((1, 2))}).score[0] == 0
