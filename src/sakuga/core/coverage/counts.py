"""What a set of captions says: how often each thing is named, what always comes with what, and what is left unsaid.

"Everybody got the studded belt: it stood in 34 pictures and 2 captions." What a caption leaves out is learnt as the style, so a
phrase that a second captioner says far more often than the captions do is told first.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .phrases import phrases

LEAST = 3  # captions: of what stands in fewer, nothing can be said to come always with something
COMMON = 0.5  # of the captions; what is in more of them comes with everything
FEW = 0.5  # of the items in which a second captioner sees a thing: said in fewer of these, it is left out
COMPANIONS = 3  # that are named
MOST_LISTED = 200  # phrases of each kind

SIZES = (
    ("extreme close-up", r"extreme close[- ]?ups?"), ("close-up", r"close[- ]?ups?"),
    ("medium shot", r"(?:medium|mid|waist|cowboy)(?:[- ](?:close[- ]?up|wide|full|long|two))?[- ]?(?:shot|view|framing)s?"),
    ("full shot", r"full[- ](?:body )?(?:shot|view)s?"),
    ("wide shot", r"(?:extreme |very |ultra )?(?:wide|long)[- ](?:angle )?(?:shot|view|framing)s?"),
    ("establishing shot", r"establishing shots?"), ("two-shot", r"two[- ]shots?"),
)  # fmt: skip
ANGLES = (
    ("eye level", r"eye[- ]level"), ("low angle", r"low[- ]angle|from below|worm['’]?s[- ]eye"),
    ("high angle", r"high[- ]angle|from above|bird['’]?s[- ]eye"), ("Dutch angle", r"dutch(?:[- ](?:angle|tilt))|tilted angle"),
    ("overhead", r"over-?head (?:shot|view|angle)|top[- ]down"), ("over the shoulder", r"over[- ]the[- ]shoulder"),
    ("from behind", r"from behind"), ("profile", r"in profile|side view|profile (?:shot|view)"), ("aerial", r"aerial"),
    ("point of view", r"pov|point[- ]of[- ]view"),
)  # fmt: skip
MOVES = (
    ("static", r"static|(?:stationary|still) camera|locked[- ]off|fixed (?:camera|shot)|camera (?:holds|stays|remains|is still)"),
    ("pan", r"(?<!frying )pans?(?:ning)?\b(?= (?:left|right|up|down|across|from|over|to|shot|slowly))|(?:slow|quick|whip) pan"),
    ("tilt", r"(?:camera|slow|shot) tilts?|tilts? (?:up|down)"), ("zoom", r"zoom(?:s|ing)?"),
    ("push in", r"push(?:es|ing)?[- ]in|dolly[- ]in|moves? (?:in )?closer"),
    ("pull back", r"pull(?:s|ing)?[- ](?:back|out)|dolly[- ]out"),
    ("tracking", r"tracking|camera follows|follow(?:ing)? shot"), ("handheld", r"hand-?held"),
    ("crane", r"crane shot"), ("arc", r"arc shot|orbit(?:s|ing)?"),
)  # fmt: skip
_PATTERNS = {
    group: [(name, re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE)) for name, words in table]
    for group, table in (("size", SIZES), ("angle", ANGLES), ("movement", MOVES))
}


@dataclass(frozen=True)
class Captioned:
    """An item with its words. `cluster` names the group of shots that look alike, `second` is another captioner's text."""

    item: str
    text: str
    kind: str = "clip"
    trigger: str = ""
    cluster: str = ""
    second: str | None = None


@dataclass(frozen=True)
class Bound:
    """Attributes that never stand without others: each of `always` is in every caption that says one of `phrases`."""

    phrases: tuple[str, ...]
    always: tuple[str, ...]
    captions: int
    items: tuple[str, ...]


@dataclass(frozen=True)
class Unsaid:
    """A phrase that a second captioner says of `second` items, and the captions say of `first`; `items`: where it is left out."""

    phrase: str
    first: int
    second: int
    items: tuple[str, ...]


@dataclass(frozen=True)
class Coverage:
    """All that is told of a set. `phrases` counts captions by phrase; `camera` by group and word, "" for those without one."""

    captions: int
    seconds: int
    phrases: dict[str, int]
    camera: dict[str, dict[str, int]]
    bound: list[Bound] = field(default_factory=list)
    unsaid: list[Unsaid] = field(default_factory=list)
    strangers: dict[str, list[str]] = field(default_factory=dict)  # cluster -> its items, whose captions share no word


def cover(items: Iterable[Captioned]) -> Coverage:
    """Everything that is told of the captions of `items`."""
    told = list(items)
    said = {one.item: phrases(one.text, one.trigger) for one in told}
    counts = Counter(phrase for found in said.values() for phrase in found)
    clusters = {one.item: one.cluster for one in told if one.cluster}
    seconds = {one.item: phrases(one.second, one.trigger) for one in told if one.second}
    return Coverage(
        len(told), len(seconds), dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))), camera_words(told),
        bound(said, clusters), unsaid(said, seconds), strangers(said, clusters),
    )  # fmt: skip


def camera_words(items: Sequence[Captioned]) -> dict[str, dict[str, int]]:
    """How many captions say each size, angle and movement (of clips); the first that fits counts, "" where none is said."""
    found: dict[str, dict[str, int]] = {}
    for group, table in _PATTERNS.items():
        of_group = [one for one in items if group != "movement" or one.kind == "clip"]
        counts = Counter(next((name for name, words in table if words.search(one.text)), "") for one in of_group)
        found[group] = dict(counts.most_common())
    return found


def bound(said: Mapping[str, frozenset[str]], clusters: Mapping[str, str]) -> list[Bound]:
    """Attributes (two words) of LEAST captions or more that one other phrase, or one group of look-alikes, always has.

    A phrase of most captions, and one that shares a word with the attribute, says nothing. Of those in the very same
    captions one finding is made.
    """
    where: dict[str, set[str]] = defaultdict(set)
    for item, found in said.items():
        for phrase in found:
            where[phrase].add(item)
    rare = {phrase: items for phrase, items in where.items() if LEAST <= len(items) <= COMMON * len(said)}
    groups: dict[tuple[frozenset[str], tuple[str, ...]], list[str]] = defaultdict(list)
    for phrase, items in rare.items():
        if " " not in phrase:
            continue
        always = _companions(phrase, items, said, rare)
        look = {clusters.get(item, "") for item in items}
        if always:
            groups[frozenset(items), always].append(phrase)
        elif len(look) == 1 and "" not in look and len(set(clusters.values())) > 1:
            groups[frozenset(items), (f"the look of {min(items)}",)].append(phrase)
    made = [
        Bound(tuple(sorted(names)), always, len(items), tuple(sorted(items)))
        for (items, always), names in groups.items()
    ]
    return sorted(made, key=lambda one: (-one.captions, one.phrases))[:MOST_LISTED]


def _companions(
    phrase: str, items: set[str], said: Mapping[str, frozenset[str]], rare: Mapping[str, set[str]]
) -> tuple[str, ...]:
    """The phrases that are in every caption of `phrase`, the rarest first."""
    shared = frozenset.intersection(*(said[item] for item in items))
    own = set(phrase.split())
    others = [other for other in shared if other in rare and not own & set(other.split())]
    return tuple(sorted(others, key=lambda other: (len(rare[other]), -other.count(" "), other))[:COMPANIONS])


def unsaid(said: Mapping[str, frozenset[str]], seconds: Mapping[str, frozenset[str]]) -> list[Unsaid]:
    """What another captioner sees in LEAST items or more, and the captions of these say in less than FEW of them.

    Ranked by how many items leave it out. A noun and its attribute are told once: by the attribute where both are left out
    as often, else by the noun.
    """
    seen: dict[str, list[str]] = defaultdict(list)
    for item, found in sorted(seconds.items()):
        for phrase in found:
            seen[phrase].append(item)
    lacking = {}
    for phrase, items in seen.items():
        missing = tuple(item for item in items if phrase not in said[item])
        first = sum(phrase in said[item] for item in seconds)
        if len(items) >= LEAST and len(items) - len(missing) < FEW * len(items) and first < len(items):
            lacking[phrase] = Unsaid(phrase, first, len(items), missing)
    kept = [one for one in lacking.values() if not _told_by_another(one, lacking)]
    return sorted(kept, key=lambda one: (one.first - one.second, one.phrase))[:MOST_LISTED]


def _told_by_another(one: Unsaid, lacking: Mapping[str, Unsaid]) -> bool:
    """Whether a noun is left out with one of its attributes alone, or an attribute because its noun is."""
    gap = one.second - one.first
    if " " not in one.phrase:
        return any(p.endswith(f" {one.phrase}") and o.second - o.first == gap for p, o in lacking.items())
    noun = lacking.get(one.phrase.split()[-1])
    return noun is not None and noun.second - noun.first > gap


def strangers(said: Mapping[str, frozenset[str]], clusters: Mapping[str, str]) -> dict[str, list[str]]:
    """Groups of look-alikes in which no word of a thing or an attribute stands in more than half of the captions."""
    groups: dict[str, list[str]] = defaultdict(list)
    for item in sorted(said):
        if clusters.get(item):
            groups[clusters[item]].append(item)
    found = {}
    for cluster, items in groups.items():
        words = Counter(word for item in items for word in {w for phrase in said[item] for w in phrase.split()})
        if len(items) > 1 and not any(count > len(items) / 2 for count in words.values()):
            found[cluster] = items
    return found
