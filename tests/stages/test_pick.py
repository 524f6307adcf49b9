"""pick: the rule's reasons, a person's word over the rule, and a count that is shared between films."""

from typing import Any

import numpy as np
import pytest

from sakuga import api
from sakuga.core import store
from sakuga.core.errors import SakugaError
from sakuga.core.project import Project


def note_shots(project: Project, film: str, *shots: tuple[float, float]) -> None:
    """Shots of 24 frames a second, given as (seconds, brightness), one after the other."""
    first = 0
    for seconds, brightness in shots:
        last = first + round(seconds * 24) - 1
        row: dict[str, Any] = {
            "name": f"{film}_{first:06d}",
            "source": film,
            "film": film,
            "first": first,
            "last": last,
        }
        row |= {"start_seconds": first / 24, "seconds": seconds, "brightness": brightness, "motion": 0.01}
        store.insert(project.db, "shot", row | {"thumbnail": ""})
        first = last + 1


def picked(project: Project) -> dict[str, tuple[bool, str, str]]:
    return {
        r["shot"]: (bool(r["kept"]), r["reason"], r["by"]) for r in project.rows("SELECT * FROM pick ORDER BY shot")
    }


def test_without_a_rule_only_what_a_person_kept_is_picked(empty: Project) -> None:
    note_shots(empty, "a", (2, 0.5), (2, 0.5))
    api.pick(empty, keep=["a_000048"])
    assert picked(empty) == {
        "a_000000": (False, "undecided", "rule"),
        "a_000048": (True, "decided by a person", "person"),
    }


def test_the_rule_gives_its_reason_for_each_shot(empty: Project) -> None:
    note_shots(empty, "a", (0.5, 0.5), (9, 0.5), (2, 0.01), (2, 0.99), (2, 0.5))
    api.pick(empty, auto=True)
    assert all(kept for kept, _, _ in picked(empty).values())  # short, long, dark or light is no fault
    api.pick(empty, auto=True, min_seconds=1, max_seconds=8, min_brightness=0.03, max_brightness=0.97)
    assert list(picked(empty).values()) == [
        (False, "0.50 s, shorter than 1 s", "rule"),
        (False, "9.00 s, longer than 8 s", "rule"),
        (False, "brightness 0.01, darker than 0.03", "rule"),
        (False, "brightness 0.99, brighter than 0.97", "rule"),
        (True, "passes the rule", "rule"),
    ]


def test_a_persons_word_beats_the_rule_until_it_is_taken_back(empty: Project) -> None:
    note_shots(empty, "a", (0.5, 0.5), (2, 0.5))
    api.pick(empty, keep=["a_000000"], drop=["a_000012"], reason="the girl", auto=True, min_seconds=1)
    assert picked(empty) == {"a_000000": (True, "the girl", "person"), "a_000012": (False, "the girl", "person")}
    api.pick(empty, undecide=["a"])
    assert [(kept, by) for kept, _, by in picked(empty).values()] == [(False, "rule"), (True, "rule")]


def test_a_count_is_shared_between_films_and_spread_over_each(empty: Project) -> None:
    for film, shots in (("long", 9), ("one", 1), ("three", 3)):
        note_shots(empty, film, *[(1, 0.5)] * shots)
    api.pick(empty, auto=True, count=7)
    kept = [name for name, (yes, _, _) in picked(empty).items() if yes]
    assert kept == [
        "long_000024", "long_000096", "long_000168", "one_000000", "three_000000", "three_000024", "three_000048",
    ]  # fmt: skip
    assert picked(empty)["long_000000"] == (False, "beyond the count of 7", "rule")


def test_what_a_person_keeps_counts(empty: Project) -> None:
    note_shots(empty, "a", *[(1, 0.5)] * 5)
    api.pick(empty, keep=["a_000000", "a_000024"], auto=True, count=3)
    assert sum(kept for kept, _, _ in picked(empty).values()) == 3
    api.pick(empty, keep=["a"], auto=True, count=3)
    assert sum(kept for kept, _, _ in picked(empty).values()) == 5


def test_the_rule_stays_until_it_is_changed(empty: Project) -> None:
    note_shots(empty, "a", (2, 0.5), (2, 0.5), (3, 0.5))
    api.pick(empty, auto=True, count=2, min_seconds=2.5)
    with Project(empty.folder) as again:
        api.pick(again, drop=["a_000096"])
        assert [kept for kept, _, _ in picked(again).values()] == [False, False, False]
        api.pick(again, min_seconds=0)
        assert [kept for kept, _, _ in picked(again).values()] == [True, True, False]
        assert again.settings.pick.model_dump(include={"auto", "count", "min_seconds"}) == {
            "auto": True, "count": 2, "min_seconds": 0,
        }  # fmt: skip


def test_a_pattern_that_names_no_shot_changes_nothing(empty: Project) -> None:
    note_shots(empty, "a", (2, 0.5), (2, 0.5))
    with pytest.raises(SakugaError, match="no shot is named 'a_00004'; did you mean a_000048"):
        api.pick(empty, keep=["a_000000", "a_00004"])
    assert empty.rows("SELECT * FROM decision") == []


def test_without_shots_nothing_is_picked(empty: Project) -> None:
    assert api.pick(empty, auto=True).done == []
    assert picked(empty) == {}


def test_shots_of_an_opening_and_shots_with_words_are_left_out_where_asked(empty: Project) -> None:
    note_shots(empty, "a", (2, 0.5), (2, 0.5), (2, 0.5))
    empty.db.execute("UPDATE shot SET words = 0.6 WHERE name = 'a_000096'")
    part = {"film": "a", "first": 0, "last": 60, "other": "b", "other_seconds": 3.0}  # 13 frames of the second shot
    store.insert(empty.db, "recurrence", part | {"source": "all"})
    api.pick(empty, auto=True)
    assert [(kept, reason) for kept, reason, _ in picked(empty).values()] == [
        (False, "stands in b too"),
        (True, "passes the rule"),
        (True, "passes the rule"),  # words are only told of
    ]
    api.pick(empty, auto=True, recurring=True, max_words=0.5)
    assert [(kept, reason) for kept, reason, _ in picked(empty).values()] == [
        (True, "passes the rule"),
        (True, "passes the rule"),
        (False, "words are burned in for 60% of it"),
    ]
    api.pick(empty, keep=["a_000096"])
    assert picked(empty)["a_000096"][0]


def test_a_part_that_is_only_heard_elsewhere_or_shown_again_in_its_own_film_is_no_opening(empty: Project) -> None:
    note_shots(empty, "a", (2, 0.5), (2, 0.5))
    part = {"film": "a", "first": 0, "last": 47, "other_seconds": 3.0, "source": "all"}
    store.insert(empty.db, "recurrence", part | {"other": "b", "by": "sound"})
    store.insert(empty.db, "recurrence", part | {"other": "a", "first": 48, "last": 95})
    api.pick(empty, auto=True)
    assert all(kept for kept, _, _ in picked(empty).values())


def test_what_is_blank_is_left_out_and_other_scores_only_where_asked(empty: Project) -> None:
    scores = ("blank = 0.9", "static = 0.8", "drawings = 4", "sharpness = 0.1", "damage = 12", "words = 0")
    note_shots(empty, "a", *[(1, 0.5)] * len(scores))
    empty.db.execute("UPDATE shot SET drawings = 12, sharpness = 0.9, damage = 2")
    for name, score in zip(sorted(picked_names(empty)), scores, strict=True):
        empty.db.execute(f"UPDATE shot SET {score} WHERE name = ?", (name,))
    api.pick(empty, auto=True)
    reasons = [reason for _, reason, _ in picked(empty).values()]
    assert reasons == ["of one colour for 90% of it"] + ["passes the rule"] * 5
    api.pick(empty, auto=True, max_blank=1, max_static=0.5, min_drawings=6, min_sharpness=0.3, max_damage=8)
    assert [reason for _, reason, _ in picked(empty).values()] == [
        "passes the rule",
        "stands still for 80% of it",
        "4.0 drawings a second, fewer than 6",
        "sharpness 0.10, more blurred than 0.3",
        "coding blocks of 12.0, worse than 8",
        "passes the rule",
    ]


def picked_names(project: Project) -> list[str]:
    return [row["name"] for row in project.rows("SELECT name FROM shot")]


def note_group(project: Project, shot: str, look: float = 0, **more: Any) -> None:
    features = np.array([look, 0], np.float32).tobytes()
    row = {"shot": shot, "source": "all", "cluster": shot, "share": 0, "outlier": 1, "outlier_rank": 0}
    store.insert(project.db, "shot_group", row | {"outlier_why": "edges", "features": features} | more)


def test_a_style_that_stands_out_is_left_out_only_where_asked(empty: Project) -> None:
    note_shots(empty, "a", (2, 0.5), (2, 0.5))
    note_group(empty, "a_000048", outlier_rank=0.97)
    api.pick(empty, auto=True)
    assert all(kept for kept, _, _ in picked(empty).values())
    api.pick(empty, auto=True, max_outlier=0.95)
    assert picked(empty)["a_000048"] == (False, "stands out by its edges, more than 97% of the shots", "rule")


def test_a_shot_shown_again_is_left_out_where_asked_but_not_both(empty: Project) -> None:
    note_shots(empty, "a", (2, 0.5), (2, 0.5), (2, 0.5))
    note_group(empty, "a_000000")
    note_group(empty, "a_000048")
    note_group(empty, "a_000096", duplicate_of="a_000048", share=0.93)
    api.pick(empty, auto=True)
    assert all(kept for kept, _, _ in picked(empty).values())
    api.pick(empty, auto=True, duplicates=False)
    assert picked(empty)["a_000096"] == (False, "93% of it is shown in a_000048 too", "rule")
    api.pick(empty, auto=True, duplicates=False, drop=["a_000048"])
    assert picked(empty)["a_000096"][0]  # its original is not there
    api.pick(empty, auto=True, duplicates=False, keep=["a_000048"])
    assert not picked(empty)["a_000096"][0]


def test_a_count_takes_shots_that_stand_for_the_others(empty: Project) -> None:
    note_shots(empty, "a", *[(1, 0.5)] * 8)
    for name, look in zip(sorted(picked_names(empty)), (10, 10, 10, 10, 10, 10, 90, 50), strict=True):
        note_group(empty, name, look)
    api.pick(empty, auto=True, count=3)
    assert [name for name, (kept, _, _) in picked(empty).items() if kept] == ["a_000000", "a_000144", "a_000168"]
    api.pick(empty, auto=True, count=3, keep=["a_000144"])
    assert [name for name, (kept, _, _) in picked(empty).items() if kept] == ["a_000000", "a_000144", "a_000168"]


def test_how_camera_and_subjects_move_counts_only_where_asked(empty: Project) -> None:
    note_shots(empty, "a", (2, 0.5), (2, 0.5), (2, 0.5))
    empty.db.execute("UPDATE shot SET camera = 0.5, subject = 0.3 WHERE name = 'a_000048'")
    empty.db.execute("UPDATE shot SET subject = 0.01 WHERE name = 'a_000096'")
    api.pick(empty, auto=True)
    assert all(kept for kept, _, _ in picked(empty).values())
    api.pick(empty, auto=True, max_camera=0.4, min_subject=0.005)
    told = {name: reason for name, (kept, reason, _) in picked(empty).items() if not kept}
    assert told == {
        "a_000000": "subjects go 0.00 widths a second, less than 0.005",
        "a_000048": "the camera goes 0.50 widths a second, more than 0.4",
    }
    rules = {row["shot"]: row["rule"] for row in empty.rows("SELECT shot, rule FROM pick")}
    assert rules == {"a_000000": "subject", "a_000048": "camera", "a_000096": "passes"}
