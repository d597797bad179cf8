"""The queues of a store in PostgreSQL: what is read and written of them, within transactions that others begin and end.

Servers that claim at once do not wait for each other: each passes over the rows that another one is at
(`SKIP LOCKED`). Only where a queue has a limit do they come one after the other, as each has to count.
"""

from __future__ import annotations

import selectors
import threading
from collections.abc import Callable
from contextlib import suppress
from socket import socketpair
from typing import Any

from cascade.adapters.state.queues import UNFINISHED, after_crash, claimed_from, enqueued_again, room_for
from cascade.adapters.state.tables import (
    FIND_RUN,
    INSERT_RUN,
    SELECT_RUN,
    WAITS,
    digest_of,
    escaped,
    record_of,
    spelled_out,
    time_of,
)
from cascade.spec.state import Claimed, RunRecord, Wanted

__all__ = ["claim", "enqueue", "listen", "tell"]

CHANNEL = "cascade_queues"
PAUSE = 1.0
"""So many seconds until a connection that was lost is made anew."""
IN = "md5(queue) = md5(%s)"
ONE_AFTER_THE_OTHER = "SELECT pg_advisory_xact_lock(%s)"
READY = (
    f"{SELECT_RUN} WHERE {IN} AND due = 0 AND {WAITS} AND target = ANY(%s) ORDER BY priority DESC, number LIMIT %s "
    "FOR NO KEY UPDATE SKIP LOCKED"
)
NEXT = f"SELECT due FROM cascade_runs WHERE {IN} AND due > 0 AND {WAITS} AND target = ANY(%s) ORDER BY due LIMIT 1"
COUNT = f"SELECT count(*) FROM cascade_runs WHERE {IN} AND owner IS NOT NULL"
OWNED = f"{SELECT_RUN} WHERE {IN} AND owner IS NOT NULL ORDER BY number"
LEFT = f"{SELECT_RUN} WHERE digest = ANY(%s) AND owner IS NOT NULL ORDER BY number FOR NO KEY UPDATE SKIP LOCKED"
PROMOTE = (
    "UPDATE cascade_runs SET due = 0 WHERE number IN (SELECT number FROM cascade_runs "
    f"WHERE {IN} AND due > 0 AND due <= %s AND {WAITS} FOR NO KEY UPDATE SKIP LOCKED)"
)
BY_DEDUPE = f"{SELECT_RUN} WHERE dedupe = %s AND status IN {UNFINISHED} ORDER BY number LIMIT 1"
CLAIM = (
    "UPDATE cascade_runs SET status = %s, owner = %s, beat = %s, updated = %s, takeovers = %s, queue = %s, due = %s "
    "WHERE digest = %s"
)
AGAIN = (
    "UPDATE cascade_runs SET status = %s, error = %s, updated = %s, takeovers = %s, queue = %s, priority = %s, "
    "due = %s WHERE digest = %s"
)


def enqueue(db: Any, record: RunRecord, dedupe: str | None, identity: str) -> RunRecord:
    """Put a run into its queue; return what is known of it then, and have servers woken if something was written."""
    same = None if dedupe is None else digest_of(f"{record.target}\0{dedupe}")
    if same is not None:
        db.execute(ONE_AFTER_THE_OTHER, (_number(same),))
        known = record_of(db.execute(BY_DEDUPE, (same,)).fetchone())
        if known is not None:
            return known
    digest = digest_of(record.run_id)
    values = [spelled_out(value) for value in record]
    if db.execute(INSERT_RUN, (digest, *values)).rowcount != 1:
        known = record_of(db.execute(f"{FIND_RUN} FOR NO KEY UPDATE", (digest,)).fetchone())
        if known is None:  # it was forgotten at this very moment
            return enqueue(db, record, dedupe, identity)
        again = enqueued_again(known, record, time_of(db))
        if again is known:
            return known
        record = again
        written = (record.status, record.error, record.updated, record.takeovers, escaped(record.queue))
        db.execute(AGAIN, (*written, record.priority, record.due, digest))
    db.execute("UPDATE cascade_runs SET dedupe = %s WHERE digest = %s", (same, digest))
    tell(db, identity, record.queue)
    return record


def tell(db: Any, identity: str, queue: str) -> None:
    """Have the servers of a queue woken, once the transaction is committed."""
    db.execute("SELECT pg_notify(%s, %s)", (CHANNEL, _told(identity, queue)))


def claim(db: Any, wanted: Wanted) -> Claimed:
    """Reserve runs for a server."""
    queue, targets = escaped(wanted.queue), [escaped(each) for each in wanted.targets]
    if wanted.concurrency is not None:
        db.execute(ONE_AFTER_THE_OTHER, (_number(digest_of(f"queue {queue}")),))
    now = time_of(db)
    for each in (queue, "") if wanted.is_thorough else (queue,):
        db.execute(PROMOTE, (each, now))
    left: list[RunRecord] = []
    if wanted.is_thorough:
        owned = [*_all(db, OWNED, queue), *_all(db, OWNED, "")]
        seen = [digest_of(each.run_id) for each in after_crash(owned, wanted, now)]
        left = after_crash(_all(db, LEFT, seen), wanted, now) if seen else []
    going = 0 if wanted.concurrency is None else db.execute(COUNT, (queue,)).fetchone()[0]
    room = room_for(wanted, going, left)
    if wanted.is_thorough:
        left += _all(db, READY, "", targets, room)
    found = [*left, *_all(db, READY, queue, targets, room)][:room]
    claimed = [claimed_from(each, wanted, now) for each in found]
    if claimed:
        with db.cursor() as cursor:
            cursor.executemany(
                CLAIM,
                [
                    (
                        *(each.status, spelled_out(each.owner), each.beat, each.updated, each.takeovers),
                        *(escaped(each.queue), each.due, digest_of(each.run_id)),
                    )
                    for each in claimed
                ],
            )
    row = db.execute(NEXT, (queue, targets)).fetchone()
    return Claimed(claimed, None if row is None else row[0] - now)


def listen(connect: Callable[[], Any], identity: str, queue: str, wake: Callable[[], None]) -> Callable[[], None]:
    """Call something whenever a run was enqueued there, from a thread with a connection of its own; return its end."""
    told = _told(identity, queue)
    here, there = socketpair()
    is_over = threading.Event()

    def hear() -> None:
        with there:
            while not is_over.is_set():
                with suppress(Exception), connect() as db:  # if it is away, it is asked again
                    db.execute(f"LISTEN {CHANNEL}")
                    wake()
                    _hear(db.pgconn, told, wake, there)
                if is_over.wait(PAUSE):
                    return

    thread = threading.Thread(target=hear, name="cascade-wake", daemon=True)
    thread.start()

    def end() -> None:
        is_over.set()
        here.close()
        thread.join()

    return end


def _hear(connection: Any, told: str, wake: Callable[[], None], there: Any) -> None:
    """Wake at each notification that says so, until the other end of a pair of sockets is closed."""
    with selectors.DefaultSelector() as ready:
        ready.register(connection.socket, selectors.EVENT_READ)
        ready.register(there, selectors.EVENT_READ)
        while not any(key.fileobj is there for key, _ in ready.select()):
            connection.consume_input()
            is_told = False
            while (note := connection.notifies()) is not None:
                is_told |= note.extra.decode() == told
            if is_told:
                wake()


def _told(identity: str, queue: str) -> str:
    return f"{identity}:{digest_of(queue).hex()}"


def _number(digest: bytes) -> int:
    """Return what a lock of the server is known by."""
    return int.from_bytes(digest[:8], "big", signed=True)


def _all(db: Any, query: str, *values: Any) -> list[RunRecord]:
    return [record for row in db.execute(query, values) if (record := record_of(row)) is not None]
