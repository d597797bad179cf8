"""Firing schedules, in servers: which run is enqueued when, whatever becomes of the servers.

A schedule is a run of its own in the store, `file.py:name@schedule`, which is parked until its next time; what that is
stands in its parameters. A server that claims it enqueues what is due, and parks it again. Whatever is enqueued has an
id made of the schedule and the time, and one that is there stays: so a server that was killed in between, or two at
once, do no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import inf
from typing import Any, NamedTuple

from cascade.adapters.schedules.schedule import Schedule
from cascade.adapters.state.codec import decode, encode
from cascade.adapters.state.owner import this_process
from cascade.errors import RunBusyError
from cascade.spec.state import Commit, RunRecord, StateBackend, Wanted

__all__ = ["QUEUE", "Scheduling", "firing_id", "schedule_id"]

QUEUE = "@schedules"
"""The queue of the schedules of a store."""
AGAIN = 1.0
"""So many seconds until it is looked again whether an earlier run has ended."""
UNFINISHED = ("Enqueued", "Parked", "Running")


class Fired(NamedTuple):
    """What became of one time of a schedule."""

    run_id: str
    is_skipped: bool


def schedule_id(name: str) -> str:
    """Return the id of the run that a schedule is."""
    return f"{name}@schedule"


def firing_id(name: str, time: datetime) -> str:
    """Return the id of the run of one time of a schedule."""
    return f"{name}@{time.astimezone(UTC):%Y-%m-%dT%H:%MZ}"


class Scheduling:
    """The schedules that one server fires; its methods are called on the thread that writes.

    Args:
        schedules: by the names of their programs.
        queue: where their runs are put.
        encode: makes the parameters of runs.
    """

    def __init__(
        self, schedules: Mapping[str, Schedule], queue: str, backend: StateBackend, encode: Callable[..., bytes]
    ) -> None:
        self._schedules = schedules
        self._names = {schedule_id(name): name for name in schedules}
        self._queue = queue
        self._backend = backend
        self._encode = encode
        self._left: dict[str, Commit] = {}
        """What could not be committed any more of schedules that this process has taken."""

    def keep(self) -> None:
        """See that each schedule is in the store, as it is now; one that fires at other times begins anew."""
        for name, schedule in self._schedules.items():
            now, run_id = self._backend.now(), schedule_id(name)
            following = schedule.next_after(_time(now))
            data = self._data(schedule, following, [])
            record = RunRecord(run_id, "Parked", run_id, data, b"", now, now, queue=QUEUE, due=_due(following))
            if self._backend.create(record):
                continue
            known = self._backend.find(run_id)
            if known is None or _said(decode(known.params)) == _said(decode(data)):
                continue
            try:
                self._park(known, data, _due(following))
            except RunBusyError:  # another server is at it
                continue

    def fire(self, is_thorough: bool) -> tuple[list[Fired], float | None]:
        """Enqueue what is due; return that, and how many seconds there are to the next time, None: there is none."""
        for run_id, end in [*self._left.items()]:
            self._backend.commit([end])
            del self._left[run_id]
        wanted = Wanted(QUEUE, [*self._names], this_process(), len(self._names), None, (), is_thorough)
        claimed = self._backend.claim(wanted)
        fired = [each for record in claimed.runs for each in self._fire(record)]
        return fired, 0.0 if claimed.runs else claimed.wait

    def _fire(self, record: RunRecord) -> list[Fired]:
        name = self._names[record.run_id]
        schedule, state, now = self._schedules[name], decode(record.params), self._backend.now()
        waiting = [datetime.fromisoformat(each) for each in state["waiting"]]
        following = None if state["next"] is None else datetime.fromisoformat(state["next"])
        due: list[datetime] = []
        if following is not None:
            due, following = schedule.due(following, _time(now))
        fired: list[Fired] = []
        left: list[datetime] = []
        for time in [*waiting, *due]:
            run_id = firing_id(name, time)
            if schedule.overlap != "allow" and self._is_going_on(name, run_id):
                if schedule.overlap == "skip":
                    fired.append(Fired(run_id, True))
                else:
                    left.append(time)
                continue
            new = RunRecord(run_id, "Enqueued", name, self._encode(), b"", now, now, queue=self._queue)
            if self._backend.create(new):
                fired.append(Fired(run_id, False))
        again = now + AGAIN if left else inf
        self._park(record, self._data(schedule, following, left), min(again, _due(following)))
        return fired

    def _is_going_on(self, name: str, but: str) -> bool:
        return any(
            each.run_id.startswith(f"{name}@") and each.run_id != but
            for status in UNFINISHED
            for each in self._backend.runs(status, name)
        )

    def _park(self, record: RunRecord, data: bytes, due: float) -> None:
        taken = self._backend.take(record.run_id, record.epoch, this_process(), data, b"")
        end = self._left[record.run_id] = Commit(record.run_id, taken.epoch, 1, status="Parked", due=due)
        self._backend.commit([end])
        del self._left[record.run_id]

    def _data(self, schedule: Schedule, following: datetime | None, waiting: list[datetime]) -> bytes:
        said: dict[str, Any] = {"cron": schedule.cron, "timezone": str(schedule.zone)}
        said |= {"next": None if following is None else following.isoformat()}
        return encode({**said, "waiting": [each.isoformat() for each in waiting]})


def _said(state: Mapping[str, Any]) -> tuple[Any, Any]:
    return state["cron"], state["timezone"]


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _due(time: datetime | None) -> float:
    return inf if time is None else time.timestamp()
