"""Runs that are put into a queue, from which a server takes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from time import time
from typing import Any

from cascade.adapters.state.codec import decode, encode
from cascade.errors import ParameterError, StateError
from cascade.runtime.durable import Durable, How
from cascade.runtime.plans.inputs import check_given, check_known
from cascade.runtime.plans.plan import Plan, prepare
from cascade.runtime.queue.names import found_by, name_of
from cascade.spec.blueprint import Blueprint
from cascade.spec.parked import seconds_of_park
from cascade.spec.state import RunRecord

__all__ = ["Queue"]

WHAT = "engine.enqueue"
MOST = 2**31 - 1
"""The highest priority, and the lowest with a minus sign before it."""


class Queue(Durable):
    """The part of an engine with a `state_backend` that puts runs into queues."""

    blueprints: dict[str, Blueprint]
    solver: Any

    async def enqueue(
        self,
        target: Any,
        params: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        queue: str = "default",
        priority: int = 0,
        not_before: datetime | None = None,
        dedupe: str | None = None,
    ) -> str:
        """Have a server carry out a run (`cascade serve`); return its id. It is in the store when this returns.

        Args:
            target: what the server finds the program by: `"flows.py:report"`, of a file that it is given, or the id of
                a registered blueprint; or a target that has such a name, as it is a global of a module.
            params: values for the parameters of the graph, as for `run`. If the program is loaded here, they are
                checked here.
            run_id: by default a fresh one. One that is known stays as it is; if it has failed or was cancelled it goes
                on.
            queue: the name of the queue.
            priority: of those that wait the one with the highest is taken first, and of these the oldest.
            not_before: it is not taken before this time, which has a time zone.
            dedupe: if a run of this target that was enqueued with the same text has not ended, its id is returned, and
                nothing is enqueued.

        Raises:
            StateError: there is no `state_backend`, or it fails; the target has no name; a parameter is secret, or
                cannot be recorded; a run of that id is of another target.
            ParameterError: a parameter is missing, unknown or wrong, or other than that of the run that is known.
            TypeError, ValueError: an option is wrong.
        """
        kept = self._kept_runs()
        name = name_of(target, self.blueprints, WHAT)
        due = _checked(queue, priority, not_before, dedupe)
        given = dict(params or {})
        plan = self._plan_of(found_by(name, self.blueprints) if isinstance(target, str) else target)
        known = None if run_id is None else await kept.writer.ask(lambda: kept.backend.find(run_id))
        recorded = {} if known is None else _recorded(known, name, given)
        if plan is not None:
            self._check(plan, {**recorded, **given})
        blueprint = None if plan is None else plan.blueprint
        data, now = kept.encoded_params(blueprint, given, {}, 0.0, None), time()
        record = RunRecord(
            *(kept.name(run_id, {}), "Enqueued", name, data, b"", now, now), queue=queue, priority=priority, due=due
        )
        found: RunRecord = await kept.writer.ask(lambda: kept.backend.enqueue(record, dedupe))
        return found.run_id

    def _how_parked(self, how: How | None, target: object, park: object) -> How:
        """Return how a run with `park=` is recorded.

        Raises:
            StateError: it is not recorded, or its target has no name that a server could find it by.
            TypeError, ValueError: `park` is none.
        """
        seconds = seconds_of_park(park)
        if how is None:
            raise StateError(
                'park= is for runs that are recorded, cs.Engine(state_backend="runs.db"), and inside of a task for '
                "those with a run_id of their own: nobody could go on with another one"
            )
        return how._replace(park_after=seconds, name=self.recorder.target or name_of(target, self.blueprints, "park="))

    def _plan_of(self, target: object) -> Plan | None:
        return None if target is None else prepare(getattr(target, "target", target), self.solver)

    def _check(self, plan: Plan, given: Mapping[str, Any]) -> None:
        known = set(plan.params)
        for blueprint in self.blueprints.values():
            known |= {needed.name for needed in blueprint.graph.inputs.values()}
        check_known(known, given)
        secret = [name for name, param in plan.params.items() if param.secret]
        if named := [name for name in secret if name in given]:
            raise StateError(
                f"{WHAT} writes parameters into the store, and secrets are never written: {', '.join(named)}; let the "
                "task read it where it runs, as cs.Env or as a parameter with a default"
            )
        check_given(plan.params.values(), given)


def _checked(queue: object, priority: object, not_before: object, dedupe: object) -> float:
    """Return when a run is due, in seconds since 1970; 0: now."""
    if not isinstance(queue, str) or not queue:
        raise TypeError(f"{WHAT}(queue=...) takes a name that is not empty, not {queue!r}")
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise TypeError(f"{WHAT}(priority=...) takes a whole number, not {priority!r}")
    if abs(priority) > MOST:
        raise ValueError(f"{WHAT}(priority=...) takes a number of at most {MOST:,}, not {priority:,}")
    if dedupe is not None and (not isinstance(dedupe, str) or not dedupe):
        raise TypeError(f"{WHAT}(dedupe=...) takes a text that is not empty, not {dedupe!r}")
    if not_before is None:
        return 0.0
    if not isinstance(not_before, datetime) or not_before.tzinfo is None:
        raise TypeError(
            f"{WHAT}(not_before=...) takes a datetime with a time zone, not {not_before!r}; for an hour from now: "
            "datetime.now(timezone.utc) + timedelta(hours=1)"
        )
    return not_before.timestamp()


def _recorded(known: RunRecord, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a run that is known, which what is given must agree with."""
    if known.target != name:
        of = f"of {known.target!r}" if known.target else "of a program without a name, which goes on with it itself"
        raise StateError(f"run {known.run_id!r} is {of}, and is enqueued as {name!r} now; give another run_id")
    recorded: dict[str, Any] = decode(known.params)["params"]
    for each, value in given.items():
        if each in recorded and encode(recorded[each]) != encode(value):
            raise ParameterError(
                f"run {known.run_id!r} was begun with {each}={recorded[each]!r}, and is given {each}={value!r} now; "
                "leave it out to go on with what it was begun with, or enqueue another run"
            )
    return recorded
