"""A second opinion: another captioner tells of every item in words of its own, or judges each claim of its caption.

Nothing of it goes into a caption. It stands in rows beside them, from which `coverage` tells what the captions leave out and
`opinion` where the two disagree. `STAGE` asks for captions, `CLAIMS` for judgements; each takes up where it was stopped.
"""

import time
from collections.abc import Mapping
from typing import Any

from ...core import captions
from ...core.coverage import claims
from ...core.errors import Halt
from ...core.project import Project
from ...core.settings import OpinionSettings
from ...core.stage import Item, Rows, Scratch, Stage
from . import KINDS, QUERY, Captioners, asked, depends, parallel, prompt_of, written
from .backends import BACKENDS
from .prompts import read_prompt


def _items(project: Project, settings: OpinionSettings) -> list[Item]:
    """Every item, whether it has a caption or not."""
    ways = {kind: settings.way(kind) for kind in KINDS}
    told = {kind: read_prompt(project.folder, kind) for kind in KINDS if BACKENDS[ways[kind].backend].prompted}
    items = []
    for row in _rows(project):
        way = ways[row["kind"]]
        prompt = prompt_of(project, told.get(row["kind"]), row, way)
        content = {"name": row["name"], "kind": row["kind"]} | depends(project, row, way, prompt)
        facts = row | {"prompt": prompt, "trigger": project.settings.trigger, "media": str(project.path(row["file"]))}
        items.append(Item(row["name"], content, facts))
    return items


def _rows(project: Project) -> list[dict[str, Any]]:
    return [row for row in project.rows(QUERY) if project.path(row["file"]).is_file()]


def _work(facts: Mapping[str, Any], settings: OpinionSettings, scratch: Scratch) -> Rows:
    way, opened = scratch.context.opened[facts["kind"]]
    text = written(facts, way, opened, scratch.folder)
    return {"opinion": [{"item": facts["name"], "text": text, "origin": opened.origin, "made": time.time()}]}


def _claim_items(project: Project, settings: OpinionSettings) -> list[Item]:
    """Every item with a caption: a changed caption is judged anew, and no other."""
    words = captions.current(project)
    items = []
    for row in _rows(project):
        if not (known := words.get(row["name"])) or not known.text:
            continue
        found = claims.claims(known.text, project.settings.trigger)
        prompt = claims.question(found)
        content = {"name": row["name"], "kind": row["kind"], "caption": known.text}
        content |= depends(project, row, settings.way(row["kind"]), prompt)
        facts = row | {
            "claims": found,
            "caption": known.text,
            "prompt": prompt,
            "media": str(project.path(row["file"])),
        }
        items.append(Item(row["name"], content, facts))
    return items


def _judge(facts: Mapping[str, Any], settings: OpinionSettings, scratch: Scratch) -> Rows:
    way, opened = scratch.context.opened[facts["kind"]]
    told = asked(facts, way, opened, scratch.folder)
    judged = zip(facts["claims"], claims.answers(told, len(facts["claims"])), strict=True)
    same = {"item": facts["name"], "caption": facts["caption"], "origin": opened.origin}
    return {
        "claim": [same | {"number": n, "text": claim, "answer": answer} for n, (claim, answer) in enumerate(judged)]
    }


def _open(project: Project, settings: OpinionSettings) -> Captioners:
    there = {row["kind"] for row in project.rows("SELECT DISTINCT kind FROM item")}
    kinds = [kind for kind in KINDS if kind in there]
    for kind in kinds:
        way = settings.way(kind)
        if way.backend == "template":
            raise Halt(
                "set opinion.backend to a captioner (server, model or command), another than captions were written by"
            )
        if way.backend in ("server", "model") and not way.model:
            raise Halt(f"set opinion.model to the name of a model for the {way.backend} of the second opinion")
        if settings.ask == "claims" and not BACKENDS[way.backend].prompted:
            raise Halt(
                f"{way.backend} answers no questions; ask it for captions (opinion.ask), or take a server or model"
            )
    return Captioners(project, settings, kinds)


STAGE = Stage(
    "opinion", version=1, takes="item", gives=("opinion",), settings=OpinionSettings, items=_items, work=_work,
    unit="opinions", context=_open, lasting=True, parallel=parallel, tell=Captioners.told,
)  # fmt: skip
CLAIMS = Stage(
    "claims", version=1, takes="item", gives=("claim",), settings=OpinionSettings, items=_claim_items, work=_judge,
    unit="captions", context=_open, parallel=parallel, tell=Captioners.told,
)  # fmt: skip
