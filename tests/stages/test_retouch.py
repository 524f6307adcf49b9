"""retouch: a person's picture or clip stands for the dataset's own, survives exports, and goes again with --undo."""

from pathlib import Path

import numpy as np
import pytest

from films import number_picture, numbered_film
from sakuga import api
from sakuga.core.errors import SakugaError
from sakuga.core.files import file_sha256
from sakuga.core.media.film import frames, scan_times
from sakuga.core.media.picture import read_picture, write_png
from sakuga.core.project import Project


def item(project: Project, kind: str) -> dict[str, object]:
    return project.rows("SELECT * FROM item WHERE kind = ? ORDER BY name", kind)[0]


def changed(project: Project, row: dict[str, object], path: Path) -> Path:
    """The item's picture, with its upper half red."""
    rgb = read_picture(project.path(str(row["file"]))).copy()
    rgb[: len(rgb) // 2] = (200, 0, 0)
    write_png(path, rgb)
    return path


def test_a_still_is_replaced_kept_through_exports_and_put_back(exported: Project, tmp_path: Path) -> None:
    row = item(exported, "still")
    name, place = str(row["name"]), exported.path(str(row["file"]))
    before = place.read_bytes()
    mine = changed(exported, row, tmp_path / "mine.png")
    told = api.retouch(exported, name, mine, note="by hand")
    assert place.read_bytes() == mine.read_bytes() and told["came_from"] == str(mine) and told["note"] == "by hand"
    assert exported.path(told["original"]).read_bytes() == before
    assert exported.rows("SELECT sha256 FROM item WHERE name = ?", name)[0]["sha256"] == file_sha256(mine)
    words = place.with_suffix(".txt").read_text("utf-8")
    mine.unlink()
    assert not api.export(exported, quality=10).failed  # every item is made anew
    assert (read_picture(place)[0] == (200, 0, 0)).all() and place.with_suffix(".txt").read_text("utf-8") == words
    assert exported.rows("SELECT file FROM retouch") == [{"file": told["file"]}]
    api.retouch(exported, name, undo=True)
    assert exported.rows("SELECT * FROM retouch") == [] and not exported.path(told["file"]).exists()
    assert not (read_picture(place)[0] == (200, 0, 0)).all()
    assert exported.rows("SELECT sha256 FROM item WHERE name = ?", name)[0]["sha256"] == file_sha256(place)


def test_a_second_retouch_keeps_the_first_original(exported: Project, tmp_path: Path) -> None:
    row = item(exported, "still")
    before = exported.path(str(row["file"])).read_bytes()
    api.retouch(exported, str(row["name"]), changed(exported, row, tmp_path / "one.png"))
    second = read_picture(tmp_path / "one.png")[::-1]
    write_png(tmp_path / "two.png", second)
    told = api.retouch(exported, str(row["name"]), tmp_path / "two.png")
    assert np.array_equal(read_picture(exported.path(str(row["file"]))), second)
    assert exported.path(told["original"]).read_bytes() == before
    api.retouch(exported, str(row["name"]), undo=True)
    assert exported.path(str(row["file"])).read_bytes() == before


@pytest.mark.parametrize("suffix, rate", [(".mp4", None), (".mkv", None), (".mp4", 30)])
def test_a_clip_is_replaced_frame_for_frame(exported: Project, tmp_path: Path, suffix: str, rate: int | None) -> None:
    row = item(exported, "clip")
    size, count = (int(str(row["width"])), int(str(row["height"]))), int(str(row["frames"]))
    mine = numbered_film(tmp_path / f"mine{suffix}", count, rate or int(str(row["fps"])), size, bframes=0)
    api.retouch(exported, str(row["name"]), mine)
    place = exported.path(str(row["file"]))
    times = scan_times(place)
    assert len(times) == count and times[1] - times[0] == pytest.approx(1 / int(str(row["fps"])), abs=1e-3)
    for index, rgb in frames(place, [0, count - 1]):
        assert np.abs(rgb.astype(int) - number_picture(index, size)).mean() < 12
    assert not [f for f in api.check(exported) if f["item"] == row["name"] and f["severity"] == "error"]


def test_what_does_not_fit_is_told_in_one_sentence(exported: Project, tmp_path: Path) -> None:
    still, clip = item(exported, "still"), item(exported, "clip")
    write_png(tmp_path / "small.png", np.zeros((8, 8, 3), np.uint8))
    numbered_film(tmp_path / "short.mp4", 3, 16, (128, 96))
    for name, file, why in (
        (still["name"], "small.png", "is 8x8 and .* save it in that size"),
        (clip["name"], "short.mp4", "has 3 frames and .* give as many"),
        (clip["name"], "small.png", "cannot stand for .* give one of its kind"),
        (still["name"], "none.png", "is no file; name the clip or picture"),
        ("stills/none", "small.png", "no clip or still is called 'stills/none'"),
    ):
        with pytest.raises(SakugaError, match=why):
            api.retouch(exported, str(name), tmp_path / file)
    with pytest.raises(SakugaError, match="was not retouched; there is nothing to undo"):
        api.retouch(exported, str(still["name"]), undo=True)
    with pytest.raises(SakugaError, match="name either the file that is to stand for the item, or --undo"):
        api.retouch(exported, str(still["name"]))
    assert exported.rows("SELECT * FROM retouch") == []


def test_a_replacement_that_no_longer_fits_is_told_and_kept(exported: Project, tmp_path: Path) -> None:
    row = item(exported, "still")
    name = str(row["name"])
    told = api.retouch(exported, name, changed(exported, row, tmp_path / "mine.png"))
    failed = api.export(exported, max_height=64).failed
    assert "its retouched file does not fit any more: " in failed[name]
    assert read_picture(exported.path(str(row["file"]))).shape[0] == 64 and exported.path(told["file"]).exists()
    assert not api.export(exported).failed
    assert (read_picture(exported.path(str(row["file"])))[0] == (200, 0, 0)).all()


def test_an_original_that_was_deleted_is_told(exported: Project, tmp_path: Path) -> None:
    row = item(exported, "still")
    told = api.retouch(exported, str(row["name"]), changed(exported, row, tmp_path / "mine.png"))
    exported.path(told["original"]).unlink()
    with pytest.raises(SakugaError, match="the original of .* is gone from .* and export again"):
        api.retouch(exported, str(row["name"]), undo=True)


def test_an_adopted_item_is_its_folders_own(exported: Project, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    write_png(tmp_path / "mine" / "a.png", np.full((64, 96, 3), 90, np.uint8))
    api.adopt(exported, [tmp_path / "mine"])
    with pytest.raises(SakugaError, match="was adopted and lies in a folder of yours; change it there"):
        api.retouch(exported, "mine/a", tmp_path / "mine" / "a.png")
