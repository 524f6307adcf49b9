"""Who is in a picture: the size of a shot by its face, people counted by their parts, and what NudeNet really sees."""

import sys
from importlib import import_module

import numpy as np
import pytest

from portraits import portrait
from sakuga.core.errors import SakugaError
from sakuga.signals import subjects
from sakuga.signals.subjects import Detector, Part, face_height, looked_at, nudity, parts_detector, people, shot_size

SIZE = (256, 192)


def parts(*labels: str, score: float = 0.7) -> list[Part]:
    return [Part(label, score, 0.1, 0.2, 0.3, 0.6) for label in labels]


@pytest.mark.parametrize(
    ("face", "size"),
    [(0.0, "none"), (0.03, "long shot"), (0.08, "long shot"), (0.09, "full shot"), (0.15, "full shot"),
     (0.16, "medium shot"), (0.28, "medium shot"), (0.29, "medium close-up"), (0.42, "medium close-up"),
     (0.43, "close-up"), (0.85, "close-up"), (0.86, "extreme close-up"), (1.0, "extreme close-up")],
)  # fmt: skip
def test_a_shot_is_named_by_how_many_heads_high_it_is(face: float, size: str) -> None:
    assert shot_size(face) == size


@pytest.mark.parametrize(
    ("found", "count"),
    [
        ([], 0),
        (["FACE_MALE", "FACE_FEMALE"], 2),
        (["FACE_MALE", "BELLY_COVERED", "FEET_COVERED", "FEET_EXPOSED", "ARMPITS_EXPOSED"], 1),
        (["FEET_COVERED"] * 3, 2),
        (["FEMALE_BREAST_COVERED", "FEMALE_BREAST_EXPOSED", "MALE_BREAST_EXPOSED"], 2),
        (["ANUS_COVERED"], 0),
    ],
)
def test_people_are_counted_by_the_parts_that_they_have(found: list[str], count: int) -> None:
    assert people(parts(*found)) == count
    assert people(parts(*found, score=0.2)) == 0


def test_the_tallest_face_that_is_sure_counts() -> None:
    faces = [Part("FACE_MALE", 0.5, 0, 0.1, 1, 0.3), Part("FACE_FEMALE", 0.5, 0, 0.1, 1, 0.5)]
    assert face_height([*faces, Part("FACE_MALE", 0.2, 0, 0, 1, 1)]) == pytest.approx(0.4)
    assert face_height(parts("FEET_COVERED")) == 0


def test_only_bare_parts_are_nudity() -> None:
    assert nudity(parts("FEMALE_BREAST_COVERED", "BELLY_EXPOSED", "FACE_FEMALE", "MALE_BREAST_EXPOSED")) == 0
    assert nudity([*parts("BUTTOCKS_EXPOSED", score=0.25), *parts("FEMALE_BREAST_EXPOSED", score=0.6)]) == 0.6


def test_three_of_the_kept_pictures_are_looked_at() -> None:
    kept = np.arange(0, 120, 12)
    assert looked_at(kept, 10, 90) == [12, 48, 84]
    assert looked_at(kept, 24, 36) == [24, 36] and looked_at(kept, 24, 30) == [24] and looked_at(kept, 25, 30) == []


@pytest.fixture(scope="module")
def detect() -> Detector:
    return parts_detector()


def test_the_names_are_those_that_the_network_gives() -> None:
    labels = vars(import_module("nudenet.nudenet"))["__labels"]
    assert set(labels) >= subjects.BARE
    assert {part.kind for part in parts(*labels)} == {*subjects.A_PERSON_HAS, ""}


@pytest.mark.parametrize(
    ("face", "size"),
    [(0.9, "extreme close-up"), (0.6, "close-up"), (0.35, "medium close-up"), (0.22, "medium shot"), (0.13, "full shot"),
     (0.075, "long shot")],
)  # fmt: skip
def test_the_size_of_a_shot_is_seen(detect: Detector, face: float, size: str) -> None:
    found = detect(portrait(SIZE, [(0.5, 0.45, face)]))
    assert face_height(found) == pytest.approx(face, rel=0.15)
    assert shot_size(face_height(found)) == size and people(found) == 1 and nudity(found) < subjects.SURELY_NUDE


def test_people_are_seen_one_by_one(detect: Detector) -> None:
    found = detect(portrait(SIZE, [(0.2, 0.4, 0.3), (0.5, 0.45, 0.3), (0.8, 0.4, 0.3)]))
    assert people(found) == 3
    places = sorted((part.left + part.right) / 2 for part in found if part.kind == "FACE")
    assert places == pytest.approx([0.2, 0.5, 0.8], abs=0.03)
    assert detect(portrait(SIZE, [])) == []


def test_it_sees_red_as_red(detect: Detector) -> None:
    picture = portrait(SIZE, [(0.5, 0.45, 0.1)])
    scores = [max(part.score for part in detect(p)) for p in (picture, picture[..., ::-1])]
    assert scores[0] > scores[1] + 0.1


def test_without_nudenet_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nudenet", None)
    with pytest.raises(SakugaError, match=r'be told without NudeNet .* `pip install "sakuga\[subjects\]"`, or set'):
        parts_detector()
