"""Marks that stay over a film of many shots are found where they are; what stays in a shot alone is none. And how
they are painted out or cut off."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from sakuga.signals.borders import Borders
from sakuga.signals.inpaint import Overlay, paint_out, spare
from sakuga.signals.marks import Mark, find_marks, stretches
from sakuga.signals.recurring import picture_hash

WIDTH, HEIGHT, SHOTS, EACH = 256, 144, 10, 4
NONE = [Borders()] * SHOTS


def film() -> np.ndarray:
    """Ten shots of four pictures [40, H, W], uint8: a painted ground that stays, and something that moves over it."""
    rng = np.random.default_rng(1)
    pictures = []
    for _ in range(SHOTS):
        ground = cv2.resize(rng.integers(20, 220, (7, 12), np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        corners = rng.integers(0, (WIDTH, HEIGHT), (2, 2)).tolist()
        cv2.rectangle(ground, corners[0], corners[1], 30, 2)
        x, y = rng.integers((20, 50), (110, 110)).tolist()
        for k in range(EACH):
            picture = cv2.circle(ground.copy(), (x + 35 * k, y), 20, 240, -1)
            pictures.append(np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8))
    return np.stack(pictures)


def stamp(text: str, place: tuple[int, int]) -> np.ndarray:
    """Letters as coverage 0..1 [H, W], drawn four times as large as a film's small pictures are."""
    large = np.zeros((4 * HEIGHT, 4 * WIDTH), np.uint8)
    cv2.putText(large, text, (4 * place[0], 4 * place[1]), cv2.FONT_HERSHEY_DUPLEX, 1.8, 255, 5, cv2.LINE_AA)
    return cv2.resize(large, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) / np.float32(255)


def marked(pictures: np.ndarray, coverage: np.ndarray, strength: float, level: float = 240) -> np.ndarray:
    part = coverage * strength
    return (pictures * (1 - part) + level * part).astype(np.uint8)


def found(pictures: np.ndarray, borders: list[Borders] = NONE, left_out: set[int] = set()) -> list[Mark]:  # noqa: B006
    shots = [-1 if n // EACH in left_out else n // EACH for n in range(len(pictures))]
    return find_marks(pictures, shots, [picture_hash(p / np.float32(255)) for p in pictures], borders)


def shared(mark: Mark, coverage: np.ndarray) -> float:
    """Intersection over union of a mark's box and that of what was stamped."""
    rows, columns = (np.flatnonzero((coverage > 0.1).any(axis=axis)) for axis in (1, 0))
    here, there = (np.zeros(coverage.shape, bool) for _ in range(2))
    here[mark.top : mark.bottom, mark.left : mark.right] = True
    there[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return float((here & there).sum() / (here | there).sum())


@pytest.mark.parametrize("strength, level", [(1.0, 240), (0.6, 10), (0.3, 250)])
@pytest.mark.parametrize("place", [(195, 20), (12, 130)])
def test_a_mark_in_a_corner_is_found_opaque_and_not(strength: float, level: float, place: tuple[int, int]) -> None:
    coverage = stamp("TV 7", place)
    (mark,) = found(marked(film(), coverage, strength, level))
    assert shared(mark, coverage) > 0.75 and mark.seen.mean() > 0.85
    assert (coverage[mark.top : mark.bottom, mark.left : mark.right][mark.mask] > 0).mean() > 0.7


def test_what_stays_in_a_shot_alone_is_no_mark() -> None:
    assert found(film()) == []
    assert found(np.repeat(film()[:EACH], SHOTS, axis=0)) == []  # one background in every shot tells nothing


def test_a_mark_of_a_part_of_the_film_is_found_with_its_time() -> None:
    pictures, coverage = film(), stamp("TV 7", (195, 20))
    pictures[12:36] = marked(pictures[12:36], coverage, 0.8)
    (mark,) = found(pictures)
    assert np.flatnonzero(mark.seen).tolist() == list(range(12, 36)) and shared(mark, coverage) > 0.7
    assert stretches(mark.seen, np.arange(40) / 2) == [(12, 35)]


def test_a_mark_of_four_shots_is_found_and_a_cloud_that_comes_and_goes_is_not() -> None:
    coverage = stamp("TV 7", (195, 20))
    pictures = film()
    pictures[8:24] = marked(pictures[8:24], coverage, 1.0)
    (mark,) = found(pictures)
    assert stretches(mark.seen, np.arange(40) / 2) == [(8, 23)] and shared(mark, coverage) > 0.7
    pictures = film()
    for shot in (0, 1, 4, 5, 8, 9):
        pictures[EACH * shot :][:EACH] = marked(pictures[EACH * shot :][:EACH], coverage, 1.0)
    assert found(pictures) == []


def test_a_horizon_that_all_scenes_have_at_one_height_is_no_mark() -> None:
    pictures = film()
    for x in range(14, 150):
        pictures[:, round(90 + 4 * np.sin(x / 25)) :][:, :3, x] = 15
    assert found(pictures) == []


def test_the_rim_of_a_plate_is_found_where_it_is_light_on_dark_and_dark_on_light() -> None:
    pictures, plate = film(), np.zeros((HEIGHT, WIDTH), np.float32)
    pictures[::2] //= 2
    for shot in range(0, SHOTS, 2):
        pictures[EACH * shot :][:EACH] = np.maximum(pictures[EACH * shot :][:EACH], 170)
        pictures[EACH * (shot + 1) :][:EACH] = np.minimum(pictures[EACH * (shot + 1) :][:EACH], 90)
    plate[8:32, 186:236] = 1
    (mark,) = found(marked(marked(pictures, plate, 1.0, 130), stamp("TV 7", (195, 24)), 1.0))
    assert shared(mark, plate) > 0.8


def test_stretches_end_where_the_mark_is_away_for_long() -> None:
    seen = np.zeros(100, bool)
    seen[3:20] = seen[25:30] = seen[80:90] = True
    assert stretches(seen, np.arange(100) / 2) == [(3, 29), (80, 89)]
    seen[10:20] = False
    assert stretches(seen, np.arange(100) / 2) == [(80, 89)]  # a sun, that some scenes have there
    assert stretches(seen[:3], np.arange(3)) == []


def test_bars_and_what_films_share_are_no_marks() -> None:
    pictures = film()
    pictures[:, :14] = pictures[:, -14:] = 0
    assert found(pictures, [Borders(14 / 144, 14 / 144, 0, 0)] * SHOTS) == []
    titled = marked(film(), stamp("TV 7", (195, 20)), 1.0)
    assert found(titled, left_out=set(range(7))) == []  # three shots are left, which are too few


def test_a_logo_is_painted_out_and_nothing_else_changes() -> None:
    picture = film()[0]
    coverage = stamp("TV 7", (195, 20))
    (mark,) = found(marked(film(), coverage, 1.0))
    size = WIDTH, HEIGHT, WIDTH, HEIGHT
    box = tuple(edge / side for edge, side in zip(mark[:4], size, strict=True))
    large = cv2.resize(np.repeat(marked(picture, coverage, 1.0)[..., None], 3, axis=2), None, fx=3, fy=3)
    painted = paint_out(large, [Overlay(box, mark.mask)])  # type: ignore[arg-type]
    clean = cv2.resize(np.repeat(picture[..., None], 3, axis=2), None, fx=3, fy=3)
    there = cv2.resize(coverage, None, fx=3, fy=3) > 0.3
    off = np.abs(painted.astype(int) - clean)[there].mean(), np.abs(large.astype(int) - clean)[there].mean()
    assert off[0] < 0.25 * off[1]
    assert np.array_equal(painted[:, :540], large[:, :540]) and np.array_equal(painted[100:], large[100:])


def test_letters_are_painted_out_of_their_line_alone() -> None:
    clean = np.repeat(cv2.resize(film()[0], (640, 360))[..., None], 3, axis=2)
    written = clean.copy()
    for colour, weight in (((0, 0, 0), 8), ((255, 255, 255), 3)):
        cv2.putText(written, "It is not far", (200, 330), cv2.FONT_HERSHEY_DUPLEX, 1.0, colour, weight, cv2.LINE_AA)
    changed = np.flatnonzero((written != clean).any(axis=(1, 2)))
    box = (190 / 640, (changed[0] - 2) / 360, 450 / 640, (changed[-1] + 2) / 360)
    painted = paint_out(written, [Overlay(box)])
    there = (written != clean).any(axis=2)
    assert np.abs(painted.astype(int) - clean)[there].mean() < 0.3 * np.abs(written.astype(int) - clean)[there].mean()
    assert np.array_equal(painted[:280], written[:280]) and np.array_equal(painted[:, :170], written[:, :170])


def test_the_strip_that_takes_least_is_cut_off() -> None:
    subtitle, logo = Overlay((0.2, 0.85, 0.8, 0.95)), Overlay((0.88, 0.05, 0.97, 0.12))
    assert spare((200, 100), None, [subtitle]) == (0, 0, 200, 85)
    assert spare((200, 100), None, [subtitle, logo]) == (0, 0, 176, 85) or spare((200, 100), None, [logo])[1] == 12
    assert spare((200, 100), (10, 20, 190, 80), [subtitle, logo]) == (10, 20, 190, 80)  # cut off with the bars
    assert all(a <= b for a, b in pairwise(spare((200, 100), None, [logo, subtitle])[::2]))
