"""Captions that fit another item than their own: numbering slipped by one, and every caption after it tells its neighbour.

For each item the evidence is how well its caption fits the item itself, the one before and the one after. One caption may fit a
neighbour by chance; a stretch of them does not. Stretches are those whose gains sum up highest (maximal scoring
subsequences), where an item that fits its neighbour less than itself counts against the stretch.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt

SHORTEST = 3  # items; fewer are told only as a pair that was exchanged
CLEAR = 0.15  # mean gain of a stretch that is told: of a similarity from 0 to 1
CLEAR_PAIR = 0.25  # gain of each of two captions that were exchanged

Fit = Mapping[int, float]  # of a caption: offset (-1, 0, 1) -> how well it fits the item there, 0 to 1


@dataclass(frozen=True)
class Slip:
    """Captions of `items`, in order, that fit the file `offset` places on (-1: the one before) better, by `gain` on average."""

    items: tuple[str, ...]
    offset: int
    gain: float

    @property
    def why(self) -> str:
        first, last = self.items[0], self.items[-1]
        if not self.offset:
            return f"the captions of {first} and {last} fit each other's files better: they may be exchanged"
        where = "before" if self.offset < 0 else "after"
        several = f"the captions of {first} to {last} ({len(self.items)})"
        return f"{several} fit the file {where} them better: their numbering has slipped"


def slips(items: Sequence[str], fits: Sequence[Fit]) -> list[Slip]:
    """The stretches of `items` (in the order of their files) whose captions fit a neighbour better."""
    gains = {offset: [_gain(fit, offset) for fit in fits] for offset in (-1, 1)}
    found = []
    for offset, values in gains.items():
        for first, last in stretches(values):
            mean = sum(values[first : last + 1]) / (last + 1 - first)
            if last + 1 - first >= SHORTEST and mean >= CLEAR:
                found.append(Slip(tuple(items[first : last + 1]), offset, mean))
    taken = {item for slip in found for item in slip.items}
    for place in range(len(items) - 1):
        gain = min(gains[1][place], gains[-1][place + 1])
        if gain >= CLEAR_PAIR and not taken & set(items[place : place + 2]):
            found.append(Slip(tuple(items[place : place + 2]), 0, gain))
    return sorted(found, key=lambda slip: (-len(slip.items), slip.items))


def _gain(fit: Fit, offset: int) -> float:
    """How much better a caption fits a neighbour than its own item and the other neighbour; 0 where that is not known."""
    return fit[offset] - max(fit[0], fit.get(-offset, 0.0)) if offset in fit else 0.0


def stretches(scores: Sequence[float]) -> list[tuple[int, int]]:
    """First and last place of each stretch whose sum is above zero and cannot be made larger (Ruzzo and Tompa)."""
    found: list[tuple[int, int, float, float]] = []  # first, last, sum before it, sum with it
    total = 0.0
    for place, score in enumerate(scores):
        before, total = total, total + score
        if score <= 0:
            continue
        one = (place, place, before, total)
        while True:
            other = next((k for k in range(len(found) - 1, -1, -1) if found[k][2] < one[2]), None)
            if other is None or found[other][3] >= one[3]:
                break
            one = (found[other][0], place, found[other][2], total)
            del found[other:]
        found.append(one)
    return [(first, last) for first, last, _, _ in found]


def neighbours(count: int) -> list[dict[int, int]]:
    """For each of `count` places the offsets that lead to a place, and that place."""
    return [{offset: place + offset for offset in (-1, 0, 1) if 0 <= place + offset < count} for place in range(count)]


def phrase_fits(firsts: Sequence[frozenset[str]], seconds: Sequence[frozenset[str] | None]) -> list[Fit]:
    """The cosine of TF-IDF vectors of what each caption says and what a second captioner says of it and its neighbours.

    Of an item that nobody told of (None) nothing is known, nor of its caption.
    """
    rarity = _rarity([*firsts, *(second for second in seconds if second is not None)])
    found: list[Fit] = []
    for first, near in zip(firsts, neighbours(len(firsts)), strict=True):
        told = {offset: second for offset, place in near.items() if (second := seconds[place]) is not None}
        found.append(
            {offset: _cosine(first, second, rarity) for offset, second in told.items()} if 0 in told else {0: 1.0}
        )
    return found


def _rarity(texts: Sequence[frozenset[str]]) -> dict[str, float]:
    """ln(N / n) of each phrase, n of N texts that hold it."""
    counts = Counter(phrase for found in texts for phrase in found)
    return {phrase: log(len(texts) / count) for phrase, count in counts.items()}


def _cosine(one: frozenset[str], other: frozenset[str], rarity: Mapping[str, float]) -> float:
    length = sqrt(sum(rarity[p] ** 2 for p in one) * sum(rarity[p] ** 2 for p in other))
    return sum(rarity[p] ** 2 for p in one & other) / length if length else 0.0
