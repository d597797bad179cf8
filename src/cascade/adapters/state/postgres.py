"""Runs kept in a PostgreSQL database, for the processes of many hosts.

Time is the server's. Who writes for a run holds its row until the end of the transaction, so that two that start it at
once are told apart; rows of several runs are held in one order, so that nobody waits in a circle.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from cascade.adapters.state import looks, queue_tables
from cascade.adapters.state.forks import leave_to_parent, note_closed, note_open
from cascade.adapters.state.rows import Pending
from cascade.adapters.state.rules import check_free, check_sendable, check_takeable, no_such_run, taken_from
from cascade.adapters.state.tables import (
    ADD_SIGNAL,
    AT_ONCE,
    FIND_RUN,
    INSERT_RUN,
    LIMITS,
    LIST_RUNS,
    NOW,
    PENDING,
    READ_SIGNALS,
    READ_STEPS,
    TAKE_RUN,
    digest_of,
    escaped,
    plain,
    prepare,
    record_of,
    spelled_out,
    time_of,
    write,
)
from cascade.errors import MissingExtraError, StateError
from cascade.spec.shown import without_passwords
from cascade.spec.state import Claimed, Commit, Owner, RunRecord, SignalRecord, StepRecord, StepSum, Wanted

__all__ = ["PostgresBackend"]

PASSING = ("08", "40", "53", "55", "57", "58")
"""Classes of errors that may pass: lost connections, deadlocks, no room, locks, a server that restarts, its disk."""
WAITS = {"connect_timeout": "5", "keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3"}
"""So many seconds a server that does not answer is waited for: for less time than a lease, all in all."""


class PostgresBackend:
    """Keeps runs in a PostgreSQL database, in tables of its own; any number of processes and hosts may use it.

    Others may write to it as well, so what is pickled is to be signed: use it by its URL, or as
    `SignedBackend(PostgresBackend(url))` (`cascade.adapters.state.signed`).

    Each commit has reached the server's disk when it returns, as far as the server is set to wait for that
    (`synchronous_commit`), at every durability: when to commit is up to who does. The tables are made when it is first
    opened, in the first schema of the connection's `search_path`; their names begin with "cascade_".

    Args:
        url: as libpq takes it, `postgresql://user@host/database`; what is not in it comes from the environment
            (PGPASSWORD, PGSERVICE, ...) and from `~/.pgpass`.

    Raises:
        MissingExtraError: psycopg is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise MissingExtraError(
                "a store in PostgreSQL needs the package 'psycopg', which is not installed: "
                "pip install cascade-py[postgres]",
                name="psycopg",
            ) from error
        self._psycopg = psycopg
        self.url = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url, flags=re.I)
        self._db: Any = None
        self._users = 0
        """How often it was opened and not closed again: several engines may share it."""
        self._was_there = False
        """Whether a connection was ever made: from then on, one that is lost may come back."""
        self._lock = threading.RLock()
        self.identity = ""
        """What tells this store from others, whatever address it is reached by."""

    def __repr__(self) -> str:
        return f"PostgresBackend({without_passwords(self.url)!r})"

    # --- opening, closing, and transactions

    def open(self) -> None:
        """Make the tables where there are none, and be ready.

        Raises:
            StateError: the server is not reached, or refuses; the tables are of a newer schema.
        """
        with self._lock, self._errors():
            if self._db is None:
                self._connect()
            self._users += 1

    def close(self) -> None:
        """Let go of the connection, once all that opened it do."""
        with self._lock:
            self._users = max(0, self._users - 1)
            if not self._users:
                self._drop()
                note_closed(self)

    def _connect(self) -> Any:
        try:
            db = self._psycopg.connect(self.url, autocommit=True, application_name="cascade", **self._waits())
        except self._psycopg.OperationalError as error:
            if self._was_there:
                raise
            raise StateError(
                f"the store {without_passwords(self.url)} is not reached: {_said(error)}; start the server, or give "
                "another host, port, database or user"
            ) from error
        except self._psycopg.ProgrammingError as error:
            raise StateError(f"{without_passwords(self.url)} is no address of a store: {_said(error)}") from error
        try:
            db.execute(LIMITS)
            self.identity = prepare(db, without_passwords(self.url))
        except BaseException:
            db.close()
            raise
        self._db, self._was_there = db, True
        note_open(self)
        return db

    def _waits(self) -> dict[str, Any]:
        given = self._psycopg.conninfo.conninfo_to_dict(self.url)
        return {name: value for name, value in WAITS.items() if name not in given}

    def _drop(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(self._psycopg.Error):
                db.close()

    def inherited(self) -> None:
        """Leave the connection to the parent, in a process that was forked; one of its own is made when needed."""
        if self._db is not None:
            leave_to_parent(self._db)
        self._db, self._lock = None, threading.RLock()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Any]:
        with self._lock, self._errors():
            if not self._users:
                raise StateError(f"the store {without_passwords(self.url)} is not open")
            yield self._db or self._connect()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Any]:
        """Give one transaction; what is read in it for update holds until it is committed."""
        with self._reading() as db, db.transaction():
            yield db

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise what goes wrong for good as StateError; whatever else may pass when it is tried again."""
        try:
            yield
        except self._psycopg.Error as error:
            state = error.sqlstate or ""
            if self._db is not None and self._db.broken:
                self._drop()
            if state[:2] in PASSING or (not state and isinstance(error, self._psycopg.OperationalError)):
                raise
            raise StateError(f"the store {without_passwords(self.url)} cannot be used: {_said(error)}") from error
        except UnicodeEncodeError as error:
            where = without_passwords(self.url)
            raise StateError(f"the store {where} keeps no names with half a character in them: {error}") from error

    # --- runs

    def find(self, run_id: str) -> RunRecord | None:
        """Return what is known of a run, None if nothing is."""
        with self._reading() as db:
            return record_of(db.execute(FIND_RUN, (digest_of(run_id),)).fetchone())

    def create(self, record: RunRecord) -> bool:
        """Keep a new run, with its owner and epoch 1 if it has one; False if there is one of that id already."""
        with self._writing() as db:
            if record.owner is not None:
                record = record._replace(epoch=1, beat=time_of(db))
            values = [spelled_out(value) for value in record]
            return bool(db.execute(INSERT_RUN, (digest_of(record.run_id), *values)).rowcount == 1)

    def take(self, run_id: str, epoch: int, owner: Owner, params: bytes, fingerprint: bytes) -> RunRecord:
        """Make a run that is not alive ours: Running, with the next epoch and what is given; return it.

        Raises:
            RunBusyError: its owner is alive, or it was taken since it was looked at.
            StateError: there is no such run.
        """
        with self._writing() as db:
            record = record_of(db.execute(f"{FIND_RUN} FOR NO KEY UPDATE", (digest_of(run_id),)).fetchone())
            if record is None:
                raise no_such_run(run_id)
            now = time_of(db)
            check_takeable(record, epoch, now)
            at = taken_from(record, owner, now, params, fingerprint)
            written = (at.status, at.params, at.fingerprint, at.updated, at.beat, at.epoch, at.takeovers)
            db.execute(TAKE_RUN, (*written, spelled_out(at.owner), at.error, at.due, digest_of(run_id)))
            return at

    def beat(self, runs: Iterable[tuple[str, int]]) -> list[str]:
        """Give a sign of life for runs, each with its epoch; return the ids of those that had another one."""
        query = f"UPDATE cascade_runs SET beat = {NOW} WHERE digest = %s AND epoch = %s"
        several = [*runs]
        lost = set()
        with self._writing() as db:
            for run_id, epoch in sorted(several):  # in one order, so that two never wait for each other
                if db.execute(query, (digest_of(run_id), epoch)).rowcount != 1:
                    lost.add(run_id)
        return [run_id for run_id, _ in several if run_id in lost]

    def runs(
        self, status: str | None = None, target: str | None = None, since: float | None = None, limit: int | None = None
    ) -> list[RunRecord]:
        """Return the runs that there are, the latest first, without their params and fingerprints."""
        wanted = (status, None if target is None else escaped(target), since, limit)
        with self._reading() as db:
            return [record for row in db.execute(LIST_RUNS, wanted) if (record := record_of(row)) is not None]

    def forget(self, run_id: str, epoch: int | None = None) -> bool:
        """Drop all that is kept of a run that is not alive; False if there was none.

        Raises:
            RunBusyError: it is alive.
        """
        with self._writing() as db:
            record = record_of(db.execute(f"{FIND_RUN} FOR UPDATE", (digest_of(run_id),)).fetchone())
            if record is None or epoch not in (None, record.epoch):
                return False
            check_free(record, time_of(db))
            db.execute("DELETE FROM cascade_runs WHERE digest = %s", (digest_of(run_id),))
            return True

    # --- queues

    def enqueue(self, record: RunRecord, dedupe: str | None = None) -> RunRecord:
        """Put a run into its queue; return what is known of it then, or the unfinished one of the same `dedupe`."""
        with self._writing() as db:
            return queue_tables.enqueue(db, record, dedupe, self.identity)

    def claim(self, wanted: Wanted) -> Claimed:
        """Reserve runs that wait for a server: of the highest priority first, of these those that were there first."""
        with self._writing() as db:
            return queue_tables.claim(db, wanted)

    def listen(self, queue: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Call something whenever a run was enqueued, from a thread; return what ends that."""

        def connect() -> Any:
            return self._psycopg.connect(self.url, autocommit=True, application_name="cascade", **self._waits())

        return queue_tables.listen(connect, self.identity, queue, wake)

    # --- steps

    def commit(self, commits: Sequence[Commit]) -> list[str]:
        """Make all commits durable in one transaction; return the ids of the runs that had another epoch."""
        lost: dict[str, None] = {}
        with self._writing() as db:
            known: dict[str, Pending] = {}
            for run_id, number, epoch, committed in db.execute(
                PENDING, (list({digest_of(each.run_id) for each in commits}),)
            ):
                known[plain(run_id)] = Pending(number, epoch, committed, False)
            for each in commits:
                run = known.get(each.run_id)
                if run is None or run.epoch != each.epoch:
                    lost[each.run_id] = None
                elif each.number > run.committed:
                    run.add(each)
            write(db, [run for run in known.values() if run.is_changed])
        return list(lost)

    def steps(self, run_id: str) -> Iterator[StepRecord]:
        """Give all steps of a run, in the order in which they were first written."""
        with self._reading() as db:
            run = db.execute("SELECT number FROM cascade_runs WHERE digest = %s", (digest_of(run_id),)).fetchone()
        last = -1
        while run is not None:
            with self._reading() as db:
                rows = db.execute(READ_STEPS, (run[0], last), binary=True).fetchall()
            for row in rows:
                last = row[0]
                step = StepRecord._make(row[1:])
                if any("\\" in text for text in (step.key, step.task_id, step.error, step.preview)):
                    step = StepRecord._make(plain(value) if value.__class__ is str else value for value in step)
                yield step
            if len(rows) < AT_ONCE:
                return

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
        """Return some steps of a run for people, as `SqliteBackend.some_steps` does."""
        with self._reading() as db:
            run = db.execute("SELECT number FROM cascade_runs WHERE digest = %s", (digest_of(run_id),)).fetchone()
            return [] if run is None else looks.some_steps(db, run[0], after, limit, kinds, text, node, entry)

    def step_sums(self, run_id: str) -> list[StepSum]:
        """Return the steps of a run counted by node and kind, for people."""
        with self._reading() as db:
            run = db.execute("SELECT number FROM cascade_runs WHERE digest = %s", (digest_of(run_id),)).fetchone()
            return [] if run is None else looks.step_sums(db, run[0])

    # --- messages

    def send(self, run_id: str, name: str, value: bytes, id: str | None) -> None:
        """Keep a message for a run; one with an `id` that is there already counts once.

        Raises:
            StateError: there is no such run, it has ended, or it has 10,000 messages that nobody took.
        """
        with self._writing() as db:
            query = "SELECT number, status, queue FROM cascade_runs WHERE digest = %s FOR NO KEY UPDATE"
            found = db.execute(query, (digest_of(run_id),)).fetchone()
            if found is None:
                raise no_such_run(run_id)
            run, status, queue = found
            digest = None if id is None else digest_of(id)
            known = "SELECT 1 FROM cascade_signals WHERE run = %s AND digest = %s"
            if digest is not None and db.execute(known, (run, digest)).fetchone():
                return
            count = "SELECT count(*) FROM cascade_signals WHERE run = %s AND taken_by = ''"
            check_sendable(run_id, status, db.execute(count, (run,)).fetchone()[0])
            db.execute(ADD_SIGNAL, (run, escaped(name), value, digest, run))
            if status == "Parked":
                db.execute("UPDATE cascade_runs SET due = 0 WHERE number = %s", (run,))
                queue_tables.tell(db, self.identity, plain(queue))

    def signals(self, run_id: str, after: int = 0) -> list[SignalRecord]:
        """Return the messages to a run with numbers above `after`, in order."""
        with self._reading() as db:
            rows = db.execute(READ_SIGNALS, (after, digest_of(run_id))).fetchall()
        return [SignalRecord(number, plain(name), value, plain(taken)) for number, name, value, taken in rows]

    def now(self) -> float:
        """Return the server's time."""
        with self._reading() as db:
            return time_of(db)


def _said(error: Exception) -> str:
    return without_passwords(str(error)).strip().partition("\n")[0]
