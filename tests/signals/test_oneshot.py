"""The second look: a clip with a break is told from one in which much changes and nothing breaks."""

import numpy as np
import pytest

from sakuga.signals.oneshot import Break, breaks, longest_whole
from sakuga_world.draw import draw_clip
from sakuga_world.look import CEL
from sakuga_world.scene import Scene

SIZE = (192, 128)


@pytest.fixture(scope="module")
def meadow() -> np.ndarray:
    return draw_clip(Scene("car", "red", "day", "meadow", "right", "follow", 3), CEL, 25, 16, SIZE)


@pytest.fixture(scope="module")
def town() -> np.ndarray:
    return draw_clip(Scene("robot", "blue", "sunset", "town", "left", "still", 8), CEL, 25, 16, SIZE)


def mix(a: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """From `a` to `b` in even steps: after the last the whole of `b` would be shown."""
    part = (np.arange(1, len(a) + 1) / (len(a) + 1))[:, None, None, None]
    return np.rint(a * (1 - part) + b * part).astype(np.uint8)


@pytest.mark.parametrize("at", [1, 9, 23])
def test_a_cut_is_told_to_the_frame(meadow: np.ndarray, town: np.ndarray, at: int) -> None:
    assert breaks([*meadow[:at], *town[at:]]) == [Break(at - 1, at, "cut")]


@pytest.mark.parametrize("mixed", [4, 12, 20])
def test_a_dissolve_is_told_from_its_start_to_its_end(meadow: np.ndarray, town: np.ndarray, mixed: int) -> None:
    clip = [*meadow[:2], *mix(meadow[2 : 2 + mixed], town[2 : 2 + mixed])]
    (told,) = breaks([*clip, *town[2 + mixed :]])
    assert told.kind == "dissolve"
    assert abs(told.first - 1) <= 3 and abs(told.last - (2 + mixed)) <= 3


@pytest.mark.parametrize("level, kind", [(0, "fade to black"), (255, "fade to white")])
def test_a_fade_is_a_break(meadow: np.ndarray, level: int, kind: str) -> None:
    flat = np.full_like(meadow[:2], level)
    (told,) = breaks([*meadow[:15], *mix(meadow[15:23], level), *flat])
    assert told.kind == kind and abs(told.first - 14) <= 1
    (told,) = breaks([*flat, *mix(meadow[2:10], level)[::-1], *meadow[10:]])
    assert told.kind == kind and told.last >= 9


def test_what_only_looks_like_a_break_is_none(meadow: np.ndarray, town: np.ndarray) -> None:
    assert breaks(list(meadow)) == [] == breaks(list(town))
    held = meadow[np.arange(len(meadow)) // 3 * 3]
    assert breaks(list(held)) == []
    flash, impact = meadow.copy(), meadow.copy()
    flash[10] = 255
    flash[11] = mix(flash[11:12], 255)[0]
    impact[7:9] = 255 - impact[7:9]
    assert breaks(list(flash)) == [] == breaks(list(impact))
    dimmed = town.astype(np.float32) * np.linspace(1, 0.5, len(town))[:, None, None, None]
    assert breaks(list(dimmed.astype(np.uint8))) == []
    assert breaks([meadow[0]] * 17) == [] == breaks([meadow[0]]) == breaks([])


def test_the_longest_part_without_a_break() -> None:
    assert longest_whole(40, []) == (0, 39)
    assert longest_whole(40, [Break(9, 10, "cut")]) == (10, 39)
    assert longest_whole(40, [Break(5, 12, "dissolve"), Break(30, 31, "cut")]) == (12, 30)
    assert longest_whole(20, [Break(9, 10, "cut")]) == (0, 9)
