"""What may be asked of an engine about the runs that it records: which there are, their steps, forks of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import time
from typing import Any, NamedTuple

from cascade.errors import StateError
from cascade.runtime.events.bus import MessageBus
from cascade.runtime.run_scope import Run, RunScope
from cascade.spec.inside import inside_of
from cascade.spec.state import RunRecord, StepRecord

__all__ = ["Durable", "How", "check_ways"]

ON_CHANGE = ("keep", "rerun", "adapt", "error")
DURABILITIES = ("each", "group", "exit")


class How(NamedTuple):
    """How one run is recorded."""

    durability: str
    on_change: str
    park_after: float | None = None
    """From how many seconds on it is parked where it only waits; None: as the engine says."""
    name: str = ""
    """What another process finds its program by, if it is to have such a name."""


class Durable:
    """The methods of an engine with a `state_backend` that look at recorded runs.

    All but `attach` are coroutines, as a store takes its time. Without a `state_backend` they raise StateError.
    """

    bus: MessageBus
    recorder: Any = None
    """What keeps the runs in a store, if there is one (`runtime.journal.recorder`)."""
    _active: dict[str, RunScope]

    def attach(self, run_id: str) -> Run[Any]:
        """Return the handle of a run that is going on in this engine, whoever has started it.

        Raises:
            LookupError: there is none of that id.
        """
        run_scope = self._active.get(run_id)
        if run_scope is None or not isinstance(run_scope.task, asyncio.Task):
            going = ", ".join(map(repr, self._active)) or "none"
            raise LookupError(f"no run {run_id!r} is going on in this engine; going on are: {going}")
        return Run(run_scope, run_scope.task, self.bus)

    async def runs(
        self,
        *,
        status: str | None = None,
        target: str | None = None,
        since: float | None = None,
        limit: int | None = None,
    ) -> list[RunRecord]:
        """Return the recorded runs, the latest first.

        Args:
            status: only those of this status: "Enqueued", "Running", "Parked", "Succeeded", "Failed" or "Cancelled".
            target: only those of this target.
            since: only those that were started or ended since then, in seconds since 1970.
            limit: so many at most.
        """
        kept = self._kept_runs()
        found: list[RunRecord] = await kept.writer.ask(lambda: kept.backend.runs(status, target, since, limit))
        return found

    async def history(self, run_id: str) -> list[StepRecord]:
        """Return the recorded steps of a run, in the order in which they were first written.

        Each has the id of its node (`task_id`), its attempt, when it began and ended, its error, and a preview of its
        value; nothing is decoded.

        Raises:
            StateError: there is no such run.
        """
        kept = self._kept_runs()

        def look() -> list[StepRecord]:
            if kept.backend.find(run_id) is None:
                raise StateError(f"there is no recorded run {run_id!r}")
            return [step for step in kept.backend.steps(run_id) if step.task_id]

        found: list[StepRecord] = await kept.writer.ask(look)
        return found

    async def forget(self, run_id: str) -> bool:
        """Drop all that is recorded of a run; False if nothing was.

        Raises:
            RunBusyError: it is going on.
        """
        kept = self._kept_runs()
        return bool(await kept.writer.ask(lambda: kept.backend.forget(run_id)))

    async def fork(self, run_id: str, at: str, params: Mapping[str, Any] | None = None) -> str:
        """Record a new run that has all that does not depend on a step of another, and return its id.

        Start it like any run that is known: `await engine.run(target, run_id=new)`.

        Args:
            at: the id of the node that is to run again, with all that needs it: `"parse#3"`; or of an entry of its
                loop, with all that follows: `"parse#3@17"`, where the loop was bound with `history=True`.
            params: parameters that differ.

        Raises:
            StateError: there is no such run or node, or an entry of a loop is asked for that is not kept.
        """
        kept = self._kept_runs()
        forked: str = await kept.writer.ask(lambda: kept.forked(run_id, at, params or {}, time()))
        return forked

    def _how(self, run_id: str | None, durability: str | None = None, on_change: str = "keep") -> How | None:
        """Return how a run is to be recorded; None: it is not, nor is one inside of a task unless it was given an id.

        Raises:
            ValueError: it is asked for in a way that there is not, or of an engine that records nothing.
        """
        check_ways(durability, on_change)
        if self.recorder is None:
            if durability is not None or on_change != "keep":
                raise ValueError(
                    "durability= and on_change= are for runs that are recorded, and this engine records none; give it "
                    'a store: cs.Engine(state_backend="runs.db")'
                )
            return None
        if run_id is None and inside_of() is not None:
            return None
        return How(self.recorder.durability if durability is None else durability, on_change)

    def _kept_runs(self) -> Any:
        if self.recorder is None:
            raise StateError('this engine records no runs; give it a store: cs.Engine(state_backend="runs.db")')
        return self.recorder


def check_ways(durability: object, on_change: object = "keep") -> None:
    """Raise for a way to record, or to go on after a change, that there is not."""
    if durability is not None and durability not in DURABILITIES:
        raise ValueError(f'durability is "each", "group" or "exit", not {durability!r}')
    if on_change not in ON_CHANGE:
        raise ValueError(f'on_change is "keep", "rerun", "adapt" or "error", not {on_change!r}')
