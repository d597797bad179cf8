"""Runs kept in one file of SQLite, for the processes of one host."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

from cascade.adapters.state import queue_rows, rows, schema, wakes
from cascade.adapters.state.forks import leave_to_parent, note_closed, note_open
from cascade.adapters.state.rules import check_free, check_sendable, check_takeable, no_such_run, taken_from
from cascade.errors import StateError
from cascade.spec.state import Claimed, Commit, Owner, RunRecord, SignalRecord, StepRecord, StepSum, Wanted

__all__ = ["SqliteBackend"]

Durability = Literal["group", "each", "exit"]
PASSING = frozenset(
    {
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL),
        *(sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_CANTOPEN),
    }
)
"""What may be over when it is tried again."""
PASSING_OUTSIDE = frozenset(
    {
        *(errno.EIO, errno.ENOSPC, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ENOMEM, errno.EMFILE, errno.ENFILE),
        *(getattr(errno, name) for name in ("EDQUOT", "ESTALE", "ETIMEDOUT") if hasattr(errno, name)),
    }
)
"""What may be over of what the system says of a file, when it is tried again."""


class SqliteBackend:
    """Keeps runs in a file of SQLite, with its log beside it; any number of processes of one host may use it.

    Args:
        path: the file; it is made, and its folder, for their owner alone, when it is opened.
        durability: what `commit` promises when it returns. "each": what was committed is on the disk, and outlives a
            loss of power (`synchronous=FULL`). "group" and "exit": it outlives the end of every process, kill -9 too;
            after a loss of power the file is whole, but the last commits may be missing (`synchronous=NORMAL`). When
            to commit is up to who does.

    Raises:
        ValueError: `durability` is none of the three.
    """

    def __init__(self, path: str | os.PathLike[str], durability: Durability = "group") -> None:
        if durability not in ("group", "each", "exit"):
            raise ValueError(f"durability is 'group', 'each' or 'exit', not {durability!r}")
        self.path: str = os.path.abspath(os.fspath(path))
        self.durability: Durability = durability
        self._file = self.path
        self._identity = (0, 0)
        self._db: sqlite3.Connection | None = None
        self._users = 0
        """How often it was opened and not closed again: several engines may share it."""
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"SqliteBackend({self.path!r}, {self.durability!r})"

    # --- opening, closing, and transactions

    def open(self) -> None:
        """Make the file where there is none, and be ready.

        Raises:
            StateError: it is no store, of a newer schema, damaged, on a network file system, or others can write to it.
        """
        with self._lock, self._errors():
            if self._db is None:
                self._connect()
            self._users += 1

    def strengthen(self) -> None:
        """Promise what "each" does from now on."""
        if self.durability != "each":
            with self._reading() as db:
                db.execute("PRAGMA synchronous = FULL")
                self.durability = "each"

    def close(self) -> None:
        """Let go of the file, once all that opened it do; its log goes with the last process that does."""
        with self._lock:
            self._users = max(0, self._users - 1)
            if self._users:
                return
            db, self._db = self._db, None
            note_closed(self)
            if db is not None:
                schema.disconnect(db, self._identity)

    def _connect(self) -> sqlite3.Connection:
        self._file = os.path.realpath(self.path)
        db, self._identity = schema.connect(self._file, self.durability)
        self._db = db
        note_open(self)
        return db

    def inherited(self) -> None:
        """Leave the connection to the parent, in a process that was forked; one of its own is opened when needed."""
        if self._db is not None:
            leave_to_parent(self._db)
        self._db, self._lock = None, threading.RLock()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._errors():
            if not self._users:
                raise StateError(f"the store {self.path} is not open")
            yield self._db or self._connect()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Give one transaction; what is read in it holds until it is committed."""
        with self._reading() as db:
            self._check_there()
            self._begin(db)
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                self._roll_back(db)
                raise

    def _roll_back(self, db: sqlite3.Connection) -> None:
        """Undo a transaction that failed."""
        if db is self._db and db.in_transaction:  # not that of a parent, in a fork
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            if db.in_transaction:  # another connection can begin one
                self._db = None
                schema.disconnect(db, self._identity)

    def _begin(self, db: sqlite3.Connection) -> None:
        """Begin a transaction that writes; wait a while for others who do."""
        pause, end = 0.001, time.monotonic() + schema.PATIENCE
        while True:
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= end:
                    raise
            else:
                return
            time.sleep(pause)
            pause = min(2 * pause, 0.05)

    def _check_there(self) -> None:
        """Raise StateError if the file was taken away: SQLite would write on, where nobody reads."""
        try:
            found = os.stat(self._file)
        except FileNotFoundError:
            raise StateError(f"{self._file} was deleted or moved while it was in use") from None
        if (found.st_dev, found.st_ino) != self._identity:
            raise StateError(f"{self._file} was replaced by another file while it was in use")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise what goes wrong for good as StateError; whatever else may pass when it is tried again."""
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in PASSING:
                raise
            raise StateError(f"{self._file} cannot be used: {error}; restore it, or name another file") from error
        except UnicodeEncodeError as error:
            raise StateError(f"{self._file} keeps no names with half a character in them: {error}") from error
        except OSError as error:
            if error.errno in PASSING_OUTSIDE:
                raise
            raise StateError(f"{self._file} cannot be used: {error}; name another file") from error

    # --- runs

    def find(self, run_id: str) -> RunRecord | None:
        """Return what is known of a run, None if nothing is."""
        with self._reading() as db:
            return rows.find_run(db, run_id)

    def create(self, record: RunRecord) -> bool:
        """Keep a new run, with its owner and epoch 1 if it has one; False if there is one of that id already."""
        if record.owner is not None:
            record = record._replace(epoch=1, beat=self.now())
        with self._writing() as db:
            return rows.insert_run(db, record)

    def take(self, run_id: str, epoch: int, owner: Owner, params: bytes, fingerprint: bytes) -> RunRecord:
        """Make a run that is not alive ours: Running, with the next epoch and what is given; return it.

        Raises:
            RunBusyError: its owner is alive, or it was taken since it was looked at.
            StateError: there is no such run.
        """
        self._takeable(self.find(run_id), run_id, epoch)  # without waiting for who writes: its owner may be stopped
        with self._writing() as db:
            record, now = self._takeable(rows.find_run(db, run_id), run_id, epoch)
            record = taken_from(record, owner, now, params, fingerprint)
            rows.update_taken(db, record)
            return record

    def _takeable(self, record: RunRecord | None, run_id: str, epoch: int) -> tuple[RunRecord, float]:
        """Return a run that may be taken, and the time."""
        if record is None:
            raise no_such_run(run_id)
        now = self.now()
        check_takeable(record, epoch, now)
        return record, now

    def beat(self, runs: Iterable[tuple[str, int]]) -> list[str]:
        """Give a sign of life for runs, each with its epoch; return the ids of those that had another one."""
        lost = []
        with self._writing() as db:
            now = self.now()
            for run_id, epoch in runs:
                done = db.execute(rows.BEAT, (now, run_id, epoch))
                if done.rowcount != 1:
                    lost.append(run_id)
        return lost

    def runs(
        self, status: str | None = None, target: str | None = None, since: float | None = None, limit: int | None = None
    ) -> list[RunRecord]:
        """Return the runs that there are, the latest first, without their params and fingerprints."""
        with self._reading() as db:
            return rows.list_runs(db, status, target, since, -1 if limit is None else limit)

    def forget(self, run_id: str, epoch: int | None = None) -> bool:
        """Drop all that is kept of a run that is not alive, and has this epoch; False if there was none.

        Raises:
            RunBusyError: it is alive.
        """
        record = self.find(run_id)
        if record is not None:
            check_free(record, self.now())  # without waiting for who writes, which may be that owner, stopped
        with self._writing() as db:
            record = rows.find_run(db, run_id)
            if record is None or epoch not in (None, record.epoch):
                return False
            check_free(record, self.now())
            for table in ("starts", "steps", "chunks", "signals"):
                db.execute(f"DELETE FROM {table} WHERE run = (SELECT number FROM runs WHERE run_id = ?)", (run_id,))
            db.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))
            return True

    # --- queues

    def enqueue(self, record: RunRecord, dedupe: str | None = None) -> RunRecord:
        """Put a run into its queue; return what is known of it then, or the unfinished one of the same `dedupe`."""
        with self._writing() as db:
            found, is_new = queue_rows.enqueue(db, record, dedupe, self.now())
        if is_new:
            wakes.wake(self._file)
        return found

    def claim(self, wanted: Wanted) -> Claimed:
        """Reserve runs that wait for a server: of the highest priority first, of these those that were there first."""
        with self._reading() as db:
            idle = queue_rows.is_idle(db, wanted, self.now())
        if idle is not None:
            return idle
        with self._writing() as db:
            return queue_rows.claim(db, wanted, self.now())

    def listen(self, queue: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Call something whenever a run may have been enqueued, from a thread; return what ends that."""
        return wakes.listen(self._file, wake)

    # --- steps

    def commit(self, commits: Sequence[Commit]) -> list[str]:
        """Make all commits durable in one transaction; return the ids of the runs that had another epoch."""
        with self._writing() as db:
            return self._commit(db, commits)

    def commit_now(self, commits: Sequence[Commit]) -> list[str]:
        """Make all commits durable as `commit` does, and wait for nobody but the disk.

        Raises:
            Exception: somebody else writes, or it fails; `commit` says with what, or does it.
        """
        lock = self._lock
        if not lock.acquire(blocking=False):
            raise BlockingIOError(errno.EAGAIN, "the store is in use")
        try:
            db = self._db
            if db is None:
                raise BlockingIOError(errno.EAGAIN, "the store is not open")
            self._check_there()
            db.execute("BEGIN IMMEDIATE")
            try:
                lost = self._commit(db, commits)
                db.execute("COMMIT")
            except BaseException:
                self._roll_back(db)
                raise
            return lost
        finally:
            lock.release()

    def _commit(self, db: sqlite3.Connection, commits: Sequence[Commit]) -> list[str]:
        lost: dict[str, None] = {}
        known = rows.pending(db, list({each.run_id for each in commits}))
        for each in commits:
            run = known.get(each.run_id)
            if run is None or run.epoch != each.epoch:
                lost[each.run_id] = None
            elif each.number > run.committed:
                run.add(each)
        rows.write(db, [run for run in known.values() if run.is_changed], self.now())
        return list(lost)

    def steps(self, run_id: str) -> Iterator[StepRecord]:
        """Give all steps of a run, in the order in which they were first written."""
        with self._reading() as db:
            found = db.execute(
                "SELECT steps.number FROM runs JOIN steps ON steps.run = runs.number WHERE run_id = ?", (run_id,)
            )
            numbers = sorted(number for (number,) in found)
        for at in range(0, len(numbers), rows.AT_ONCE):
            with self._reading() as db:
                some = rows.read_steps(db, numbers[at : at + rows.AT_ONCE])
            yield from some

    def some_steps(
        self,
        run_id: str,
        after: int,
        limit: int,
        kinds: Sequence[str],
        text: str,
        node: str | None,
        entry: int | None,
    ) -> list[tuple[int, StepRecord]]:
        """Return some steps of a run for people, with their numbers and without their values.

        Args:
            after: those of higher numbers.
            kinds: of what became of them, and "begun" for those that have not ended.
            text: what is in their id or error, in small letters.
            node: of this node, its items included.
            entry: of this entry of the loop.
        """
        with self._reading() as db:
            run = self._number(db, run_id)
            return [] if run is None else rows.some_steps(db, run, after, limit, kinds, text, node, entry)

    def step_sums(self, run_id: str) -> list[StepSum]:
        """Return the steps of a run counted by node and kind, for people."""
        with self._reading() as db:
            run = self._number(db, run_id)
            return [] if run is None else rows.step_sums(db, run)

    def _number(self, db: sqlite3.Connection, run_id: str) -> int | None:
        found = db.execute("SELECT number FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        return None if found is None else int(found[0])

    # --- messages

    def send(self, run_id: str, name: str, value: bytes, id: str | None) -> None:
        """Keep a message for a run; one with an `id` that is there already counts once.

        Raises:
            StateError: there is no such run, it has ended, or it has 10,000 messages that nobody took.
        """
        with self._writing() as db:
            found = db.execute("SELECT number, status FROM runs WHERE run_id = ?", (run_id,)).fetchone()
            if found is None:
                raise no_such_run(run_id)
            run, status = found
            if id is not None and db.execute("SELECT 1 FROM signals WHERE run = ? AND id = ?", (run, id)).fetchone():
                return
            count = "SELECT count(*) FROM signals WHERE run = ? AND taken_by = ''"
            check_sendable(run_id, status, db.execute(count, (run,)).fetchone()[0])
            db.execute(
                "INSERT INTO signals (run, number, name, value, id) "
                "SELECT ?, coalesce(max(number), 0) + 1, ?, ?, ? FROM signals WHERE run = ?",
                (run, name, value, id, run),
            )
            db.execute("UPDATE runs SET due = 0 WHERE number = ? AND status = 'Parked'", (run,))
        if status == "Parked":
            wakes.wake(self._file)

    def signals(self, run_id: str, after: int = 0) -> list[SignalRecord]:
        """Return the messages to a run with numbers above `after`, in order."""
        query = (
            "SELECT signals.number, name, value, taken_by FROM runs JOIN signals ON signals.run = runs.number "
            "WHERE run_id = ? AND signals.number > ? ORDER BY signals.number"
        )
        with self._reading() as db:
            return [SignalRecord._make(row) for row in db.execute(query, (run_id, after))]

    def now(self) -> float:
        """Return the time of this host, which all that use the file share."""
        return time.time()
