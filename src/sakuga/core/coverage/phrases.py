"""The things that a caption names and their attributes, without a parser: "her hair is red", "red-haired", "a redhead" are
all `red hair`.

A caption is cut where no noun phrase goes on: at marks, at words of the closed classes, at verbs. What is left between two
cuts are attributes and, at the end, their noun. A wrong cut costs one phrase of one caption, and counts are over the set.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

from .words import (
    ADJECTIVES,
    BOUNDS,
    BY_HAIR,
    COPULAS,
    DETERMINERS,
    EMPTY,
    NOUNS,
    NOUNS_TOO,
    PARTICIPLES,
    VERBS,
    base,
    fold,
    part_of,
    word_set,
)  # fmt: skip

_TOKEN = re.compile(r"[a-z0-9]+(?:[-'’][a-z0-9]+)*|[^\sa-z0-9]", re.IGNORECASE)
_CLOSES = re.compile(r"['’](?:s|re|ve|ll|d|m|t)?$")
_QUOTED = re.compile(r"“[^”]*”|(?<![\w\"])\"[^\"\n]*\"")

Run = list[str]


def phrases(text: str, trigger: str = "") -> frozenset[str]:
    """What a caption names: nouns ("belt") and nouns with one attribute each ("studded belt"), in small letters, folded.

    Words in quotation marks and the trigger are none of the picture's.
    """
    bare = _QUOTED.sub(' " ', text.removeprefix(trigger) if trigger else text).lower()
    found: set[str] = set()
    tokens = [_CLOSES.sub("", token) for token in _TOKEN.findall(bare)]
    for run in _runs(tokens):
        found.update(_told(run))
    found.update(_predicates(tokens))
    return frozenset(found)


def things(found: frozenset[str]) -> frozenset[str]:
    """Of phrases the single nouns."""
    return frozenset(phrase for phrase in found if " " not in phrase)


def _runs(tokens: list[str]) -> Iterator[Run]:
    """The stretches of words that may be a noun phrase."""
    run: Run = []
    determined = False  # a determiner or preposition stands before the run: its first word is no verb
    for token, following in pairwise([*tokens, "."]):
        mark = not token[:1].isalnum()
        if mark and token == "," and run and run[-1] in ADJECTIVES and following in ADJECTIVES:
            continue  # long, curly hair
        if mark or token in BOUNDS or token in DETERMINERS or token.isdigit() or _adverb(token):
            yield from _whole(run)
            run, determined = [], token in DETERMINERS or token in _PREPOSITIONS
        elif _verb(token, following, run, determined):
            yield from _whole(run)
            run, determined = [], False
        else:
            run.append(token)
    yield from _whole(run)


_PREPOSITIONS = word_set("in on at to from by for with without of into onto over under behind near")
_NOT_ADVERBS = frozenset(
    [
        "family",
        "belly",
        "lily",
        "butterfly",
        "fly",
        "jelly",
        "lonely",
        "lovely",
        "friendly",
        "ugly",
        "curly",
        "elderly",
        "early",
        "ally",
        "bully",
    ]
)


_LIKE_ADJECTIVES = ("ous", "ful", "less", "ive")


def _adverb(token: str) -> bool:
    return token.endswith("ly") and len(token) > 4 and token not in _NOT_ADVERBS


def _whole(run: Run) -> Iterator[Run]:
    if run:
        yield run


def _verb(token: str, following: str, run: Run, determined: bool) -> bool:
    """Whether a word is a verb at its place, so that the phrase before it ends."""
    if token in ADJECTIVES or token in NOUNS:
        return False
    ends = following in BOUNDS or following in DETERMINERS or not following[:1].isalnum() or _adverb(following)
    if token.endswith("ing") and len(token) > 4:
        return bool(run and run[-1] not in ADJECTIVES) or not determined or ends
    if token.endswith("ed") or token in PARTICIPLES:
        return ends  # dressed in white; but a studded belt
    if base(token) not in VERBS:
        return False
    if not run:
        return not determined and (ends or following in ADJECTIVES)
    if run[-1] in ADJECTIVES or run[-1].endswith(_LIKE_ADJECTIVES):
        return False
    several = fold(run[-1]) != run[-1]  # women gather, a woman gathers
    return base(token) != token or (several and (ends or following in ADJECTIVES)) or following in DETERMINERS


def _told(run: Run) -> Iterator[str]:
    """A run's noun, and the noun with each attribute."""
    words: Run = []
    for word in run:
        attribute, _, rest = word.rpartition("-")
        noun = part_of(rest) if attribute else None
        if word in BY_HAIR and (word != "blonde" or word is run[-1]):
            yield from ("hair", f"{BY_HAIR[word]} hair")
        elif noun is not None:  # red-haired girl
            yield from (noun, *(f"{fold(part)} {noun}" for part in attribute.split("-") if part not in DETERMINERS))
        else:
            words.append(fold(word))
    while words and words[-1] in ADJECTIVES and words[-1] not in NOUNS_TOO:
        words.pop()  # "the young", or an attribute whose noun a cut took away
    if not words or words[-1] in EMPTY:
        return
    head = words[-1]
    yield head
    yield from (f"{word} {head}" for word in words[:-1] if word != head and not word.isdigit())


def _predicates(tokens: list[str]) -> Iterator[str]:
    """hair is red, eyes are large and green: what a copula says of the noun before it."""
    for place, token in enumerate(tokens):
        if token not in COPULAS or place == 0 or not tokens[place - 1].isalpha():
            continue
        noun = tokens[place - 1]
        if noun in BOUNDS or noun in DETERMINERS or noun in ADJECTIVES or noun in EMPTY:
            continue
        for following in tokens[place + 1 : place + 5]:
            if following in ADJECTIVES:
                yield f"{fold(following)} {fold(noun)}"
            elif following not in ("and", ",", "very", "so", "all"):
                break
