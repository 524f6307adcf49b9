"""What can be wrong with one item: its file, its caption, and what its sections make of it."""

from dataclasses import dataclass
from typing import Any

from ...core import captions
from ...core.dataset import item_facts
from ...core.family import Member
from ...core.linted import tokenizer_path, told
from ...core.project import Project
from ...core.samples.enumeration import enumerate_samples
from ...core.settings import CheckSettings
from ...nn.tokens import open_tokenizer

Finding = tuple[str, str, str]  # severity, rule, reason


@dataclass(frozen=True)
class Facts:
    """An item as it is checked. `now` is the hash of its file, empty where that is gone; `largest` the size (width, height,
    frames) of its largest sample; `drops` why sections take less of it than they ask for; `lint` what its words break."""

    name: str
    kind: str
    file: str
    path: str
    folder: str | None
    sha256: str
    now: str
    frames: int
    fps: str
    shot: str | None
    first: int | None
    last: int | None
    caption: str | None
    caption_fault: str
    trigger: str
    lint: list[Finding]
    largest: tuple[int, int, int] | None
    drops: list[str]

    def content(self) -> dict[str, Any]:
        """What the findings depend on: a project may move, and its own files with it."""
        return vars(self) | ({} if self.folder else {"path": ""})


def read_items(project: Project) -> list[Facts]:
    """Every item, with what people wrote in caption files taken in first."""
    faults = captions.sync(project)
    words = captions.current(project)
    lint = told(project, open_tokenizer(tokenizer_path(project)))
    samples, drops = enumerate_samples(item_facts(project), project.settings.sections, project.member)
    largest: dict[str, tuple[int, int, int]] = {}
    for sample in samples:
        largest[sample.item.name] = max(
            largest.get(sample.item.name, (0, 0, 0)), sample.bucket, key=_tokens(project.member)
        )
    why: dict[str, list[str]] = {}
    for drop in drops:
        why.setdefault(drop.item.name, []).append(drop.reason)
    found = []
    for row in project.rows("SELECT * FROM item ORDER BY name"):
        name, path = row["name"], project.path(row["file"])
        taken = {
            key: row[key] for key in ("kind", "file", "folder", "sha256", "frames", "fps", "shot", "first", "last")
        }
        caption = words.get(name)
        found.append(
            Facts(
                name=name, **taken, path=str(path), now=project.sha256(path) if path.is_file() else "",
                caption=caption.text if caption else None, caption_fault=faults.get(name, ""),
                trigger=project.settings.trigger, lint=lint.get(name, []), largest=largest.get(name), drops=why.get(name, []),
            )
        )  # fmt: skip
    return found


def _tokens(member: Member) -> Any:
    return lambda size: member.tokens(*size) if all(size) else 0


def findings_of(item: Facts, settings: CheckSettings) -> list[Finding]:
    """What is wrong with one item; what its pixels show is told by `inspect`."""
    found = _file(item) + _caption(item, settings)
    rule = "fewer-samples" if item.largest else "too-short"
    found += [("warning", rule, reason) for reason in item.drops]
    if not item.largest and not item.drops:
        found.append(("warning", "unused", "no section of sakuga.toml takes it"))
    return found


def _file(item: Facts) -> list[Finding]:
    shown = item.path if item.folder else item.file
    if not item.now:
        remedy = "bring it back, or run `sakuga adopt`" if item.folder else "`sakuga export` makes it again"
        return [("error", "missing", f"{shown} is not there; {remedy}")]
    if item.folder and item.now != item.sha256:
        return [("error", "changed", f"{shown} is another file since it was adopted; run `sakuga adopt`")]
    return []


def _caption(item: Facts, settings: CheckSettings) -> list[Finding]:
    if item.caption_fault:
        return [("error", "caption-unreadable", item.caption_fault)]
    if not item.caption:
        return [("error", "caption-missing", "it has no caption; run `sakuga caption`, or write one beside it")]
    found: list[Finding] = []
    count = len(item.caption.split())
    if count < settings.min_words:
        found.append(("warning", "caption-short", f"the caption has {count} word{'s' * (count != 1)}"))
    if item.trigger and not item.caption.startswith(item.trigger):
        why = f"the caption does not start with the trigger '{item.trigger}'"
        return [*found, ("warning", "trigger-missing", why), *(f for f in item.lint if "-trigger-" not in f[1])]
    return found + item.lint
