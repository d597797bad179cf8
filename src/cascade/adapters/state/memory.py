"""Runs kept in this process, and no longer than it: for tests, and for what needs a store but outlives nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from cascade.adapters.state.queues import UNFINISHED, after_crash, claimed_from, enqueued_again, room_for, waits
from cascade.adapters.state.rules import (
    advances,
    check_free,
    check_sendable,
    check_takeable,
    no_such_run,
    taken_from,
)
from cascade.spec.state import Claimed, Commit, Owner, RunRecord, SignalRecord, StepRecord, Wanted

__all__ = ["MemoryBackend"]


class _Kept:
    """All that is kept of one run."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.dedupe: str | None = None
        self.committed = 0
        self.steps: dict[str, StepRecord] = {}
        self.signals: list[SignalRecord] = []
        self.ids: set[str] = set()

    def add(self, commit: Commit, now: float) -> None:
        """Make a commit of its owner true."""
        self.committed = commit.number
        for key in commit.dropped:
            self.steps.pop(key, None)
        for step in commit.steps:
            self.steps[step.key] = step
        for number, key in commit.taken:
            self.signals[number - 1] = self.signals[number - 1]._replace(taken_by=key)
        record = self.record._replace(beat=now)
        if advances(commit.steps):
            record = record._replace(takeovers=0)
        if commit.released:
            record = record._replace(status="Running", owner=None, error="", updated=now)
        elif commit.status is not None:
            owner = record.owner if commit.status == "Running" else None
            has_more = commit.seen is not None and len(self.signals) > commit.seen
            due = 0.0 if has_more else commit.due
            record = record._replace(status=commit.status, owner=owner, error=commit.error, updated=now, due=due)
        self.record = record


class MemoryBackend:
    """Keeps runs in memory; several engines and threads of this process may share it."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.RLock()
        self._listening: list[Callable[[], None]] = []
        """What is called when something may have been enqueued."""

    def __repr__(self) -> str:
        return "MemoryBackend()"

    def open(self) -> None:
        """Do nothing: it is always ready."""

    def close(self) -> None:
        """Do nothing: what it keeps is there as long as it is."""

    def find(self, run_id: str) -> RunRecord | None:
        """Return what is known of a run, None if nothing is."""
        with self._lock:
            kept = self._kept.get(run_id)
            return None if kept is None else kept.record

    def create(self, record: RunRecord) -> bool:
        """Keep a new run, with its owner and epoch 1 if it has one; False if there is one of that id already."""
        with self._lock:
            if record.run_id in self._kept:
                return False
            if record.owner is not None:
                record = record._replace(epoch=1, beat=self.now())
            self._kept[record.run_id] = _Kept(record)
            return True

    def take(self, run_id: str, epoch: int, owner: Owner, params: bytes, fingerprint: bytes) -> RunRecord:
        """Make a run that is not alive ours: Running, with the next epoch and what is given; return it.

        Raises:
            RunBusyError: its owner is alive, or it was taken since it was looked at.
            StateError: there is no such run.
        """
        with self._lock:
            kept = self._of(run_id)
            now = self.now()
            check_takeable(kept.record, epoch, now)
            kept.record = taken_from(kept.record, owner, now, params, fingerprint)
            kept.committed = 0
            return kept.record

    def enqueue(self, record: RunRecord, dedupe: str | None = None) -> RunRecord:
        """Put a run into its queue; return what is known of it then, or the unfinished one of the same `dedupe`."""
        with self._lock:
            for kept in self._kept.values() if dedupe is not None else ():
                same = kept.dedupe == dedupe and kept.record.target == record.target
                if same and kept.record.status in UNFINISHED:
                    return kept.record
            known = self._kept.get(record.run_id)
            if known is None:
                known = self._kept[record.run_id] = _Kept(record)
            else:
                again = enqueued_again(known.record, record, self.now())
                if again is known.record:
                    return again
                known.record = again
            known.dedupe = dedupe
            record = known.record
        self._wake()
        return record

    def _wake(self) -> None:
        for wake in [*self._listening]:
            wake()

    def claim(self, wanted: Wanted) -> Claimed:
        """Reserve runs that wait for a server: of the highest priority first, of these those that were there first."""
        with self._lock:
            now, queues = self.now(), (wanted.queue, "") if wanted.is_thorough else (wanted.queue,)
            near = [each.record for each in self._kept.values() if each.record.queue in queues]
            owned = sorted((each for each in near if each.owner is not None), key=lambda each: each.queue == "")
            left = after_crash(owned, wanted, now) if wanted.is_thorough else []
            waiting = [each for each in near if waits(each) and each.target in wanted.targets]
            ready = sorted((each for each in waiting if each.due <= now), key=lambda each: (each.queue, -each.priority))
            room = room_for(wanted, sum(each.queue == wanted.queue for each in owned), left)
            claimed = [claimed_from(each, wanted, now) for each in (left + ready)[:room]]
            for each in claimed:
                self._kept[each.run_id].record = each
            dues = [each.due for each in waiting if each.due > now and each.queue == wanted.queue]
            return Claimed(claimed, min(dues) - now if dues else None)

    def listen(self, queue: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Call something whenever a run may have been enqueued, from whatever thread; return what ends that."""
        self._listening.append(wake)
        return lambda: self._listening.remove(wake)

    def commit(self, commits: Sequence[Commit]) -> list[str]:
        """Make all commits true at once; return the ids of the runs that had another epoch."""
        lost: dict[str, None] = {}
        with self._lock:
            now = self.now()
            for each in commits:
                kept = self._kept.get(each.run_id)
                if kept is None or kept.record.epoch != each.epoch:
                    lost[each.run_id] = None
                elif each.number > kept.committed:
                    kept.add(each, now)
        return list(lost)

    def beat(self, runs: Iterable[tuple[str, int]]) -> list[str]:
        """Give a sign of life for runs, each with its epoch; return the ids of those that had another one."""
        lost = []
        with self._lock:
            for run_id, epoch in runs:
                kept = self._kept.get(run_id)
                if kept is None or kept.record.epoch != epoch:
                    lost.append(run_id)
                else:
                    kept.record = kept.record._replace(beat=self.now())
        return lost

    def steps(self, run_id: str) -> list[StepRecord]:
        """Return all steps of a run, in the order in which they were first written."""
        with self._lock:
            kept = self._kept.get(run_id)
            return [] if kept is None else list(kept.steps.values())

    def send(self, run_id: str, name: str, value: bytes, id: str | None) -> None:
        """Keep a message for a run; one with an `id` that is there already counts once.

        Raises:
            StateError: there is no such run, it has ended, or it has 10,000 messages that nobody took.
        """
        with self._lock:
            kept = self._of(run_id)
            if id in kept.ids:
                return
            check_sendable(run_id, kept.record.status, sum(not each.taken_by for each in kept.signals))
            kept.signals.append(SignalRecord(len(kept.signals) + 1, name, value, ""))
            if id is not None:
                kept.ids.add(id)
            if kept.record.status != "Parked":
                return
            kept.record = kept.record._replace(due=0.0)
        self._wake()

    def signals(self, run_id: str, after: int = 0) -> list[SignalRecord]:
        """Return the messages to a run with numbers above `after`, in order."""
        with self._lock:
            kept = self._kept.get(run_id)
            return [] if kept is None else kept.signals[after:]

    def runs(
        self, status: str | None = None, target: str | None = None, since: float | None = None, limit: int | None = None
    ) -> list[RunRecord]:
        """Return the runs that there are, the latest first, without their params and fingerprints."""
        with self._lock:
            records = [kept.record for kept in reversed(self._kept.values())]
        found = [
            each._replace(params=b"", fingerprint=b"")
            for each in records
            if status in (None, each.status) and target in (None, each.target) and each.created >= (since or 0.0)
        ]
        return sorted(found, key=lambda each: -each.created)[:limit]

    def forget(self, run_id: str, epoch: int | None = None) -> bool:
        """Drop all that is kept of a run that is not alive, and has this epoch; False if there was none.

        Raises:
            RunBusyError: it is alive.
        """
        with self._lock:
            kept = self._kept.get(run_id)
            if kept is None or epoch not in (None, kept.record.epoch):
                return False
            check_free(kept.record, self.now())
            del self._kept[run_id]
            return True

    def now(self) -> float:
        """Return the time of this host."""
        return time.time()

    def _of(self, run_id: str) -> _Kept:
        kept = self._kept.get(run_id)
        if kept is None:
            raise no_such_run(run_id)
        return kept
