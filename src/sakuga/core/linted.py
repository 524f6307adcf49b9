"""What lint reads of a project: its captions, with what is measured of the shots that they tell."""

from pathlib import Path

from . import captions, models
from .lint.rule import Subject, Tokenize, Whole
from .lint.rules import chosen, lint
from .project import Project
from .tags import tags_of
from .triggers import extras

SHARE = 0.5  # of a shot that a clip must cover for the shot's movement to be its own

# Told by check itself; how like each other captions are is told where they are read one by one.
NOT_CHECKED = ("empty", "trigger-missing", "stock-phrase", "near-identical")

QUERY = """
SELECT item.name, item.kind, item.shot, item.first, item.last, shot.first AS shot_first,
  shot.last AS shot_last, shot.camera, shot.brightness
FROM item LEFT JOIN shot ON shot.name = item.shot ORDER BY item.name
"""


def read_whole(project: Project, tokenize: Tokenize | None = None) -> Whole:
    """All captions that there are, as lint wants them. `tokenize` is that of the text encoder."""
    words = captions.current(project)
    tags = tags_of(project)
    found = []
    for row in project.rows(QUERY):
        if row["name"] not in words:
            continue
        found.append(
            Subject(
                row["name"], words[row["name"]].text, row["kind"], project.settings.trigger, row["shot"] or "",
                _camera(row), row["brightness"], tags[row["name"]], extras(tags[row["name"]], project.settings.triggers),
            )
        )  # fmt: skip
    member = project.member
    return Whole(tuple(found), project.settings.lint.words, tokenize, not member.tiny, member.text.length)


def _camera(row: dict[str, int | float | None]) -> float | None:
    """How fast the picture of a clip travels (widths per second), where it is most of its shot."""
    first, last, shot_first, shot_last = (row[name] for name in ("first", "last", "shot_first", "shot_last"))
    if None in (first, last, shot_first, shot_last, row["camera"]):
        return None
    assert first is not None and last is not None and shot_first is not None and shot_last is not None
    return row["camera"] if last - first + 1 >= SHARE * (shot_last - shot_first + 1) else None


def tokenizer_path(project: Project) -> Path | None:
    """The file or folder of the model's tokenizer, where this machine has it."""
    found = next((row["path"] for row in models.survey(project) if row["role"] == "tokenizer"), None)
    return Path(found) if found else None


def told(project: Project, tokenize: Tokenize | None) -> dict[str, list[tuple[str, str, str]]]:
    """What `check` says of each item's caption: (severity, rule, reason), once a rule."""
    settings = project.settings.lint
    found: dict[str, dict[str, tuple[str, str, str]]] = {}
    for finding in lint(read_whole(project, tokenize), chosen((), {*settings.off, *NOT_CHECKED}), settings.allow):
        told = ("warning", f"caption-{finding.rule}", finding.why)
        found.setdefault(finding.item, {}).setdefault(finding.rule, told)
    return {item: list(rules.values()) for item, rules in found.items()}
