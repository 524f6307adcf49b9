"""Rules about the set: phrases that stand in most captions, captions of different items that are nearly the same.

Neither compares every caption with every other: phrases grow from frequent words alone, and look-alikes are found by
MinHash signatures of their word triples, sorted band by band (locality-sensitive hashing), then compared exactly.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby
from math import ceil
from typing import NamedTuple, cast
from zlib import crc32

import numpy as np

from .rule import Hit, Hits, Kind, Subject, Whole, word_set

STOCK_SHARE = 0.6  # of the captions of one kind
STOCK_LEAST = 10  # captions; of fewer nothing can be said
STOCK_WORDS = range(2, 6)
_LIGHT_WORDS = word_set(
    "a an the and or of in on at to with from by for as is are was were be has have his her its their he she it "
    "they this that there into while who which one two s up out"
)

Phrase = tuple[str, ...]
Numbers = np.ndarray  # of uint64


def _runs(clause: list[str], often: frozenset[str]) -> Iterator[list[str]]:
    """The stretches of a clause that are made of frequent words alone."""
    for frequent, run in groupby(clause, key=often.__contains__):
        if frequent:
            yield list(run)


def _phrases(subject: Subject, often: frozenset[str], bounds: frozenset[str]) -> set[Phrase]:
    """The phrases of frequent words alone that begin and end with one of `bounds`."""
    found: set[Phrase] = set()
    for clause in subject.clauses:
        if bounds.isdisjoint(clause):
            continue
        for run in _runs(clause, often):
            for size in STOCK_WORDS:
                grams = (tuple(run[i : i + size]) for i in range(len(run) - size + 1))
                found.update(g for g in grams if g[0] in bounds and g[-1] in bounds)
    return found


def stock_of(subjects: Iterable[Subject]) -> dict[Phrase, float]:
    """Phrases that stand in at least STOCK_SHARE of the captions, the longest of those that say the same, with their share."""
    texts = list(subjects)
    if len(texts) < STOCK_LEAST:
        return {}
    least = ceil(len(texts) * STOCK_SHARE)
    words = Counter(word for subject in texts for word in set(subject.words))
    often = frozenset(word for word, count in words.items() if count >= least)
    bounds = often - _LIGHT_WORDS
    counts = Counter(phrase for subject in texts for phrase in _phrases(subject, often, bounds))
    frequent = {phrase: count / len(texts) for phrase, count in counts.items() if count >= least}
    inner = {part for phrase in frequent for part in _parts(phrase)}
    return {phrase: share for phrase, share in frequent.items() if phrase not in inner}


def _parts(phrase: Phrase) -> Iterator[Phrase]:
    """The shorter phrases within a phrase."""
    for size in range(STOCK_WORDS[0], len(phrase)):
        yield from (phrase[i : i + size] for i in range(len(phrase) - size + 1))


def stock_phrases(subject: Subject, whole: Whole) -> Hits:
    """The same phrase in most captions: it becomes a part of the trigger, or hides what differs."""
    known = cast(dict[Kind, list[tuple[re.Pattern[str], float]]], whole.memo.setdefault("stock", {}))
    if subject.kind not in known:
        stock = stock_of(other for other in whole.subjects if other.kind == subject.kind)
        known[subject.kind] = [
            (re.compile(r"(?<!\w)" + r"\s+".join(map(re.escape, phrase)) + r"(?!\w)"), share)
            for phrase, share in stock.items()
        ]
    for pattern, share in known[subject.kind]:
        found = pattern.search(subject.plain)
        if found:
            yield Hit(*found.span(), f"'{found[0]}' stands in {share:.0%} of the captions of {subject.kind}s")


# ---- look-alikes ------------------------------------------------------------------------------------------------------

ALIKE = 0.6  # of the word triples in common: a word or two differ in a sentence of twenty
BAND = 4  # hashes that must agree: of two sets with 0.6 in common, in one band of eight
HASHES = 32 * BAND  # so that 99 of 100 such pairs are found
NEIGHBOURS = 4  # within a band's equals, which are sorted: enough, since one twin is told
SLACK = 0.15  # three standard deviations of the share by signatures
SHORT = 8  # words: shorter captions are alike only when they are the same


class Twin(NamedTuple):
    """The other item, and the share of word triples in common."""

    item: str
    share: float


def twins_of(subjects: Iterable[Subject]) -> dict[str, Twin]:
    """For every item whose caption nearly equals one of an item that is of another group: the likest of those."""
    same: dict[tuple[str, ...], list[Subject]] = defaultdict(list)
    for subject in subjects:
        if subject.words:
            same[tuple(subject.words)].append(subject)
    twins: dict[str, Twin] = {}
    for equal in same.values():
        if len(equal) > 1:
            _note(equal, equal, 1.0, twins)
    unique = [words for words in same if len(words) >= SHORT]
    sets = [np.unique(_triples(words)) for words in unique]
    for one, other in _candidates(sets):
        common = len(np.intersect1d(sets[one], sets[other], assume_unique=True))
        share = common / (len(sets[one]) + len(sets[other]) - common)
        if share >= ALIKE:
            _note(same[unique[one]], same[unique[other]], share, twins)
            _note(same[unique[other]], same[unique[one]], share, twins)
    return twins


def _note(these: list[Subject], those: list[Subject], share: float, twins: dict[str, Twin]) -> None:
    """Give each of these the first of those that is of something else, unless it has one as like already."""
    for subject in these:
        if subject.item in twins and twins[subject.item].share >= share:
            continue
        other = next((o for o in those if o.item != subject.item and not (o.group and o.group == subject.group)), None)
        if other is not None:
            twins[subject.item] = Twin(other.item, share)


def _triples(words: Phrase) -> Numbers:
    """A number for every three words in a row [words - 2]."""
    joined = (crc32(" ".join(three).encode()) for three in zip(words, words[1:], words[2:], strict=False))
    return np.fromiter(joined, np.uint64)


def signatures(sets: list[Numbers]) -> Numbers:
    """MinHash [N, HASHES]: two rows agree at as many places, by chance, as the sets have of their members in common."""
    random = np.random.default_rng(1)
    factors = random.integers(0, 2**63, HASHES, dtype=np.uint64) | np.uint64(1)
    members, starts = np.concatenate(sets), np.cumsum([0, *(len(s) for s in sets[:-1])])
    least = [np.minimum.reduceat((members * factor) >> np.uint64(32), starts) for factor in factors]
    return np.stack(least, axis=1)


def _candidates(sets: list[Numbers]) -> Iterator[tuple[int, int]]:
    """Pairs of sets that are worth comparing: their signatures agree on a whole band, and by and large."""
    if len(sets) < 2:
        return
    signature = signatures(sets)
    found = []
    for first in range(0, HASHES, BAND):
        band = signature[:, first : first + BAND]
        order = np.lexsort(band.T)
        for step in range(1, NEIGHBOURS + 1):
            one, other = order[:-step], order[step:]
            equal = (band[one] == band[other]).all(axis=1)
            found.append(np.stack((one[equal], other[equal]), axis=1))
    pairs = np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
    alike = (signature[pairs[:, 0]] == signature[pairs[:, 1]]).mean(axis=1) >= ALIKE - SLACK
    yield from ((int(one), int(other)) for one, other in pairs[alike])


def near_identical(subject: Subject, whole: Whole) -> Hits:
    """Nearly the same words for another item: one of the two is not described."""
    if "twins" not in whole.memo:
        whole.memo["twins"] = twins_of(whole.subjects)
    twin = cast(dict[str, Twin], whole.memo["twins"]).get(subject.item)
    if twin is not None:
        how = "the same" if twin.share == 1 else "nearly the same"
        start = len(subject.trigger) if subject.begun else 0
        yield Hit(start, len(subject.text), f"{twin.item} has {how} caption")
