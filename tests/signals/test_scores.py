"""Scores of a shot: drawings held on twos and threes, what stands still, blank, blurred, damaged, and what moves."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from films import write_film
from sakuga.core.media import film as media
from sakuga.signals.look import Look, Watcher, look_size
from sakuga.signals.scores import Scores, damage, new_drawings, score, sharpness, standing
from sakuga_world.draw import draw
from sakuga_world.look import CEL
from sakuga_world.scene import Scene

SIZE = (320, 208)
ROBOT = Scene("robot", "green", "night", "snow", "left", "still", 1)
FRAMES = 48


def watched(path: Path) -> Look:
    """What the pass over a film keeps."""
    info = media.probe(path)
    watcher = Watcher(look_size(info.width, info.height), keep_every=12)
    for index, _, planes in media.look(path, watcher.size):
        watcher.feed(planes.luma, planes.blue, planes.red)
        if index % watcher.keep_every == 0:
            watcher.keep(index, planes.rgb(), planes.whole())
    return watcher.look()


def scored(path: Path, pictures: Iterator[np.ndarray] | list[np.ndarray], crf: int = 20) -> Scores:
    write_film(path, pictures, 24, options={"crf": str(crf), "preset": "veryfast"})
    look = watched(path)
    return score(look, 0, len(look) - 1, 24)


def drawn(hold: int, grain: float = 0, scene: Scene = ROBOT, frames: int = FRAMES) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(1)
    for n in range(frames):
        picture = draw(scene, CEL, n // hold * hold / 24, SIZE)
        noise = rng.normal(0, grain, (SIZE[1], SIZE[0], 1)) if grain else 0
        yield np.clip(picture + noise, 0, 255).astype(np.uint8)


def flat(*colours: tuple[int, int, int]) -> list[np.ndarray]:
    return [np.full((SIZE[1], SIZE[0], 3), colour, np.uint8) for colour in colours for _ in range(24 // len(colours))]


@pytest.mark.parametrize("hold", [1, 2, 3, 4])
@pytest.mark.parametrize("grain", [0, 10])
def test_drawings_are_counted_through_grain_and_no_hold_of_an_animator_is_static(
    tmp_path: Path, hold: int, grain: float
) -> None:
    told = scored(tmp_path / "a.mp4", drawn(hold, grain), crf=26)
    assert told.drawings == pytest.approx(24 / hold, rel=0.05)
    assert told.static == 0


def test_what_stands_still_for_half_a_second_and_more_is_static(tmp_path: Path) -> None:
    held = [*drawn(1, frames=24), *[draw(ROBOT, CEL, 1, SIZE)] * 24]
    assert scored(tmp_path / "a.mp4", held).static == pytest.approx(0.5, abs=0.05)
    assert scored(tmp_path / "b.mp4", [held[0]] * 24).static == 1
    rng = np.random.default_rng(1)
    grainy = [
        np.clip(held[0] + rng.normal(0, 10, held[0].shape[:2])[..., None], 0, 255).astype(np.uint8) for _ in range(24)
    ]
    assert scored(tmp_path / "c.mp4", grainy).static == 1


def test_a_slow_fade_is_not_static() -> None:
    fading = np.repeat(np.linspace(200, 20, 48).astype(np.uint8), 12 * 16).reshape(48, 12, 16)
    assert standing(np.zeros(47, bool), fading, 24) == 0
    assert standing(np.zeros(47, bool), fading[:1].repeat(48, axis=0), 24) == 1


def test_of_one_frame_nothing_is_new_and_no_score_is_missing(tmp_path: Path) -> None:
    assert not len(new_drawings(np.empty(0)))
    write_film(tmp_path / "a.mp4", drawn(1, frames=3), 24)
    look = watched(tmp_path / "a.mp4")
    assert all(np.isfinite(value) for value in score(look, 1, 1, 24).row().values())
    assert score(look, 2, 2, 24).sharpness == score(look, 0, 0, 24).sharpness  # of the nearest kept picture


def test_black_and_one_colour_are_told_and_a_dark_picture_is_neither(tmp_path: Path) -> None:
    half = scored(tmp_path / "a.mp4", flat((0, 0, 0), (200, 40, 40)))
    assert (half.black, half.blank) == (0.5, 1)
    assert 0 < half.brightness < 0.4
    night = [(p * 0.15).astype(np.uint8) for p in drawn(2, frames=12)]
    told = scored(tmp_path / "b.mp4", night)
    assert (told.black, told.blank) == (0, 0)
    two_colours = flat((128, 90, 140))
    for picture in two_colours:
        picture[:, 160:] = cv2.cvtColor(picture[:1, :1], cv2.COLOR_RGB2GRAY)[0, 0]  # as light, of another colour
    assert scored(tmp_path / "c.mp4", two_colours).blank == 0


@pytest.mark.parametrize("subject", ["robot", "balloon"])
def test_a_camera_that_moves_is_told_from_a_subject_that_does(tmp_path: Path, subject: str) -> None:
    told = {}
    for camera in ("still", "follow", "zoom"):
        scene = Scene(subject, "green", "day", "town", "left", camera, 5)
        told[camera] = scored(tmp_path / f"{camera}.mp4", drawn(2, scene=scene, frames=24))
    assert told["still"].camera < 0.04 < told["zoom"].camera and told["follow"].camera > 0.1
    assert told["still"].subject > told["still"].camera


def test_a_pan_goes_as_far_as_it_does_and_a_film_that_trembles_goes_nowhere(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    painted = cv2.resize(rng.integers(40, 220, (26, 120, 3), np.uint8), (960, 208), interpolation=cv2.INTER_CUBIC)
    pan = [painted[:, 8 * n : 8 * n + 320] for n in range(24)]
    assert scored(tmp_path / "a.mp4", pan).camera == pytest.approx(8 * 24 / 320, rel=0.1)
    trembling = [painted[:, 4 * (n % 2) : 4 * (n % 2) + 320] for n in range(24)]
    assert scored(tmp_path / "b.mp4", trembling).camera < 0.05


@pytest.mark.parametrize("spoil", ["blur", "crf"])
def test_sharpness_falls_with_blur_and_damage_grows_with_compression(tmp_path: Path, spoil: str) -> None:
    pictures = list(drawn(2, frames=12, scene=Scene("car", "red", "day", "town", "left", "follow", 3)))
    if spoil == "blur":
        blurred: Callable[[float], list[np.ndarray]] = lambda s: [cv2.GaussianBlur(p, (0, 0), s) for p in pictures]  # noqa: E731
        told = [scored(tmp_path / "a.mp4", blurred(s), crf=16).sharpness for s in (0.01, 0.7, 1.4, 2.8)]
        assert told == sorted(told, reverse=True) and told[0] > 0.6 and told[-1] < 0.3
    else:
        told = [scored(tmp_path / "a.mp4", pictures, crf=crf).damage for crf in (18, 27, 36, 45)]
        assert told == sorted(told) and told[-1] > told[0] + 1


def test_a_picture_without_edges_is_neither_sharp_nor_damaged_and_a_small_one_can_be_asked() -> None:
    plain = np.full((200, 320), 90, np.uint8)
    assert (sharpness(plain), damage(plain)) == (0, 1)
    assert damage(plain[:, :20]) == 1 and sharpness(plain[:20, :20]) == 0


def test_blocks_are_found_wherever_their_grid_lies() -> None:
    blocks = np.random.default_rng(1).integers(100, 108, (30, 40)).repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)
    assert damage(blocks) > 10 and damage(blocks[:, 3:]) > 10
