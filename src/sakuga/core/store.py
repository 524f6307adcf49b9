"""What the program knows, in SQLite: one file, one writer at a time, schema changes as numbered functions.

Tables that stages write carry `source`, the key of the item they came from: a stage replaces an item's rows by
delete-then-insert in the transaction of its done mark. What a person decides stands in tables of its own
(`source_film`, `source_folder`, `decision`, human rows of `caption`), which stages only read.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import SakugaError


def _v1(db: sqlite3.Connection) -> None:
    for statement in _SCHEMA_1.split(";"):
        db.execute(statement)


def _v2(db: sqlite3.Connection) -> None:
    """What a look at a film tells beyond its cuts: bars, burned-in words, parts that films share."""
    for statement in _SCHEMA_2.split(";"):
        db.execute(statement)


def _v3(db: sqlite3.Connection) -> None:
    """What one pass over a film keeps, from which all else is derived."""
    for statement in _SCHEMA_3.split(";"):
        db.execute(statement)


def _v4(db: sqlite3.Connection) -> None:
    """What makes a dataset known to be what its owner believes."""
    for statement in _SCHEMA_4.split(";"):
        db.execute(statement)


_SCHEMA_1 = """
CREATE TABLE lock (
  id INTEGER PRIMARY KEY CHECK (id = 1), pid INTEGER NOT NULL, host TEXT NOT NULL, command TEXT NOT NULL,
  token TEXT NOT NULL, started REAL NOT NULL, heartbeat REAL NOT NULL);

-- what a person decided
CREATE TABLE source_film (name TEXT PRIMARY KEY, path TEXT NOT NULL, relative TEXT, added REAL NOT NULL);
CREATE TABLE source_folder (
  name TEXT PRIMARY KEY, path TEXT NOT NULL UNIQUE, relative TEXT, added REAL NOT NULL, removed REAL);
CREATE TABLE decision (
  id INTEGER PRIMARY KEY, film TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  verdict TEXT NOT NULL CHECK (verdict IN ('keep', 'drop', 'undecided')), reason TEXT NOT NULL DEFAULT '',
  made REAL NOT NULL);
CREATE INDEX decision_film ON decision (film, first);

-- what stages know: source is the key of the item that gave the row
CREATE TABLE film (
  name TEXT PRIMARY KEY, source TEXT NOT NULL, file TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
  width INTEGER NOT NULL, height INTEGER NOT NULL, rotation INTEGER NOT NULL, pixel_aspect TEXT NOT NULL,
  codec TEXT NOT NULL, rate TEXT, seconds REAL);
CREATE INDEX film_source ON film (source);
CREATE TABLE timeline (
  film TEXT PRIMARY KEY, source TEXT NOT NULL, frames INTEGER NOT NULL, rate TEXT, times BLOB NOT NULL,
  note TEXT NOT NULL DEFAULT '');
CREATE INDEX timeline_source ON timeline (source);
CREATE TABLE shot (
  name TEXT PRIMARY KEY, source TEXT NOT NULL, film TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  start_seconds REAL NOT NULL, seconds REAL NOT NULL, brightness REAL NOT NULL, motion REAL NOT NULL,
  thumbnail TEXT NOT NULL);
CREATE INDEX shot_source ON shot (source);
CREATE TABLE pick (
  shot TEXT PRIMARY KEY, source TEXT NOT NULL, kept INTEGER NOT NULL, reason TEXT NOT NULL,
  by TEXT NOT NULL CHECK (by IN ('person', 'rule')));
CREATE INDEX pick_source ON pick (source);
CREATE TABLE item (
  name TEXT PRIMARY KEY, source TEXT NOT NULL, kind TEXT NOT NULL CHECK (kind IN ('clip', 'still')),
  file TEXT NOT NULL, sha256 TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
  frames INTEGER NOT NULL, fps TEXT NOT NULL, shot TEXT, first INTEGER, last INTEGER, tags TEXT NOT NULL DEFAULT '[]',
  folder TEXT, times BLOB);
CREATE INDEX item_source ON item (source);
CREATE TABLE caption (
  id INTEGER PRIMARY KEY, item TEXT NOT NULL, text TEXT NOT NULL, source TEXT NOT NULL DEFAULT '',
  origin TEXT NOT NULL, made REAL NOT NULL);
CREATE INDEX caption_item ON caption (item, id);
CREATE TABLE finding (
  source TEXT NOT NULL, item TEXT NOT NULL, severity TEXT NOT NULL CHECK (severity IN ('error', 'warning')),
  rule TEXT NOT NULL, reason TEXT NOT NULL);
CREATE INDEX finding_source ON finding (source);
CREATE TABLE sample (
  key TEXT PRIMARY KEY, source TEXT NOT NULL, section TEXT NOT NULL, item TEXT NOT NULL, start INTEGER NOT NULL,
  frames INTEGER NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, repeats INTEGER NOT NULL,
  held_out INTEGER NOT NULL);
CREATE INDEX sample_source ON sample (source);
CREATE TABLE sample_drop (
  source TEXT NOT NULL, item TEXT NOT NULL, section TEXT NOT NULL, reason TEXT NOT NULL);
CREATE INDEX sample_drop_source ON sample_drop (source);
CREATE TABLE cache_entry (
  key TEXT PRIMARY KEY, source TEXT NOT NULL, kind TEXT NOT NULL CHECK (kind IN ('latent', 'text')),
  file TEXT NOT NULL, bytes INTEGER NOT NULL);
CREATE INDEX cache_entry_source ON cache_entry (source);

-- trainings
CREATE TABLE run (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, model TEXT NOT NULL, seed INTEGER NOT NULL,
  settings TEXT NOT NULL, weights TEXT NOT NULL, state TEXT NOT NULL, started REAL NOT NULL, ended REAL);
CREATE TABLE run_expert (
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run (id), expert TEXT NOT NULL, rank INTEGER NOT NULL,
  alpha REAL NOT NULL, steps INTEGER NOT NULL, steps_done INTEGER NOT NULL, t_min REAL NOT NULL, t_max REAL NOT NULL,
  UNIQUE (run, expert));
CREATE TABLE step (
  run_expert INTEGER NOT NULL REFERENCES run_expert (id), step INTEGER NOT NULL, loss REAL NOT NULL,
  learning_rate REAL NOT NULL, norm REAL NOT NULL, seconds REAL NOT NULL, PRIMARY KEY (run_expert, step)) WITHOUT ROWID;
CREATE TABLE item_loss (
  run_expert INTEGER NOT NULL REFERENCES run_expert (id), step INTEGER NOT NULL, part INTEGER NOT NULL,
  sample TEXT NOT NULL, item TEXT NOT NULL, t REAL NOT NULL, loss REAL NOT NULL,
  PRIMARY KEY (run_expert, step, part)) WITHOUT ROWID;
CREATE TABLE validation (
  run_expert INTEGER NOT NULL REFERENCES run_expert (id), step INTEGER NOT NULL, t REAL NOT NULL, loss REAL NOT NULL,
  PRIMARY KEY (run_expert, step, t)) WITHOUT ROWID;
CREATE TABLE checkpoint (
  run_expert INTEGER NOT NULL REFERENCES run_expert (id), step INTEGER NOT NULL, file TEXT NOT NULL,
  sha256 TEXT NOT NULL, made REAL NOT NULL, PRIMARY KEY (run_expert, step)) WITHOUT ROWID;
CREATE TABLE preview (
  run INTEGER NOT NULL REFERENCES run (id), expert TEXT NOT NULL, step INTEGER NOT NULL, prompt INTEGER NOT NULL,
  text TEXT NOT NULL, file TEXT NOT NULL, PRIMARY KEY (run, expert, step, prompt)) WITHOUT ROWID;
CREATE TABLE job (
  id INTEGER PRIMARY KEY, command TEXT NOT NULL, arguments TEXT NOT NULL, state TEXT NOT NULL, done INTEGER,
  total INTEGER, note TEXT NOT NULL DEFAULT '', error TEXT, queued REAL NOT NULL, started REAL, ended REAL);

-- bookkeeping of the stage runner
CREATE TABLE work (
  stage TEXT NOT NULL, item TEXT NOT NULL, fingerprint TEXT NOT NULL, basis TEXT NOT NULL DEFAULT '{}',
  state TEXT NOT NULL CHECK (state IN ('done', 'failed')),
  reason TEXT NOT NULL DEFAULT '', traceback TEXT NOT NULL DEFAULT '', seconds REAL NOT NULL, ended REAL NOT NULL,
  PRIMARY KEY (stage, item)) WITHOUT ROWID;
CREATE TABLE output (
  path TEXT PRIMARY KEY, stage TEXT NOT NULL, item TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX output_item ON output (stage, item);
CREATE TABLE trash (path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE file_hash (
  path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime INTEGER NOT NULL, sha256 TEXT NOT NULL) WITHOUT ROWID
"""

_SCHEMA_2 = """
ALTER TABLE timeline ADD COLUMN hashes BLOB;
ALTER TABLE shot ADD COLUMN borders TEXT NOT NULL DEFAULT '[0, 0, 0, 0]';
ALTER TABLE shot ADD COLUMN words REAL NOT NULL DEFAULT 0;
ALTER TABLE shot ADD COLUMN words_at TEXT;

CREATE TABLE recurrence (
  source TEXT NOT NULL, film TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, other TEXT NOT NULL,
  other_seconds REAL NOT NULL);
CREATE INDEX recurrence_source ON recurrence (source)
"""

_SCHEMA_3 = """
ALTER TABLE timeline ADD COLUMN look TEXT NOT NULL DEFAULT '';
ALTER TABLE timeline ADD COLUMN look_sha256 TEXT NOT NULL DEFAULT '';
ALTER TABLE timeline ADD COLUMN pictures TEXT NOT NULL DEFAULT '';
ALTER TABLE timeline ADD COLUMN proxy TEXT NOT NULL DEFAULT '';
ALTER TABLE timeline ADD COLUMN sound BLOB; -- null: no sound track
ALTER TABLE recurrence ADD COLUMN start_seconds REAL NOT NULL DEFAULT 0;
ALTER TABLE recurrence ADD COLUMN seconds REAL NOT NULL DEFAULT 0;
ALTER TABLE recurrence ADD COLUMN by TEXT NOT NULL DEFAULT 'picture' CHECK (by IN ('picture', 'sound', 'both'));
ALTER TABLE recurrence ADD COLUMN kind TEXT NOT NULL DEFAULT '';
CREATE INDEX recurrence_film ON recurrence (film, first);
ALTER TABLE shot ADD COLUMN soft_in INTEGER NOT NULL DEFAULT 0; -- frames of a transition at its start, and its end
ALTER TABLE shot ADD COLUMN soft_out INTEGER NOT NULL DEFAULT 0;
CREATE TABLE judgement (look_sha256 TEXT PRIMARY KEY, source TEXT NOT NULL, probabilities BLOB NOT NULL);
CREATE INDEX judgement_source ON judgement (source);
ALTER TABLE shot ADD COLUMN strip TEXT NOT NULL DEFAULT '';
ALTER TABLE shot ADD COLUMN camera REAL NOT NULL DEFAULT 0;
ALTER TABLE shot ADD COLUMN subject REAL NOT NULL DEFAULT 0;
ALTER TABLE shot ADD COLUMN drawings REAL NOT NULL DEFAULT 0;
ALTER TABLE shot ADD COLUMN static REAL NOT NULL DEFAULT 0;
ALTER TABLE shot ADD COLUMN black REAL NOT NULL DEFAULT 0;
ALTER TABLE shot ADD COLUMN blank REAL NOT NULL DEFAULT 0;
ALTER TABLE shot ADD COLUMN sharpness REAL NOT NULL DEFAULT 1;
ALTER TABLE shot ADD COLUMN damage REAL NOT NULL DEFAULT 1;
CREATE TABLE shot_group (
  shot TEXT PRIMARY KEY, source TEXT NOT NULL, cluster TEXT NOT NULL, duplicate_of TEXT, share REAL NOT NULL,
  outlier REAL NOT NULL, outlier_rank REAL NOT NULL, outlier_why TEXT NOT NULL, features BLOB NOT NULL);
CREATE INDEX shot_group_source ON shot_group (source);
CREATE TABLE overlay (
  source TEXT NOT NULL, film TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('logo', 'words')), box TEXT NOT NULL, share REAL NOT NULL, text TEXT, mask BLOB);
CREATE INDEX overlay_source ON overlay (source);
CREATE INDEX item_shot ON item (shot);
CREATE INDEX shot_film ON shot (film, first);
CREATE INDEX overlay_film ON overlay (film, first);
CREATE TABLE subject (
  shot TEXT PRIMARY KEY, source TEXT NOT NULL, people INTEGER NOT NULL, shot_size TEXT NOT NULL, face REAL NOT NULL,
  nude INTEGER NOT NULL, nude_score REAL NOT NULL, boxes TEXT NOT NULL);
CREATE INDEX subject_source ON subject (source);
ALTER TABLE pick ADD COLUMN rule TEXT NOT NULL DEFAULT 'undecided'; -- by which shots are counted
CREATE TABLE clip_drop (
  source TEXT NOT NULL, shot TEXT NOT NULL, name TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  reason TEXT NOT NULL);
CREATE INDEX clip_drop_source ON clip_drop (source);
CREATE INDEX clip_drop_shot ON clip_drop (shot);
-- a person's: what stands in the place of an item's own file
CREATE TABLE retouch (
  item TEXT PRIMARY KEY, file TEXT NOT NULL, sha256 TEXT NOT NULL, came_from TEXT NOT NULL, note TEXT NOT NULL,
  original TEXT NOT NULL, original_sha256 TEXT NOT NULL, made REAL NOT NULL)
"""

_SCHEMA_4 = """
CREATE TABLE told (
  source TEXT NOT NULL, item TEXT NOT NULL, severity TEXT NOT NULL CHECK (severity IN ('error', 'warning', 'advice')),
  rule TEXT NOT NULL, reason TEXT NOT NULL);
INSERT INTO told SELECT source, item, severity, rule, reason FROM finding;
DROP TABLE finding;
ALTER TABLE told RENAME TO finding;
CREATE INDEX finding_source ON finding (source);
CREATE TABLE item_look (item TEXT PRIMARY KEY, source TEXT NOT NULL, hashes BLOB NOT NULL);
CREATE INDEX item_look_source ON item_look (source);
-- a person's: what they tagged, and which captions they have looked at ('shown' in a batch, then 'seen')
CREATE TABLE item_tag (
  item TEXT NOT NULL, tag TEXT NOT NULL, present INTEGER NOT NULL, made REAL NOT NULL, PRIMARY KEY (item, tag)) WITHOUT ROWID;
CREATE TABLE review (
  id INTEGER PRIMARY KEY, item TEXT NOT NULL, caption INTEGER NOT NULL, act TEXT NOT NULL CHECK (act IN ('shown', 'seen')),
  batch INTEGER NOT NULL, made REAL NOT NULL, undone REAL);
CREATE INDEX review_caption ON review (caption);
-- what another captioner says: in words of its own, and of each claim of a caption
CREATE TABLE opinion (item TEXT PRIMARY KEY, source TEXT NOT NULL, text TEXT NOT NULL, origin TEXT NOT NULL, made REAL NOT NULL);
CREATE INDEX opinion_source ON opinion (source);
CREATE TABLE claim (
  source TEXT NOT NULL, item TEXT NOT NULL, number INTEGER NOT NULL, text TEXT NOT NULL, caption TEXT NOT NULL,
  answer TEXT NOT NULL CHECK (answer IN ('yes', 'no', 'unsure')), origin TEXT NOT NULL);
CREATE INDEX claim_source ON claim (source);
-- a picture of an item and its caption in the space that they share: [width] float32 each
CREATE TABLE item_fit (item TEXT PRIMARY KEY, source TEXT NOT NULL, picture BLOB NOT NULL, words BLOB NOT NULL);
CREATE INDEX item_fit_source ON item_fit (source);
-- what a model's loss on an item is with its own caption, and on the mean with those of others: same noise, same level
CREATE TABLE caption_test (
  item TEXT NOT NULL, expert TEXT NOT NULL, level INTEGER NOT NULL, t REAL NOT NULL, caption TEXT NOT NULL, latent TEXT NOT NULL,
  own REAL NOT NULL, others REAL NOT NULL, PRIMARY KEY (item, expert, level)) WITHOUT ROWID;
ALTER TABLE run ADD COLUMN token TEXT; -- of the lock under which it is being trained, or was last
CREATE TABLE checkpoint_use (
  sha256 TEXT NOT NULL, by TEXT NOT NULL CHECK (by IN ('publish', 'generate')), PRIMARY KEY (sha256, by)) WITHOUT ROWID;
-- files that stayed where this project was packed: what they hold, as long as they are not here
CREATE TABLE away (path TEXT PRIMARY KEY, sha256 TEXT NOT NULL) WITHOUT ROWID;
-- which places of an item count in training: 'alpha' where it is transparent, a file of the project, or one a person gave
ALTER TABLE item ADD COLUMN mask TEXT NOT NULL DEFAULT '';
CREATE TABLE item_mask (item TEXT PRIMARY KEY, file TEXT NOT NULL, share REAL NOT NULL, made REAL NOT NULL) WITHOUT ROWID;
-- a person's: how much the loss of an item counts
CREATE TABLE item_weight (item TEXT PRIMARY KEY, weight REAL NOT NULL, made REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE encoding (
  key TEXT PRIMARY KEY, source TEXT NOT NULL, kind TEXT NOT NULL CHECK (kind IN ('latent', 'text', 'mask')),
  file TEXT NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO encoding SELECT key, source, kind, file, bytes FROM cache_entry;
DROP TABLE cache_entry;
ALTER TABLE encoding RENAME TO cache_entry;
CREATE INDEX cache_entry_source ON cache_entry (source)
"""

MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_v1, _v2, _v3, _v4)


WAIT_SECONDS = 60.0  # for another writer


class Connection(sqlite3.Connection):
    """A connection to the store. `token` is that of the lock while a command writes, else None."""

    token: str | None = None


def connect(path: Path) -> Connection:
    """Open the store at `path`, made and brought up to this version's schema where needed."""
    db: Connection | None = None
    try:
        db = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None, factory=Connection)
        db.row_factory = sqlite3.Row
        _use_wal(db)
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA foreign_keys = ON")
        migrate(db, path)
        return db
    except (sqlite3.DatabaseError, SakugaError) as error:
        if db is not None:
            db.close()
        if isinstance(error, SakugaError):
            raise
        if path.parent.is_dir() and not (os.access(path.parent, os.W_OK) and _may_write(path)):
            raise SakugaError(
                f"{path.parent} is not yours to write ({error}); change its rights, or copy the project to a folder of yours"
            ) from error
        raise SakugaError(
            f"{path} cannot be used: {error}; is it a file of Sakuga, in a folder you may write to?"
        ) from error


def _may_write(path: Path) -> bool:
    return not path.exists() or os.access(path, os.R_OK | os.W_OK)


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch to WAL. On a new file SQLite does not wait for another process that does the same, so this does."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


def migrate(db: sqlite3.Connection, path: Path) -> None:
    """Apply the migrations that the file has not seen, each in a transaction of its own."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise SakugaError(
            f"{path} was written by a newer Sakuga (schema {version}, this one knows {len(MIGRATIONS)}); "
            "update Sakuga to open it"
        )
    while version < len(MIGRATIONS):
        with transaction(db):
            # another process may have migrated while this one waited
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version < len(MIGRATIONS):
                MIGRATIONS[version](db)
                version += 1
                db.execute(f"PRAGMA user_version = {version}")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All of it or nothing. Takes the write lock at once, so that two writers wait instead of failing half way.

    Raises SakugaError where the command that writes no longer holds the project's lock.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        _check_owner(db)
        yield db
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # a full disk makes SQLite roll back by itself
            db.execute("ROLLBACK")
        raise


def _check_owner(db: sqlite3.Connection) -> None:
    """Nobody can take the lock over while a transaction is open, so what is found here holds until its end."""
    token = db.token if isinstance(db, Connection) else None
    held = db.execute("SELECT command, pid, host, token FROM lock").fetchone() if token else None
    if token and (held is None or held["token"] != token):
        by = f"`sakuga {held['command']}` (process {held['pid']} on {held['host']})" if held else "another command"
        raise SakugaError(
            f"this command stood still for so long that {by} has taken over the project; what it had done by then is kept, "
            "run it again when the other has ended"
        )


def insert(db: sqlite3.Connection, table: str, row: Mapping[str, Any], *, replace: bool = False) -> None:
    """Insert one row; `replace` takes the place of one with the same primary key. Names are from our code, not input."""
    columns = ", ".join(row)
    marks = ", ".join("?" * len(row))
    verb = "INSERT OR REPLACE" if replace else "INSERT"
    db.execute(f"{verb} INTO {table} ({columns}) VALUES ({marks})", tuple(row.values()))


def rows(db: sqlite3.Connection, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """The rows of a query as plain dictionaries."""
    return [dict(row) for row in db.execute(query, values)]
