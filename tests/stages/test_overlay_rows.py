"""overlays: logos and words of films are rows with place and time, and at export they are dropped, cut off, painted out."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from films import write_film
from sakuga import api
from sakuga.core.errors import SakugaError
from sakuga.core.media.mask import read_mask
from sakuga.core.media.picture import read_picture
from sakuga.core.project import Project
from sakuga.signals.look import WORDS_EVERY
from sakuga.signals.overlays import Words
from sakuga_world.films import Shot, _pictures, plan
from sakuga_world.look import CEL

SIZE, RATE = (320, 200), 12
LOGO = (262, 10, 304, 34)  # left, top, right, bottom in pixels


def shared(one: list[float], other: tuple[float, ...]) -> float:
    """Intersection over union of two boxes."""
    across, down = (max(0.0, min(one[k + 2], other[k + 2]) - max(one[k], other[k])) for k in (0, 1))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return across * down / (sum(areas) - across * down)


@pytest.fixture(scope="module")
def episode(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Shot]]:
    """An episode with a logo in its upper right corner from its sixth second on."""
    path, shots = tmp_path_factory.mktemp("film") / "e.mp4", plan(0, 34, RATE)
    pictures = []
    for index, picture in enumerate(_pictures(shots, CEL, SIZE, RATE)):
        if index >= 6 * RATE:
            left, top, right, bottom = LOGO
            sign = picture.copy()
            cv2.rectangle(sign, (left, top), (right - 1, bottom - 1), (250, 250, 250), -1)
            cv2.putText(sign, "TV", (left + 7, bottom - 6), cv2.FONT_HERSHEY_DUPLEX, 0.6, (20, 20, 20), 2, cv2.LINE_AA)
            picture = cv2.addWeighted(picture, 0.3, sign, 0.7, 0)
        pictures.append(picture)
    return write_film(path, pictures, RATE), shots


@pytest.fixture(scope="module")
def known(empty_root: Path, episode: tuple[Path, list[Shot]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has looked at it."""
    import small

    root = tmp_path_factory.mktemp("known") / "root"
    with small.copy(empty_root, root) as project:
        api.add(project, [episode[0]])
        assert not api.shots(project).failed
    return root


@pytest.fixture
def project(known: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    import small

    with small.copy(known, tmp_path / "root") as project:
        yield project


def test_the_logo_is_a_row_with_its_place_and_time(project: Project) -> None:
    (row,) = project.rows("SELECT * FROM overlay WHERE kind = 'logo'")
    box = tuple(edge / side for edge, side in zip(LOGO, (*SIZE, *SIZE), strict=True))
    assert shared(json.loads(row["box"]), box) >= 0.7
    assert row["first"] == pytest.approx(6 * RATE, abs=RATE) and row["last"] == pytest.approx(34 * RATE - 1, abs=RATE)
    assert row["share"] > 0.9 and row["mask"]


def test_captions_are_rows_for_as_long_as_they_stand(project: Project, episode: tuple[Path, list[Shot]]) -> None:
    rows = project.rows("SELECT * FROM overlay WHERE kind = 'words'")
    for shot in (shot for shot in episode[1] if shot.words):
        lines = [row for row in rows if row["first"] <= shot.last and row["last"] >= shot.first]
        assert lines and lines[0]["text"] is None
        if shot.kind == "captioned":
            assert lines[0]["first"] == pytest.approx(shot.first, abs=WORDS_EVERY)
            assert lines[0]["last"] == pytest.approx(shot.last, abs=WORDS_EVERY)
    assert any(shot.kind == "captioned" for shot in episode[1])
    plain = [shot for shot in episode[1] if not shot.words]
    middles = [(shot.first + shot.last) // 2 for shot in plain]
    assert not [row for row in rows for middle in middles if row["first"] <= middle <= row["last"]]


def decide(project: Project, **fates: str) -> None:
    project.settings = project.settings.model_copy(
        update={"export": project.settings.export.model_copy(update={"clips": False, **fates})}
    )
    api.pick(project, auto=True)


def test_shots_with_a_logo_are_left_out_with_the_reason(project: Project) -> None:
    decide(project, logos="drop")
    rows = project.rows("SELECT first, kept, reason FROM pick JOIN shot ON name = shot ORDER BY first")
    told = [row for row in rows if row["reason"] == "a logo stands over its picture"]
    assert told and all(not row["kept"] for row in told) and any(row["kept"] for row in rows)
    decide(project, words="drop")
    assert project.rows("SELECT 1 FROM pick WHERE reason = 'words stand over its picture'")


def logo_shots(project: Project) -> list[str]:
    query = (
        "SELECT shot.name FROM shot JOIN overlay ON kind = 'logo' WHERE shot.first > overlay.first AND shot.words = 0"
    )
    return [row["name"] for row in project.rows(query)]


def test_a_logo_is_cut_off_or_painted_out(project: Project, episode: tuple[Path, list[Shot]]) -> None:
    name = logo_shots(project)[0]
    decide(project)
    stills = {}
    for fate in ("keep", "crop", "inpaint"):
        assert not api.export(project, clips=False, logos=fate).failed
        (row,) = project.rows("SELECT file FROM item WHERE shot = ?", name)
        stills[fate] = read_picture(project.path(row["file"])).astype(int)
    kept, cut, painted = stills.values()
    assert cut.shape[0] * cut.shape[1] < 0.95 * kept.shape[0] * kept.shape[1]
    assert painted.shape == kept.shape
    left, top, right, bottom = LOGO
    inside = slice(top + 2, bottom - 2), slice(left + 2, right - 2)
    around = np.median(kept[top : bottom + 8, left - 14 : left - 6])
    assert abs(np.median(painted[inside]) - around) < abs(np.median(kept[inside]) - around)
    assert np.array_equal(painted[80:], kept[80:]) and np.array_equal(painted[:, :220], kept[:, :220])


def test_a_logo_and_words_are_masked(project: Project) -> None:
    name = logo_shots(project)[0]
    decide(project)
    assert not api.export(project, clips=False, logos="mask", words="mask").failed
    (row,) = project.rows("SELECT file, mask FROM item WHERE shot = ?", name)
    assert row["mask"] == row["file"].replace("dataset/stills", "dataset/masks/stills")
    mask = read_mask(project.path(row["mask"]), [0], own=False)[0]
    assert mask.shape == read_picture(project.path(row["file"])).shape[:2]
    left, top, right, bottom = LOGO
    assert not mask[top + 1 : bottom - 1, left + 1 : right - 1].any()
    assert mask[80:].min() == mask[:, :220].min() == 255  # and nothing else
    worded = "SELECT file, mask FROM item JOIN shot ON shot.name = shot WHERE shot.words > 0"
    masks = [read_mask(project.path(row["mask"]), [0], own=False)[0] for row in project.rows(worded)]
    assert masks and all(0.01 < (mask == 0).mean() < 0.25 for mask in masks)
    assert not api.export(project, clips=False).failed  # as it is: masks go too
    assert not project.rows("SELECT 1 FROM item WHERE mask != ''") and not list(
        project.path("dataset/masks").rglob("*.png")
    )


def test_a_picture_of_which_too_little_would_be_left_is_set_aside(project: Project) -> None:
    name = logo_shots(project)[0]
    project.db.execute("UPDATE overlay SET box = '[0.3, 0.3, 0.7, 0.7]' WHERE kind = 'logo'")
    decide(project)
    failed = api.export(project, clips=False, logos="crop").failed
    assert "too little of the picture is left when its logos and words are cut off" in failed[name]


def test_words_are_read_where_that_is_asked_for(
    project: Project, episode: tuple[Path, list[Shot]], monkeypatch: pytest.MonkeyPatch
) -> None:
    project.settings = project.settings.model_copy(
        update={"overlays": project.settings.overlays.model_copy(update={"read": True})}
    )
    assert not api.shots(project).failed
    rows = project.rows("SELECT first, last, text FROM overlay WHERE kind = 'words' ORDER BY first")
    spoken = [shot for shot in episode[1] if shot.kind == "captioned"]
    for shot in spoken:
        (text,) = {row["text"] for row in rows if row["first"] <= (shot.first + shot.last) / 2 <= row["last"]}
        letters = [c for c in shot.words.lower() if c.isalpha()]
        read = [c for c in text.lower() if c.isalpha()]
        assert sum(c in letters for c in read) >= 0.8 * len(letters)


def test_words_cannot_be_read_without_rapidocr(monkeypatch: pytest.MonkeyPatch) -> None:
    from sakuga.signals.reading import words_reader

    monkeypatch.setitem(__import__("sys").modules, "rapidocr", None)
    with pytest.raises(SakugaError, match="cannot be read without RapidOCR .* set overlays.read to false"):
        words_reader()


def test_what_was_read_and_says_nothing_is_no_words(project: Project) -> None:
    from sakuga.core.overlays import over

    row = project.rows("SELECT film, first, last FROM overlay WHERE kind = 'words' ORDER BY first")[0]
    place = row["film"], row["first"], row["last"]
    assert over(project, "words", *place)[0]["box"] and len(Words(*over(project, "words", *place)[0]["box"])) == 4
    project.db.execute("UPDATE overlay SET text = '' WHERE kind = 'words'")
    assert over(project, "words", *place) == []
