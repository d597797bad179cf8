"""The queues of a store in SQLite: what is read and written of them, within transactions that others begin and end."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from cascade.adapters.state import rows
from cascade.adapters.state.queues import UNFINISHED, after_crash, claimed_from, enqueued_again, room_for
from cascade.adapters.state.schema import WAITS
from cascade.spec.state import Claimed, RunRecord, Wanted

__all__ = ["claim", "enqueue", "is_idle"]

READY = (
    f"{rows.SELECT_RUN} WHERE queue = ? AND due = 0 AND {WAITS} AND target IN (%s) "
    "ORDER BY priority DESC, runs.number LIMIT ?"
)
NEXT = f"SELECT due FROM runs WHERE queue = ? AND due > 0 AND {WAITS} AND target IN (%s) ORDER BY due LIMIT 1"
OWNED = f"{rows.SELECT_RUN} WHERE queue = ? AND owner IS NOT NULL ORDER BY runs.number"
BY_DEDUPE = f"{rows.SELECT_RUN} WHERE dedupe = ? AND target = ? AND status IN {UNFINISHED} ORDER BY runs.number LIMIT 1"
PROMOTE = f"UPDATE runs SET due = 0 WHERE queue = ? AND due > 0 AND due <= ? AND {WAITS}"
CLAIM = "UPDATE runs SET status = ?, owner = ?, updated = ?, queue = ?, due = ? WHERE run_id = ? RETURNING number"
AGAIN = (
    "UPDATE runs SET status = ?, error = ?, updated = ?, queue = ?, priority = ?, due = ? WHERE run_id = ? "
    "RETURNING number"
)


def enqueue(db: sqlite3.Connection, record: RunRecord, dedupe: str | None, now: float) -> tuple[RunRecord, bool]:
    """Put a run into its queue; return what is known of it then, and whether something was written."""
    if dedupe is not None:
        row = db.execute(BY_DEDUPE, (dedupe, record.target)).fetchone()
        if row is not None:
            return rows.record_of(row), False
    known = rows.find_run(db, record.run_id)
    if known is None:
        rows.insert_run(db, record)
    else:
        again = enqueued_again(known, record, now)
        if again is known:
            return known, False
        record = again
        written = (record.status, record.error, record.updated, record.queue, record.priority, record.due)
        (number,) = db.execute(AGAIN, (*written, record.run_id)).fetchone()
        db.execute("UPDATE starts SET takeovers = ? WHERE run = ?", (record.takeovers, number))
    db.execute("UPDATE runs SET dedupe = ? WHERE run_id = ?", (dedupe, record.run_id))
    return record, True


def is_idle(db: sqlite3.Connection, wanted: Wanted, now: float) -> Claimed | None:
    """Return that there is nothing for a server to do, without a transaction; None: there may be."""
    wait = _wait(db, wanted, now)
    if wanted.is_thorough or (wait is not None and wait <= 0.0) or _ready(db, wanted, wanted.queue, 1):
        return None
    return Claimed([], wait)


def claim(db: sqlite3.Connection, wanted: Wanted, now: float) -> Claimed:
    """Reserve runs for a server."""
    for queue in (wanted.queue, "") if wanted.is_thorough else (wanted.queue,):
        db.execute(PROMOTE, (queue, now))
    owned = [rows.record_of(row) for row in db.execute(OWNED, (wanted.queue,))]
    left: list[RunRecord] = []
    going = len(owned)
    if wanted.is_thorough:
        left = after_crash([*owned, *(rows.record_of(row) for row in db.execute(OWNED, ("",)))], wanted, now)
    room = room_for(wanted, going, left)
    if wanted.is_thorough:
        left += _ready(db, wanted, "", room)
    found = [*left, *_ready(db, wanted, wanted.queue, room)][:room]
    claimed = [claimed_from(each, wanted, now) for each in found]
    for each in claimed:
        written = (each.status, rows.spelled(each.owner), each.updated, each.queue, each.due, each.run_id)
        (number,) = db.execute(CLAIM, written).fetchone()
        db.execute("UPDATE starts SET beat = ?, takeovers = ? WHERE run = ?", (each.beat, each.takeovers, number))
    return Claimed(claimed, _wait(db, wanted, now))


def _ready(db: sqlite3.Connection, wanted: Wanted, queue: str, most: int) -> list[RunRecord]:
    found = db.execute(READY % _places(wanted.targets), (queue, *wanted.targets, most))
    return [rows.record_of(row) for row in found]


def _wait(db: sqlite3.Connection, wanted: Wanted, now: float) -> float | None:
    row = db.execute(NEXT % _places(wanted.targets), (wanted.queue, *wanted.targets)).fetchone()
    return None if row is None else float(row[0]) - now


def _places(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
