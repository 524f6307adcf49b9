"""repeats: which parts of a film other films have too, an opening in every episode, and what a film shows twice.

Films are compared two by two, so that another film costs its own comparisons only, in parallel where there are many.
Told from the hashes of frames and the prints of sound that the pass over each film kept.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from hashlib import sha256
from itertools import combinations_with_replacement, compress, groupby
from typing import Any, NamedTuple

import numpy as np

from ..core.project import Project
from ..core.settings import Settings
from ..core.stage import Item, Rows, Scratch, Stage
from ..core.timeline import Timeline, unpack
from ..signals.recurring import SOUND, Recurrence, Track, again, kind_of, shared, together
from ..signals.sound import sound_track

TILE = 32  # films that are compared with as many others before the next: a process keeps no more than those ready
FEW = 200  # comparisons that are done before other processes have started


class _Film(NamedTuple):
    """What is compared of a film; kept while others are compared with it, some megabytes for 24 minutes."""

    name: str
    picture: Track
    sound: Track

    @property
    def seconds(self) -> float:
        return float(self.picture.times[-1])


def _items(project: Project, settings: Settings) -> list[Item]:
    """One item for each two films, and one for each film with itself."""
    query = "SELECT film, times, rate, hashes, sound FROM timeline WHERE hashes IS NOT NULL ORDER BY film"
    films = project.rows(query)
    told = {film["film"]: _digest(film) for film in films}
    pairs = list(combinations_with_replacement(range(len(films)), 2))
    items = []
    for i, j in sorted(pairs, key=lambda pair: (pair[0] // TILE, pair[1] // TILE)):
        one, two = films[i], films[j]
        a, b = one["film"], two["film"]
        label = f"comparing {a} with {b}" if a != b else f"comparing {a} with itself"
        items.append(Item(f"{a}|{b}", {"one": told[a], "two": told[b]}, {"one": one, "two": two}, label=label))
    return items


def _digest(film: Mapping[str, Any]) -> str:
    """What a comparison depends on, in short: its content would be the same megabytes for every pair."""
    digest = sha256(f"{film['film']}|{film['rate']}|".encode())
    for blob in (film["times"], film["hashes"], film["sound"] or b""):
        digest.update(sha256(blob).digest())
    return digest.hexdigest()


@lru_cache(2 * TILE)
def _ready(film: str, times: bytes, rate: str | None, hashes: bytes, sound: bytes | None) -> _Film:
    shown = np.array([float(t) for t in Timeline(unpack(times), Fraction(rate) if rate else None).shown])
    heard = Track(*sound_track(np.frombuffer(sound or b"", np.uint32)), SOUND)
    return _Film(film, Track(shown, np.frombuffer(hashes, np.uint64)), heard)


def _work(facts: Mapping[str, Any], settings: Settings, scratch: Scratch) -> Rows:
    one, two = (_ready(**facts[which]) for which in ("one", "two"))
    if one is two:
        return {"recurrence": [_row(one, one, part, "picture", "repeat") for part in again(one.picture)]}
    rows = []
    seen, heard = shared(one.picture, two.picture), shared(one.sound, two.sound)
    for (film, other), pictures, sounds in zip(((one, two), (two, one)), seen, heard, strict=True):
        for part, by in together(pictures, sounds):
            if part.first <= film.seconds:  # sound may go on without pictures
                rows.append(_row(film, other, part, by, kind_of(part, film.seconds, other.seconds)))
    return {"recurrence": rows}


def _row(film: _Film, other: _Film, part: Recurrence, by: str, kind: str) -> dict[str, Any]:
    shown = film.picture.times
    first, last = np.searchsorted(shown, (part.first, part.last + 1e-6), side="right") - 1
    row = {"film": film.name, "first": max(0, int(first)), "last": int(last), "by": by, "kind": kind}
    row |= {"start_seconds": part.first, "seconds": part.last - part.first}
    return row | {"other": other.name, "other_seconds": part.other_first}


class Part(NamedTuple):
    """A recurring part of a film, told once for all the places where it stands."""

    film: str
    start_seconds: float
    seconds: float
    kind: str
    by: str  # picture, sound or both
    places: list[tuple[str, float]]  # film, and where (s) it begins there


def parts(project: Project) -> list[Part]:
    """The recurring parts of every film, in the order of time: rows that lie on each other are one part."""
    query = "SELECT *, by = 'sound' AS only_heard FROM recurrence ORDER BY film, only_heard, start_seconds, seconds"
    told = groupby(project.rows(query), key=lambda row: (row["film"], row["only_heard"]))
    found = [_part(rows) for _, alike in told for rows in _lying_together(list(alike))]
    return sorted(found, key=lambda part: (part.film, part.start_seconds))


def _lying_together(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Groups of rows that lie on the first of them by more than half of the longer."""
    while rows:
        with_first = [_same_part(rows[0], row) for row in rows]
        yield list(compress(rows, with_first))
        rows = [row for row, taken in zip(rows, with_first, strict=True) if not taken]


def _same_part(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    begin = max(row["start_seconds"] for row in (one, two))
    end = min(row["start_seconds"] + row["seconds"] for row in (one, two))
    return bool(2 * (end - begin) >= max(one["seconds"], two["seconds"]))


def _part(rows: list[dict[str, Any]]) -> Part:
    longest = max(rows, key=lambda row: row["seconds"])
    [(kind, _)] = Counter(row["kind"] for row in rows).most_common(1)
    by = "both" if any(row["by"] == "both" for row in rows) else longest["by"]
    places = sorted((row["other"], row["other_seconds"]) for row in rows)
    return Part(longest["film"], longest["start_seconds"], longest["seconds"], kind, by, places)


STAGE = Stage(
    "repeats", version=3, takes="timeline", gives=("recurrence",), settings=Settings, items=_items, work=_work,
    unit="comparisons", few=FEW,
)  # fmt: skip
