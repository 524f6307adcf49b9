"""pick: which shots become part of the dataset. A person's word stands; a rule speaks where nobody has, if asked to."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from ..core import picks
from ..core.project import Project
from ..core.settings import PickSettings
from ..core.stage import Item, Rows, Scratch, Stage, inline


def _items(project: Project, settings: PickSettings) -> list[Item]:
    """One item: the choice is over all shots at once, since `count` is shared between films."""
    columns = "name, film, first, last, seconds, brightness, words"
    shots = project.rows(f"SELECT {columns} FROM shot ORDER BY film, first")
    for shot in shots:
        shot["recurs"] = _recurs(project, shot)
    verdicts = picks.decided(project)
    facts = {"shots": shots, "verdicts": {name: list(v) for name, v in verdicts.items()}}
    return [Item("all", facts, facts)] if shots else []


def _recurs(project: Project, shot: Mapping[str, Any]) -> str:
    """The film that shows this shot too, where one shows the better part of it."""
    query = "SELECT first, last, other FROM recurrence WHERE film = ? AND first <= ? AND last >= ? ORDER BY other"
    frames = shot["last"] - shot["first"] + 1
    for part in project.rows(query, shot["film"], shot["last"], shot["first"]):
        if 2 * (min(part["last"], shot["last"]) - max(part["first"], shot["first"]) + 1) > frames:
            return str(part["other"])
    return ""


def _work(facts: Mapping[str, Any], settings: PickSettings, scratch: Scratch) -> Rows:
    rows: list[dict[str, Any]] = []
    passing: list[dict[str, Any]] = []
    for shot in facts["shots"]:
        if shot["name"] in facts["verdicts"]:
            kept, reason = facts["verdicts"][shot["name"]]
            rows.append(_row(shot, kept, reason or "decided by a person", "person"))
        elif fault := _fault(shot, settings):
            rows.append(_row(shot, False, fault, "rule"))
        else:
            passing.append(shot)
    room = None if settings.count is None else max(0, settings.count - sum(row["kept"] for row in rows))
    chosen = {shot["name"] for shot in _spread(passing, room)}
    for shot in passing:
        kept = shot["name"] in chosen
        rows.append(_row(shot, kept, "passes the rule" if kept else f"beyond the count of {settings.count}", "rule"))
    return {"pick": rows}


def _row(shot: Mapping[str, Any], kept: bool, reason: str, by: str) -> dict[str, Any]:
    return {"shot": shot["name"], "kept": int(kept), "reason": reason, "by": by}


def _fault(shot: Mapping[str, Any], settings: PickSettings) -> str:
    """Why the rule leaves a shot out, or an empty string."""
    if not settings.auto:
        return "undecided"
    seconds, brightness = shot["seconds"], shot["brightness"]
    if seconds < settings.min_seconds:
        return f"{seconds:.2f} s, shorter than {settings.min_seconds:g} s"
    if settings.max_seconds is not None and seconds > settings.max_seconds:
        return f"{seconds:.2f} s, longer than {settings.max_seconds:g} s"
    if brightness < settings.min_brightness:
        return f"brightness {brightness:.2f}, darker than {settings.min_brightness:g}"
    if brightness > settings.max_brightness:
        return f"brightness {brightness:.2f}, brighter than {settings.max_brightness:g}"
    if shot["recurs"] and not settings.recurring:
        return f"stands in {shot['recurs']} too"
    if shot["words"] > settings.max_words:
        return f"words are burned in for {shot['words']:.0%} of it"
    return ""


def _spread(shots: list[dict[str, Any]], room: int | None) -> list[dict[str, Any]]:
    """At most `room` shots, an even share of each film, and evenly over each film."""
    if room is None or room >= len(shots):
        return shots
    films: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for shot in shots:
        films[shot["film"]].append(shot)
    share = dict.fromkeys(films, 0)
    for _ in range(room):
        film = min((f for f in films if share[f] < len(films[f])), key=lambda f: share[f])
        share[film] += 1
    return [s for film, inside in films.items() for s in _evenly(inside, share[film])]


def _evenly(shots: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    return [shots[(2 * k + 1) * len(shots) // (2 * count)] for k in range(count)]


STAGE = Stage(
    "pick", version=2, takes="shot", gives=("pick",), settings=PickSettings, items=_items, work=_work, unit="choices",
    context=inline,
)  # fmt: skip
