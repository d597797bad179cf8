"""What a store in SQLite reads and writes of runs and steps, within transactions that others begin and end."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from cascade.adapters.state.rules import advances
from cascade.spec.state import Commit, Owner, RunRecord, StepRecord

__all__ = ["Pending", "find_run", "insert_run", "list_runs", "read_steps", "update_taken", "write"]

CHUNK = 1 << 20
"""Values that are longer than this are kept in pieces of this size, in a table of their own."""

_RUN = RunRecord._fields
_SHOWN = ", ".join("x''" if name in ("params", "fingerprint") else name for name in _RUN)
_STEP = ("run", *StepRecord._fields[:4], "chunks", *StepRecord._fields[4:])
FIND_RUN = f"SELECT {', '.join(_RUN)} FROM runs WHERE run_id = ?"
LIST_RUNS = (
    f"SELECT {_SHOWN} FROM runs WHERE status = coalesce(?, status) AND target = coalesce(?, target) "
    "AND created >= coalesce(?, created) ORDER BY created DESC, number DESC LIMIT ?"
)
INSERT_RUN = (
    f"INSERT INTO runs ({', '.join(_RUN)}) VALUES ({', '.join('?' * len(_RUN))}) ON CONFLICT (run_id) DO NOTHING"
)
TAKE_RUN = (
    "UPDATE runs SET status = ?, params = ?, fingerprint = ?, updated = ?, beat = ?, epoch = ?, takeovers = ?, "
    "owner = ?, error = ?, committed = 0 WHERE run_id = ?"
)
UPSERT_STEP = (
    f"INSERT INTO steps ({', '.join(_STEP)}) VALUES ({', '.join('?' * len(_STEP))}) ON CONFLICT (run, key) "
    f"DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _STEP[2:])}"
)
READ_STEPS = f"SELECT run, chunks, {', '.join(StepRecord._fields)} FROM steps WHERE number IN (%s) ORDER BY number"

Row = tuple[Any, ...]


# --- runs


def find_run(db: sqlite3.Connection, run_id: str) -> RunRecord | None:
    """Return what is known of a run, None if nothing is."""
    row = db.execute(FIND_RUN, (run_id,)).fetchone()
    return None if row is None else _record(row)


def list_runs(db: sqlite3.Connection, *wanted: str | float | None) -> list[RunRecord]:
    """Return the runs of a status, a target, since a time, and so many at the most; without what is long."""
    return [_record(row) for row in db.execute(LIST_RUNS, wanted)]


def insert_run(db: sqlite3.Connection, record: RunRecord) -> bool:
    """Write a new run; False if there is one of its id."""
    return db.execute(INSERT_RUN, record._replace(owner=_spelled(record.owner))).rowcount == 1  # type: ignore[arg-type]


def update_taken(db: sqlite3.Connection, record: RunRecord) -> None:
    """Write a run that was taken."""
    at = record._replace(owner=_spelled(record.owner))  # type: ignore[arg-type]
    written = (at.status, at.params, at.fingerprint, at.updated, at.beat, at.epoch, at.takeovers, at.owner, at.error)
    db.execute(TAKE_RUN, (*written, at.run_id))


def _record(row: Row) -> RunRecord:
    record = RunRecord._make(row)
    return record if record.owner is None else record._replace(owner=Owner(*json.loads(str(record.owner))))


def _spelled(owner: Owner | None) -> str | None:
    return None if owner is None else json.dumps(owner)


# --- steps


class Pending:
    """What is to be written of one run: the last word on each key, of all commits of one transaction."""

    def __init__(self, number: int, epoch: int, committed: int, chunked: int) -> None:
        self.number = number
        self.epoch = epoch
        self.committed = committed
        self.chunked = chunked
        """Whether there is or was a step whose value is in pieces."""
        self.steps: dict[str, StepRecord] = {}
        self.dropped: dict[str, None] = {}
        self.taken: list[tuple[int, str]] = []
        self.end: tuple[str, bool, str] | None = None
        """What it becomes, whether it is without owner then, and its error."""
        self.is_changed = False

    @classmethod
    def of(cls, db: sqlite3.Connection, run_id: str) -> Pending | None:
        """Return nothing to write of a run yet; None if there is no such run."""
        row = db.execute("SELECT number, epoch, committed, chunked FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        return None if row is None else cls(*row)

    def add(self, commit: Commit) -> None:
        """Add a commit, the next one of the run."""
        self.is_changed = True
        self.committed = commit.number
        for key in commit.dropped:
            self.steps.pop(key, None)
            self.dropped[key] = None
        for step in commit.steps:
            self.steps[step.key] = step
        self.taken.extend(commit.taken)
        if commit.released:
            self.end = ("Running", True, "")
        elif commit.status is not None:
            self.end = (commit.status, commit.status != "Running", commit.error)

    def rows(self) -> Iterable[Row]:
        """Give the rows of its steps."""
        number = self.number
        for key, entry, kind, value, *rest in self.steps.values():
            if len(value) <= CHUNK:
                yield (number, key, entry, kind, value, 0, *rest)
            else:
                yield (number, key, entry, kind, b"", -(-len(value) // CHUNK), *rest)

    def chunks(self) -> Iterable[Row]:
        """Give the pieces of the values that are too long for a row."""
        for key, step in self.steps.items():
            if len(step.value) > CHUNK:
                value = memoryview(step.value)
                for at in range(0, len(value), CHUNK):
                    yield (self.number, key, at // CHUNK, value[at : at + CHUNK])


def write(db: sqlite3.Connection, runs: Sequence[Pending], now: float) -> None:
    """Write all of several runs: first what is dropped, so that a step may come back."""
    if dropped := [(run.number, key) for run in runs for key in run.dropped]:
        db.executemany("DELETE FROM steps WHERE run = ? AND key = ?", dropped)
    if gone := [(run.number, key) for run in runs if run.chunked for key in (*run.dropped, *run.steps)]:
        db.executemany("DELETE FROM chunks WHERE run = ? AND key = ?", gone)
    rows = [row for run in runs for row in run.rows()]
    try:
        db.executemany(UPSERT_STEP, rows)
    except UnicodeEncodeError:  # of what people read, half a character; those written before are written again
        db.executemany(UPSERT_STEP, [(*row[:-2], *map(_encodable, row[-2:])) for row in rows])
    chunked = set()
    for run in runs:
        for row in run.chunks():
            chunked.add(run.number)
            db.execute("INSERT INTO chunks (run, key, at, data) VALUES (?, ?, ?, ?)", row)
    db.executemany(
        "UPDATE runs SET committed = ?, beat = ?, takeovers = takeovers * ?, chunked = max(chunked, ?) "
        "WHERE number = ?",
        [(run.committed, now, not advances(run.steps.values()), run.number in chunked, run.number) for run in runs],
    )
    if taken := [(key, run.number, number) for run in runs for number, key in run.taken]:
        db.executemany("UPDATE signals SET taken_by = ? WHERE run = ? AND number = ?", taken)
    for run in runs:
        if run.end is not None:
            status, is_free, error = run.end
            db.execute(
                "UPDATE runs SET status = ?, owner = iif(?, NULL, owner), error = ?, updated = ? WHERE number = ?",
                (status, is_free, _encodable(error), now, run.number),
            )


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def read_steps(db: sqlite3.Connection, numbers: Sequence[int]) -> list[StepRecord]:
    """Return steps by their numbers, in order."""
    rows = db.execute(READ_STEPS % ", ".join("?" * len(numbers)), numbers).fetchall()
    return [StepRecord._make(row[2:]) if not row[1] else _joined(db, row) for row in rows]


def _joined(db: sqlite3.Connection, row: Row) -> StepRecord:
    """Return a step with its value put together."""
    step = StepRecord._make(row[2:])
    pieces = db.execute("SELECT data FROM chunks WHERE run = ? AND key = ? ORDER BY at", (row[0], step.key))
    return step._replace(value=b"".join(data for (data,) in pieces))
