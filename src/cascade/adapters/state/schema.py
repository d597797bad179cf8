"""The file of a store in SQLite: how it is made, opened, and brought from an older schema to this one."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections import Counter
from pathlib import Path

from cascade.adapters.state.files import (
    APPLICATION,
    check_local,
    check_private,
    check_writable,
    head_version,
    make_folders,
)
from cascade.errors import StateError

__all__ = ["WAITS", "connect", "disconnect"]

_turn = threading.RLock()
"""Held where a file is opened or closed."""
_in_use: Counter[tuple[int, int]] = Counter()
"""The connections of this process, by file. One that is in use is not read beside SQLite: who closes a file gives up
all locks that its process has on it, and another process would take the log away from under the connection."""

PATIENCE = 2.0
"""So many seconds one waits for the commit of another process before it says that the file is locked. Who asks again
does so for much longer (`PatientBackend`), but must not wait so long that its lease is over."""
LOG_LEFT = 4 << 20
"""So many bytes of the log (`-wal`) stay on disk at the most once what is in it has reached the file."""

WAITS = "owner IS NULL AND target <> '' AND status IN ('Enqueued', 'Parked', 'Running')"
"""Of a run that waits for a server; the indexes of queues have these alone, in these very words."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE runs (
            number INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, status TEXT NOT NULL, target TEXT NOT NULL,
            params BLOB NOT NULL, fingerprint BLOB NOT NULL, created REAL NOT NULL, updated REAL NOT NULL,
            owner TEXT, error TEXT NOT NULL, traced TEXT NOT NULL
        ) STRICT""",
        # what each commit changes, apart from what is long
        """CREATE TABLE starts (
            run INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, takeovers INTEGER NOT NULL, beat REAL NOT NULL,
            committed INTEGER NOT NULL DEFAULT 0, chunked INTEGER NOT NULL DEFAULT 0
        ) STRICT""",
        "CREATE INDEX runs_by_time ON runs (created)",
        """CREATE TABLE steps (
            number INTEGER PRIMARY KEY, run INTEGER NOT NULL, key TEXT NOT NULL, entry INTEGER NOT NULL,
            kind TEXT NOT NULL, value BLOB NOT NULL, chunks INTEGER NOT NULL, task_id TEXT NOT NULL,
            attempt INTEGER NOT NULL, started REAL NOT NULL, ended REAL NOT NULL, error TEXT NOT NULL,
            preview TEXT NOT NULL, UNIQUE (run, key)
        ) STRICT""",
        """CREATE TABLE chunks (
            run INTEGER NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE (run, key, at)
        ) STRICT""",
        """CREATE TABLE signals (
            run INTEGER NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,
            taken_by TEXT NOT NULL DEFAULT '', id TEXT, PRIMARY KEY (run, number)
        ) STRICT""",
        "CREATE INDEX signals_waiting ON signals (run) WHERE taken_by = ''",
        "CREATE UNIQUE INDEX signals_by_id ON signals (run, id) WHERE id IS NOT NULL",
    ),
    (
        "ALTER TABLE runs ADD COLUMN queue TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE runs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE runs ADD COLUMN due REAL NOT NULL DEFAULT 0",
        "ALTER TABLE runs ADD COLUMN dedupe TEXT",
        f"CREATE INDEX runs_ready ON runs (queue, priority DESC) WHERE due = 0 AND {WAITS}",
        f"CREATE INDEX runs_due ON runs (queue, due) WHERE due > 0 AND {WAITS}",
        "CREATE INDEX runs_owned ON runs (queue) WHERE owner IS NOT NULL",
        "CREATE INDEX runs_by_dedupe ON runs (dedupe) WHERE dedupe IS NOT NULL",
    ),
)
"""What makes each schema of the one before, the first one of nothing. Those that were released never change."""
TABLES = {"runs", "starts", "steps", "chunks", "signals"}


def connect(file: str, durability: str) -> tuple[sqlite3.Connection, tuple[int, int]]:
    """Open a store, which is made first if there is none; return it, and which file of which device it is.

    Args:
        file: its path, without links on the way.
        durability: "each" for what waits for the disk.

    Raises:
        StateError: it is no store, or may not be used.
    """
    make_folders(os.path.dirname(file))
    check_local(file)
    check_private(file)
    check_writable(file)
    with _turn:
        if not os.path.exists(file):
            _make(file)
        found = os.stat(file)
        identity = found.st_dev, found.st_ino
        if not _in_use[identity]:
            _check_version(head_version(file), file)
        db = _opened(file)
        try:
            _prepare(db, file)
            db.execute(f"PRAGMA synchronous = {'FULL' if durability == 'each' else 'NORMAL'}")
            db.execute("PRAGMA busy_timeout = 0")  # from now on, who writes says how long to wait for others
        except BaseException:
            db.close()
            raise
        _in_use[identity] += 1
        return db, identity


def disconnect(db: sqlite3.Connection, identity: tuple[int, int]) -> None:
    """Close a store."""
    with _turn:
        db.close()
        _in_use[identity] -= 1


def _opened(file: str) -> sqlite3.Connection:
    """Open a file that is there; SQLite would make one that is not."""
    place = Path(file).as_uri() + "?mode=rw"
    return sqlite3.connect(place, timeout=PATIENCE, isolation_level=None, check_same_thread=False, uri=True)


def _make(file: str) -> None:
    """Make an empty store, whole from its first moment: it is made under another name first."""
    temporary = f"{file}.{os.getpid()}-{os.urandom(4).hex()}.new"
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        db = _opened(temporary)
        try:
            _prepare(db, temporary)
        finally:
            db.close()
        with contextlib.suppress(FileExistsError):  # another process was faster
            _publish(temporary, file)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
    _sync_folder(os.path.dirname(file))


def _publish(temporary: str, file: str) -> None:
    try:
        os.link(temporary, file)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if not os.path.exists(file):
            os.rename(temporary, file)


def _sync_folder(folder: str) -> None:
    """Have the name of a new file reach the disk, where folders can be waited for."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _prepare(db: sqlite3.Connection, file: str) -> None:
    """Bring an open file to the newest schema, and set how it is written."""
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    _migrate(db, file)
    (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StateError(f"{file} cannot be written with a log beside it (its mode is {mode}); put it on another disk")
    db.execute(f"PRAGMA journal_size_limit = {LOG_LEFT}")


def _migrate(db: sqlite3.Connection, file: str) -> None:
    """Bring a store to the newest schema in one transaction; an empty file becomes a store."""
    if _version(db) != len(MIGRATIONS):
        db.execute("BEGIN IMMEDIATE")
        try:
            version = _version(db)  # another process may have done it in between
            _check_version(version, file)
            for statement in (each for one in MIGRATIONS[version:] for each in one):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
    found = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if missing := TABLES - found:
        raise StateError(f"{file} is damaged: it has no table {', '.join(sorted(missing))}; restore it from a backup")


def _version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _check_version(version: int, file: str) -> None:
    if version > len(MIGRATIONS):
        raise StateError(
            f"{file} was written by a later version of Cascade (schema {version}, this one knows {len(MIGRATIONS)}); "
            "it was left as it is: install that version, or name another file"
        )


def _begin_anew() -> None:
    """Know of no connection, in a process that was forked: those that are open are the parent's."""
    global _turn
    _turn = threading.RLock()
    _in_use.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
