"""What all stores decide alike of queues: what may be claimed, and what a run is once it is enqueued or claimed."""

from __future__ import annotations

from collections.abc import Iterable

from cascade.adapters.state.owner import is_alive
from cascade.spec.state import Owner, RunRecord, Wanted

__all__ = ["UNFINISHED", "after_crash", "claimed_from", "enqueued_again", "room_for", "waits"]

UNFINISHED = ("Enqueued", "Parked", "Running")
"""The states of a run that has not ended: without an owner it waits for one."""


def waits(record: RunRecord) -> bool:
    """Say whether a run waits for a server that can run it, be it due or not."""
    return record.owner is None and record.target != "" and record.status in UNFINISHED


def enqueued_again(known: RunRecord, given: RunRecord, now: float) -> RunRecord:
    """Return what a run that is there is once it is enqueued: only one that has failed or was cancelled is another."""
    if known.status not in ("Failed", "Cancelled"):
        return known
    return known._replace(
        status="Enqueued",
        error="",
        takeovers=0,
        updated=now,
        queue=given.queue,
        priority=given.priority,
        due=given.due,
    )


def after_crash(owned: Iterable[RunRecord], wanted: Wanted, now: float) -> list[RunRecord]:
    """Return the runs, of those with an owner, that are nobody's: it is gone, or is the asking one and knows nothing.

    That is so if a claim was made and the answer got lost.
    """
    seen: dict[tuple[Owner, float], bool] = {}
    found = []
    for record in owned:
        if record.owner is None or record.target not in wanted.targets:
            continue
        if record.owner == wanted.owner:
            is_left = record.status == "Enqueued" and record.run_id not in wanted.held
        else:
            by = record.owner, record.beat
            if by not in seen:
                seen[by] = is_alive(record.owner, record.beat, now)
            is_left = not seen[by]
        if is_left:
            found.append(record)
    return found


def claimed_from(record: RunRecord, wanted: Wanted, now: float) -> RunRecord:
    """Return a run as it is once a server has claimed it."""
    ran = 0.0 if record.owner is None else max(0.0, record.beat - record.updated)
    return record._replace(
        status="Enqueued",
        owner=wanted.owner,
        takeovers=record.takeovers + (record.owner not in (None, wanted.owner)),
        beat=now,
        updated=now - ran,
        queue=wanted.queue,
        due=0.0,
    )


def room_for(wanted: Wanted, going: int, left: Iterable[RunRecord]) -> int:
    """Return how many runs a server may have of a queue.

    Args:
        going: how many runs of it have an owner.
        left: those of them, and others, whose owner is gone.
    """
    if wanted.concurrency is None:
        return wanted.most
    alive = going - sum(each.queue == wanted.queue for each in left)
    return max(0, min(wanted.most, wanted.concurrency - alive))
