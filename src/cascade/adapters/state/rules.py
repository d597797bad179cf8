"""What all stores of runs decide alike: when a run may be taken, and when it takes a message."""

from __future__ import annotations

import time
from collections.abc import Iterable

from cascade.adapters.state.owner import can_see, is_alive, this_process
from cascade.errors import RunBusyError, StateError
from cascade.spec.state import LEASE, Owner, RunRecord, StepRecord

__all__ = [
    "MOST_WAITING",
    "advances",
    "check_free",
    "check_sendable",
    "check_takeable",
    "no_such_run",
    "taken_from",
]

ENDED = ("Succeeded", "Failed", "Cancelled")
MOST_WAITING = 10_000
"""So many messages that nobody took are kept for a run."""


def no_such_run(run_id: str) -> StateError:
    """Return the error for a run that is not there."""
    return StateError(f"there is no run {run_id!r} in this store; `cascade runs` lists those that there are")


def check_free(record: RunRecord, now: float) -> None:
    """Raise RunBusyError for a run whose owner is alive."""
    owner = record.owner
    if owner is None or record.status != "Running" or not is_alive(owner, record.beat, now):
        return
    where = "this process" if owner == this_process() else f"process {owner.pid} on {owner.host or 'an unnamed host'}"
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.updated))
    what = "wait for it, or end it there"
    if not can_see(owner):
        left = max(0.0, LEASE - (now - record.beat))
        what = f"that process cannot be seen from here: if it is gone, the run is free in {left:.0f} s"
    raise RunBusyError(f"run {record.run_id!r} is going on in {where}, since {since}; {what}")


def check_takeable(record: RunRecord, epoch: int, now: float) -> None:
    """Raise RunBusyError for a run whose owner is alive, or that somebody took since it had this epoch."""
    check_free(record, now)
    if record.epoch != epoch:
        raise RunBusyError(
            f"run {record.run_id!r} was taken by another process since it was looked at (start {record.epoch}, not "
            f"{epoch}); look at it again"
        )


def taken_from(record: RunRecord, owner: Owner, now: float, params: bytes, fingerprint: bytes) -> RunRecord:
    """Return a run as it is once an owner has taken it: what was handed back or has ended is not taken over."""
    if record.status in ENDED:
        takeovers = 0
    else:
        takeovers = record.takeovers + (record.owner is not None)
    return record._replace(
        status="Running",
        params=params,
        fingerprint=fingerprint,
        updated=now,
        beat=now,
        epoch=record.epoch + 1,
        takeovers=takeovers,
        owner=owner,
        error="",
    )


def advances(steps: Iterable[StepRecord]) -> bool:
    """Say whether a run got further by these steps: that a call has begun does not count, as it may end the process."""
    return any(step.kind != "begun" for step in steps)


def check_sendable(run_id: str, status: str, waiting: int) -> None:
    """Raise StateError for a run that takes no message any more, or has too many that nobody took."""
    if status in ENDED:
        raise StateError(f"run {run_id!r} has ended ({status}), and takes no messages")
    if waiting >= MOST_WAITING:
        raise StateError(f"run {run_id!r} has {waiting:,} messages that nobody took; it takes no more of them")
