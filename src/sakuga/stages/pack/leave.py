"""What leaves with a project: all that training needs on another machine, and nothing that tells of this one.

The settings, the store, the encodings of the plan, captions, the runs that are not done; not the films, nor the clips, of which
only the sums go along: with them the encodings are found.
"""

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import tomlkit

from ... import __version__
from ...core import archive, captions, models, store
from ...core.archive import Member
from ...core.control import is_passing
from ...core.counting import mask_files
from ...core.dataset import Encoded, encoded_samples, latent_file, mask_file, text_file
from ...core.errors import SakugaError
from ...core.files import fingerprint
from ...core.loras import parse_choice
from ...core.pairs import pair_of
from ...core.progress import Progress
from ...core.project import CONFIG, DATABASE, Project
from ...core.prompts import parse_prompts
from ...core.settings import TrainSettings, parse_train
from ...core.stage import SCRATCH
from .relocate import Relocation, leads_out

PROJECT = "project"  # the kind of archive
DONE = "done"  # the state of a run that needs no further training
# Texts for people, in which paths of this machine may stand.
SENTENCES = (("work", "reason"), ("work", "basis"), ("finding", "reason"), ("pick", "reason"), ("clip_drop", "reason"),
             ("sample_drop", "reason"), ("retouch", "came_from"), ("retouch", "note"))  # fmt: skip
_FULL_PATH = re.compile(r"""(?<![\w.:/\\])([A-Za-z]:)?[/\\]([^\s/\\:;,'"()]+[/\\])+""")  # but its last name


@dataclass(frozen=True)
class Packed:
    """An archive that was written: its files, its bytes, and the model files that the other machine must have."""

    path: Path
    files: int
    bytes: int
    models: list[dict[str, Any]]


def pack(project: Project, out: Path, with_models: bool, with_clips: bool, progress: Progress) -> Packed:
    """Write the archive of a project whose samples are all encoded. The caller holds the lock.

    Raises SakugaError where an encoding is missing, or the disk refuses.
    """
    tell = Relocation(project.folder)
    samples = encoded_samples(project)
    wanted = _encodings(project, samples)
    travelling = _travelling(project)
    weights = _models(project, with_models)
    scratch = project.folder / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        members = [Member(CONFIG, _config(project, tell, weights))]
        members.append(Member(DATABASE, _store(project, tell, scratch / DATABASE, wanted, travelling, with_clips)))
        members += [Member(file, project.path(file)) for file in sorted(wanted)]
        members += _captions(project, tell)
        members += [member for name in travelling for member in run_files(project, tell, name)]
        members += _beside(project, tell, travelling)
        if with_clips:
            members += _clips(project, tell)
        if with_models:
            members += [member for model in weights for member in _model_files(model)]
        members = list({member.name: member for member in members}.values())
        needed = [{key: model[key] for key in ("role", "name", "bytes", "sha256", "inside")} for model in weights]
        told = {"kind": PROJECT, "sakuga": __version__, "project": project.name, "model": project.member.name}
        archive.write(out, told | {"models": needed}, members, progress)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Packed(out, len(members), out.stat().st_size, needed)


def _encodings(project: Project, samples: Sequence[Encoded]) -> set[str]:
    """The files of all that training reads of the cache."""
    wanted = {latent_file(sample.latent) for sample in samples}
    wanted |= {text_file(key) for sample in samples for key in (sample.text, sample.negative)}
    wanted |= {mask_file(sample.mask) for sample in samples if sample.mask}
    missing = [file for file in sorted(wanted) if not project.path(file).is_file()]
    if missing:
        raise SakugaError(f"{len(missing)} of {len(wanted)} encodings are not there; `sakuga cache`, then pack again")
    return wanted


def _travelling(project: Project) -> list[str]:
    """The runs that go along whole: those that are not done, and those that another begins with."""
    rows = project.rows("SELECT name, state, settings FROM run ORDER BY id")
    chosen = {row["name"] for row in rows if row["state"] != DONE}
    begun = {_trained(row).start_from for row in rows if row["name"] in chosen} | {project.settings.train.start_from}
    return [row["name"] for row in rows if row["name"] in chosen | begun]


def _trained(row: Mapping[str, Any]) -> TrainSettings:
    return parse_train(json.loads(row["settings"]), f"run {row['name']}")


def _models(project: Project, inside: bool) -> list[dict[str, Any]]:
    """Every file of the model: what it is called, how large it is and what it holds; its place in the archive if it goes."""
    found, places = [], dict[Path, str]()
    for role, path in models.of_project(project).items():
        place = places.setdefault(path, f"models/{role}/{path.name}")
        files = [path] if path.is_file() else models.content_files(path)
        told = {"role": role, "name": path.name, "path": path, "bytes": sum(file.stat().st_size for file in files)}
        found.append(told | {"sha256": models.content_hash(project, path), "inside": place if inside else None})
    return found


def _model_files(model: Mapping[str, Any]) -> Iterator[Member]:
    path: Path = model["path"]
    if path.is_file():
        yield Member(model["inside"], path)
        return
    for file in models.content_files(path):
        yield Member(f"{model['inside']}/{file.relative_to(path).as_posix()}", file)


def _config(project: Project, tell: Relocation, weights: Sequence[Mapping[str, Any]]) -> bytes:
    """sakuga.toml without paths of this machine. Where model files are is for the other machine to say, or they go along."""
    document = tomlkit.parse((project.folder / CONFIG).read_bytes().decode("utf-8-sig"))
    named = document.get("models", {})
    for key, value in list(named.items()):
        if leads_out(value) or any(model["inside"] for model in weights):
            del named[key]
    tell.in_place(document)
    for model in weights:
        if model["inside"]:
            if "models" not in document:
                document["models"] = tomlkit.table()
            document["models"][model["role"]] = model["inside"]
    return tomlkit.dumps(document).encode("utf-8")


def place_of(tell: Relocation, folders: Mapping[str, str], item: Mapping[str, Any]) -> str:
    """Where the file of an item (file, folder) stands elsewhere. `folders` tells where adopted folders lead, by name."""
    stored = folders.get(item["folder"] or "", "")
    if stored and item["file"].startswith(f"{stored}/"):
        return f"{tell(stored)}/{item['file'].removeprefix(f'{stored}/')}"
    return tell(item["file"])


def _folders(project: Project) -> dict[str, str]:
    """The adopted folders as they begin the paths of their items."""
    rows = project.rows("SELECT name, path, relative FROM source_folder")
    return {row["name"]: row["relative"] or Path(row["path"]).as_posix() for row in rows}


def _store(
    project: Project, tell: Relocation, copy: Path, wanted: set[str], travelling: Sequence[str], with_clips: bool
) -> Path:
    """A copy of the store as it is to be elsewhere."""
    folders = _folders(project)
    planned = project.rows("SELECT name, file, folder FROM item WHERE name IN (SELECT item FROM sample)")
    places = {} if with_clips else {place_of(tell, folders, item): item["file"] for item in planned}
    sums = {place: project.sha256(project.path(file)) for place, file in places.items()}
    sums |= {file: project.sha256(project.path(file)) for file in mask_files(project)} if not with_clips else {}
    with closing(sqlite3.connect(copy)) as target:
        project.db.backup(target)
    with closing(store.connect(copy)) as db:
        with store.transaction(db):
            for table in ("lock", "job", "file_hash", "trash", "away"):
                db.execute(f"DELETE FROM {table}")
            for path, sha256 in sums.items():
                store.insert(db, "away", {"path": path, "sha256": sha256})
            _only_these_encodings(db, wanted)
            _runs_that_go(db, tell, travelling)
            _without_here(db, tell, folders, _roots(project))
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("VACUUM")  # what was deleted is gone from the file too
    return copy


def _only_these_encodings(db: sqlite3.Connection, wanted: set[str]) -> None:
    files = json.dumps(sorted(wanted))
    db.execute("DELETE FROM cache_entry WHERE file NOT IN (SELECT value FROM json_each(?))", (files,))
    db.execute("DELETE FROM output WHERE stage = 'cache' AND path NOT IN (SELECT value FROM json_each(?))", (files,))
    db.execute("DELETE FROM work WHERE stage = 'cache' AND item NOT IN (SELECT item FROM output WHERE stage = 'cache')")


def _runs_that_go(db: sqlite3.Connection, tell: Relocation, travelling: Sequence[str]) -> None:
    """Runs as rows of the copy: one that was killed is stopped, of those that stay no files are known."""
    stay = "SELECT id FROM run WHERE name NOT IN (SELECT value FROM json_each(?))"
    names = (json.dumps(travelling),)
    db.execute(f"DELETE FROM preview WHERE run IN ({stay})", names)
    db.execute(f"DELETE FROM checkpoint WHERE run_expert IN (SELECT id FROM run_expert WHERE run IN ({stay}))", names)
    for row in store.rows(db, "SELECT id, settings FROM run"):
        db.execute("UPDATE run SET settings = ?, token = NULL WHERE id = ?", (tell.json(row["settings"]), row["id"]))
    db.execute("UPDATE run SET state = 'stopped' WHERE state = 'running'")


def _roots(project: Project) -> list[str]:
    """The folders of this machine whose names may stand in sentences, the longest first."""
    full = {str(project.folder), str(Path.home())}
    full |= {str(Path(row["path"]).parent) for row in project.rows("SELECT path FROM source_film")}
    full |= {row["path"] for row in project.rows("SELECT path FROM source_folder")}
    full |= {str(path.parent) for path in models.of_project(project).values()}
    return sorted((root for root in full if len(Path(root).parts) > 1), key=len, reverse=True)


def _without_here(db: sqlite3.Connection, tell: Relocation, folders: Mapping[str, str], roots: Sequence[str]) -> None:
    """Put a place elsewhere for every path of the store, and take folders of this machine out of its sentences."""
    for item in store.rows(db, "SELECT name, file, folder FROM item"):
        place = place_of(tell, folders, item)
        if place != item["file"]:
            db.execute("UPDATE item SET file = ? WHERE name = ?", (place, item["name"]))
    for name, stored in folders.items():
        db.execute("UPDATE source_folder SET path = ?, relative = ? WHERE name = ?", (tell(stored), tell(stored), name))
    for film in store.rows(db, "SELECT name, path FROM source_film"):
        db.execute("UPDATE source_film SET path = ? WHERE name = ?", (tell(film["path"]), film["name"]))
    for output in store.rows(db, "SELECT path FROM output"):
        if tell(output["path"]) != output["path"]:
            db.execute("UPDATE output SET path = ? WHERE path = ?", (tell(output["path"]), output["path"]))
    db.execute("UPDATE work SET traceback = ''")
    db.create_function("unlocated", 1, lambda text: unlocated(text, roots), deterministic=True)
    for table, column in SENTENCES:
        db.execute(f"UPDATE {table} SET {column} = unlocated({column})")


def unlocated(text: str, roots: Sequence[str]) -> str:
    """A sentence without the folders that its paths lead through: those that are known, and what looks like a full path."""
    for root in roots:
        for end in ("/", "\\", ""):
            text = text.replace(root + end, "")
    return _FULL_PATH.sub("", text)


def _captions(project: Project, tell: Relocation) -> Iterator[Member]:
    """The .txt of every item that lies in the project."""
    for item in project.rows("SELECT name, file, folder FROM item ORDER BY name"):
        file = captions.own(item)
        if project.path(file).is_file():
            yield Member(file, project.path(file))


def run_files(project: Project, tell: Relocation, name: str) -> Iterator[Member]:
    """The files of a run."""
    folder = project.folder / "runs" / name
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or is_passing(path.name):
            continue
        place = path.relative_to(project.folder).as_posix()
        recipe = path == folder / "recipe.json"
        yield Member(place, tell.json(path.read_text("utf-8")).encode("utf-8") if recipe else path)


def _beside(project: Project, tell: Relocation, travelling: Sequence[str]) -> Iterator[Member]:
    """What the settings of training name: prompts with their pictures, LoRA files that it begins with."""
    rows = project.rows("SELECT name, settings FROM run")
    for train in (project.settings.train, *(_trained(row) for row in rows if row["name"] in travelling)):
        if train.prompts and (project.folder / train.prompts).is_file():
            yield from _prompts(project.folder / train.prompts, PurePosixPath(tell(train.prompts)))
        if train.start_from:
            named = parse_choice(train.start_from, [expert.name for expert in project.member.experts]).name
            given = next((path for path in (project.folder / named, Path(named)) if path.is_file()), None)
            for path in sorted({given, *pair_of(given).values()}) if given else ():
                yield Member(str(PurePosixPath(tell(named)).with_name(path.name)), path)


def _prompts(path: Path, place: PurePosixPath) -> Iterator[Member]:
    """A prompt file and the pictures that its lines begin with, which stand beside it elsewhere."""
    text = path.read_text("utf-8-sig")
    for given in {line.image for line in parse_prompts(text) if line.image}:
        picture = path.parent / given
        if leads_out(given):
            beside = f"{fingerprint({'': str(picture.parent)})[:8]}-{picture.name}"
            text = text.replace(given, beside)
        else:
            beside = PurePosixPath(given.replace("\\", "/")).as_posix()
        if picture.is_file():
            yield Member(str(place.parent / beside), picture)
    yield Member(str(place), text.encode("utf-8"))


def _clips(project: Project, tell: Relocation) -> Iterator[Member]:
    """The files of the dataset itself."""
    folders = _folders(project)
    for item in project.rows("SELECT name, file, folder FROM item ORDER BY name"):
        if project.path(item["file"]).is_file():
            yield Member(place_of(tell, folders, item), project.path(item["file"]))
    for file in mask_files(project):
        yield Member(file, project.path(file))
