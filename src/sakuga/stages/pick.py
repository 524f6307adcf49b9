"""pick: which shots become part of the dataset. A person's word stands; a rule speaks where nobody has, if asked to."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..core import picks
from ..core.errors import SakugaError
from ..core.overlays import over
from ..core.project import Project
from ..core.settings import PickSettings
from ..core.stage import Item, Rows, Scratch, Stage, inline
from ..signals.alike import cover

Shot = dict[str, Any]


class Fault(NamedTuple):
    """Why a shot is taken or left out: the rule, by which shots are counted, and a phrase with the number."""

    rule: str
    reason: str


_SHOTS = """
SELECT name, film, first, last, seconds, brightness, words, blank, static, camera, subject,
  drawings, sharpness, damage,
  duplicate_of, share, coalesce(outlier_rank, 0) AS outlier_rank, outlier_why, hex(features) AS features,
  people, shot_size, nude, nude_score
FROM shot LEFT JOIN shot_group ON shot_group.shot = shot.name LEFT JOIN subject AS who ON who.shot = shot.name
ORDER BY film, first"""


def _items(project: Project, settings: PickSettings) -> list[Item]:
    """One item: the choice is over all shots at once, since `count` is shared between films."""
    asked = _asks_who(settings)
    if asked and project.settings.subjects.read == "off":
        raise SakugaError(
            f"pick.{asked} asks who is in a shot, and subjects.read is off; set it to nudenet and run `sakuga shots`"
        )
    shots, elsewhere = project.rows(_SHOTS), _elsewhere(project)
    for shot in shots:
        shot["recurs"] = elsewhere.get(shot["name"], "")
        shot["overlaid"] = _overlaid(project, shot)
    verdicts = picks.decided(project)
    facts = {"shots": shots, "verdicts": {name: list(v) for name, v in verdicts.items()}}
    return [Item("all", facts, facts)] if shots else []


def _asks_who(settings: PickSettings) -> str:
    """A setting that needs to know who is in a shot, where one is given."""
    asked = {"shot_sizes": settings.shot_sizes, "max_people": settings.max_people is not None}
    return next((name for name, is_set in (asked | {"nudity": settings.nudity == "drop"}).items() if is_set), "")


def _overlaid(project: Project, shot: Mapping[str, Any]) -> str:
    """What stands over a shot's picture (logo, words), where the export would leave the shot out for it."""
    export = project.settings.export
    for kind, fate in (("logo", export.logos), ("words", export.words)):
        if fate == "drop" and over(project, kind, shot["film"], shot["first"], shot["last"]):
            return kind
    return ""


# An opening that hundreds of films share has a row for each two of them, nearly all of one span. CROSS JOIN holds SQLite
# to this order of the two, which is the one that its index serves.
ELSEWHERE = """
WITH part AS MATERIALIZED (
  SELECT film, first, last, min(other) AS other FROM recurrence WHERE other != film AND by != 'sound'
  GROUP BY film, first, last)
SELECT shot.name, min(other) AS other FROM part CROSS JOIN shot
  ON shot.film = part.film AND shot.first <= part.last AND shot.last >= part.first
WHERE 2 * (min(part.last, shot.last) - max(part.first, shot.first) + 1) > shot.last - shot.first + 1 GROUP BY shot.name
"""


def _elsewhere(project: Project) -> dict[str, str]:
    """Shots of which another film shows the better part too, and which film that is. What is only heard there too, a song,
    does not count, nor what its own film shows again: of a flashback one is no more than the other."""
    return {row["name"]: row["other"] for row in project.rows(ELSEWHERE)}


def _work(facts: Mapping[str, Any], settings: PickSettings, scratch: Scratch) -> Rows:
    rows: list[dict[str, Any]] = []
    kept: list[Shot] = []
    passing: list[Shot] = []
    for shot in facts["shots"]:
        if shot["name"] in facts["verdicts"]:
            wanted, reason = facts["verdicts"][shot["name"]]
            told = Fault("kept" if wanted else "dropped", reason or "decided by a person")
            rows.append(_row(shot, wanted, told, "person"))
            kept += [shot] if wanted else []
        elif fault := _fault(shot, settings):
            rows.append(_row(shot, False, fault))
        else:
            passing.append(shot)
    if not settings.duplicates:
        there = {shot["name"] for shot in kept + passing}
        for shot in passing:
            if shot["duplicate_of"] in there:
                seen = f"{shot['share']:.0%} of it is shown in {shot['duplicate_of']} too"
                rows.append(_row(shot, False, Fault("duplicate", seen)))
        passing = [shot for shot in passing if shot["duplicate_of"] not in there]
    room = None if settings.count is None else max(0, settings.count - len(kept))
    chosen = {shot["name"] for shot in _spread(passing, room, kept)}
    for shot in passing:
        if shot["name"] in chosen:
            rows.append(_row(shot, True, Fault("passes", "passes the rule")))
        else:
            rows.append(_row(shot, False, Fault("count", f"beyond the count of {settings.count}")))
    return {"pick": rows}


def _row(shot: Shot, kept: bool, why: Fault, by: str = "rule") -> dict[str, Any]:
    return {"shot": shot["name"], "kept": int(kept), "rule": why.rule, "reason": why.reason, "by": by}


def _fault(shot: Shot, settings: PickSettings) -> Fault | None:
    """Why the rule leaves a shot out."""
    if not settings.auto:
        return Fault("undecided", "undecided")
    seconds, brightness = shot["seconds"], shot["brightness"]
    if seconds < settings.min_seconds:
        return Fault("short", f"{seconds:.2f} s, shorter than {settings.min_seconds:g} s")
    if settings.max_seconds is not None and seconds > settings.max_seconds:
        return Fault("long", f"{seconds:.2f} s, longer than {settings.max_seconds:g} s")
    if shot["blank"] > settings.max_blank:
        return Fault("blank", f"of one colour for {shot['blank']:.0%} of it")
    if brightness < settings.min_brightness:
        return Fault("dark", f"brightness {brightness:.2f}, darker than {settings.min_brightness:g}")
    if brightness > settings.max_brightness:
        return Fault("bright", f"brightness {brightness:.2f}, brighter than {settings.max_brightness:g}")
    if shot["recurs"] and not settings.recurring:
        return Fault("recurring", f"stands in {shot['recurs']} too")
    if shot["overlaid"]:
        told = "a logo stands" if shot["overlaid"] == "logo" else "words stand"
        return Fault(shot["overlaid"], f"{told} over its picture")
    if shot["words"] > settings.max_words:
        return Fault("words", f"words are burned in for {shot['words']:.0%} of it")
    return _unlike_wanted(shot, settings)


def _unlike_wanted(shot: Shot, settings: PickSettings) -> Fault | None:
    """Why a shot is left out for how it moves, is drawn or coded. By default none is."""
    if shot["static"] > settings.max_static:
        return Fault("static", f"stands still for {shot['static']:.0%} of it")
    if settings.max_camera is not None and shot["camera"] > settings.max_camera:
        return Fault(
            "camera", f"the camera goes {shot['camera']:.2f} widths a second, more than {settings.max_camera:g}"
        )
    if shot["subject"] < settings.min_subject:
        return Fault(
            "subject", f"subjects go {shot['subject']:.2f} widths a second, less than {settings.min_subject:g}"
        )
    if shot["drawings"] < settings.min_drawings:
        return Fault("drawings", f"{shot['drawings']:.1f} drawings a second, fewer than {settings.min_drawings:g}")
    if shot["sharpness"] < settings.min_sharpness:
        return Fault("blurred", f"sharpness {shot['sharpness']:.2f}, more blurred than {settings.min_sharpness:g}")
    if settings.max_damage is not None and shot["damage"] > settings.max_damage:
        return Fault("damaged", f"coding blocks of {shot['damage']:.1f}, worse than {settings.max_damage:g}")
    if shot["outlier_rank"] >= settings.max_outlier:
        rank = f"{shot['outlier_rank']:.0%} of the shots"
        return Fault("outlier", f"stands out by its {shot['outlier_why']}, more than {rank}")
    return _wrong_people(shot, settings) if _asks_who(settings) else None


def _wrong_people(shot: Shot, settings: PickSettings) -> Fault | None:
    """Why a shot is left out for who is in it."""
    if shot["shot_size"] is None:
        return Fault("unseen", "none of its pictures was looked at for people")
    if settings.shot_sizes and shot["shot_size"] not in settings.shot_sizes:
        told = "without a face" if shot["shot_size"] == "none" else f"of the size {shot['shot_size']}"
        return Fault("size", f"{told}, none of the shot sizes asked for")
    if settings.max_people is not None and shot["people"] > settings.max_people:
        return Fault("people", f"{shot['people']} people at once, more than {settings.max_people}")
    if settings.nudity == "drop" and shot["nude"]:
        return Fault("nude", f"somebody seems nude in it, told with a score of {shot['nude_score']:.2f}")
    return None


def _spread(shots: list[Shot], room: int | None, kept: list[Shot]) -> list[Shot]:
    """At most `room` shots, an even share of each film, and of each those that stand best for what is not yet `kept`."""
    if room is None or room >= len(shots):
        return shots
    films: dict[str, list[Shot]] = defaultdict(list)
    for shot in shots:
        films[shot["film"]].append(shot)
    share = dict.fromkeys(films, 0)
    for _ in range(room):
        film = min((f for f in films if share[f] < len(films[f])), key=lambda f: share[f])
        share[film] += 1
    chosen: list[Shot] = []
    for film in sorted(films, key=lambda f: len(films[f]) - share[f]):  # those with little choice go before
        chosen += _covering(films[film], share[film], kept + chosen)
    return chosen


def _covering(shots: list[Shot], count: int, kept: list[Shot]) -> list[Shot]:
    """`count` shots that stand for all; evenly in time where it is not known what they look like."""
    if not all(shot["features"] for shot in shots):
        return [shots[(2 * k + 1) * len(shots) // (2 * count)] for k in range(count)]
    known = [shot for shot in kept if shot["features"]]
    return [shots[n] for n in cover(_features(shots), count, _features(known) if known else None)]


def _features(shots: list[Shot]) -> np.ndarray:
    """[N, D], as the stage alike left them."""
    return np.stack([np.frombuffer(bytes.fromhex(shot["features"]), np.float32) for shot in shots])


STAGE = Stage(
    "pick", version=4, takes="shot", gives=("pick",), settings=PickSettings, items=_items, work=_work, unit="choices",
    context=inline,
)  # fmt: skip
