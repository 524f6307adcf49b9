"""export: exactly the frames that the model takes, from the right places of the film, and what becomes of what was made."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import small
from films import cut_film, number_picture, numbered_film, read_number, write_film
from sakuga import api
from sakuga.core import captions
from sakuga.core.media.film import frames, scan_times
from sakuga.core.media.picture import read_picture
from sakuga.core.project import CONFIG, Project, change_config, read_config
from sakuga.core.stage import inline
from sakuga_world.draw import draw_clip
from sakuga_world.look import CEL
from sakuga_world.scene import random_scene

SIXTEEN_OF_24 = [n * 3 // 2 for n in range(100)]  # 0, 1, 3, 4, 6, 7, 9 ...


@pytest.fixture(scope="module")
def numbered_root(empty_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("numbered") / "root"
    with small.copy(empty_root, root) as project:
        api.add(project, [numbered_film(root / "n.mp4", 72, 24)])
        api.shots(project, min_seconds=10)
        api.pick(project, keep=["n"])
    return root


@pytest.fixture
def numbered(numbered_root: Path, tmp_path: Path) -> Iterator[Project]:
    """One shot of 72 frames, each showing its number: to a second look, nothing but cuts."""
    with small.copy(numbered_root, tmp_path / "root") as project:
        change_config(project.folder / CONFIG, "export.one_shot", "false")
        project.settings = read_config(project.folder / CONFIG)
        yield project


def shown(project: Project, file: str) -> list[int]:
    return [read_number(rgb) for _, rgb in frames(project.path(file))]


def clips(project: Project) -> list[str]:
    return [row["file"] for row in project.rows("SELECT file FROM item WHERE kind = 'clip' ORDER BY first")]


def stills(project: Project) -> list[str]:
    return [row["file"] for row in project.rows("SELECT file FROM item WHERE kind = 'still' ORDER BY first")]


def files(project: Project) -> list[str]:
    folder = project.folder / "dataset"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_clip_shows_what_a_player_shows_at_16_frames_a_second(numbered: Project) -> None:
    api.export(numbered, margin=0)
    assert shown(numbered, "dataset/clips/n_000000.mp4") == SIXTEEN_OF_24[:45]  # 48 frames, and 45 = 4 * 11 + 1
    (row,) = numbered.rows("SELECT frames, fps, first, last, shot, width, height FROM item WHERE kind = 'clip'")
    assert row == {"frames": 45, "fps": "16", "first": 0, "last": 66, "shot": "n_000000", "width": 128, "height": 96}
    times = scan_times(numbered.path("dataset/clips/n_000000.mp4"))
    assert [float(time) for time in times] == [n / 16 for n in range(45)]


def test_the_margin_leaves_out_frames_at_both_ends(numbered: Project) -> None:
    api.export(numbered, margin=6)
    assert shown(numbered, clips(numbered)[0]) == [6 + n for n in SIXTEEN_OF_24[:37]]  # 60 frames are 40 at 16 fps
    api.export(numbered, margin=40)
    assert shown(numbered, clips(numbered)[0]) == [35]


def test_a_long_shot_gives_pieces_end_to_end_and_none_too_short(numbered: Project) -> None:
    api.export(numbered, margin=0, max_seconds=1.0, take="split")
    assert clips(numbered) == ["dataset/clips/n_000000.mp4", "dataset/clips/n_000000-2.mp4"]  # 48 = 17 + 17 + 14
    assert shown(numbered, clips(numbered)[0]) == SIXTEEN_OF_24[:17]
    assert shown(numbered, clips(numbered)[1]) == SIXTEEN_OF_24[17:34]
    api.export(numbered, margin=0, max_seconds=1.0, take="split", pieces=1, stills=0)
    assert files(numbered) == ["clips/n_000000.mp4"]


def test_a_person_chooses_how_long_a_clip_is_and_which_part_of_the_shot(numbered: Project) -> None:
    api.export(numbered, margin=0, max_frames=12)
    assert shown(numbered, clips(numbered)[0]) == SIXTEEN_OF_24[:9]  # 9 = 4 * 2 + 1
    api.export(numbered, margin=0, max_frames=9, take="middle")
    assert shown(numbered, clips(numbered)[0]) == SIXTEEN_OF_24[19:28]  # 19 before and 20 after, of 48


def test_the_busiest_stretch_is_where_the_subject_moves_most(empty: Project, tmp_path: Path) -> None:
    def picture(n: int) -> np.ndarray:
        rgb = np.full((96, 128, 3), (60, 90, 120), np.uint8)
        x = 20 + 3 * min(max(n - 40, 0), 24)  # moves in frames 41 to 64
        rgb[30:60, x : x + 20] = (220, 60, 40)
        rgb[70:80, ::8] = 200
        return rgb

    film = write_film(tmp_path / "n.mp4", (picture(n) for n in range(96)), 24)
    api.add(empty, [film])
    api.shots(empty, min_seconds=10)
    api.pick(empty, keep=["n"])
    api.export(empty, margin=0, max_frames=17, take="motion", stills=0)
    (row,) = empty.rows("SELECT first, last, frames FROM item")
    assert row["frames"] == 17 and abs(row["first"] - 40) <= 1 and abs(row["last"] - 64) <= 1


def test_stills_are_the_sharpest_frames_and_unlike_each_other(empty: Project, tmp_path: Path) -> None:
    def picture(n: int) -> np.ndarray:
        rgb = np.full((96, 128, 3), (90, 120, 60), np.uint8)
        rgb[20:70, 10 + 40 * (n // 24) : 30 + 40 * (n // 24)] = (230, 220, 200)  # in three places
        return rgb if n % 24 in range(8, 16) else cv2.GaussianBlur(rgb, (0, 0), 3.0)

    api.add(empty, [write_film(tmp_path / "n.mp4", (picture(n) for n in range(72)), 24)])
    api.shots(empty, min_seconds=10)
    api.pick(empty, keep=["n"])
    api.export(empty, margin=0, stills=3, clips=False)
    taken = [row["first"] for row in empty.rows("SELECT first FROM item ORDER BY first")]
    assert [n // 24 for n in taken] == [0, 1, 2] and all(n % 24 in range(8, 16) for n in taken)


def test_of_frames_that_show_the_same_one_still_is_taken_and_told(exported: Project) -> None:
    film = exported.folder.parent / "held.mp4"
    write_film(film, (number_picture(7) for _ in range(48)), 24)
    api.add(exported, [film])
    api.shots(exported, min_seconds=1)
    api.pick(exported, keep=["held"])
    api.export(exported, stills=3)
    (still,) = exported.rows("SELECT first FROM item WHERE kind = 'still' AND shot = 'held_000000'")
    assert 16 <= still["first"] <= 31
    told = [row for row in api.drops(exported) if row["item"] == "stills/held_000000"]
    reason = "1 of 3 stills: its other frames are blank or show the same drawing"
    assert told == [{"stage": "export", "item": "stills/held_000000", "reason": reason}]


def test_tall_pictures_are_made_smaller_to_even_sides(empty: Project, tmp_path: Path) -> None:
    numbered_film(tmp_path / "n.mp4", 24, 24, size=(250, 182))
    api.add(empty, [tmp_path / "n.mp4"])
    api.shots(empty, min_seconds=10)
    api.pick(empty, keep=["n"])
    api.export(empty, max_height=91, one_shot=False)
    sizes = {(row["width"], row["height"]) for row in empty.rows("SELECT width, height FROM item")}
    assert sizes == {(124, 90)}
    assert read_picture(empty.path(stills(empty)[0])).shape == (90, 124, 3)
    assert shown(empty, clips(empty)[0])[:3] == [1, 2, 4]


def scene(number: int, count: int) -> list[np.ndarray]:
    """One shot of the demo's world, of so many frames at 24 a second."""
    return list(draw_clip(random_scene(np.random.default_rng(number)), CEL, count, 24, (192, 128)))


def looked_at(project: Project, folder: Path, pictures: list[np.ndarray], **settings: Any) -> None:
    """A film that is taken for one shot, exported."""
    api.add(project, [write_film(folder / "n.mp4", pictures, 24)])
    api.shots(project)
    with project.writing("shots"):  # as where the first look saw no cut
        project.db.execute("DELETE FROM shot WHERE first > 0")
        last = len(pictures) - 1
        project.db.execute("UPDATE shot SET last = ?, soft_in = 0, soft_out = 0", (last,))
    api.pick(project, keep=["n"])
    api.export(project, stills=0, margin=0, **settings)


def test_a_clip_with_a_hidden_cut_is_cut_there(empty: Project, tmp_path: Path) -> None:
    looked_at(empty, tmp_path, scene(1, 24) + scene(5, 48))
    (row,) = empty.rows("SELECT file, frames, first, last FROM item")
    assert (row["frames"], row["first"]) == (29, 24)  # 32 at 16 fps
    assert len(scan_times(empty.path(row["file"]))) == 29
    told = empty.rows("SELECT name, shot, first, last, reason FROM clip_drop ORDER BY first")
    assert (told[0]["first"], told[0]["last"]) == (0, 23)
    assert told[0]["reason"] == "a cut at frame 16: 29 of 45 frames are kept"
    assert api.drops(empty)[-1]["item"] == "clips/n_000000"


def test_a_clip_of_which_too_little_is_left_is_dropped(empty: Project, tmp_path: Path) -> None:
    looked_at(empty, tmp_path, scene(1, 24) + scene(5, 24), min_frames=17)
    assert empty.rows("SELECT name FROM item") == [] == files(empty)
    (told,) = empty.rows("SELECT name, first, last, reason FROM clip_drop")
    assert told["reason"] == "a cut at frame 16 of 29 frames: nothing long enough is left of it"
    api.export(empty, stills=0, margin=0, one_shot=False)
    assert [row["frames"] for row in empty.rows("SELECT frames FROM item")] == [29]


def test_a_lossless_clip_is_the_frames_themselves(empty: Project, tmp_path: Path) -> None:
    looked_at(empty, tmp_path, scene(1, 30), lossless=True)
    (row,) = empty.rows("SELECT file, frames, fps FROM item")
    assert row["file"] == "dataset/clips/n_000000.mkv" and row["frames"] == 17
    source = dict(frames(tmp_path / "n.mp4"))
    clip = [rgb for _, rgb in frames(empty.path(row["file"]))]
    assert len(clip) == 17
    assert all((rgb == source[n]).all() for n, rgb in zip(SIXTEEN_OF_24, clip, strict=False))


def test_every_clip_has_a_length_that_the_model_takes(exported: Project) -> None:
    rows = exported.rows("SELECT file, frames FROM item WHERE kind = 'clip'")
    assert [row["frames"] for row in rows] == [13] * 4  # 22 frames inside the margins are 15 at 16 fps
    assert all(len(scan_times(exported.path(row["file"]))) == row["frames"] for row in rows)
    assert exported.member.floor_frames(13) == 13


def test_a_film_that_changed_is_set_aside_with_a_sentence(exported: Project) -> None:
    film = exported.folder.parent / "film.mp4"
    write_film(film, (rgb for _, rgb in frames(film)), 24, options={"crf": "30"})
    summary = api.export(exported, margin=2, clips=False)
    assert summary.done == [] and len(summary.failed) == 4
    reason = summary.failed["film_000000"]
    assert reason.endswith("film.mp4 has changed since it was added; run `sakuga add` and `sakuga shots` again")
    api.add(exported, [film])
    api.shots(exported)
    assert len(api.export(exported, margin=2, clips=False).done) == 4


def test_a_film_that_is_gone_is_set_aside_and_its_clips_stay(exported: Project) -> None:
    (exported.folder.parent / "film.mp4").unlink()
    exported.db.execute("UPDATE source_film SET path = '/away/film.mp4'")
    api.pick(exported, drop=["film_000000"], auto=True)
    assert api.export(exported).failed == {}
    assert len(clips(exported)) == 3
    api.pick(exported, keep=["film_000000"], auto=True)
    failed = api.export(exported).failed
    assert list(failed) == ["film_000000"]
    assert failed["film_000000"].startswith("/away/film.mp4 is not there any more; bring it back")
    assert len(clips(exported)) == 3


def test_an_unpicked_shot_loses_its_clip_and_gets_its_own_words_back_when_picked_again(exported: Project) -> None:
    words = exported.folder / "dataset" / "clips" / "film_000024.txt"
    words.write_text("MyStyle. a boat leaves the harbour\n", "utf-8")
    api.pick(exported, drop=["film_000024"], auto=True)
    assert api.export(exported).retired == ["film_000024"]
    api.caption(exported)
    assert not [name for name in files(exported) if "film_000024" in name or "film_000036" in name]
    assert exported.rows("SELECT * FROM item WHERE shot = 'film_000024'") == []

    api.pick(exported, keep=["film_000024"], auto=True)
    assert api.export(exported).done == ["film_000024"]
    api.caption(exported)
    assert words.read_text("utf-8") == "MyStyle. a boat leaves the harbour\n"
    assert captions.current(exported)["clips/film_000024"].origin == captions.PERSON


def test_a_clip_that_was_deleted_by_hand_is_made_again(exported: Project) -> None:
    gone = exported.folder / "dataset" / "clips" / "film_000048.mp4"
    before = gone.read_bytes()
    gone.unlink()
    assert api.export(exported).done == ["film_000048"]
    assert gone.read_bytes() == before


def test_the_same_picks_give_the_same_bytes(exported: Project, exported_root: Path) -> None:
    api.export(exported, stills=2)
    api.export(exported)
    for file in [*clips(exported), *stills(exported)]:
        assert exported.path(file).read_bytes() == (exported_root / "p" / file).read_bytes()
    assert len(clips(exported)) == len(small.SHOTS)


FILM, NTSC, MILLISECOND = Fraction(24000, 1001), Fraction(30000, 1001), Fraction(1, 1000)
STEPS = [40] * 9 + [125] * 4 + [10] * 10 + [300] + [17, 33, 83] * 7  # ms
VARYING = [sum(STEPS[:n]) for n in range(len(STEPS))]
OPEN = {"options": {"crf": "20", "preset": "veryfast", "x264-params": "open-gop=1:scenecut=0:b-adapt=0:keyint=12"}}


def turned(path: Path, frames: int, quarter: int, **more: Any) -> Path:
    """A film that is stored on its side and says how to turn it: the picture is upright once turned."""
    upright = (number_picture(n, (96, 128)) for n in range(frames))
    stored = (np.ascontiguousarray(np.rot90(picture, -quarter)) for picture in upright)
    return write_film(path, stored, 24, rotation=90 * quarter, **more)


def mirrored(path: Path) -> Path:
    return write_film(path, (number_picture(n)[:, ::-1].copy() for n in range(29)), 24, mirrored=True)


def begins_with_b_frames(path: Path) -> Path:
    """Cut at a keyframe whose first pictures need what was cut away: no player shows those."""
    return cut_film(numbered_film(path.with_name("whole.mkv"), 60, 24, bframes=3, **OPEN), path, skip=2)


def late(path: Path) -> Path:
    return cut_film(numbered_film(path.with_name("whole.mkv"), 37, FILM), path, late=Fraction(7, 3))


def of_rate(rate: Fraction | int, frames: int, **more: Any) -> Callable[[Path], Path]:
    return lambda path: numbered_film(path, frames, rate, **more)


def varying(path: Path, start: int = 0) -> Path:
    stamps = [start + stamp for stamp in VARYING]
    return numbered_film(path, len(VARYING), 24, pts=stamps, time_base=MILLISECOND)


KINDS: dict[str, tuple[Callable[[Path], Path], Fraction | int | None, int, int, tuple[int, int]]] = {
    # how it is written, its rate (None: varying), frames, the first number shown, width and height as displayed
    "12.mp4": (of_rate(12, 25), 12, 25, 0, (128, 96)),
    "23.976.mkv": (of_rate(FILM, 47), FILM, 47, 0, (128, 96)),
    "29.97.mkv": (of_rate(NTSC, 61), NTSC, 61, 0, (128, 96)),
    "50.mp4": (of_rate(50, 101), 50, 101, 0, (128, 96)),
    "59.94.mkv": (of_rate(2 * NTSC, 119), 2 * NTSC, 119, 0, (128, 96)),
    "one.mp4": (of_rate(24, 1), 24, 1, 0, (128, 96)),
    "varying.mkv": (varying, None, len(STEPS), 0, (128, 96)),
    "varying.mp4": (varying, None, len(STEPS), 0, (128, 96)),
    "varying-late.mkv": (lambda path: varying(path, 3141), None, len(STEPS), 0, (128, 96)),
    "b-start.mkv": (begins_with_b_frames, 24, 36, 24, (128, 96)),
    "b-start.mp4": (begins_with_b_frames, 24, 36, 24, (128, 96)),
    "late.mkv": (late, FILM, 37, 0, (128, 96)),
    "late.mp4": (late, FILM, 37, 0, (128, 96)),
    "late.ts": (late, FILM, 37, 0, (128, 96)),
    "turned-left.mp4": (lambda path: turned(path, 31, 1), 24, 31, 0, (96, 128)),
    "turned-right.mp4": (lambda path: turned(path, 31, -1), 24, 31, 0, (96, 128)),
    "mirrored.mp4": (mirrored, 24, 29, 0, (128, 96)),
    "cropped.mp4": (of_rate(24, 33, size=(250, 182)), 24, 33, 0, (250, 182)),  # stored as 256 x 192
    "cropped-hevc.mkv": (of_rate(24, 33, size=(250, 182), codec="libx265", options={
        "preset": "ultrafast", "x265-params": "log-level=none"}), 24, 33, 0, (250, 182)),
    "anamorphic.mkv": (of_rate(25, 35, sar=Fraction(4, 3)), 25, 35, 0, (170, 96)),  # 170.7, made even
    "anamorphic.mp4": (of_rate(25, 35, sar=Fraction(8, 9), size=(180, 96)), 25, 35, 0, (160, 96)),
    "anamorphic-turned.mp4": (lambda path: turned(path, 31, 1, sar=Fraction(1, 2)), 24, 31, 0, (96, 64)),
}  # fmt: skip


def shown_at(moment: Fraction, rate: Fraction | int | None) -> int:
    """The frame that a player shows at a moment (s) after the first."""
    return int(moment * rate) if rate else max(n for n, t in enumerate(VARYING) if Fraction(t, 1000) <= moment)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_film_shows_the_right_frame_at_each_sixteenth(
    empty: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for stage in ("add", "shots", "export"):  # in this process: quicker for films as small as these
        record = import_module(f"sakuga.stages.{stage}")
        monkeypatch.setattr(record, "STAGE", replace(record.STAGE, context=inline))
    write, rate, count, first, size = KINDS[kind]
    (tmp_path / "films").mkdir()
    film = tmp_path / "films" / kind
    write(film)
    api.add(empty, [film])
    api.shots(empty, min_seconds=60)
    api.pick(empty, keep=["*"])
    api.export(empty, margin=0, max_seconds=60.0, one_shot=False)
    assert empty.rows("SELECT frames FROM timeline") == [{"frames": count}]
    lasts = count / Fraction(rate) if rate else Fraction(VARYING[-1] + VARYING[-1] - VARYING[-2], 1000)
    moments = [Fraction(k, 16) for k in range(int(lasts * 16) + 1) if Fraction(k, 16) < lasts]
    expected = [first + shown_at(moment, rate) for moment in moments][: (len(moments) - 1) // 4 * 4 + 1]
    (clip,) = empty.rows("SELECT file, frames, width, height FROM item WHERE kind = 'clip'")
    assert shown(empty, clip["file"]) == expected and clip["frames"] == len(expected)
    assert (clip["width"], clip["height"]) == size
    if count == 1:  # the picture of 0 is black
        assert stills(empty) == [] and api.drops(empty)[-1]["reason"].startswith("0 of 1 stills: its other frames")
        return
    (still,) = stills(empty)
    index = int(Path(still).stem.rpartition("_")[2])
    assert read_number(read_picture(empty.path(still))) == first + index < first + count


def test_stills_can_be_taken_from_what_no_clip_shows(exported: Project) -> None:
    query = """
    SELECT still.first AS at, clip.first, clip.last FROM item AS still JOIN item AS clip ON clip.shot = still.shot
    WHERE still.kind = 'still' AND clip.kind = 'clip'"""
    assert any(row["first"] <= row["at"] <= row["last"] for row in exported.rows(query))
    api.export(exported, stills_from="outside")
    rows = exported.rows(query)
    assert len(rows) == len(small.SHOTS) and not any(row["first"] <= row["at"] <= row["last"] for row in rows)
    api.export(exported, stills_from="outside", margin=12)  # one frame is left, and its clip shows it
    assert stills(exported) == [] and len(clips(exported)) == len(small.SHOTS)
    assert {drop["reason"] for drop in api.drops(exported)} == {"no still: its clips show all of its frames"}
