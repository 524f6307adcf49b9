"""The times of a film's frames: packed without losing a tick, and shown from zero."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sakuga.core import store
from sakuga.core.errors import SakugaError
from sakuga.core.project import Project
from sakuga.core.timeline import Timeline, of_film, pack, unpack

NTSC = Fraction(24000, 1001)
ticks = st.lists(st.integers(-(10**12), 10**12), max_size=30)
bases = st.integers(1, 90_000) | st.sampled_from([1000, 90_000, 10**9])


@given(ticks, bases, st.booleans())
def test_unpack_is_the_inverse_of_pack(numbers: list[int], base: int, ascending: bool) -> None:
    stamps = [Fraction(n, base) for n in (sorted(numbers) if ascending else numbers)]
    assert unpack(pack(stamps)) == stamps


@given(st.lists(st.fractions(max_denominator=5000), max_size=12))
def test_any_fractions_are_kept(stamps: list[Fraction]) -> None:
    assert unpack(pack(stamps)) == stamps


def test_a_film_packs_small() -> None:
    stamps = [Fraction(n * 1001 // 24, 1000) for n in range(30_000)]  # in the ticks of Matroska
    assert len(pack(stamps)) < 2_000


def test_when_frames_are_shown() -> None:
    stamps = [Fraction(5), Fraction(503, 100), Fraction(51, 10)]
    assert Timeline(stamps, None).shown == [0, Fraction(3, 100), Fraction(1, 10)]
    assert Timeline(stamps, NTSC).shown == [0, 1 / NTSC, 2 / NTSC]
    assert Timeline([], None).shown == [] == Timeline([], NTSC).shown


def test_the_timeline_of_a_film_comes_from_the_store(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", "tiny") as project:
        with pytest.raises(SakugaError, match="the frames of film were not counted yet; run `sakuga shots`"):
            of_film(project, "film")
        for film, rate in (("film", "24000/1001"), ("phone", None)):
            row = {"film": film, "source": film, "frames": 2, "rate": rate, "times": pack([Fraction(1), Fraction(2)])}
            store.insert(project.db, "timeline", row)
        assert of_film(project, "film") == Timeline([Fraction(1), Fraction(2)], NTSC)
        assert of_film(project, "phone").rate is None
