"""Bars around a picture: what counts as one, what a film's other shots tell, and where the cut falls."""

import numpy as np

from sakuga.signals.borders import Borders, crop_box, dark_edges, over_shot, settle

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
