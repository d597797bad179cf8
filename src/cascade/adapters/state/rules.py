"""What all stores of runs decide alike: when a run may be taken, when it takes a message, and how long it is kept."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta

from cascade.adapters.state.owner import can_see, is_alive, this_process
from cascade.errors import RunBusyError, StateError
from cascade.spec.state import LEASE, Owner, RunRecord, StateBackend, StepRecord

__all__ = [
    "MOST_WAITING",
    "advances",
    "check_free",
    "check_keep",
    "check_sendable",
    "check_takeable",
    "forget_finished",
    "no_such_run",
    "owner_of",
    "taken_from",
]

ENDED = ("Succeeded", "Failed", "Cancelled")
MOST_WAITING = 10_000
"""So many messages that nobody took are kept for a run."""
MOST_AT_ONCE = 100
"""So many runs are forgotten at once, so that others need not wait long for the store."""


def no_such_run(run_id: str) -> StateError:
    """Return the error for a run that is not there."""
    return StateError(f"there is no run {run_id!r} in this store; `cascade runs` lists those that there are")


def owner_of(record: RunRecord) -> Owner:
    """Return the owner of a run that was read from a row, where it stands in JSON.

    Raises:
        StateError: none stands there.
    """
    try:
        boot, namespace, pid, began, host = json.loads(str(record.owner))
    except (RecursionError, TypeError, ValueError):
        boot = namespace = pid = began = host = None
    if not isinstance(pid, int) or not all(isinstance(each, str) for each in (boot, namespace, began, host)):
        raise StateError(
            f"the owner of run {record.run_id!r} cannot be read: its record is damaged, or not written by Cascade; "
            "restore the store from a backup"
        )
    return Owner(boot, namespace, pid, began, host)


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
        takeovers = record.takeovers + (record.owner is not None and record.status == "Running")
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
        due=0.0,
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


def check_keep(keep: object) -> None:
    """Raise for what is neither an age nor a number of runs."""
    if isinstance(keep, bool) or not isinstance(keep, (int, timedelta)):
        raise TypeError(
            f"keep is how many finished runs stay (keep=1000), or for how long (keep=timedelta(days=30)), not {keep!r}"
        )
    if (keep.total_seconds() if isinstance(keep, timedelta) else keep) < 0:
        raise ValueError(f"keep is 0 or more, not {keep!r}")


def forget_finished(store: StateBackend, keep: int | timedelta) -> int:
    """Drop the runs that have ended and are not kept, those that ended first before all; return how many stay.

    One that is not over stays, and so does one that is started again meanwhile.

    Args:
        keep: how many stay, or how long one stays after its end.
    """
    ended = sorted((run for run in store.runs() if run.status in ENDED), key=lambda run: run.updated)
    if isinstance(keep, timedelta):
        oldest = store.now() - keep.total_seconds()
        gone = [run for run in ended if run.updated < oldest]
    else:
        gone = ended[: max(0, len(ended) - keep)]
    for run in gone[:MOST_AT_ONCE]:
        with suppress(RunBusyError):
            store.forget(run.run_id, run.epoch)
    return len(ended) - len(gone)
