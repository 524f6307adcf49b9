"""lint: what captioners get wrong, told with its place and remedy; and the remedies put in where a person says so."""

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ..core import captions
from ..core.lint.fixing import fixed
from ..core.lint.rule import Finding
from ..core.lint.rules import chosen
from ..core.lint.rules import lint as apply
from ..core.linted import read_whole, tokenizer_path
from ..core.project import Project
from ..nn.tokens import open_tokenizer

SOURCE = "lint"  # of the caption rows that a fix made


@dataclass(frozen=True)
class Fix:
    """A caption before and after its fixes. Without `place` it cannot be written: a person's own folder is only read."""

    item: str
    before: str
    after: str
    rules: tuple[str, ...]
    by: str  # who wrote the words before
    place: str | None


def findings(project: Project, rules: Iterable[str] = (), items: Collection[str] | None = None) -> list[Finding]:
    """What the rules (all that are not off, without names) find, item by item. The caller holds the project's lock."""
    captions.sync(project)
    settings = project.settings.lint
    whole = read_whole(project, open_tokenizer(tokenizer_path(project)))
    return list(apply(whole, chosen(rules, settings.off), settings.allow, items))


def lint(project: Project, rules: Iterable[str] = (), items: Collection[str] | None = None) -> list[dict[str, Any]]:
    """`findings` as {item, file, rule, severity, start, end, found, why, fix}."""
    files = {row["name"]: row["file"] for row in project.rows("SELECT name, file FROM item")}
    return [{"item": f.item, "file": files[f.item]} | asdict(f) for f in findings(project, rules, items)]


def fixes(
    project: Project, rules: Iterable[str] = (), items: Collection[str] | None = None, in_place: bool = False
) -> list[Fix]:
    """What the fixes of the rules would make of the captions; nothing is written.

    `in_place` lets those in a person's own folder be written too, where they stand.
    """
    by_item: dict[str, list[Finding]] = {}
    for finding in findings(project, rules, items):
        if finding.fix is not None:
            by_item.setdefault(finding.item, []).append(finding)
    words = captions.current(project)
    made = []
    for row in project.rows("SELECT name, file, folder FROM item ORDER BY name"):
        found = by_item.get(row["name"])
        if found:
            before = words[row["name"]]
            after = fixed(before.text, found)
            told = tuple(dict.fromkeys(f.rule for f in found))
            place = captions.place(project, row) or (captions.sidecar(row["file"]) if in_place else None)
            made.append(Fix(row["name"], before.text, after, told, before.origin, place))
    return [fix for fix in made if fix.after != fix.before]


def write(project: Project, made: Iterable[Fix]) -> None:
    """Put the captions of fixes in the place of what was there, as a person's edit; what was there stays in the history."""
    captions.write(project, {f.item: (f.place, f.after) for f in made if f.place is not None}, SOURCE)
