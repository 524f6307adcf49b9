"""What coverage, the second opinion and mismatch read of a project: captions, what another captioner says, look-alikes."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

import numpy as np

from . import captions
from .coverage.counts import Captioned, Coverage, cover
from .coverage.mismatch import Fit, Slip, neighbours, phrase_fits, slips
from .coverage.phrases import phrases
from .lint.measures import contradiction
from .lint.rule import Subject, Whole
from .linted import read_whole
from .project import Project

ENOUGH = 0.5  # of the items of a folder that must have been told of by another, for that to say which captions fit
SHARP = 50.0  # cosines of pictures and captions lie close together: this makes shares of them, half the scale CLIP trains with
MOST_TOLD = 8  # phrases of a disagreement

By = Literal["embedding", "second captions", "measures"]

QUERY = """
SELECT item.name, item.kind, shot_group.cluster, opinion.text AS second
FROM item LEFT JOIN shot_group ON shot_group.shot = item.shot LEFT JOIN opinion ON opinion.item = item.name ORDER BY item.name
"""


@dataclass(frozen=True)
class Disagreement:
    """What another captioner says otherwise of an item. `score` from 0 (agrees) to 1.

    `denied` and `unsure`: claims of the caption that were judged so. `lacks`: what only the other names; `alone`: what only
    the caption names.
    """

    item: str
    caption: str
    score: float
    denied: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    second: str = ""
    lacks: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()


def read_captioned(project: Project) -> list[Captioned]:
    """Every item that has words."""
    words = captions.current(project)
    trigger = project.settings.trigger
    return [
        Captioned(row["name"], words[row["name"]].text, row["kind"], trigger, row["cluster"] or "", row["second"])
        for row in project.rows(QUERY)
        if row["name"] in words and words[row["name"]].text
    ]


def read_coverage(project: Project) -> Coverage:
    """What the captions of a project say and leave out."""
    return cover(read_captioned(project))


def disagreements(project: Project) -> list[Disagreement]:
    """Where another captioner disagrees, the worst first: by the share of claims denied, and by how little both say alike."""
    judged: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in project.rows("SELECT item, caption, text, answer FROM claim ORDER BY item, number"):
        judged[row["item"]].append(row)
    found = []
    for one in read_captioned(project):
        claims = [row for row in judged[one.item] if row["caption"] == one.text]  # of these words, not of earlier ones
        if claims or one.second:
            found.append(_disagreement(one, claims))
    return sorted(found, key=lambda told: (-told.score, told.item))


def _disagreement(one: Captioned, claims: Sequence[dict[str, str]]) -> Disagreement:
    """The greater of the two: a caption may be denied claim by claim, or tell of other things altogether."""
    denied, unsure = (tuple(row["text"] for row in claims if row["answer"] == answer) for answer in ("no", "unsure"))
    score = len(denied) / len(claims) if claims else 0.0
    told = Disagreement(one.item, one.text, score, denied, unsure)
    if not one.second:
        return told
    mine, other = phrases(one.text, one.trigger), phrases(one.second, one.trigger)
    apart = 1 - len(mine & other) / max(min(len(mine), len(other)), 1)  # one may well say more than the other
    lacks, alone = _most(other - mine), _most(mine - other)
    return replace(told, score=max(score, apart), second=one.second, lacks=lacks, alone=alone)


def _most(found: frozenset[str]) -> tuple[str, ...]:
    """Attributes before bare nouns, which they name too."""
    pairs = sorted(phrase for phrase in found if " " in phrase)
    named = {word for phrase in pairs for word in phrase.split()}
    return tuple([*pairs, *sorted(phrase for phrase in found if " " not in phrase and phrase not in named)][:MOST_TOLD])


def mismatches(project: Project) -> list[tuple[Slip, By]]:
    """Captions that fit a neighbour's file better, the longest stretch first, each with what told it.

    Neighbours are items of one kind in one folder, in the order of their names, as numbering goes.
    """
    vectors = {
        row["item"]: (np.frombuffer(row["picture"], np.float32), np.frombuffer(row["words"], np.float32))
        for row in project.rows("SELECT item, picture, words FROM item_fit")
    }
    whole = read_whole(project)
    measured = {one.item: one for one in whole.subjects}
    folders: dict[tuple[str, str], list[Captioned]] = defaultdict(list)
    for one in read_captioned(project):
        folders[one.kind, PurePosixPath(one.item).parent.as_posix()].append(one)
    found: list[tuple[Slip, By]] = []
    for items in folders.values():
        fits, by = _fits(items, vectors, measured, whole)
        found += [(slip, by) for slip in slips([one.item for one in items], fits)]
    return sorted(found, key=lambda told: (-len(told[0].items), told[0].items))


def _fits(
    items: Sequence[Captioned],
    vectors: dict[str, tuple[np.ndarray, np.ndarray]],
    measured: dict[str, Subject],
    whole: Whole,
) -> tuple[list[Fit], By]:
    """How well each caption fits its item and the two beside, by the best of what is there."""
    if all(one.item in vectors for one in items):
        return [_embedded(items, vectors, place) for place in range(len(items))], "embedding"
    if sum(one.second is not None for one in items) >= ENOUGH * len(items):
        firsts = [phrases(one.text, one.trigger) for one in items]
        seconds = [phrases(one.second, one.trigger) if one.second is not None else None for one in items]
        return phrase_fits(firsts, seconds), "second captions"
    return _measured([measured[one.item] for one in items], whole), "measures"


def _embedded(items: Sequence[Captioned], vectors: dict[str, tuple[np.ndarray, np.ndarray]], place: int) -> Fit:
    near = {offset: place + offset for offset in (-1, 0, 1) if 0 <= place + offset < len(items)}
    words = vectors[items[place].item][1]
    cosines = np.array([float(words @ vectors[items[other].item][0]) for other in near.values()])
    shares = np.exp(SHARP * (cosines - cosines.max()))
    return dict(zip(near, (shares / shares.sum()).tolist(), strict=True))


def _measured(items: Sequence[Subject], whole: Whole) -> list[Fit]:
    """1 for a caption that an item's camera and light do not contradict, else 0."""
    return [
        {
            offset: float(not any(contradiction(replace(one, camera=other.camera, brightness=other.brightness), whole)))
            for offset, other in ((offset, items[place]) for offset, place in near.items())
        }
        for one, near in zip(items, neighbours(len(items)), strict=True)
    ]
