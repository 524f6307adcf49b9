"""Words burned into small pictures are found, and scenery is not."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from sakuga.signals.overlays import Line, Words, lasting, standing, words_in
from sakuga_world.films import _picture, plan
from sakuga_world.look import BASE, CEL, WOODCUT, Look

WIDTH, HEIGHT, FINE = 256, 144, 4  # letters are drawn on a picture this many times as large, as a film's are
WHITE, BLACK, YELLOW = (255, 255, 255), (0, 0, 0), (255, 225, 40)
SAYS = "It was not far to the sea"


def moving(frame: int) -> np.ndarray:
    """Coloured blobs that move 7 pixels a frame, with grain anew in each."""
    blobs = np.random.default_rng(1).integers(0, 256, (12, 19, 3), np.uint8)
    blobs = np.roll(cv2.resize(blobs, None, fx=16, fy=16), (3 * frame, 7 * frame), (0, 1))[:HEIGHT, :WIDTH]
    return np.clip(blobs + np.random.default_rng(frame).normal(0, 10, blobs.shape), 0, 255).astype(np.uint8)


def written(
    picture: np.ndarray, *lines: str, fill: tuple[int, int, int] = WHITE, edge: tuple[int, int, int] = BLACK,
    size: float = 0.07, bottom: float = 0.94,
) -> np.ndarray:  # fmt: skip
    """The picture with centred lines over its lower edge; sizes are shares of the height."""
    large = Image.fromarray(cv2.resize(picture, None, fx=FINE, fy=FINE))
    font = ImageFont.load_default(size * large.height)
    draw = ImageDraw.Draw(large)
    for index, line in enumerate(reversed(lines)):
        place = (large.width / 2, (bottom - 1.25 * size * index) * large.height)
        draw.text(place, line, fill, font, "md", stroke_width=round(0.08 * font.size), stroke_fill=edge)
    return cv2.resize(np.asarray(large), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("fill, edge", [(WHITE, BLACK), (YELLOW, BLACK), (BLACK, WHITE)])
@pytest.mark.parametrize("size", [0.055, 0.07, 0.1])
def test_a_subtitle_over_moving_noise_is_found_where_it_stands(
    fill: tuple[int, int, int], edge: tuple[int, int, int], size: float
) -> None:
    share, words = lasting([words_in(written(moving(k), SAYS, fill=fill, edge=edge, size=size)) for k in range(6)])
    assert share == 1.0 and words is not None
    assert words.top > 0.93 - 1.3 * size and 0.9 < words.bottom <= 1.0
    assert abs(words.left + words.right - 1) < 0.1 and 0.3 < words.right - words.left < 0.95


@pytest.mark.parametrize("says", ["No sun came over us now", "Jumping, playing, quietly going", "I saw a long way off"])
def test_the_box_is_tight_over_its_line(says: str) -> None:
    plain = np.full((HEIGHT, WIDTH, 3), 110, np.uint8)
    picture = written(plain, says)
    (words,) = words_in(picture)
    rows, columns = (np.flatnonzero((np.abs(picture.astype(int) - 110) > 30).any(axis=(2, axis))) for axis in (1, 0))
    box = columns[0] / WIDTH, rows[0] / HEIGHT, (columns[-1] + 1) / WIDTH, (rows[-1] + 1) / HEIGHT
    across, down = (min(words[k + 2], box[k + 2]) - max(words[k], box[k]) for k in (0, 1))
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (words, box)]
    assert across * down / (sum(areas) - across * down) > 0.68


def test_noise_without_words_has_none() -> None:
    assert [words_in(moving(k)) for k in range(6)] == [[]] * 6


def test_two_lines_are_two() -> None:
    for k in range(4):
        upper, lower = sorted(words_in(written(moving(k), SAYS, "and I went there alone")), key=lambda w: w.top)
        assert upper.top < lower.top and upper.bottom < lower.bottom and lower.bottom - upper.top < 0.25


@pytest.mark.parametrize("size", [0.14, 0.17])
def test_a_title_of_large_letters_is_found(size: float) -> None:
    plain = np.full((HEIGHT, WIDTH, 3), 70, np.uint8)
    (words,) = words_in(written(plain, "HOME AGAIN", size=size, bottom=0.5))
    assert 0.45 < words.right - words.left < 0.65 and 0.28 < words.top < words.bottom < 0.6


def signs(picture: np.ndarray, text: str, size: int, *strokes: tuple[tuple[int, int, int], int]) -> np.ndarray:
    """The picture with Japanese at its lower edge, once for each colour and weight of `strokes`."""
    large = cv2.resize(picture, None, fx=FINE, fy=FINE)
    for colour, weight in strokes:
        cv2.putText(large, text, (280, 540), colour, cv2.FontFace("uni"), size, weight)
    return cv2.resize(large, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


@pytest.mark.skipif(not hasattr(cv2, "FontFace"), reason="this OpenCV draws no Japanese")
def test_dense_signs_are_found_light_and_dark() -> None:
    paper = np.full((HEIGHT, WIDTH, 3), 225, np.uint8)
    light = [signs(moving(k), "東京動画株式会社製作", 46, (BLACK, 900), (WHITE, 400)) for k in range(3)]
    dark = [signs(paper, text, 60, (BLACK, 400)) for text in ("次回予告", "もうすぐ着きますよ", "終わり")]
    for picture in light + dark:
        (words,) = words_in(picture)
        assert words.top > 0.8


@pytest.mark.parametrize("look, episode", [(CEL, 2), (WOODCUT, 0), (BASE, 5)])
def test_captions_and_titles_of_the_world_are_found_and_nothing_else(look: Look, episode: int) -> None:
    for shot in plan(episode):
        pictures = [_picture(shot, index, look, (384, 256), 24) for index in (12, 24)]
        found = [words_in(cv2.resize(picture, (256, 171), interpolation=cv2.INTER_AREA)) for picture in pictures]
        assert all(found) if shot.words else not any(found), shot
        if shot.kind == "captioned":
            assert all(0.8 < words.top < words.bottom < 0.97 for lines in found for words in lines)


def bars(width: int, gap: int, height: int, rows: int = 1) -> np.ndarray:
    """Light upright bars on dark ground, row over row."""
    picture = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    for row in range(rows):
        for x in range(0, WIDTH, width + gap):
            picture[60 + row * 2 * height :][:height, x : x + width] = 230
    return picture


def test_things_in_a_row_are_no_words() -> None:
    assert words_in(bars(3, 3, 14)) == []  # a fence
    fence = np.full((HEIGHT * FINE, WIDTH * FINE, 3), 40, np.uint8)
    fence[240:296].reshape(56, -1, 16, 3)[:, :, :8] = fence[258:263] = fence[276:281] = 240  # with rails
    assert words_in(cv2.resize(fence, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)) == []
    assert words_in(bars(4, 5, 5, rows=6)) == []  # windows of a tower
    assert words_in(bars(14, 10, 3)) == []  # the dashes of a road
    assert words_in(bars(8, 8, 12)) == []  # crenels
    rain = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    for x, y in np.random.default_rng(2).integers(0, (WIDTH, HEIGHT), (300, 2)).tolist():
        cv2.line(rain, (x, y), (x + 3, y + 12), (220, 220, 220), 1, cv2.LINE_AA)
    assert words_in(rain) == []


def test_texture_that_goes_on_above_and_below_is_no_line() -> None:
    for seed in range(8):
        grain = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, (HEIGHT, WIDTH)), (0, 0), 1.1)
        strength = np.full((HEIGHT, 1), 54.0)
        strength[64:74] = 90  # lit more here
        picture = np.clip(110 + strength * grain / grain.std(), 0, 255).astype(np.uint8)
        assert words_in(np.repeat(picture[..., None], 3, axis=2)) == []


LINE = Words(0.3, 0.85, 0.7, 0.92)


def test_words_that_stand_are_told_from_what_moves() -> None:
    assert lasting([[LINE]] * 4) == (1.0, LINE)
    assert lasting([[], [LINE], [LINE], []]) == (0.5, LINE)
    wandering = [[Words(0.1 + 0.05 * k, 0.2, 0.3 + 0.05 * k, 0.3)] for k in range(8)]
    assert lasting(wandering)[0] == 1 / 8
    rising = [[Words(0.3, 0.8 - 0.05 * k, 0.7, 0.87 - 0.05 * k)] for k in range(8)]
    assert lasting(rising)[0] == 1 / 8
    assert lasting([[*wandering[k], LINE] for k in range(8)]) == (1.0, LINE)


def test_lines_that_follow_each_other_at_one_place_count_together() -> None:
    longer, same_start = Words(0.2, 0.84, 0.8, 0.92), Words(0.3, 0.86, 0.5, 0.93)
    assert lasting([[LINE], [longer]]) == (1.0, Words(0.2, 0.84, 0.8, 0.92))  # the same middle
    assert lasting([[LINE], [same_start]]) == (1.0, Words(0.3, 0.85, 0.7, 0.93))
    assert lasting([[LINE], [Words(0.1, 0.85, 0.4, 0.92)]])[0] == 0.5
    assert lasting([[LINE, longer]] * 2)[0] == 1.0  # a picture counts once


def test_without_words_there_is_no_place() -> None:
    assert lasting([]) == (0.0, None) and lasting([[], []]) == (0.0, None)


def test_a_place_is_found_among_very_many_lines() -> None:
    rng = np.random.default_rng(3)
    found = [[Words(x, y, x + 0.2, y + 0.05), LINE] for x, y in rng.uniform(0, 0.7, (1500, 2)).tolist()]
    assert lasting(found)[0] == 1.0


def test_a_line_is_told_for_as_long_as_it_stands() -> None:
    moved = Words(0.31, 0.85, 0.71, 0.92)
    assert standing([[], [LINE], [moved], [LINE], []]) == [Line(1, 3, 1.0, LINE)]
    assert standing([[LINE], [LINE], [], [LINE]]) == [Line(0, 3, 0.75, LINE)]  # missed once
    assert standing([[LINE], [LINE]]) == []  # what comes and goes is scenery
    assert standing([[LINE]] * 3 + [[]] * 4 + [[LINE]] * 3) == [Line(0, 2, 1.0, LINE), Line(7, 9, 1.0, LINE)]


def test_the_lines_of_a_dialogue_are_told_apart() -> None:
    short = Words(0.45, 0.85, 0.55, 0.92)
    upper = Words(0.3, 0.75, 0.7, 0.82)
    told = standing([[LINE, upper]] * 3 + [[short]] * 3)
    assert [(line.first, line.last, line.words) for line in told] == [(0, 2, upper), (0, 2, LINE), (3, 5, short)]
