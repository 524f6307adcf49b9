"""An episode file has the frames, cuts, opening, bars, captions and dissolve that its list of shots says."""

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from sakuga_world.films import BAR, FADE, LONGEST, OPENING, SHORTEST, Shot, plan, write_film
from sakuga_world.scene import TIMES

SIZE = (96, 64)
RATE = 24


def decoded(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == RATE
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]).astype(int)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[list[Shot], np.ndarray]]:
    folder = tmp_path_factory.mktemp("films")
    paths = {episode: folder / f"{episode}.mp4" for episode in (1, 2)}
    return {n: (write_film(path, n, seconds=26, size=SIZE), decoded(path)) for n, path in paths.items()}


def test_plans_follow_on_and_have_everything() -> None:
    for episode in range(6):
        shots = plan(episode)
        assert [shot.first for shot in shots] == [0, *(shot.last + 1 for shot in shots[:-1])]
        assert shots[-1].last + 1 == 90 * RATE
        lengths = [(shot.last - shot.first + 1) / RATE for shot in shots]
        assert min(lengths) >= SHORTEST and max(lengths) <= LONGEST
        kinds = [shot.kind for shot in shots]
        assert kinds.count("dissolve") == 1 and kinds.count("opening") == len(OPENING) and "captioned" in kinds
        assert all(a.scene.place != b.scene.place for a, b in pairwise(shots))
        assert [shot.bars for shot in shots] == [episode % 3 == 2 and shot.kind != "opening" for shot in shots]
        assert {shot.scene.time for shot in shots} == set(TIMES)


def test_an_episode_repeats_itself_and_no_other() -> None:
    assert plan(3) == plan(3)
    assert plan(3)[: len(OPENING)] == plan(4)[: len(OPENING)] and plan(3)[2:] != plan(4)[2:]
    assert plan(0)[len(OPENING)].first == 8 * RATE


def test_the_file_has_its_frames_and_its_cuts(films) -> None:
    for shots, frames in films.values():
        assert len(frames) == 26 * RATE == shots[-1].last + 1
        change = np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))
        cuts = [shot.first - 1 for shot in shots[1:] if not shot.fade]
        assert min(change[cuts]) > 1.7 * max(np.delete(change, cuts))


def test_a_dissolve_is_gradual(films) -> None:
    for shots, frames in films.values():
        (shot,) = (shot for shot in shots if shot.fade)
        before, after = frames[shot.first - 1], frames[shot.first + FADE]
        away = np.array([np.abs(frame - before).mean() for frame in frames[shot.first : shot.first + FADE + 1]])
        assert away[0] < 0.3 * away[-1] and 0.3 < away[FADE // 2] / np.abs(after - before).mean() < 0.8


def test_the_opening_is_the_same_picture_in_each_episode(films) -> None:
    (_, one), (_, two) = films.values()
    assert np.abs(one[: 8 * RATE] - two[: 8 * RATE]).mean() < 1 < np.abs(one[8 * RATE :] - two[8 * RATE :]).mean()


def test_bars_are_black_where_they_are_said(films) -> None:
    for shots, frames in films.values():
        for shot in shots:
            edge = round(BAR * SIZE[1]) - 1
            middle = frames[(shot.first + shot.last) // 2 + 4]
            assert (max(middle[:edge].max(), middle[-edge:].max()) < 30) == shot.bars


def test_captions_are_burned_in_where_they_are_said() -> None:
    from sakuga_world.films import _picture
    from sakuga_world.look import CEL

    shot = next(shot for shot in plan(1) if shot.kind == "captioned")
    size = (384, 256)
    with_words, without = (_picture(s, 0, CEL, size, RATE).astype(int) for s in (shot, shot._replace(words="")))
    rows = np.nonzero(np.abs(with_words - without).max((1, 2)))[0] / size[1]
    assert rows.min() > 0.8 and rows.max() < 0.97
    assert (with_words[round(0.83 * 256) : round(0.95 * 256)] > 240).all(-1).mean() > 0.01


def test_drawings_are_held_for_two_frames(films) -> None:
    shots, frames = films[1]
    shot = next(shot for shot in shots if shot.kind == "opening")
    change = np.abs(np.diff(frames[shot.first : shot.last], axis=0)).mean((1, 2, 3))
    assert change[1:40:2].mean() > 2 * change[0:40:2].mean()
