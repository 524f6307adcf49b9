"""What can be wrong between the items of a dataset, and advice on what it holds too much or too little of."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ...core import captions, cards, cost
from ...core.family import Member
from ...core.project import Project
from .each import Facts

DATASET = "the dataset"  # what a finding is about that is of no single item

Row = tuple[str, str, str, str]  # item, severity, rule, reason

FEW = 20  # items; of fewer a share says little
MOST = 0.5  # of the items from one film, or of one look
FEW_ALIKE = 5  # captions; that fewer begin alike is chance
TRIGGER_WORDS = 5
NEARLY_ALL = 0.8  # of the captions
CLOSE = 0.8  # of the captions that name a shot size
NAMED = 10  # captions that must name one for the share to count
ROOMY = 0.5  # of a card's memory: with less in use, larger or longer samples would fit
LITTLE = 0.05  # of a picture, which a mask leaves
NEAR = 3  # bits of 64 in which a still and a frame of a clip may differ and show the same

PEOPLE = re.compile(
    r"\b(wom[ae]n|m[ae]n|girls?|boys?|person|people|child(ren)?|lad(y|ies)|guys?|crowd|characters?|figures?|he|she|his|her|"
    r"they|their|face)\b",
    re.IGNORECASE,
)
SIZES = re.compile(r"\b(close[- ]?ups?|medium|full|long|wide|establishing)\b(?=[- ]?(shot|up|view|\b))", re.IGNORECASE)


@dataclass(frozen=True)
class Whole:
    """What is known of the dataset beyond its items. `looks` are the hashes (uint64, packed) of a still, or of frames of a
    clip; `orphans` caption files without a clip or picture, by the folder that they lie in."""

    member: str
    experts: int
    fps: int
    films: dict[str, str]
    clusters: dict[str, str]
    looks: dict[str, bytes]
    orphans: dict[str, list[str]]
    gigabytes: float | None
    card: tuple[str, float] | None
    masks: dict[str, float] = field(default_factory=dict)  # how much of an item its mask leaves

    def content(self) -> dict[str, Any]:
        """What the findings depend on, as JSON holds it."""
        looks = hashlib.sha256(b"".join(self.looks[name] for name in sorted(self.looks))).hexdigest()
        return vars(self) | {"looks": looks}


def read_whole(project: Project) -> Whole:
    shots = project.rows("SELECT name, film FROM shot WHERE name IN (SELECT shot FROM item)")
    groups = project.rows("SELECT shot, cluster FROM shot_group WHERE shot IN (SELECT shot FROM item)")
    looks = project.rows("SELECT item, hashes FROM item_look")
    masks = {row["item"]: row["share"] for row in project.rows("SELECT item, share FROM item_mask")}
    here, member = cards.card_here(), project.member
    return Whole(
        member.name, len(member.experts), member.fps, {row["name"]: row["film"] for row in shots},
        {row["shot"]: row["cluster"] for row in groups}, {row["item"]: row["hashes"] for row in looks}, _orphans(project),
        _gigabytes(project, member), (here.name, here.gigabytes) if here else None, masks,
    )  # fmt: skip


def _gigabytes(project: Project, member: Member) -> float | None:
    """Memory of a step on the largest sample that is planned, as `sakuga plan` tells it."""
    sizes = project.rows("SELECT DISTINCT width, height, frames FROM sample")
    if not sizes:
        return None
    tokens = max(member.tokens(row["width"], row["height"], row["frames"]) for row in sizes)
    train = project.settings.train
    width = cost.WEIGHT_BYTES[train.precision or "bf16"]
    return cost.step_memory(member, train.rank, tokens, weight_bytes=width, batch=train.batch, kind=train.kind).total


def _orphans(project: Project) -> dict[str, list[str]]:
    """Caption files whose clip or picture is not there."""
    known = {captions.sidecar(row["file"]) for row in project.rows("SELECT file FROM item")}
    roots = {"dataset": project.folder / "dataset"}
    for row in project.rows("SELECT name, path, relative FROM source_folder WHERE removed IS NULL"):
        roots[row["name"]] = project.path(f"{row['relative'] or Path(row['path']).as_posix()}/.").resolve()
    stems = {str(project.path(file)) for file in known}
    found: dict[str, list[str]] = {}
    for name, root in roots.items():
        kept = project.folder / captions.KEPT
        strays = [p for p in sorted(root.rglob("*.txt")) if str(p) not in stems and kept not in p.parents]
        if strays:
            found[name] = [p.relative_to(root).as_posix() for p in strays]
    return found


def findings_of_all(items: Sequence[Facts], whole: Whole) -> list[Row]:
    """What is wrong between items, then advice on the whole."""
    return [
        *_twice(items),
        *_orphaned(whole),
        *_stems(items),
        *_rates(items, whole),
        *_shown(items, whole),
        *_masked(items, whole),
        *advice(items, whole),
    ]


def _twice(items: Iterable[Facts]) -> Iterator[Row]:
    first: dict[str, str] = {}
    for item in items:
        if item.now and first.setdefault(item.now, item.name) != item.name:
            yield item.name, "warning", "twice", f"it is the same file as {first[item.now]}; leave one of them out"


def _orphaned(whole: Whole) -> Iterator[Row]:
    for folder, strays in whole.orphans.items():
        count = f"{len(strays)} caption files have" if len(strays) > 1 else "a caption file has"
        why = f"{count} no clip or picture beside, the first is {strays[0]}; is the name misspelt, or the media gone?"
        yield folder, "warning", "caption-orphan", why


def _stems(items: Iterable[Facts]) -> Iterator[Row]:
    """Other trainers name their caches by the stem alone: of two files one overwrites the other's."""
    stems: dict[str, str] = {}
    for item in items:
        stem = PurePosixPath(item.file).stem.lower()
        if stems.setdefault(f"{item.kind} {stem}", item.name) != item.name:
            other = stems[f"{item.kind} {stem}"]
            why = f"its file is named as that of {other}; Sakuga keeps them apart, but other trainers take one for the other"
            yield item.name, "advice", "same-name", why


def _rates(items: Iterable[Facts], whole: Whole) -> Iterator[Row]:
    others = [item for item in items if item.kind == "clip" and item.fps != str(whole.fps)]
    if others:
        why = (
            f"clips of another rate than {whole.fps} fps: {len(others)}, the first is {others[0].name}; they are read at "
            f"{whole.fps} by their own times, and so train as fast as they play"
        )
        yield DATASET, "advice", "rate", why


def _shown(items: Sequence[Facts], whole: Whole) -> Iterator[Row]:
    """Stills that show what a clip shows already, and no larger."""
    found = [name for name in _in_clips(items, whole) if name]
    if found:
        why = (
            f"stills that show what a clip shows already, and no larger: {len(found)}, the first is {found[0]}; "
            '`export.stills_from = "outside"` takes others, and a section of larger stills would teach detail'
        )
        yield DATASET, "advice", "still-in-clip", why


def _masked(items: Iterable[Facts], whole: Whole) -> Iterator[Row]:
    for item in items:
        share = whole.masks.get(item.name, 1.0)
        if share < LITTLE:
            why = f"its mask leaves {share:.1%} of the picture to learn from; is it black where it should be white?"
            yield item.name, "warning", "small-mask", why


def _in_clips(items: Sequence[Facts], whole: Whole) -> Iterator[str]:
    clips: dict[str, list[Facts]] = defaultdict(list)
    for item in items:
        if item.kind == "clip":
            clips[item.shot or ""].append(item)
    hashes, owners = _frames(items, whole)
    for still in items:
        if still.kind == "still" and still.largest is not None:
            same = [c for c in clips[still.shot or ""] if still.shot and c.first <= still.first <= c.last]  # type: ignore[operator]
            same += [] if same else _alike(still, whole, hashes, owners)
            if any(c.largest and _area(c) >= _area(still) for c in same):
                yield still.name


def _area(item: Facts) -> int:
    return item.largest[0] * item.largest[1] if item.largest else 0


def _frames(items: Sequence[Facts], whole: Whole) -> tuple[np.ndarray, list[Facts]]:
    """The hashes of frames of all clips [N] uint64, and the clip of each."""
    parts, owners = [], []
    for item in items:
        if item.kind == "clip" and item.name in whole.looks:
            hashes = np.frombuffer(whole.looks[item.name], np.uint64)
            parts.append(hashes)
            owners += [item] * len(hashes)
    return (np.concatenate(parts) if parts else np.zeros(0, np.uint64)), owners


def _alike(still: Facts, whole: Whole, hashes: np.ndarray, owners: Sequence[Facts]) -> list[Facts]:
    look = np.frombuffer(whole.looks.get(still.name, b""), np.uint64)
    if not len(look) or not len(hashes) or not look[0]:  # 0: a picture that tells nothing
        return []
    near = np.flatnonzero(np.bitwise_count(hashes ^ look[0]) <= NEAR)
    return [owners[n] for n in near[:1]]


def advice(items: Sequence[Facts], whole: Whole) -> Iterator[Row]:
    """What experience says of a dataset like this; each with its reason, none of it a fault."""
    if items and whole.experts > 1 and not any(item.kind == "clip" for item in items):
        yield _told("no-clips", "there are no clips: stills alone make the movement of Wan 2.2 stiff; add some clips")
    yield from _memory(whole)
    yield from _trigger(items)
    if len(items) < FEW:
        return
    yield from _dominance(items, whole)
    texts = [item.caption for item in items if item.caption]
    if len(texts) >= FEW and all(PEOPLE.search(text) for text in texts):
        why = "no empty scene and no thing by itself: without some, every prompt is answered with a character"
        yield _told("no-empty-scenes", why)
    sizes = [found.group(1).lower() for text in texts if (found := SIZES.search(text))]
    close = sum(size.startswith("close") for size in sizes)
    if len(sizes) >= NAMED and close > CLOSE * len(sizes):
        why = f"{close} of the {len(sizes)} captions that name a shot size say close-up; add wider shots, or all is drawn close"
        yield _told("all-close", why)


def _trigger(items: Sequence[Facts]) -> Iterator[Row]:
    """Captions that all begin alike, where no trigger is set: another trainer's dataset, mostly."""
    texts = [item.caption for item in items if item.caption]
    if len(texts) < FEW_ALIKE or any(item.trigger for item in items):
        return
    begun, count = Counter(re.split(r"[.,:;]", text, maxsplit=1)[0].strip() for text in texts).most_common(1)[0]
    if begun and len(begun.split()) <= TRIGGER_WORDS and count > NEARLY_ALL * len(texts):
        why = f"{count} of {len(texts)} captions begin with '{begun}'; `sakuga set trigger \"{begun}\"`, if that calls the style"
        yield _told("trigger-unset", why)


def _dominance(items: Sequence[Facts], whole: Whole) -> Iterator[Row]:
    films = Counter(whole.films[item.shot] for item in items if item.shot in whole.films)
    if len(films) > 1:
        film, count = films.most_common(1)[0]
        if count > MOST * len(items):
            why = f"{film} gives {count} of the {len(items)} items: what is particular to it becomes the style"
            yield _told("one-film", why)
    clusters = Counter(whole.clusters[item.shot] for item in items if item.shot and whole.clusters.get(item.shot))
    if clusters:
        shot, count = clusters.most_common(1)[0]
        if count > MOST * len(items):
            why = f"{count} of the {len(items)} items look alike (as {shot} does): one character or place becomes the style"
            yield _told("one-look", why)


def _memory(whole: Whole) -> Iterator[Row]:
    if whole.card is None or whole.gigabytes is None:
        return
    name, has = whole.card
    if whole.gigabytes > has:
        why = f"a step takes about {whole.gigabytes:.1f} GB and the {name} has {has:.1f}: fewer frames come before smaller sizes"
        yield _told("short-memory", why)
    elif whole.gigabytes < ROOMY * has:
        why = f"a step takes about {whole.gigabytes:.1f} of the {has:.1f} GB of the {name}: longer clips or larger sizes would fit"
        yield _told("spare-memory", why)


def _told(rule: str, why: str) -> Row:
    return DATASET, "advice", rule, why
