"""plan: every sample of an epoch, and every item that gives none or fewer, with why, before anything is encoded."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..core.dataset import held_out, item_facts
from ..core.project import Project
from ..core.samples.enumeration import enumerate_samples
from ..core.samples.sizes import Size, cropped, enlarged, suggested
from ..core.settings import PlanSettings, TrainSettings
from ..core.stage import Item, Rows, Scratch, Stage, inline


def _items(project: Project, settings: PlanSettings) -> list[Item]:
    """One item: the whole dataset, since the split into training and validation is over all of it."""
    sections = {name: section.model_dump(mode="json") for name, section in project.settings.sections.items()}
    items = item_facts(project)
    shots = {row["name"]: row["shot"] or row["name"] for row in project.rows("SELECT name, shot FROM item")}
    content = {"model": project.member.name, "sections": sections, "shots": shots, "items": [asdict(i) for i in items]}
    facts = {"items": items, "sections": project.settings.sections, "member": project.member, "shots": shots}
    return [Item("all", content, facts)]


def _work(facts: Mapping[str, Any], settings: PlanSettings, scratch: Scratch) -> Rows:
    samples, drops = enumerate_samples(facts["items"], facts["sections"], facts["member"])
    kept_out = held_out({facts["shots"][s.item.name] for s in samples}, settings.holdout)
    rows: Rows = {"sample": [], "sample_drop": []}
    for sample in samples:
        place = {"item": sample.item.name, "section": sample.section, "start": sample.window.start}
        size = {"frames": sample.frames, "width": sample.width, "height": sample.height, "repeats": sample.repeats}
        held = int(facts["shots"][sample.item.name] in kept_out)
        rows["sample"].append({"key": f"{sample.section}/{sample.key}", **place, **size, "held_out": held})
    for drop in drops:
        rows["sample_drop"].append({"item": drop.item.name, "section": drop.section, "reason": drop.reason})
    used = {sample.item.name for sample in samples} | {drop.item.name for drop in drops}
    for item in facts["items"]:
        if item.name not in used:
            rows["sample_drop"].append(
                {"item": item.name, "section": "", "reason": "no section of sakuga.toml takes it"}
            )
    return rows


STAGE = Stage(
    "plan", version=1, takes="item", gives=("sample", "sample_drop"), settings=PlanSettings, items=_items, work=_work,
    context=inline, unit="plans",
)  # fmt: skip


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
class Plan:
    """What one training will be. `samples` counts an epoch with repeats; `held_out` of them are for validation only.

    Of each section that has samples, `fits` tells `crop_worst` and `crop_mean`, the share of the picture that is cut off;
    `upscale`, the largest factor by which a picture is enlarged (1 and less: none is). `costs` tells the same item by item.
    `sizes` are suggested for the shape of most items.
    """

    samples: int
    held_out: int
    steps: int
    epochs: float
    sections: dict[str, dict[str, int]]
    buckets: dict[str, int]
    tokens: int
    experts: dict[str, int]
    dropped: list[dict[str, str]]
    fits: dict[str, dict[str, float]]
    sizes: list[Size]
    costs: list[Cost]


def read_plan(project: Project, train: TrainSettings) -> Plan:
    """The plan that the stage wrote, with the steps that a training of these settings takes."""
    samples = project.rows("SELECT * FROM sample ORDER BY key")
    sections = {name: {"samples": 0} for name in project.settings.sections}
    buckets: dict[str, int] = {}
    tokens = 0
    for row in samples:
        sections.setdefault(row["section"], {"samples": 0})["samples"] += row["repeats"]
        bucket = f"{row['width']}x{row['height']}x{row['frames']}"
        buckets[bucket] = buckets.get(bucket, 0) + row["repeats"]
        tokens += row["repeats"] * project.member.tokens(row["width"], row["height"], row["frames"])
    total = sum(row["repeats"] for row in samples)
    trained = sum(row["repeats"] for row in samples if not row["held_out"])
    steps = train.total_steps(trained)
    seen = train.epochs * trained if train.steps is None else steps * train.accumulation
    names = train.experts or [expert.name for expert in project.member.experts]
    experts = {project.member.expert(name).name: seen for name in names}
    dropped = project.rows("SELECT item, section, reason FROM sample_drop ORDER BY section, item")
    epochs = seen / trained if trained else 0.0
    costs = _costs(project)
    told = (sections, buckets, tokens, experts, dropped, _fits(costs), _sizes(project), costs)
    return Plan(total, total - trained, steps, epochs, *told)


COSTS = """
SELECT sample.item, sample.section, sample.width, sample.height, item.width AS own_width, item.height AS own_height,
  sum(repeats) AS n
FROM sample JOIN item ON item.name = sample.item GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""


def _costs(project: Project) -> list[Cost]:
    """What each size that an item is trained at cuts off it, and by how much it enlarges it."""
    costs = []
    for row in project.rows(COSTS):
        size = (row["own_width"], row["own_height"], row["width"], row["height"])
        crop, upscale = round(cropped(*size), 4), round(enlarged(*size), 3)
        costs.append(Cost(row["item"], row["section"], row["width"], row["height"], row["n"], crop, upscale))
    return costs


def _fits(costs: Sequence[Cost]) -> dict[str, dict[str, float]]:
    """What the sizes of each section cost its samples."""
    sections: dict[str, list[Cost]] = {}
    for cost in costs:
        sections.setdefault(cost.section, []).append(cost)
    return {
        name: {
            "crop_worst": max(cost.crop for cost in found),
            "crop_mean": round(sum(c.crop * c.samples for c in found) / sum(c.samples for c in found), 4),
            "upscale": max(cost.upscale for cost in found),
        }
        for name, found in sections.items()
    }


def _sizes(project: Project) -> list[Size]:
    """Sizes for the shape that most items have."""
    most = project.rows("SELECT width, height FROM item GROUP BY width, height ORDER BY count(*) DESC, width LIMIT 1")
    return suggested(most[0]["width"], most[0]["height"], project.member) if most else []
