"""What a store in SQLite reads and writes of runs and steps, within transactions that others begin and end."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any

from cascade.adapters.state.rules import advances, owner_of
from cascade.spec.state import OUTCOMES, Commit, Owner, RunRecord, StepRecord, StepSum

__all__ = [
    "AT_ONCE",
    "BEAT",
    "Pending",
    "SELECT_RUN",
    "find_run",
    "insert_run",
    "list_runs",
    "pending",
    "read_steps",
    "record_of",
    "spelled",
    "some_steps",
    "step_sums",
    "update_taken",
    "write",
]

AT_ONCE = 500
"""So many rows are asked for by one statement."""
CHUNK = 1 << 20
"""Values that are longer than this are kept in pieces of this size, in a table of their own."""

_RUN = RunRecord._fields
_STARTS = ("beat", "epoch", "takeovers")
"""What stands in the table of starts."""
_OWN = tuple(name for name in _RUN if name not in _STARTS)
_SHOWN = ", ".join("x''" if name in ("params", "fingerprint") else name for name in _RUN)
_STEP = StepRecord._fields
_BOTH = "FROM runs JOIN starts ON starts.run = runs.number"
SELECT_RUN = f"SELECT {', '.join(_RUN)} {_BOTH}"
FIND_RUN = f"{SELECT_RUN} WHERE run_id = ?"
LIST_RUNS = (
    f"SELECT {_SHOWN} {_BOTH} WHERE status = coalesce(?, status) AND target = coalesce(?, target) "
    "AND created >= coalesce(?, created) ORDER BY created DESC, number DESC LIMIT ?"
)
INSERT_RUN = (
    f"INSERT INTO runs ({', '.join(_OWN)}) VALUES ({', '.join('?' * len(_OWN))}) ON CONFLICT (run_id) DO NOTHING"
)
TAKE_RUN = (
    "UPDATE runs SET status = ?, params = ?, fingerprint = ?, updated = ?, owner = ?, error = ?, due = ? "
    "WHERE run_id = ? RETURNING number"
)
PENDING = f"SELECT run_id, number, epoch, committed, chunked {_BOTH} WHERE run_id IN (%s)"
BEAT = "UPDATE starts SET beat = ? WHERE run = (SELECT number FROM runs WHERE run_id = ?) AND epoch = ?"
SIZES = (512, 64, 8, 1)
"""So many steps are written by one statement: Python's own lock is let go of once for each, and whoever computes gives
it back after 5 ms."""
_PLACES = f"(0, ?, {', '.join('?' * len(_STEP))})"
_UPSERT = (
    f"INSERT INTO steps (chunks, run, {', '.join(_STEP)}) VALUES %s ON CONFLICT (run, key) "
    f"DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in ('chunks', *_STEP[1:]))}"
)
UPSERTS = [(size, size * (len(_STEP) + 1), _UPSERT % ", ".join([_PLACES] * size)) for size in SIZES]
"""How many steps each statement writes, by how many values."""
READ_STEPS = f"SELECT run, chunks, {', '.join(StepRecord._fields)} FROM steps WHERE number IN (%s) ORDER BY number"

Row = tuple[Any, ...]


# --- runs


def find_run(db: sqlite3.Connection, run_id: str) -> RunRecord | None:
    """Return what is known of a run, None if nothing is."""
    row = db.execute(FIND_RUN, (run_id,)).fetchone()
    return None if row is None else record_of(row)


def list_runs(db: sqlite3.Connection, *wanted: str | float | None) -> list[RunRecord]:
    """Return the runs of a status, a target, since a time, and so many at the most; without what is long."""
    return [record_of(row) for row in db.execute(LIST_RUNS, wanted)]


def insert_run(db: sqlite3.Connection, record: RunRecord) -> bool:
    """Write a new run; False if there is one of its id."""
    own = record._replace(owner=spelled(record.owner))  # type: ignore[arg-type]
    done = db.execute(INSERT_RUN, [getattr(own, name) for name in _OWN])
    if done.rowcount != 1:
        return False
    started = (done.lastrowid, record.epoch, record.takeovers, record.beat)
    db.execute("INSERT INTO starts (run, epoch, takeovers, beat) VALUES (?, ?, ?, ?)", started)
    return True


def update_taken(db: sqlite3.Connection, at: RunRecord) -> None:
    """Write a run that was taken."""
    written = (at.status, at.params, at.fingerprint, at.updated, spelled(at.owner), at.error, at.due, at.run_id)
    (number,) = db.execute(TAKE_RUN, written).fetchone()
    db.execute(
        "UPDATE starts SET epoch = ?, takeovers = ?, beat = ?, committed = 0 WHERE run = ?",
        (at.epoch, at.takeovers, at.beat, number),
    )


def record_of(row: Row) -> RunRecord:
    """Return the run of a row."""
    record = RunRecord._make(row)
    return record if record.owner is None else record._replace(owner=owner_of(record))


def spelled(owner: Owner | None) -> str | None:
    """Return an owner as a column keeps it."""
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
        self.long: dict[str, bytes] = {}
        """The values that are written in pieces."""
        self.taken: list[tuple[int, str]] = []
        self.end: tuple[str, bool, str] | None = None
        """What it becomes, whether it is without owner then, and its error."""
        self.due = 0.0
        self.seen: int | None = None
        self.is_changed = False

    def add(self, commit: Commit) -> None:
        """Add a commit, the next one of the run."""
        self.is_changed = True
        self.committed = commit.number
        for key in commit.dropped:
            self.steps.pop(key, None)
            self.dropped[key] = None
        self.steps |= {step[0]: step for step in commit.steps}
        self.taken.extend(commit.taken)
        if commit.released:
            self.end = ("Running", True, "")
        elif commit.status is not None:
            self.end = (commit.status, commit.status != "Running", commit.error)
            self.due, self.seen = commit.due, commit.seen

    def rows(self) -> list[StepRecord]:
        """Return the steps as they are written; values that are too long for a row are put into `long`."""
        steps = [*self.steps.values()]
        if max(map(len, [step[3] for step in steps]), default=0) > CHUNK:
            self.long = {step.key: step.value for step in steps if len(step.value) > CHUNK}
            steps = [step._replace(value=b"") if step.key in self.long else step for step in steps]
        return steps


def pending(db: sqlite3.Connection, run_ids: Sequence[str]) -> dict[str, Pending]:
    """Return nothing to write yet, of each of these runs that is there."""
    found = {}
    for at in range(0, len(run_ids), AT_ONCE):
        some = run_ids[at : at + AT_ONCE]
        for run_id, *row in db.execute(PENDING % ", ".join("?" * len(some)), some):
            found[run_id] = Pending(*row)
    return found


def write(db: sqlite3.Connection, runs: Sequence[Pending], now: float) -> None:
    """Write all of several runs: first what is dropped, so that a step may come back."""
    if dropped := [(run.number, key) for run in runs for key in run.dropped]:
        db.executemany("DELETE FROM steps WHERE run = ? AND key = ?", dropped)
    if gone := [(run.number, key) for run in runs if run.chunked for key in (*run.dropped, *run.steps)]:
        db.executemany("DELETE FROM chunks WHERE run = ? AND key = ?", gone)
    for run in runs:
        steps = run.rows()
        try:
            _upsert(db, run.number, steps)
        except UnicodeEncodeError:  # of what people read, half a character; those written before are written again
            shown = [step._replace(error=_encodable(step.error), preview=_encodable(step.preview)) for step in steps]
            _upsert(db, run.number, shown)
        for key, value in run.long.items():
            pieces = [memoryview(value)[at : at + CHUNK] for at in range(0, len(value), CHUNK)]
            db.execute("UPDATE steps SET chunks = ? WHERE run = ? AND key = ?", (len(pieces), run.number, key))
            placed = [(run.number, key, at, piece) for at, piece in enumerate(pieces)]
            db.executemany("INSERT INTO chunks (run, key, at, data) VALUES (?, ?, ?, ?)", placed)
    db.executemany(
        "UPDATE starts SET committed = ?, beat = ?, takeovers = takeovers * ?, chunked = max(chunked, ?) WHERE run = ?",
        [(run.committed, now, not advances(run.steps.values()), bool(run.long), run.number) for run in runs],
    )
    if taken := [(key, run.number, number) for run in runs for number, key in run.taken]:
        db.executemany("UPDATE signals SET taken_by = ? WHERE run = ? AND number = ?", taken)
    for run in runs:
        if run.end is not None:
            status, is_free, error = run.end
            db.execute(
                "UPDATE runs SET status = ?, owner = iif(?, NULL, owner), error = ?, updated = ?, due = iif(EXISTS ("
                "SELECT 1 FROM signals WHERE run = runs.number AND number > ?), 0, ?) WHERE number = ?",
                (status, is_free, _encodable(error), now, run.seen, run.due, run.number),
            )


def _upsert(db: sqlite3.Connection, run: int, steps: list[StepRecord]) -> None:
    rows, at, most = [(run, *step) for step in steps], 0, db.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
    for size, values, statement in UPSERTS:
        while values <= most and len(rows) - at >= size:
            db.execute(statement, [*chain.from_iterable(rows[at : at + size])])
            at += size


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


# --- for people: some steps of many, without their values

_NODE = "CASE WHEN substr(task_id, -1) = ']' THEN substr(task_id, 1, instr(task_id, '[') - 1) ELSE task_id END"
_ENDED = f"({', '.join(repr(kind) for kind in OUTCOMES)})"
_IS_OPEN = (
    "(kind = 'begun' AND NOT EXISTS (SELECT 1 FROM steps AS value WHERE value.run = steps.run "
    f"AND value.key = rtrim(steps.key, '^?') AND value.kind IN {_ENDED}))"
)
_LOOKED_AT = ", ".join("x''" if name == "value" else name for name in _STEP)
SOME_STEPS = (
    f"SELECT number, {_LOOKED_AT} FROM steps NOT INDEXED WHERE number > :after AND run = :run AND task_id != '' "
    "AND (%s) "
    "AND (:node IS NULL OR task_id = :node OR (task_id > :node || '[' AND task_id < :node || '\\')) "
    "AND (:entry IS NULL OR entry = :entry) "
    "AND (:text = '' OR instr(lower(task_id), :text) OR instr(lower(error), :text)) ORDER BY number LIMIT :limit"
)
STEP_SUMS = (
    f"SELECT {_NODE} AS node, kind, count(*), min(started), max(ended), sum(max(0.0, ended - started)), max(entry), "
    f"max(attempt), coalesce(min(nullif(error, '')), '') FROM steps WHERE run = ? AND task_id != '' "
    f"AND (kind IN {_ENDED} OR {_IS_OPEN}) GROUP BY 1, 2 ORDER BY min(number) LIMIT 10000"
)


def some_steps(
    db: sqlite3.Connection,
    run: int,
    after: int,
    limit: int,
    kinds: Sequence[str],
    text: str,
    node: str | None,
    entry: int | None,
) -> list[tuple[int, StepRecord]]:
    """Return some steps with their numbers, without their values: in order, those alone that are wanted."""
    wanted = [f"kind IN ({', '.join(repr(kind) for kind in kinds if kind in OUTCOMES)})"]
    if "begun" in kinds:
        wanted.append(_IS_OPEN)
    given = {"run": run, "after": after, "limit": limit, "text": text.lower(), "node": node, "entry": entry}
    rows = db.execute(SOME_STEPS % " OR ".join(wanted), given)
    return [(number, StepRecord._make(row)) for number, *row in rows]


def step_sums(db: sqlite3.Connection, run: int) -> list[StepSum]:
    """Return the steps of a run counted by node and kind."""
    return [StepSum._make(row) for row in db.execute(STEP_SUMS, (run,))]
