"""Bars around a picture: what counts as one, what a film's other shots tell, and where the cut falls."""

import cv2
import numpy as np
import pytest

from sakuga.signals.borders import (
    RADIUS,
    Borders,
    crop_box,
    dark_edges,
    inside,
    over_shot,
    settle,
    unchanging,
    unlike,
    with_corners,
)  # fmt: skip

NONE = Borders()


def barred(
    top: int = 0, bottom: int = 0, left: int = 0, right: int = 0, size: tuple[int, int] = (160, 90)
) -> np.ndarray:
    """A luma picture of mid grey noise with bars of so many pixels."""
    width, height = size
    luma = np.random.default_rng(1).uniform(0.2, 0.9, (height, width)).astype(np.float32)
    luma[:top], luma[height - bottom :] = 0.01, 0.02
    luma[:, :left], luma[:, width - right :] = 0.01, 0.02
    return luma


def test_dark_rows_and_columns_are_counted_from_each_side() -> None:
    assert dark_edges(barred()) == (0, 0, 0, 0)
    assert dark_edges(barred(top=9, bottom=10)) == (9, 10, 0, 0)
    assert dark_edges(barred(left=20, right=19)) == (0, 0, 20, 19)
    assert dark_edges(barred(7, 7, 11, 12)) == (7, 7, 11, 12)  # a window box
    assert dark_edges(np.zeros((90, 160), np.float32)) == (90, 90, 160, 160)


def test_noise_in_a_bar_is_still_a_bar_and_a_dark_sky_with_a_moon_is_not_all_of_one() -> None:
    noisy = barred(top=9, bottom=9)
    noisy[3, 80] = 0.5
    assert dark_edges(noisy)[:2] == (9, 9)
    night = np.full((90, 160), 0.03, np.float32)
    night[20:30, 100:112] = 0.8
    assert dark_edges(night)[0] == 20


def test_a_dark_moment_does_not_widen_the_bars_of_a_shot() -> None:
    edges = np.array([[9, 9, 0, 0]] * 8 + [[90, 90, 160, 160]] * 2)
    assert over_shot(edges, (160, 90)) == Borders(0.1, 0.1, 0, 0)


def test_bars_are_alike_on_opposite_sides() -> None:
    letterbox, shadow = Borders(0.12, 0.12, 0, 0), Borders(0.3, 0, 0, 0)
    assert settle([(letterbox, 5), (NONE, 5), (shadow, 5)]) == [letterbox, NONE, Borders(0.12, 0.12, 0, 0)]
    assert settle([(shadow, 5)]) == [NONE]
    assert settle([(Borders(0, 0, 0.13, 0.125), 5)]) == [Borders(0, 0, 0.125, 0.125)]


def test_a_subtitle_in_the_lower_bar_does_not_hide_the_bars_that_the_film_has() -> None:
    letterbox, under_words = Borders(0.12, 0.12, 0, 0), Borders(0.12, 0.04, 0, 0)
    assert settle([(letterbox, 20), (under_words, 5)]) == [letterbox, letterbox]
    assert settle([(letterbox, 1), (under_words, 1), (NONE, 98)])[1] == NONE  # so rare it may be chance


def test_bars_may_change_within_a_film() -> None:
    wide, old = Borders(0.12, 0.12, 0, 0), Borders(0, 0, 0.125, 0.125)
    assert settle([(wide, 5), (NONE, 5), (old, 5)]) == [wide, NONE, old]


def test_a_picture_that_is_dark_all_over_has_no_bars() -> None:
    assert settle([(Borders(1, 1, 1, 1), 5), (Borders(0.48, 0.48, 0, 0), 5)]) == [NONE, NONE]


def test_the_cut_is_found_to_the_pixel_and_takes_the_blended_row_too() -> None:
    full = barred(top=138, bottom=139, size=(1920, 1080))
    assert crop_box(Borders(0.125, 0.125, 0, 0), [full]) == (0, 139, 1920, 940)
    dark = np.zeros((1080, 1920), np.float32)  # nothing to be seen at full size: what was told holds
    assert crop_box(Borders(0.125, 0.125, 0, 0), [dark]) == (0, 136, 1920, 944)


def test_a_grey_bar_is_a_bar_and_a_night_of_its_luma_is_not() -> None:
    lifted = barred()
    lifted[:12], lifted[-12:] = 0.15, 0.16
    lifted += np.random.default_rng(3).normal(0, 0.01, lifted.shape).astype(np.float32)
    assert dark_edges(lifted) == (12, 12, 0, 0)
    night = np.random.default_rng(4).uniform(0.02, 0.28, (90, 160)).astype(np.float32)
    assert dark_edges(night) == (0, 0, 0, 0)


def test_grain_in_a_lifted_bar_does_not_hide_it() -> None:
    grainy = barred(top=9, bottom=9) + np.random.default_rng(5).normal(0.06, 0.025, (90, 160)).astype(np.float32)
    assert dark_edges(grainy.clip(0, 1))[:2] == (9, 9)


def test_a_subtitle_that_stands_in_the_bar_for_most_of_a_shot_is_no_end_of_it() -> None:
    edges = np.array([[12, 4, 0, 0]] * 7 + [[12, 11, 0, 0]] * 3)
    assert over_shot(edges, (160, 100)) == Borders(0.12, 0.11, 0, 0)
    assert over_shot(np.array([[12, 4, 0, 0]] * 10), (160, 100)) == Borders(0.12, 0.04, 0, 0)


def film(pictures: int = 14, size: tuple[int, int] = (160, 90)) -> np.ndarray:
    """Unlike luma pictures [K, H, W], uint8."""
    width, height = size
    small = np.random.default_rng(6).integers(60, 250, (pictures, 9, 16), np.uint8)
    return np.stack([cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC) for picture in small])


def test_bars_of_any_colour_are_told_from_what_never_changes() -> None:
    white = film()
    white[:, :, :20] = white[:, :, -20:] = 220
    assert unchanging(white) == Borders(0, 0, 0.125, 0.125)
    assert settle([(NONE, 3), (NONE, 4)], unchanging(white)) == [Borders(0, 0, 0.125, 0.125)] * 2
    assert unchanging(white[:6]) == NONE  # a painted ground would be as still
    assert unchanging(film()) == NONE and unchanging(np.full((20, 90, 160), 128, np.uint8)) == NONE


def test_a_figure_on_a_plain_ground_has_no_bars() -> None:
    y, x = np.mgrid[:90, :160]
    figure = film()
    figure[:, np.hypot(x - 80, y - 45) > 30] = 230
    assert unchanging(figure) == NONE


def with_round_corners(pictures: np.ndarray, radius: float, level: int) -> np.ndarray:
    """The pictures with corners of that luma beyond a radius in pixels."""
    height, width = pictures.shape[1:]
    y, x = np.mgrid[:height, :width] + 0.5
    off = [np.maximum(0, radius - np.minimum(a, length - a)) for a, length in ((y, height), (x, width))]
    return np.where(np.hypot(*off) > radius, np.uint8(level), pictures)


@pytest.mark.parametrize("level", [0, 40])
def test_rounded_corners_are_found_and_cut_off_to_the_pixel(level: int) -> None:
    told = with_corners([NONE], with_round_corners(film(), 14, level), [0] * 14)
    assert told[0][:4] == NONE[:4] and told[0].corner * 160 == pytest.approx(14 / RADIUS, abs=1.1)
    full = with_round_corners(film(3, (1600, 900)), 140, level) / np.float32(255)
    left, top, right, bottom = crop_box(told[0], list(full))
    assert left == top == 1600 - right == 900 - bottom == pytest.approx(140 / RADIUS, abs=2)
    assert full[0, [top, top, bottom - 1, bottom - 1], [left, right - 1, left, right - 1]].min() > 0.16


def test_corners_that_are_dark_by_chance_or_with_their_side_stay() -> None:
    vignette = film()
    y, x = np.mgrid[:90, :160]
    vignette[:, np.hypot(x - 80, y - 45) > 60] = 0
    assert with_corners([NONE], vignette, [0] * 14) == [NONE]
    one = film()
    one[:, :4, :4] = one[:, -4:, -4:] = 0
    assert with_corners([NONE], one, [0] * 14) == [NONE]
    assert with_corners([NONE], with_round_corners(film(), 14, 0)[:6], [0] * 6) == [NONE]  # too few to tell


def test_words_in_a_bar_do_not_move_the_cut() -> None:
    full = barred(top=138, bottom=138, size=(1920, 1080))
    full[1080 - 130 : 1080 - 90, 600:1300:4] = 0.95
    assert crop_box(Borders(0.125, 0.125, 0, 0), [full]) == (0, 139, 1920, 941)


def test_what_is_inside_of_bars_and_round_corners() -> None:
    seen = inside((160, 90), Borders(0.1, 0.1, 0, 0), 2)
    assert not seen[:11].any() and not seen[-11:].any() and seen[11:-11, 2:-2].all() and not seen[:, :2].any()
    rounded = inside((160, 90), Borders(corner=4 / 160), 0)
    assert not rounded[1, 1] and not rounded[2, 2] and rounded[5, 5] and rounded[0, 80] and rounded[45, 0]


def test_unlike_pictures_are_chosen_once_and_spread() -> None:
    assert unlike([0b0, 0b1, (1 << 20) - 1, (1 << 20) - 2, ((1 << 20) - 1) << 30], 9) == [0, 2, 4]
    assert len(unlike([((1 << 12) - 1) << shift for shift in range(0, 52, 12)], 2)) == 2
