"""A draft becomes a project: its settings, its folders as items, its report beside them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import tomlkit

from .. import api
from ..core import files
from ..core.dataset import item_facts
from ..core.errors import SakugaError
from ..core.project import CONFIG, Project, read_config
from ..core.prompts import read_prompts
from ..core.samples.enumeration import enumerate_samples
from ..core.settings import parse
from ..stages.adopt import note_folders
from .draft import Draft, Later
from .reading import last_part, locate
from .report import Report

REPORT = "import-report.txt"
BEFORE = "sakuga-before-import.toml"
PROMPTS = "prompts.txt"
SAME_RATE = 0.01  # a rate this near to another is the same: 23.976 and 24 are not


@dataclass(frozen=True)
class Imported:
    """What an import made: the project, and what became of every key."""

    project: Project
    report: Report
    items: int


def settle(draft: Draft, into: Path | None, maps: Sequence[tuple[str, str]], beside: Path) -> Imported:
    """Make the project that a draft describes, or fill the one at `into`; folders are looked for `beside` the file too.

    Raises SakugaError where the settings cannot be, and where a project is there that nobody named.
    """
    parse(_settings(draft, dict(draft.folders)), draft.trainer)
    project = _project(draft, into)
    names = _adopted(draft, project, maps, beside)
    if draft.prompts:
        _prompts(draft, project)
    _write(draft, project, names)
    items = item_facts(project)
    if draft.later:
        _count(draft, project, names)
    _rates(draft, project, names)
    title = f"import of {draft.trainer} on {time.strftime('%Y-%m-%d')}"
    files.write_atomic(project.folder / REPORT, draft.report.as_text(title))
    return Imported(project, draft.report, len(items))


def _project(draft: Draft, into: Path | None) -> Project:
    folder = files.resolved(into if into is not None else files.safe_stem(draft.name))
    if not (folder / CONFIG).is_file():
        return Project.create(folder, str(draft.model))
    if into is None:
        raise SakugaError(
            f"{folder} holds a project already; say --into {folder.name} to fill it, or --into another folder"
        )
    project = Project(folder)
    if project.settings.model != draft.model:
        model = project.settings.model
        project.close()
        raise SakugaError(
            f"{folder} is a project for {model}, and the import is for {draft.model}; say --into another folder"
        )
    files.write_atomic(folder / BEFORE, (folder / CONFIG).read_bytes())
    draft.report.add("exact", "(the project)", str(folder), BEFORE, "the settings as they were before the import")
    return project


# Settings


def _settings(draft: Draft, names: Mapping[str, str]) -> dict[str, Any]:
    """The settings of the draft as sakuga.toml has them; `names` are those of the adopted folders, by section."""
    tables: dict[str, Any] = {"model": draft.model}
    for key, value in draft.settings.items():
        group, _, name = key.rpartition(".")
        (tables.setdefault(group, {}) if group else tables)[name] = value
    if draft.sections:
        sections = {name: {**values, "folders": [names[name]]} for name, values in draft.sections.items()}
        tables["sections"] = sections
    return tables


def _write(draft: Draft, project: Project, names: Mapping[str, str]) -> None:
    """Put the draft's settings into sakuga.toml. Comments survive; sections are replaced by those of the draft."""
    path = project.folder / CONFIG
    document: Any = tomlkit.parse(path.read_bytes().decode("utf-8-sig"))
    for key, value in _settings(draft, names).items():
        if key == "sections":
            document["sections"] = _tables(value)
        elif isinstance(value, dict):
            table = document.setdefault(key, tomlkit.table())
            for name, own in value.items():
                table[name] = own
        else:
            document[key] = value
    parse(document.unwrap(), draft.trainer)
    files.write_atomic(path, tomlkit.dumps(document))
    project.settings = read_config(path)


def _tables(sections: Mapping[str, Mapping[str, Any]]) -> Any:
    tables = tomlkit.table(is_super_table=True)
    for name, values in sections.items():
        table = tomlkit.table()
        for key, value in values.items():
            table.add(key, value)
        tables.add(name, table)
    return tables


def _prompts(draft: Draft, project: Project) -> None:
    source = Path(str(draft.prompts))
    try:
        lines = read_prompts(source)
    except SakugaError as error:
        draft.settings.pop("train.prompts", None)
        draft.report.add("refused", "preview prompts", str(source), "", str(error))
        return
    files.write_atomic(project.folder / PROMPTS, source.read_bytes())
    for line in lines:
        if " --" in line.text:
            note = "Sakuga knows no such setting of a prompt, and takes it for words of it"
            draft.report.add("refused", "preview prompts", line.text[line.text.index(" --") + 1 :], "", note)


# Folders


def _adopted(draft: Draft, project: Project, maps: Sequence[tuple[str, str]], beside: Path) -> dict[str, str]:
    """Adopt every folder that is on this machine, each once; the name of its folder for every section.

    Folders inside of others come first: an item belongs to the first that holds it, and theirs look into none below.
    """
    places = {given: locate(given, maps, (beside,)) for given in dict.fromkeys(draft.folders.values())}
    here = {given: path for given, path in places.items() if path is not None}
    with project.writing("import"):
        for path in sorted(set(here.values()), key=lambda path: (-len(path.parts), str(path))):
            try:
                note_folders(project, [path])
            except SakugaError as error:
                draft.report.add("refused", "folder", str(path), "", str(error))
                here = {given: place for given, place in here.items() if place != path}
    if here:
        api.adopt(project)
    rows = project.rows("SELECT name, path FROM source_folder WHERE removed IS NULL")
    names = {row["path"]: row["name"] for row in rows}
    found = {given: names[str(path)] for given, path in here.items()}
    for given in places.keys() - here.keys():
        found[given] = _expected(last_part(given), {*found.values(), *names.values()})
    for given in places:
        _tell(draft, project, given, here.get(given), found[given])
    for given, masks in draft.masks:
        if given in here:
            _masks(draft, project, found[given], masks, (maps, beside))
    return {section: found[given] for section, given in draft.folders.items()}


def _expected(last: str, taken: set[str]) -> str:
    """The name that a folder gets when it is adopted later."""
    stem = files.safe_stem(last or "folder")
    lower = {name.lower() for name in taken} | {"clips", "stills"}
    names = (stem if n == 1 else f"{stem}-{n}" for n in range(1, len(lower) + 2))
    return next(name for name in names if name.lower() not in lower)


def _tell(draft: Draft, project: Project, given: str, path: Path | None, name: str) -> None:
    if path is None:
        note = (
            f'it is not on this machine: `sakuga adopt` the folder called {last_part(given)}, or say --map "THERE=HERE"'
        )
        draft.report.add("refused", "folder", given, f'folders = ["{name}"]', note)
        return
    rows = project.rows("SELECT name, tags FROM item WHERE folder = ?", name)
    below = sum(row["tags"] != "[]" for row in rows)
    note = f"{below} of them lie in folders below it, where theirs does not look" if below else ""
    became = f'adopted as "{name}", {len(rows)} clips and stills'
    draft.report.add("differs" if below else "exact", "folder", given, became, note)


def _masks(
    draft: Draft, project: Project, name: str, given: str, where: tuple[Sequence[tuple[str, str]], Path]
) -> None:
    path = locate(given, where[0], (where[1],))
    try:
        if path is None:
            raise SakugaError(f"it is not on this machine: `sakuga masks FOLDER --of {name}` takes it from where it is")
        taken = api.take_masks(project, path, of=name)
    except SakugaError as error:
        draft.report.add("refused", "masks", given, "", str(error))
        return
    few = f"; {len(taken.faults)} are set aside, as {next(iter(taken.faults.values()))}" if taken.faults else ""
    draft.report.add("exact", "masks", given, f"{len(taken.shares)} masks", f"kept in the project's folder masks{few}")


# What only the items tell


def _count(draft: Draft, project: Project, names: Mapping[str, str]) -> None:
    """Settle what is told in epochs, or as a share of all steps, now that the samples can be counted."""
    samples, _ = enumerate_samples(item_facts(project), project.settings.sections, project.member)
    held = sum(sample.repeats for sample in samples)
    train = project.settings.train
    for later in draft.later:
        if not held and (later.by == "epochs" or train.steps is None):
            note = f"a number of steps, known once the samples are counted by `sakuga plan`; set {later.key} then"
            draft.report.add("differs", later.there, later.value, "", note)
            continue
        draft.put(
            "exact", later.there, later.value, later.key, _steps(later, held, project), f"{held} samples an epoch"
        )
    _write(draft, project, names)


def _steps(later: Later, samples: int, project: Project) -> int:
    train = project.settings.train
    if later.by == "share":
        return max(0, round(later.value * train.total_steps(samples)))
    return max(1, round(later.value * samples / train.accumulation))


def _rates(draft: Draft, project: Project, names: Mapping[str, str]) -> None:
    """Clips that ran at another speed there: theirs takes the rate of all clips of a folder to be one."""
    folders = {draft.folders[section]: name for section, name in names.items()}
    for given, taken in draft.rates.items():
        rows = project.rows("SELECT fps FROM item WHERE kind = 'clip' AND folder = ?", folders[given])
        others = [float(Fraction(row["fps"])) for row in rows if abs(float(Fraction(row["fps"])) - taken) > SAME_RATE]
        if others:
            note = f"{len(others)} of {len(rows)} clips are not of {taken:g} fps, the first is of {others[0]:g}: theirs shows it "
            note += f"{taken / others[0]:.2f} times as fast; Sakuga at its own speed, so that it has other frames"
            draft.report.add("differs", "folder", given, "", note)
