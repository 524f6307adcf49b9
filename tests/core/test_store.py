"""The store: migrations once and whole, transactions that are all or nothing, and writers that wait for each other."""

import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sakuga.core import store
from sakuga.core.errors import SakugaError


def tables(db: sqlite3.Connection) -> set[str]:
    return {row["name"] for row in store.rows(db, "SELECT name FROM sqlite_master WHERE type = 'table'")}


def films(db: sqlite3.Connection) -> list[str]:
    return [row["name"] for row in store.rows(db, "SELECT name FROM source_film ORDER BY name")]


def film(name: str) -> dict[str, object]:
    return {"name": name, "path": f"/{name}", "relative": None, "added": 1.0}


def test_a_new_store_has_the_schema_and_its_safeguards(tmp_path: Path) -> None:
    db = store.connect(tmp_path / "s.db")
    assert {"lock", "decision", "shot", "item", "caption", "run_expert", "work", "output", "trash"} <= tables(db)
    pragmas = {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
    assert pragmas == {"journal_mode": "wal", "synchronous": 1}  # 1 is NORMAL
    assert db.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    assert db.execute("PRAGMA busy_timeout").fetchone()[0] == 60_000
    assert db.execute("PRAGMA user_version").fetchone()[0] == len(store.MIGRATIONS)


def test_a_migration_is_applied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def second(db: sqlite3.Connection) -> None:
        db.execute("ALTER TABLE film ADD COLUMN year INTEGER")

    db = store.connect(tmp_path / "s.db")
    store.insert(db, "source_film", film("a"))
    db.close()
    monkeypatch.setattr(store, "MIGRATIONS", (*store.MIGRATIONS, second))
    for _ in range(2):
        db = store.connect(tmp_path / "s.db")
        assert db.execute("PRAGMA user_version").fetchone()[0] == len(store.MIGRATIONS)
        assert films(db) == ["a"] and "year" in {row["name"] for row in store.rows(db, "PRAGMA table_info(film)")}
        db.close()


def test_a_store_of_the_first_version_is_brought_up_with_all_that_it_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(store, "MIGRATIONS", store.MIGRATIONS[:1])
        db = store.connect(tmp_path / "s.db")
    row = {"name": "a_000000", "source": "a", "film": "a", "first": 0, "last": 47, "start_seconds": 0.0, "seconds": 2.0}
    store.insert(db, "shot", row | {"brightness": 0.5, "motion": 0.01, "thumbnail": ""})
    db.close()
    (shot,) = store.rows(store.connect(tmp_path / "s.db"), "SELECT * FROM shot")
    assert shot.items() >= row.items()
    assert (shot["borders"], shot["words"], shot["words_at"]) == ("[0, 0, 0, 0]", 0, None)


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE half (x)")
        db.execute("CREATE TABLE film (x)")  # is there already

    store.connect(tmp_path / "s.db").close()
    with monkeypatch.context() as patch:
        patch.setattr(store, "MIGRATIONS", (*store.MIGRATIONS, broken))
        with pytest.raises(SakugaError, match="film already exists"):
            store.connect(tmp_path / "s.db")
    db = store.connect(tmp_path / "s.db")
    assert "half" not in tables(db) and db.execute("PRAGMA user_version").fetchone()[0] == len(store.MIGRATIONS)


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    db = store.connect(tmp_path / "s.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(SakugaError, match=r"newer Sakuga \(schema 99, this one knows 4\); update Sakuga"):
        store.connect(tmp_path / "s.db")


def test_processes_that_open_a_new_store_at_once_all_succeed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from sakuga.core import store\n"
        "time.sleep(max(0, float(sys.argv[2]) - time.time()))\n"
        "for n in range(30): store.connect(Path(f'{sys.argv[1]}/{n}.db')).close()"
    )
    start = str(time.time() + 0.7)
    command = [sys.executable, "-c", code, str(tmp_path), start]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [(p.communicate(timeout=60)[1], p.returncode) for p in started] == [("", 0)] * 3
    for n in range(30):
        assert "film" in tables(store.connect(tmp_path / f"{n}.db"))


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    db, other = store.connect(tmp_path / "s.db"), store.connect(tmp_path / "s.db")
    with pytest.raises(KeyError), store.transaction(db):
        store.insert(db, "source_film", film("a"))
        assert films(db) == ["a"] and films(other) == []
        raise KeyError
    assert films(db) == []
    with store.transaction(db):
        store.insert(db, "source_film", film("b"))
        store.insert(db, "source_film", film("c"))
        assert films(other) == []
    assert films(other) == ["b", "c"]


def test_an_error_that_sqlite_rolled_back_itself_is_told_as_it_is(tmp_path: Path) -> None:
    db = store.connect(tmp_path / "s.db")
    with pytest.raises(KeyError), store.transaction(db):
        db.execute("ROLLBACK")  # as SQLite does when the disk is full
        raise KeyError
    with store.transaction(db):
        store.insert(db, "source_film", film("a"))
    assert films(db) == ["a"]


def test_a_commit_that_fails_leaves_no_transaction_open(tmp_path: Path) -> None:
    db = store.connect(tmp_path / "s.db")
    db.execute("CREATE TABLE child (run INTEGER REFERENCES run (id) DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(sqlite3.IntegrityError), store.transaction(db):
        db.execute("INSERT INTO child VALUES (7)")
    assert not db.in_transaction and store.rows(db, "SELECT * FROM child") == []


def test_six_writers_at_once_all_get_through(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    store.connect(path).close()
    faults: list[BaseException] = []

    def write(writer: int) -> None:
        try:
            db = store.connect(path)
            for n in range(40):
                with store.transaction(db):
                    known = len(films(db))
                    store.insert(db, "source_film", film(f"{writer}-{n}"))
                    assert len(films(db)) == known + 1
            db.close()
        except BaseException as error:
            faults.append(error)
            raise

    writers = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    assert not faults and len(films(store.connect(path))) == 240


@pytest.mark.parametrize("content", [b"this is a letter, not a database" * 40, b"SQLite format 3\0" + b"\xff" * 2000])
def test_a_file_that_is_no_store_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(content)
    with pytest.raises(SakugaError, match=r"s\.db cannot be used: .*; is it a file of Sakuga"):
        store.connect(path)
    assert path.read_bytes() == content


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SakugaError, match="cannot be used: unable to open"):
        store.connect(tmp_path / "gone" / "s.db")


def test_insert_replaces_only_when_asked(tmp_path: Path) -> None:
    db = store.connect(tmp_path / "s.db")
    store.insert(db, "source_film", film("a"))
    with pytest.raises(sqlite3.IntegrityError):
        store.insert(db, "source_film", film("a"))
    store.insert(db, "source_film", film("a") | {"added": 2.0}, replace=True)
    assert store.rows(db, "SELECT added FROM source_film WHERE name = ?", ["a"]) == [{"added": 2.0}]
