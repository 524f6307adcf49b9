"""pick: the rule's reasons, a person's word over the rule, and a count that is shared between films."""

from typing import Any

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
    api.pick(empty, auto=True, max_seconds=8)
    assert list(picked(empty).values()) == [
        (False, "0.50 s, shorter than 1 s", "rule"),
        (False, "9.00 s, longer than 8 s", "rule"),
        (False, "brightness 0.01, darker than 0.03", "rule"),
        (False, "brightness 0.99, brighter than 0.97", "rule"),
        (True, "passes the rule", "rule"),
    ]


def test_a_persons_word_beats_the_rule_until_it_is_taken_back(empty: Project) -> None:
    note_shots(empty, "a", (0.5, 0.5), (2, 0.5))
    api.pick(empty, keep=["a_000000"], drop=["a_000012"], reason="the girl", auto=True)
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
