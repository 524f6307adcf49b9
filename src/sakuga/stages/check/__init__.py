"""check: what is wrong with the dataset, said before training time is spent on it."""

from collections.abc import Mapping
from typing import Any

from ...core.project import Project
from ...core.settings import CheckSettings
from ...core.stage import Item, Rows, Scratch, Stage, inline
from .each import Facts, findings_of, read_items
from .whole import Whole, findings_of_all, read_whole

__all__ = ["STAGE"]


def _items(project: Project, settings: CheckSettings) -> list[Item]:
    """One item: half of what can be wrong with a dataset is between its items."""
    items = read_items(project)
    whole = read_whole(project)
    return [
        Item(
            "all",
            {"items": [each.content() for each in items], "whole": whole.content()},
            {"items": items, "all": whole},
        )
    ]


def _work(facts: Mapping[str, Any], settings: CheckSettings, scratch: Scratch) -> Rows:
    items: list[Facts] = facts["items"]
    whole: Whole = facts["all"]
    found = [(each.name, *finding) for each in items for finding in findings_of(each, settings)]
    columns = ("item", "severity", "rule", "reason")
    return {"finding": [dict(zip(columns, row, strict=True)) for row in found + findings_of_all(items, whole)]}


STAGE = Stage(
    "check", version=3, takes="item", gives=("finding",), settings=CheckSettings, items=_items, work=_work,
    context=inline, unit="datasets",
)  # fmt: skip
