"""A run comes home: its files and its rows join those of the project that it left, and nothing else is touched."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from ... import __version__
from ...core import archive, runs, store
from ...core.archive import Member
from ...core.errors import SakugaError
from ...core.files import fsync_folder
from ...core.progress import Progress
from ...core.project import Project
from ...core.stage import SCRATCH
from .leave import Packed, run_files
from .relocate import Relocation, restored, texts

RUN = "run"  # the kind of archive
ROWS = "run.db"
SAME = ("model", "seed", "weights", "started")  # by which a run is known again


def pack_run(project: Project, name: str, out: Path, progress: Progress) -> Packed:
    """Write the archive of one run: its files and its rows. The caller holds the lock."""
    row = runs.find_run(project, name)
    tell = Relocation(project.folder)
    scratch = project.folder / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        members = [Member(ROWS, _rows(project, row, tell, scratch / ROWS)), *run_files(project, tell, name)]
        told = {"kind": RUN, "sakuga": __version__, "project": project.name, "model": row["model"], "run": name}
        archive.write(out, told, members, progress)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Packed(out, len(members), out.stat().st_size, [])


def _rows(project: Project, run: dict[str, Any], tell: Relocation, path: Path) -> Path:
    """A store that holds the rows of one run alone."""
    with closing(store.connect(path)) as db:
        db.execute("ATTACH ? AS whole", (str(project.folder / "sakuga.db"),))
        with store.transaction(db):
            settings = {"settings": tell.json(run["settings"]), "token": None}
            state = {"state": "stopped" if run["state"] == "running" else run["state"]}
            store.insert(db, "run", run | settings | state)
            for table, (column, _) in _tables(db).items():
                mine = "?" if column == "run" else "SELECT id FROM whole.run_expert WHERE run = ?"
                db.execute(f"INSERT INTO {table} SELECT * FROM whole.{table} WHERE {column} IN ({mine})", (run["id"],))
        db.execute("DETACH whole")
        db.execute("PRAGMA journal_mode = DELETE")
    return path


def _tables(db: sqlite3.Connection) -> dict[str, tuple[str, list[str]]]:
    """The tables whose rows hang on a run or on an expert of one: by which column, and their columns.

    Told by the schema, so that a table that is added comes home too. Experts come first, for others hang on them.
    """
    names = [row[0] for row in db.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")]
    found = {}
    for table in sorted(names, key=lambda name: (name != "run_expert", name)):
        for key in db.execute(f"PRAGMA main.foreign_key_list({table})"):
            if key["table"] in ("run", "run_expert"):
                columns = [row["name"] for row in db.execute(f"PRAGMA main.table_info({table})")]
                found[table] = (key["from"], columns)
    return found


def come_home(project: Project, folder: Path, name: str) -> bool:
    """Join the unpacked run in `folder` to the project. False where the run is further here already: nothing is done.

    Raises SakugaError where the project has another run of that name, or has trained this one otherwise since.
    """
    with closing(store.connect(folder / ROWS)):  # brought up to this version's schema
        pass
    db = project.db
    db.execute("ATTACH ? AS arrived", (str(folder / ROWS),))
    try:
        came = _run(db, "arrived", name)
        here = _run(db, "main", name)
        if came is None:
            raise SakugaError(f"the archive says nothing of run {name}; pack it again where it was trained")
        if came["model"] != project.member.name:
            raise SakugaError(
                f"run {name} is of {came['model']} and this project is for {project.member.name}; open the project it left"
            )
        if here is not None:
            _check_same(name, here, came)
            if not _is_ahead(db, name, here["id"], came["id"]):
                return False
        _move(project, folder, name, known=here is not None)
        with store.transaction(db):
            _join(project, here, came)
    finally:
        db.execute("DETACH arrived")
    return True


def _run(db: sqlite3.Connection, schema: str, name: str) -> dict[str, Any] | None:
    found = store.rows(db, f"SELECT * FROM {schema}.run WHERE name = ?", (name,))
    return found[0] if found else None


def _check_same(name: str, here: dict[str, Any], came: dict[str, Any]) -> None:
    other = [key for key in SAME if here[key] != came[key]]
    if other:
        raise SakugaError(
            f"this project has another run {name} (its {', '.join(other)} differ); unpack into the project that the run left, "
            "or train under another name there"
        )


def _is_ahead(db: sqlite3.Connection, name: str, here: int, came: int) -> bool:
    """Whether what came is at least as far as what is here, in every expert, and went the same way until then."""
    query = """
    SELECT home.expert, home.steps_done AS here, away.steps_done AS came, home.id AS home, away.id AS away
    FROM main.run_expert AS home JOIN arrived.run_expert AS away USING (expert) WHERE home.run = ? AND away.run = ?
    """
    both = store.rows(db, query, (here, came))
    for row in both:
        _check_same_way(db, name, row)
    if all(row["came"] >= row["here"] for row in both):
        return True
    if all(row["came"] <= row["here"] for row in both):
        return False
    further = ", ".join(row["expert"] for row in both if row["here"] > row["came"])
    raise SakugaError(
        f"run {name} was trained on both here and there ({further} is further here); keep one, and train on there alone"
    )


def _check_same_way(db: sqlite3.Connection, name: str, row: dict[str, Any]) -> None:
    """The steps that both have saved must be the same steps, and so must the checkpoints of them."""
    last = min(row["here"], row["came"])
    for table, column in (("step", "loss"), ("checkpoint", "sha256")):
        query = f"""
        SELECT min(step) AS step FROM main.{table} AS home JOIN arrived.{table} AS away USING (step)
        WHERE home.run_expert = ? AND away.run_expert = ? AND step <= ? AND home.{column} != away.{column}
        """
        (found,) = store.rows(db, query, (row["home"], row["away"], last))
        if found["step"] is not None:
            raise SakugaError(
                f"run {name} went another way here ({row['expert']} differs from step {found['step']} on); it was trained on "
                "since it left: keep that, or remove its folder and give the archive to a copy of the project as it was"
            )


def _move(project: Project, folder: Path, name: str, known: bool) -> None:
    """Give the files of the run their places; the recipe of a run that is known stays as it is."""
    for path in sorted((folder / "runs" / name).rglob("*")):
        place = project.folder / path.relative_to(folder)
        if not path.is_file() or (known and path.name == "recipe.json" and place.exists()):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)
        fsync_folder(place.parent)


def _join(project: Project, here: dict[str, Any] | None, came: dict[str, Any]) -> None:
    """The rows of what came, under the numbers that run and experts have here."""
    db, tables = project.db, _tables(project.db)
    if here is None:
        tell = Relocation(project.folder)
        known = {tell(text): text for text in texts(project.settings.model_dump(mode="json"))}
        settings = json.dumps(restored(json.loads(came["settings"]), known), ensure_ascii=False)
        store.insert(db, "run", {key: came[key] for key in came if key != "id"} | {"settings": settings, "token": None})
    else:
        db.execute("UPDATE run SET state = ?, ended = ? WHERE id = ?", (came["state"], came["ended"], here["id"]))
    run = store.rows(db, "SELECT id FROM main.run WHERE name = ?", (came["name"],))[0]["id"]
    experts: dict[int, int] = {}
    for row in store.rows(db, "SELECT * FROM arrived.run_expert WHERE run = ?", (came["id"],)):
        query = "SELECT id FROM main.run_expert WHERE run = ? AND expert = ?"
        if not store.rows(db, query, (run, row["expert"])):
            store.insert(db, "run_expert", {key: row[key] for key in row if key != "id"} | {"run": run})
        done = row["steps"], row["steps_done"], run, row["expert"]
        db.execute("UPDATE run_expert SET steps = max(steps, ?), steps_done = ? WHERE run = ? AND expert = ?", done)
        experts[row["id"]] = store.rows(db, query, (run, row["expert"]))[0]["id"]
    for table, (column, columns) in tables.items():
        if table != "run_expert":
            for away, home in {came["id"]: run}.items() if column == "run" else experts.items():
                _take(db, table, column, columns, away, home)


def _take(db: sqlite3.Connection, table: str, column: str, columns: list[str], away: int, home: int) -> None:
    """Rows of `table` that hang on number `away` in what came, put in the place of those that hang on `home` here."""
    others = [name for name in columns if name not in (column, "id")]
    if "id" in columns:  # nothing tells which are the same
        db.execute(f"DELETE FROM main.{table} WHERE {column} = ?", (home,))
    names = ", ".join(others)
    db.execute(
        f"INSERT OR REPLACE INTO main.{table} ({column}, {names}) SELECT ?, {names} FROM arrived.{table} WHERE {column} = ?",
        (home, away),
    )
