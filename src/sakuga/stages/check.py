"""check: what is wrong with the dataset, said before training time is spent on it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core import captions
from ..core.dataset import item_facts
from ..core.errors import SakugaError
from ..core.media import film as media
from ..core.media.picture import read_picture
from ..core.project import Project
from ..core.samples.enumeration import enumerate_samples
from ..core.settings import CheckSettings
from ..core.stage import Item, Rows, Scratch, Stage

Finding = tuple[str, str, str]  # severity, rule, reason


def _items(project: Project, settings: CheckSettings) -> list[Item]:
    faults = captions.sync(project)
    words = captions.current(project)
    facts = {item.name: item for item in item_facts(project)}
    items = []
    for row in project.rows("SELECT * FROM item ORDER BY name"):
        path = project.path(row["file"])
        caption = words.get(row["name"])
        samples, drops = enumerate_samples([facts[row["name"]]], project.settings.sections, project.member)
        record = {
            "name": row["name"], "path": str(path), "kind": row["kind"], "frames": row["frames"], "sha256": row["sha256"],
            "folder": row["folder"], "file": row["file"],
            "now": project.sha256(path) if path.is_file() else "",
            "caption": caption.text if caption else None, "caption_fault": faults.get(row["name"], ""),
            "trigger": project.settings.trigger,
            "used": bool(samples), "drops": [d.reason for d in drops],
        }  # fmt: skip
        # a project may move, and its own files with it
        content = {key: value for key, value in record.items() if key != "path" or row["folder"]}
        items.append(Item(row["name"], content, record))
    return items


def _work(facts: Mapping[str, Any], settings: CheckSettings, scratch: Scratch) -> Rows:
    found = _file_findings(facts)
    if not facts["folder"]:
        found = [(*finding[:2], finding[2].replace(facts["path"], facts["file"])) for finding in found]
    findings = found + _caption_findings(facts, settings)
    rule = "fewer-samples" if facts["used"] else "too-short"
    findings += [("warning", rule, reason) for reason in facts["drops"]]
    if not facts["used"] and not facts["drops"]:
        findings.append(("warning", "unused", "no section of sakuga.toml takes it"))
    columns = ("severity", "rule", "reason")
    return {"finding": [{"item": facts["name"], **dict(zip(columns, f, strict=True))} for f in findings]}


def _file_findings(facts: Mapping[str, Any]) -> list[Finding]:
    if not facts["now"]:
        remedy = "bring it back, or run `sakuga adopt`" if facts["folder"] else "`sakuga export` makes it again"
        return [("error", "missing", f"{facts['path']} is not there; {remedy}")]
    if facts["folder"] and facts["now"] != facts["sha256"]:
        return [("error", "changed", f"{facts['path']} is another file since it was adopted; run `sakuga adopt`")]
    try:
        if facts["kind"] == "still":
            read_picture(Path(facts["path"]))
            return []
        broken: list[str] = []
        counted = len(media.scan_times(Path(facts["path"]), on_error=broken.append))
    except SakugaError as error:
        return [("error", "unreadable", str(error))]
    if broken and counted == facts["frames"]:  # a file that was adopted so
        return [("error", "unreadable", broken[0])]
    if broken or counted != facts["frames"]:
        return [
            ("error", "unreadable", f"{counted} of {facts['frames']} frames can be read; export or replace the clip")
        ]
    return []


def _caption_findings(facts: Mapping[str, Any], settings: CheckSettings) -> list[Finding]:
    if facts["caption_fault"]:
        return [("error", "caption-unreadable", facts["caption_fault"])]
    text, trigger = facts["caption"], facts["trigger"]
    if not text:
        return [("error", "caption-missing", "it has no caption; run `sakuga caption`, or write one beside it")]
    found: list[Finding] = []
    if len(text.split()) < settings.min_words:
        count = len(text.split())
        found.append(("warning", "caption-short", f"the caption has {count} word{'s' * (count != 1)}"))
    if trigger and not text.startswith(trigger):
        found.append(("warning", "trigger-missing", f"the caption does not start with the trigger '{trigger}'"))
    return found


STAGE = Stage(
    "check", version=2, takes="item", gives=("finding",), settings=CheckSettings, items=_items, work=_work, unit="items"
)
