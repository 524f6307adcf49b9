"""plan: every sample of an epoch, and every item that gives none or fewer, with why, before anything is encoded."""

from collections.abc import Mapping
from typing import Any

from ...core.dataset import item_facts
from ...core.project import Project
from ...core.settings import PlanSettings
from ...core.stage import Item, Rows, Scratch, Stage, inline
from .epoch import Epoch, count_epoch
from .told import Plan, differences, read_plan, tell

__all__ = ["STAGE", "Plan", "count_epoch", "differences", "read_plan", "tell"]


def _items(project: Project, settings: PlanSettings) -> list[Item]:
    """One item: the whole dataset, since the split into training and validation is over all of it."""
    sections = {name: section.model_dump(mode="json") for name, section in project.settings.sections.items()}
    items = item_facts(project)
    shots = {row["name"]: row["shot"] or row["name"] for row in project.rows("SELECT name, shot FROM item")}
    content = {"model": project.member.name, "sections": sections, "shots": shots, "items": [vars(i) for i in items]}
    facts = {"items": items, "sections": project.settings.sections, "member": project.member, "shots": shots}
    return [Item("all", content, facts)]


def _work(facts: Mapping[str, Any], settings: PlanSettings, scratch: Scratch) -> Rows:
    epoch = count_epoch(facts["items"], facts["sections"], facts["member"], facts["shots"], settings.holdout)
    return {"sample": [_row(epoch, n) for n in range(len(epoch.samples))], "sample_drop": epoch.dropped}


def _row(epoch: Epoch, n: int) -> dict[str, Any]:
    sample = epoch.samples[n]
    place = {"item": sample.item.name, "section": sample.section, "start": sample.window.start}
    size = {"frames": sample.frames, "width": sample.width, "height": sample.height, "repeats": sample.repeats}
    return {"key": f"{sample.section}/{sample.key}", **place, **size, "held_out": int(epoch.held_out[n])}


STAGE = Stage(
    "plan", version=2, takes="item", gives=("sample", "sample_drop"), settings=PlanSettings, items=_items, work=_work,
    context=inline, unit="plans",
)  # fmt: skip
