"""The dataset laid out for another trainer: links to the files, captions beside them, a folder for each kind of sample."""

import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..core import captions, files
from ..core.dataset import item_facts
from ..core.errors import SakugaError
from ..core.models import survey
from ..core.project import Project
from ..core.samples.enumeration import ItemFacts, takes
from ..core.settings import Section, TrainSettings
from .report import Report


@dataclass
class Exported:
    """What an export wrote: the configuration files, how many files the dataset has there, and what it cannot express."""

    folder: Path
    files: list[Path] = field(default_factory=list)
    items: int = 0
    report: Report = field(default_factory=Report)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        files.write_atomic(path, text)
        self.files.append(path)
        return path


@dataclass(frozen=True)
class Part:
    """Items of one section that have one rate; `rate` is None for stills."""

    section: str
    settings: Section
    kind: str
    rate: float | None
    items: tuple[ItemFacts, ...]


class Layout:
    """The folders of an export. Items are linked, else copied where the disk knows no links."""

    def __init__(self, project: Project, out: Path, suffixes: frozenset[str]) -> None:
        self.project, self.suffixes = project, suffixes
        self.exported = Exported(files.resolved(out))
        self.rows = {row["name"]: row for row in project.rows("SELECT * FROM item")}
        self.words = captions.current(project)
        self.made: dict[tuple[str, ...], Path] = {}
        self.told: set[str] = set()

    def parts(self) -> list[Part]:
        """Every section's items by kind and rate, in folders; sections with the same items share one.

        Raises SakugaError where nothing could be trained on there.
        """
        captions.sync(self.project)
        self.words = captions.current(self.project)
        facts = item_facts(self.project)
        found = []
        for name, section in self.project.settings.sections.items():
            groups: dict[tuple[str, float | None], list[ItemFacts]] = {}
            for item in facts:
                if takes(section, item):
                    groups.setdefault((item.kind, self._rate(item)), []).append(item)
            found += [
                self._part(name, section, kind, rate, items) for (kind, rate), items in sorted(groups.items(), key=str)
            ]
        found = [part for part in found if part.items]
        if found and not (found := [part for part in found if self._moves(part)]):
            raise SakugaError(
                f"there is nothing to export: {self.project.member.title} learns from clips alone, and no section takes one"
            )
        if not found:
            raise SakugaError("there is nothing to export: no section of sakuga.toml takes an item that has a caption")
        self.exported.items = len({item.name for part in found for item in part.items})
        return found

    def _moves(self, part: Part) -> bool:
        """Whether a model that is given the first frame can learn from it; what it cannot learn from is told."""
        if part.kind != "still" or not self.project.member.needs_picture:
            return True
        note = "a model that is given the first frame learns nothing from a still"
        self.exported.report.add("refused", f"sections.{part.section} (stills)", len(part.items), "", note)
        return False

    def _rate(self, item: ItemFacts) -> float | None:
        return None if item.kind == "still" else round(float(Fraction(self.rows[item.name]["fps"])), 3)

    def _part(self, name: str, section: Section, kind: str, rate: float | None, items: Sequence[ItemFacts]) -> Part:
        kept = tuple(item for item in items if self._fits(item))
        return Part(name, section, kind, rate, kept)

    def folder(self, part: Part, own: bool = False) -> Path:
        """A folder with a part's items; one that holds just them already will do, unless it is to be their `own`."""
        items, usual = part.items, part.rate in (None, self.project.member.fps)
        name = part.section if usual else f"{part.section}-{part.rate:g}fps"
        key = tuple(item.name for item in items)
        if own or key not in self.made:
            taken = {path.name for path in self.made.values()}
            stem = files.safe_stem(name)
            names = (stem if n == 1 else f"{stem}-{n}" for n in range(1, len(taken) + 2))
            path = self.exported.folder / "dataset" / next(n for n in names if n not in taken)
            self.made[(path.name, *key) if own else key] = path
            for item in items:
                self._place(item, path)
            return path
        return self.made[key]

    def _fits(self, item: ItemFacts) -> bool:
        """Whether the other trainer can take an item; what it cannot is told."""
        row, text = self.rows[item.name], self.words.get(item.name)
        why = ""
        if not text or not text.text:
            why = "it has no caption; run `sakuga caption`"
        elif Path(row["file"]).suffix.lower() not in self.suffixes:
            why = f"it reads no {Path(row['file']).suffix} files"
        elif row["times"] is not None:
            why = "its frames are not evenly spaced in time, which is not known there; convert it to a constant rate"
        if why and item.name not in self.told:
            self.told.add(item.name)
            self.exported.report.add("refused", f"item {item.name}", row["file"], "", why)
        return not why

    def _place(self, item: ItemFacts, folder: Path) -> None:
        source = self.project.path(self.rows[item.name]["file"])
        stem = item.name.replace("/", "__").removesuffix(source.suffix)
        target = folder / f"{stem}{source.suffix}"
        if not source.is_file():
            raise SakugaError(
                f"{source} has gone since it became an item; bring it back, or take its folder out with `sakuga adopt --remove`"
            )
        files.write_atomic(target.with_suffix(".txt"), self.words[item.name].text + "\n")
        link(source, target)


def link(source: Path, target: Path) -> None:
    """`source` under another name: the same file, a pointer to it on another disk, or a copy where neither can be."""
    target.unlink(missing_ok=True)
    for make in (os.link, os.symlink, shutil.copyfile):
        try:
            make(source, target)
            return
        except OSError:  # another disk, or rights that Windows keeps for administrators
            if make is shutil.copyfile:
                raise


def model_paths(project: Project, exported: Exported, wanted: Mapping[str, str]) -> dict[str, str]:
    """The model files by role, as `wanted` names them where they are missing; those are told."""
    found = {}
    for row in survey(project):
        role = row["role"]
        if role not in wanted:
            continue
        found[role] = Path(row["path"]).as_posix() if row["path"] else wanted[role]
        if not row["path"]:
            note = f"{row['name']} is not on this machine; write its path where it stands"
            exported.report.add("differs", f"models.{role}", None, wanted[role], note)
    return found


def one_shift(project: Project, exported: "Exported") -> float:
    """The shift of the noise levels as one number: other trainers have none by tokens, frames counted."""
    train, member = project.settings.train, project.member
    if train.shift != "tokens":
        return train.shift or member.shift
    note = "its shift is one number; the model's own stands for that by tokens"
    exported.report.add("differs", "train.shift", "tokens", f"{member.shift:g}", note)
    return member.shift


WHOLE = 100_000  # the rank by which LyCORIS and its kin are told that the larger factor of a LoKr is a whole matrix


def untold(train: TrainSettings, exported: "Exported", has: Collection[str]) -> None:
    """Tells each setting that was chosen, changes the result, and is none of those that a trainer `has`."""
    usual = TrainSettings().that_matter()
    for name, value in train.that_matter().items():
        if name not in has and value != usual[name]:
            exported.report.add(
                "refused", f"train.{name}", value, "", "it has no such setting, or another meaning of it"
            )


def trains_lokr(train: TrainSettings, exported: "Exported") -> bool:
    """Whether a LoKr is to be trained there; of a DoRA it is told that none is."""
    if train.adapter == "dora":
        exported.report.add("refused", "train.adapter", "dora", "a LoRA", "it trains none")
    return train.adapter == "lokr"


def cannot(exported: Exported, there: str, section: Section, name: str, keys: Mapping[str, str]) -> None:
    """Tell which settings of a section the other trainer does not know, where they are not at their default."""
    for key, why in keys.items():
        value = getattr(section, key)
        if value != Section.model_fields[key].default:
            shown = f"{len(value)} sizes" if key == "sizes" else value
            exported.report.add("refused", f"sections.{name}.{key}", shown, "", f"{there} has no such setting: {why}")


def toml(value: Any) -> str:
    """A plain value as TOML has it: JSON, but for what JSON lacks."""
    return json.dumps(value, ensure_ascii=False)
