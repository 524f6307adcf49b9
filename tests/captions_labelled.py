"""Captions labelled by hand with the rules that must speak of them, and how often lint agrees.

`first` was written beside the rules; `second` and `third` when the rules were there, without a look at their words, and
rules were mended by them since. `fourth` came after that, and no rule may be mended by it: benchmarks/lint.py measures it.
Captions of one `set` are looked at together, all others each by itself.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sakuga.core.lint.rule import Subject, Whole
from sakuga.core.lint.rules import lint

FOLDER = Path(__file__).parent / "data" / "lint"
TRIGGER = "MyStyle"
MENDED = ("first", "second", "third")
UNSEEN = "fourth"


class Labelled(NamedTuple):
    """A caption and the rules that are right to speak of it."""

    subject: Subject
    rules: frozenset[str]
    of_set: str


class Score(NamedTuple):
    """Of one rule: captions that have its fault, and the shares of precision and recall."""

    faults: int
    precision: float
    recall: float


def read(name: str) -> Iterator[Labelled]:
    """The captions of a set: first.jsonl to fourth.jsonl."""
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        row: dict[str, Any] = json.loads(line)
        item = f"{name}-{number}"
        measures = {key: row[key] for key in ("kind", "group", "camera", "brightness") if key in row}
        named = tuple(row.get("extras", ()))
        subject = Subject(item, row["text"], trigger=row.get("trigger", TRIGGER), extras=named, **measures)
        yield Labelled(subject, frozenset(row["rules"]), f"{name}-{row['set']}" if "set" in row else item)


def disagreements(labelled: Iterable[Labelled]) -> tuple[dict[str, Score], list[str]]:
    """The score of every rule that is labelled or speaks, and a line for each caption where lint says otherwise."""
    sets: dict[str, list[Labelled]] = defaultdict(list)
    for entry in labelled:
        sets[entry.of_set].append(entry)
    right, wrong, missed = Counter[str](), Counter[str](), Counter[str]()
    lines = []
    for members in sets.values():
        told: dict[str, set[str]] = defaultdict(set)
        for finding in lint(Whole(tuple(entry.subject for entry in members))):
            told[finding.item].add(finding.rule)
        for subject, rules, _ in members:
            right.update(told[subject.item] & rules)
            wrong.update(told[subject.item] - rules)
            missed.update(rules - told[subject.item])
            lines += [f"{rule}: {subject.text[:200]!r}" for rule in sorted(told[subject.item] ^ rules)]
    names = sorted(right | wrong | missed)
    return {name: _score(right[name], wrong[name], missed[name]) for name in names}, lines


def _score(right: int, wrong: int, missed: int) -> Score:
    return Score(right + missed, right / max(1, right + wrong), right / max(1, right + missed))
