"""What a plan tells: samples and steps, what sizes cost the pictures, what the cache and a step take, and hours."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...core import cards, cost
from ...core.dataset import item_facts
from ...core.family import Expert, Member
from ...core.noise import share
from ...core.project import Project
from ...core.samples.enumeration import ItemFacts
from ...core.samples.sizes import Size, cropped, enlarged, suggested
from ...core.settings import ProjectSettings, TrainSettings
from .epoch import count_epoch
from .lengths import Length, lengths

# A caption's embedding is kept for its tokens alone. English takes about 1.4 tokens of UMT5 a word.
TOKENS_A_WORD = 1.4


class Planned(NamedTuple):
    """A sample as a plan counts it, with the item's own size."""

    item: str
    section: str
    width: int
    height: int
    frames: int
    repeats: int
    held_out: bool
    own_width: int
    own_height: int


@dataclass(frozen=True)
class Cost:
    """An item at one size of a section: its samples there, the share of the picture (0..1) that is cut off, and the factor
    by which it is enlarged (1 and less: it is not)."""

    item: str
    section: str
    width: int
    height: int
    samples: int
    crop: float
    upscale: float


@dataclass(frozen=True)
class Bucket:
    """The samples of one width, height and length: how many an epoch has, tokens and 10^15 operations of each, and the
    seconds that the card takes for one (None where its rate is not known)."""

    width: int
    height: int
    frames: int
    samples: int
    tokens: int
    petaflop: float
    seconds: float | None

    @property
    def name(self) -> str:
        return f"{self.width}x{self.height}x{self.frames}"


@dataclass(frozen=True)
class Need:
    """Device memory of a step on the largest bucket, in GB (10^9), and whether the card has it. An estimate."""

    bucket: str
    weights: float
    lora: float
    activations: float
    total: float
    card: str | None
    card_gigabytes: float | None

    @property
    def fits(self) -> bool | None:
        return None if self.card_gigabytes is None else self.total <= self.card_gigabytes


@dataclass(frozen=True)
class Advice:
    """A length that nearly all clips have, and the largest size for the footage's shape at which a step of it fits the card
    (the smallest where none does, or no card is known)."""

    frames: int
    share: float
    width: int
    height: int
    gigabytes: float
    fits: bool | None


@dataclass(frozen=True)
class Plan:
    """What one training will be. `samples` counts an epoch with repeats; `held_out` of them are for validation only.

    `experts` are the samples that each sees, `shares` the part of all noise levels (as `train.time` and `train.shift` draw
    them) that is each one's, `hours` what each takes on the card. Of each section that has samples, `fits` tells
    `crop_worst` and `crop_mean`, the share of the picture that is cut off; `upscale`, the largest factor by which a picture
    is enlarged (1 and less: none is). `costs` tells the same item by item. `cache` are the bytes of latents and texts.
    `sizes` and `lengths` are suggested for the shape of most items and the lengths of the clips.
    """

    samples: int
    held_out: int
    steps: int
    epochs: float
    sections: dict[str, dict[str, int]]
    buckets: dict[str, int]
    tokens: int
    experts: dict[str, int]
    shares: dict[str, float]
    hours: dict[str, float]
    dropped: list[dict[str, str]]
    fits: dict[str, dict[str, float]]
    costs: list[Cost]
    bucket_costs: list[Bucket]
    memory: Need | None
    cache: dict[str, int]
    sizes: list[Size]
    lengths: list[Length]
    advice: Advice | None
    steps_of: dict[str, int] = field(default_factory=dict)  # each expert's own; `steps` are the most of them


SAMPLES = """
SELECT sample.item, sample.section, sample.width, sample.height, sample.frames, sample.repeats, sample.held_out,
  item.width AS own_width, item.height AS own_height
FROM sample JOIN item ON item.name = sample.item
"""
NEWEST = """
SELECT DISTINCT text FROM caption WHERE id IN (SELECT max(id) FROM caption GROUP BY item)
"""


def read_plan(project: Project, train: TrainSettings, card: cards.Card | None = None) -> Plan:
    """The plan that the stage wrote, with the steps that a training of these settings takes on a card."""
    planned = [Planned(**row) for row in project.rows(SAMPLES)]
    dropped = project.rows("SELECT item, section, reason FROM sample_drop ORDER BY section, item")
    return _plan(project, project.settings, train, planned, dropped, card)


def tell(project: Project, settings: ProjectSettings, card: cards.Card | None = None) -> Plan:
    """The plan that the project would have with other settings; nothing of the project changes."""
    items = item_facts(project)
    shots = {row["name"]: row["shot"] or row["name"] for row in project.rows("SELECT name, shot FROM item")}
    epoch = count_epoch(items, settings.sections, settings.member, shots, settings.plan.holdout)
    planned = [
        Planned(s.item.name, s.section, s.width, s.height, s.frames, s.repeats, held, s.item.width, s.item.height)
        for s, held in zip(epoch.samples, epoch.held_out, strict=True)
    ]
    return _plan(project, settings, settings.train, planned, epoch.dropped, card)


def _plan(
    project: Project, settings: ProjectSettings, train: TrainSettings, planned: Sequence[Planned],
    dropped: list[dict[str, str]], card: cards.Card | None,
) -> Plan:  # fmt: skip
    member = settings.member
    train.check(member)
    total = sum(sample.repeats for sample in planned)
    trained = sum(sample.repeats for sample in planned if not sample.held_out)
    chosen = [member.expert(name) for name in train.experts or [expert.name for expert in member.experts]]
    experts = {expert.name: _seen(train.of(expert), trained) for expert in chosen}
    steps = max(train.of(expert).total_steps(trained) for expert in chosen)
    shares = {e.name: _share(train, e, member) for e in member.experts}
    buckets = _buckets(planned, member, card)
    seconds = [bucket.samples * bucket.seconds for bucket in buckets if bucket.seconds is not None]
    hours = {name: round(sum(seconds) / total * n / 3600, 2) for name, n in experts.items() if seconds}
    costs = _costs(planned)
    items = item_facts(project)
    sizes, found = _sizes(items, member), lengths(items, settings.sections, member)
    return Plan(
        total, total - trained, steps, max(experts.values()) / trained if trained else 0.0, _sections(planned, settings),
        {bucket.name: bucket.samples for bucket in buckets}, sum(b.samples * b.tokens for b in buckets), experts, shares,
        hours, dropped, _fits(costs), costs, buckets, _need(buckets, train, member, card), _cache(project, planned, member),
        sizes, found, _advice(sizes, found, train, member, card), {e.name: train.of(e).total_steps(trained) for e in chosen},
    )  # fmt: skip


def _seen(train: TrainSettings, samples: int) -> int:
    """How many draws an expert makes, given its own settings."""
    return train.epochs * samples if train.steps is None else train.steps * train.accumulation


def _share(train: TrainSettings, expert: Expert, member: Member) -> float:
    """Of all draws without a range, the share that falls to an expert."""
    mine = train.of(expert)
    shift = mine.shift if isinstance(mine.shift, float) else member.shift
    return round(share(*train.levels(expert), mine.time, shift, mine.time_scale, mine.time_mean), 4)


def _sections(planned: Iterable[Planned], settings: ProjectSettings) -> dict[str, dict[str, int]]:
    counts = {name: {"samples": 0} for name in settings.sections}
    for sample in planned:
        counts.setdefault(sample.section, {"samples": 0})["samples"] += sample.repeats
    return counts


def _buckets(planned: Iterable[Planned], member: Member, card: cards.Card | None) -> list[Bucket]:
    """The largest first."""
    counts: Counter[tuple[int, int, int]] = Counter()
    for sample in planned:
        counts[sample.width, sample.height, sample.frames] += sample.repeats
    found = []
    for size, count in counts.items():
        flop = cost.sample_flop(member, *size)
        seconds = None if card is None else flop / (card.teraflops * 1e12 * cards.REACHED)
        found.append(Bucket(*size, count, member.tokens(*size), flop / 1e15, seconds))
    return sorted(found, key=lambda bucket: (-bucket.tokens, bucket.name))


def _need(buckets: Sequence[Bucket], train: TrainSettings, member: Member, card: cards.Card | None) -> Need | None:
    if not buckets:
        return None
    held = _memory(buckets[0].tokens, train, member)
    return Need(
        buckets[0].name, round(held.weights, 2), round(held.lora, 2), round(held.activations, 2), round(held.total, 2),
        card.name if card else None, card.gigabytes if card else None,
    )  # fmt: skip


def _cache(project: Project, planned: Iterable[Planned], member: Member) -> dict[str, int]:
    """Bytes of all latents, and about those of the texts."""
    latents = sum(cost.latent_bytes(member, s.width, s.height, s.frames) for s in planned)
    words = [len(row["text"].split()) for row in project.rows(NEWEST)]
    tokens = sum(min(member.text.length, round(TOKENS_A_WORD * count) + 1) for count in words)
    return {"latents": latents, "texts": 2 * tokens * member.text.dim}


def _costs(planned: Iterable[Planned]) -> list[Cost]:
    """What each size that an item is trained at cuts off it, and by how much it enlarges it."""
    counts: Counter[tuple[str, str, int, int, int, int]] = Counter()
    for s in planned:
        counts[s.item, s.section, s.width, s.height, s.own_width, s.own_height] += s.repeats
    found = []
    for (item, section, width, height, *own), count in sorted(counts.items()):
        size = (own[0], own[1], width, height)
        found.append(Cost(item, section, width, height, count, round(cropped(*size), 4), round(enlarged(*size), 3)))
    return found


def _fits(costs: Sequence[Cost]) -> dict[str, dict[str, float]]:
    """What the sizes of each section cost its samples."""
    sections: dict[str, list[Cost]] = {}
    for each in costs:
        sections.setdefault(each.section, []).append(each)
    return {
        name: {
            "crop_worst": max(each.crop for each in found),
            "crop_mean": round(sum(c.crop * c.samples for c in found) / sum(c.samples for c in found), 4),
            "upscale": max(each.upscale for each in found),
        }
        for name, found in sections.items()
    }


def _sizes(items: Iterable[ItemFacts], member: Member) -> list[Size]:
    """Sizes for the shape that most items have."""
    shapes = Counter((item.width, item.height) for item in items)
    most = min(shapes, key=lambda shape: (-shapes[shape], shape), default=None)
    return suggested(*most, member) if most else []


NEARLY_ALL = 0.95  # of the clips


def _advice(
    sizes: Sequence[Size], found: Sequence[Length], train: TrainSettings, member: Member, card: cards.Card | None
) -> Advice | None:
    long = [length for length in found if length.share >= NEARLY_ALL]
    if not long or not sizes:
        return None
    best, told = max(long), []
    for size in sizes:
        tokens = member.tokens(size.width, size.height, best.frames)
        need = _memory(tokens, train, member).total
        fits = None if card is None else need <= card.gigabytes
        told.append(Advice(best.frames, best.share, size.width, size.height, round(need, 2), fits))
    return next((advice for advice in reversed(told) if advice.fits), told[0])


def _memory(tokens: int, train: TrainSettings, member: Member) -> cost.Memory:
    width = cost.WEIGHT_BYTES[train.precision or "bf16"]
    return cost.step_memory(member, train.rank, tokens, weight_bytes=width, batch=train.batch, kind=train.kind)


def differences(one: Plan, other: Plan) -> list[tuple[str, Any, Any]]:
    """What two plans tell otherwise, as (what, of the one, of the other)."""
    rows: list[tuple[str, Any, Any]] = []
    for name, of in _TOLD.items():
        told = of(one), of(other)
        keys = list(dict.fromkeys([*told[0], *told[1]]))
        rows += [(f"{name} {key}".rstrip(), told[0].get(key, ""), told[1].get(key, "")) for key in keys]
    return rows


def _whole(name: str) -> Any:
    return lambda plan: {"": getattr(plan, name)}


_TOLD: Mapping[str, Any] = {
    "samples an epoch": _whole("samples"),
    "of them held out": _whole("held_out"),
    "samples of section": lambda plan: {name: values["samples"] for name, values in plan.sections.items()},
    "samples of bucket": lambda plan: plan.buckets,
    "tokens an epoch": _whole("tokens"),
    "items that give none or fewer": lambda plan: {"": len({drop["item"] for drop in plan.dropped})},
    "steps": _whole("steps"),
    "samples seen by": lambda plan: plan.experts,
    "hours": lambda plan: plan.hours,
    "memory of a step (GB)": lambda plan: {"": plan.memory.total if plan.memory else ""},
    "cache (MB)": lambda plan: {"": round(sum(plan.cache.values()) / 1e6, 1)},
    "cut off, mean, in section": lambda plan: {name: f"{fit['crop_mean']:.1%}" for name, fit in plan.fits.items()},
}
