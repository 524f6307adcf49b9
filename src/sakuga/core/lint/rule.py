"""What a rule is, what it reads and what it finds.

A rule sees one caption at a time (`Subject`) and the set that it belongs to (`Whole`). Its places are offsets in
characters into the caption as it is written.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

Tokenize = Callable[[str], list[int]]  # the end mark included, however long the text
Severity = Literal["error", "warning"]
Kind = Literal["clip", "still"]

HIDDEN = "·"  # stands for every character of the trigger and of quoted words: what they say is not the captioner's

# An apostrophe opens no quotation, and an inch mark closes none.
_QUOTED = re.compile(
    r"“[^”]*”|«[^»]*»|「[^」]*」|『[^』]*』|(?<![\w\"])\"[^\"\n]*\"|(?<!\w)[‘'](?!s\b)[^‘’'\n]{2,60}[’'](?!\w)"
)
TELLING = 6  # letters of a trigger that is hidden wherever it stands; a shorter one may be meant as a word
_CLAUSE_ENDS = ".!?;:,\n()"
_WORD_OR_END = re.compile(rf"[^\W_]+(?:['’-][^\W_]+)*|[{_CLAUSE_ENDS}]")


def any_in(text: str, parts: Iterable[str]) -> bool:
    """Whether a text holds one of some strings: far cheaper than the pattern that is to be asked then."""
    return any(part in text for part in parts)


def word_set(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


def _hidden(found: re.Match[str]) -> str:
    return HIDDEN * len(found[0])


@dataclass(frozen=True)
class Subject:
    """A caption, and what is known of the item that it is for. What was not measured is None.

    `camera`: how fast the picture travels, in widths per second. `brightness`: mean luma, 0 to 1. Items of one `group`
    (a shot) may well share their words.
    """

    item: str
    text: str
    kind: Kind = "clip"
    trigger: str = ""
    group: str = ""
    camera: float | None = None
    brightness: float | None = None
    tags: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()  # further triggers, which its tags bring

    @cached_property
    def lowered(self) -> str:
        """The caption in small letters, every character at its place."""
        low = self.text.lower()
        return low if len(low) == len(self.text) else "".join(c.lower()[0] for c in self.text)

    @cached_property
    def begun(self) -> bool:
        """Whether the caption begins with its trigger, to the letter."""
        return bool(self.trigger) and bool(re.match(re.escape(self.trigger) + r"(?!\w)", self.text))

    @cached_property
    def plain(self) -> str:
        """`lowered` with the trigger and all quoted words hidden."""
        start = len(self.trigger) if self.begun else 0
        rest = _QUOTED.sub(_hidden, self.lowered[start:])
        again = self.trigger.lower()
        if len(again) >= TELLING and again in rest:
            rest = re.sub(rf"(?<!\w){re.escape(again)}(?!\w)", _hidden, rest)
        return HIDDEN * start + rest

    @cached_property
    def words(self) -> list[str]:
        """The words of `plain`."""
        return [word for clause in self.clauses for word in clause]

    @cached_property
    def clauses(self) -> list[list[str]]:
        """The words of `plain`, clause by clause."""
        found: list[list[str]] = [[]]
        for word in _WORD_OR_END.findall(self.plain):
            if word not in _CLAUSE_ENDS:
                found[-1].append(word)
            elif found[-1]:
                found.append([])
        return [clause for clause in found if clause]


@dataclass(frozen=True)
class Whole:
    """The set of captions, and what the project says about all of them.

    `words`: more style words of the project. `tokenize`: that of the text encoder, where it is at hand, and whether its
    vocabulary is one of words (a tiny model's is not); `length`: the most tokens that the encoder takes.
    """

    subjects: tuple[Subject, ...]
    words: tuple[str, ...] = ()
    tokenize: Tokenize | None = None
    pieces_are_words: bool = True
    length: int = 512

    @cached_property
    def memo(self) -> dict[str, object]:
        """What rules work out once for the whole set, by name."""
        return {}


class Hit(NamedTuple):
    """A place in a caption, why it is a fault, and what should stand there; None where only a person can tell."""

    start: int
    end: int
    why: str
    fix: str | None = None


Hits = Iterator[Hit]


@dataclass(frozen=True)
class Rule:
    """A rule by name. `help` says in one sentence what it finds."""

    name: str
    severity: Severity
    help: str
    find: Callable[[Subject, Whole], Hits]


@dataclass(frozen=True)
class Finding:
    """What a rule found: the place in the caption of `item`, the words there, why, and what should stand there."""

    item: str
    rule: str
    severity: Severity
    start: int
    end: int
    found: str
    why: str
    fix: str | None
