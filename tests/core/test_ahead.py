"""Reading ahead in a thread changes nothing but the time it takes."""

import threading
from collections.abc import Iterator

import pytest

from sakuga.core.media.ahead import ahead


def test_everything_comes_in_order() -> None:
    assert list(ahead(iter(range(500)), 4)) == list(range(500)) and list(ahead(iter(()), 4)) == []


def test_no_more_is_taken_than_was_agreed() -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for n in range(100):
            taken.append(n)
            yield n

    reader = ahead(source(), 3)
    assert next(reader) == 0
    for _ in range(50):
        threading.Event().wait(0.002)
    assert len(taken) <= 5  # one is asked for, three wait, one is in hand
    reader.close()  # type: ignore[attr-defined]
    assert threading.active_count() == 1 and len(taken) <= 6


def test_what_goes_wrong_is_told_where_it_is_asked_for() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    reader = ahead(source(), 3)
    assert next(reader) == 1
    with pytest.raises(OSError, match="gone"):
        next(reader)
