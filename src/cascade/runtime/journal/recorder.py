"""What an engine with a store of runs does when a run begins and ends.

At its start a run is looked up by its id. A new one is kept before anything runs. One that is known is checked in the
order in which a user can do something about it: its parameters, its graph, its status. What has succeeded gives its
value and runs nothing; what is alive elsewhere is a RunBusyError; the rest goes on.

A run ends in the store before anybody is told, so that nobody acts on an end that a crash could take back. Ctrl-C,
SIGTERM and a cancel of who awaits it hand it back instead: it stays Running, without an owner, and goes on when it is
started again. `run.cancel()` and timeouts are final until somebody does.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from time import time
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

from cascade.adapters.state.codec import decode
from cascade.adapters.state.owner import this_process
from cascade.adapters.state.rules import check_free, check_keep
from cascade.adapters.state.urls import backend_from
from cascade.errors import RunBusyError, RunLostError, StateError
from cascade.runtime.changes.adaptation import numbering_of, stale
from cascade.runtime.changes.change import DROPPED, Change, without
from cascade.runtime.changes.fingerprint import dependents, encoded, fingerprint_of
from cascade.runtime.changes.parameters import merge, recordable, unfit
from cascade.runtime.durable import How, check_ways
from cascade.runtime.events.bus import MessageBus
from cascade.runtime.frames.step_keys import Numbering
from cascade.runtime.journal.journal import SPENT, Journal
from cascade.runtime.journal.kinds import FAILED, as_recorded
from cascade.runtime.journal.recorded_loop import entries_before
from cascade.runtime.journal.recorded_run import RecordedRun
from cascade.runtime.journal.streams import Streams
from cascade.runtime.journal.writer import Writer
from cascade.runtime.plans.inputs import fill
from cascade.runtime.plans.plan import Plan
from cascade.runtime.run.operations import Operations
from cascade.runtime.run.state import RunState
from cascade.runtime.run_scope import RunScope, call_on
from cascade.spec.blueprint import Blueprint
from cascade.spec.events import RunWarning
from cascade.spec.notes import spelled
from cascade.spec.run_options import Durability
from cascade.spec.state import Commit, RunRecord, StateBackend, StepRecord
from cascade.spec.tracing import RunTrace

__all__ = ["Begun", "Recorder", "recorder_from"]

T = TypeVar("T")
MOST_TAKEOVERS = 5
TARGET = "="
"""The key of the value of the target."""


class Begun(NamedTuple):
    """A run that may go on."""

    journal: Journal | None
    """None: it has succeeded, and there is nothing to do."""
    constants: list[Any]
    params: Mapping[str, Any]
    is_resumed: bool
    recorded: int
    """How many steps are recorded."""
    value: Any = None
    """What it gave, if it has succeeded."""


class Recorder:
    """Keeps the runs of one engine in a store.

    Args:
        target: what another process finds the program of new runs by; "" if it has no name.
    """

    def __init__(
        self,
        backend: StateBackend,
        durability: str,
        max_takeovers: int = MOST_TAKEOVERS,
        target: str = "",
        keep: int | timedelta | None = None,
    ) -> None:
        self.durability = durability
        self.target = target
        self.max_takeovers = max_takeovers
        self.park_after: float | None = None
        """From how many seconds on runs that only wait are parked, where they do not say themselves; None: never."""
        self.writer = Writer(backend, keep)
        self.backend = self.writer.backend
        self.blueprints: Mapping[str, Blueprint] = {}
        """Where tail calls of the engine's runs may lead to."""

    def name(self, run_id: str | None, active: Mapping[str, Any]) -> str:
        """Return the name of a run: unlike those of all others, of all processes, if it was given none."""
        if run_id is None:
            return f"run-{uuid4().hex[:16]}"
        if not isinstance(run_id, str) or not run_id:
            raise TypeError(f"a run_id is a text that is not empty, not {run_id!r}")
        if run_id in active:
            raise RunBusyError(f"run {run_id!r} is going on in this very engine; engine.attach({run_id!r}) gives it")
        return run_id

    def state_of(
        self,
        journal: Journal,
        engine: Any,
        operations: Operations[RunState],
        run_scope: RunScope,
        *inputs: Any,
        kind: type[RecordedRun] | None = None,
        has_budgets: bool = False,
    ) -> RecordedRun:
        """Return the state of a run that may go on; of a kind of its own if it is traced, or somebody has a budget."""
        journal.end_run = partial(call_on, run_scope.loop, run_scope.ask)
        if journal.park_after is not None:
            from cascade.runtime.inspect.parking import Parking

            journal.parking = Parking(run_scope, journal.park_after)
        made: Any = kind or RecordedRun
        if has_budgets:
            from cascade.runtime.budgets.budgeted_run import budgeted

            made, operations = budgeted(made, operations)
        return made(journal, engine, operations, run_scope, *inputs)  # type: ignore[no-any-return]

    async def begin(
        self,
        run_scope: RunScope,
        how: How,
        plan: Plan,
        given: Mapping[str, Any],
        variables: dict[str, str | None],
        bus: MessageBus,
        trace: RunTrace | None = None,
    ) -> Begun:
        """Make a run ours: a new one, or one that goes on.

        Raises:
            ParameterError: other parameters than those recorded.
            RunChangedError: another graph than the one recorded.
            RunBusyError: it is alive.
            StateError: the store cannot be used.
        """
        run_id, graph, owner = run_scope.name, plan.blueprint.graph, this_process()
        if how.durability == "each" != self.durability:
            await self.writer.ask(self._strengthen)
        look = fingerprint_of(plan.blueprint)
        before = await self.writer.ask(lambda: self.backend.find(run_id))
        if before is None:
            constants = fill(graph, given, variables) if graph.inputs else graph.constants
            traced = None if trace is None else trace.begin(None, 1)
            params, now = self.encoded_params(plan.blueprint, given, variables, 0.0, traced), time()
            seen = encoded(look, plan.blueprint)
            record = RunRecord(run_id, "Running", how.name or self.target, params, seen, now, now, epoch=1, owner=owner)
            if not await self._ours(run_id, params, lambda: self.backend.create(record)):
                raise RunBusyError(f"run {run_id!r} was begun by somebody else at this very moment")
            _warn_of_vague(bus, run_id, look["vague"])
            return self._begun(run_id, 1, {}, constants, given, False, how)
        what = f"what is recorded of run {run_id!r}"
        if how.park_after is not None and not before.target:
            raise StateError(
                f"run {run_id!r} was begun without park=, and so without a name that a server could find its program "
                "by: it cannot be parked; leave park= out, or begin a run of another run_id"
            )
        with as_recorded(what):
            recorded = decode(before.params)
            known, first = {**recorded["params"]}, recorded.get("trace")
            for name, value in recorded["variables"].items():
                variables.setdefault(name, value)
        merged = merge(run_id, plan.blueprint, known, given)
        constants = fill(graph, merged, variables) if graph.inputs else graph.constants
        steps = {step.key: step for step in await self.writer.ask(lambda: [*self.backend.steps(run_id)])}
        warn = partial(_warn, bus, run_id)
        is_new = not before.fingerprint  # it was enqueued, and nobody has started it yet
        old = encoded(look, plan.blueprint) if is_new else before.fingerprint
        with as_recorded(what):
            change = Change(run_id, json.loads(old), look, steps, how.on_change, warn)
        if before.status == "Succeeded" and not change.is_adapted:
            if TARGET not in steps:
                raise StateError(f"run {run_id!r} was forgotten at this very moment; start it again to run it anew")
            if steps[TARGET].kind == "value":  # else it holds a secret, and is made of the steps anew
                self.writer.tidy()
                return Begun(None, constants, merged, True, 0, decode(steps[TARGET].value))
        with as_recorded(what):
            kept = change.judge(before.epoch + 1)
            ran = _ran(before, recorded, steps)
        if trace is not None:
            own = trace.begin(first, before.epoch + 1)
            first = first or own
        if before.status == "Running" and before.owner is not None:  # it may end before it is taken, and be run again
            check_free(before, await self.writer.ask(self.backend.now))
        params = self.encoded_params(plan.blueprint, merged, variables, ran, first)
        taken = await self._ours(
            run_id,
            params,
            lambda: self.backend.take(run_id, before.epoch, owner, params, encoded(look, plan.blueprint)),
        )
        begun = self._begun(run_id, taken.epoch, kept, constants, merged, not is_new, how, numbering_of(look))
        if is_new:
            _warn_of_vague(bus, run_id, look["vague"])
        journal = begun.journal
        assert journal is not None
        journal.ran = ran
        if change.gone or change.renamed:
            await self._tidy(journal, change)
        error: Exception | None = None
        if taken.takeovers > self.max_takeovers:
            error = StateError(
                f"run {run_id!r} was taken over {taken.takeovers} times without a new committed step, so it is given "
                f"up: what it does seems to end its process; in flight were: {_in_flight(steps)}"
            )
        elif run_scope.seconds is not None and ran >= run_scope.seconds:
            error = TimeoutError(
                f"run {run_id!r} ran for {ran:.3g} s when it was started before, and its timeout of "
                f"{run_scope.seconds:g} s is for all its starts; start it with a longer one to go on"
            )
        if error is not None:
            said = spelled(error)
            await self.writer.ask(lambda: self.writer.finish(journal, "Failed", said))
            self.writer.leave(journal)
            raise error
        run_scope.start(ran)
        return begun

    def encoded_params(
        self,
        blueprint: Blueprint | None,
        given: Mapping[str, Any],
        variables: Mapping[str, str | None],
        ran: float,
        traced: str | None,
    ) -> bytes:
        """Return what is recorded of the parameters given and the environment, and of this start.

        Args:
            blueprint: None: only its name is known here.
        """
        writer = self.writer
        params, taken = recordable(blueprint, self.blueprints.values(), given, variables)
        start = {"params": params, "variables": taken, "start": uuid4().hex, "ran": ran}
        try:
            return writer.encode({**start, **({"trace": traced} if traced else {})})
        except StateError as error:
            raise unfit(params, error, writer.may_pickle) from None

    def _strengthen(self) -> None:
        """Have the store promise for all runs what one of them asks for; on the writer's thread."""
        if hasattr(self.backend.backend, "strengthen"):
            self.backend.backend.strengthen()

    async def _ours(self, run_id: str, params: bytes, question: Callable[[], T]) -> T:
        """Ask the store for a run; hand it back if nobody waits for it any more, or the answer got lost."""
        try:
            return await self.writer.ask(question)
        except BaseException as error:
            if not isinstance(error, RunBusyError):
                self.writer.hand_back(run_id, params)
            raise

    def _begun(
        self,
        run_id: str,
        epoch: int,
        steps: dict[str, StepRecord],
        constants: list[Any],
        params: Mapping[str, Any],
        is_resumed: bool,
        how: How,
        numbering: Numbering | None = None,
    ) -> Begun:
        journal = Journal(
            run_id,
            epoch,
            self.writer,
            steps,
            how.durability,
            (),
            numbering,
            partial(Streams, adapts=how.on_change == "adapt"),
        )
        journal.park_after = self.park_after if how.park_after is None else how.park_after
        self.writer.begin(journal)
        done = sum(step.kind in ("value", "left out") for step in steps.values())
        return Begun(journal, constants, params, is_resumed, done)

    async def _tidy(self, journal: Journal, change: Change) -> None:
        """Drop steps that are run again before anything runs: a crash must not leave some with what was made of others.

        The fingerprint, which was committed before, says which they are; so if it comes to that, the next start does.
        """
        now = time()
        mark = StepRecord(DROPPED, journal.epoch, "dropped", b"", "", 1, now, now, "", "")
        await self.writer.ask(lambda: self.writer.drop(journal, change.gone, [*change.renamed, mark]))

    def forked(self, run_id: str, at: str, params: Mapping[str, Any], now: float) -> str:
        """Keep a new run that has what does not depend on a step of another; on the writer's thread."""
        record = self.backend.find(run_id)
        if record is None:
            raise StateError(f"there is no recorded run {run_id!r}")
        with as_recorded(f"what is recorded of run {run_id!r}"):
            return self._forked(record, at, params, now)

    def _forked(self, record: RunRecord, at: str, params: Mapping[str, Any], now: float) -> str:
        run_id, look = record.run_id, json.loads(record.fingerprint)
        name, entry_mark, _ = at.partition("@")
        if name not in look["reads"]:
            known = ", ".join(look["reads"])
            raise StateError(f"run {run_id!r} has no step {name!r}; its nodes are: {known}")
        given = record.params
        if params:  # else nothing is decoded, so that it needs nothing of the program
            recorded = decode(given)
            given = self.writer.encode({**recorded, "params": {**recorded["params"], **params}})
        new = self.name(None, {})
        steps = {step.key: step for step in self.backend.steps(run_id) if step.key not in (TARGET, SPENT)}
        kept = without(steps, stale(look, dependents(look, {name})))
        if entry_mark:
            (number,) = stale(look, [[*look["reads"]].index(name)])
            kept.update(entries_before(steps, number, at))
        self.backend.create(RunRecord(new, "Running", record.target, given, record.fingerprint, now, now, epoch=1))
        self.backend.commit([Commit(new, 1, 1, [*kept.values()], released=True)])
        return new

    async def send(self, run_id: str, name: str, value: Any, id: str | None) -> None:
        """Keep a message to a run of this store; it is committed when this returns."""
        try:
            data = self.writer.encode(value)
        except StateError as error:
            raise StateError(f"messages to a run are recorded, {name!r} as well: {error}; send plain data") from None
        await self.writer.ask(lambda: self.backend.send(run_id, name, data, id))

    async def end(self, run: RecordedRun, value: Any, error: BaseException | None) -> BaseException | None:
        """Commit the end of a run before anybody is told; return what it ends with.

        A run that was interrupted and not cancelled is handed back: it goes on when it is started again. One that was
        interrupted as it only waits is parked.
        """
        journal: Journal = run.journal
        scope = run.run_scope
        if journal.error is not None:
            self.writer.leave(journal)
            return journal.error
        status: Any = "Succeeded"
        if error is None:
            try:
                data = self.writer.encode(value)
            except StateError as unfit:
                error = StateError(f"what run {run.id!r} ends with is recorded: {unfit}; return plain data in the end")
                status = "Failed"
            else:
                now, kind = time(), "value"
                if journal.shows(data):
                    data, kind = b"", "secret"
                journal.steps.append(StepRecord(TARGET, -1, kind, data, "", 1, now, now, "", ""))
        elif isinstance(error, (KeyboardInterrupt, SystemExit)) or (
            isinstance(error, asyncio.CancelledError) and scope.is_cancelled
        ):
            status = "Cancelled" if scope.is_final else "Parked" if journal.is_parked else None
        else:
            status = "Failed"
        if error is not None:
            journal.say_spent()
        said = "" if error is None or status == "Parked" else run.masked(spelled(error))
        due, seen = journal.due if status == "Parked" else (0.0, None)
        try:
            lost = await self.writer.ask(lambda: self.writer.finish(journal, status, said, due, seen))
        except StateError as failure:
            return failure
        finally:
            self.writer.leave(journal)
        if lost:
            return RunLostError(f"run {journal.run_id!r} was taken over by somebody else; its end is not recorded")
        if status == "Parked":
            run.parked = journal.parking.parked
            return None
        return error


def recorder_from(given: object, durability: Durability, keep: int | timedelta | None = None) -> Recorder:
    """Return what keeps the runs of an engine in the store that was given.

    A Recorder is taken as it is: that is how the command gives options that are none of an engine's.
    """
    if isinstance(given, Recorder):
        return given
    check_ways(durability)
    if keep is not None:
        check_keep(keep)
    return Recorder(backend_from(given, "state_backend", durability), durability, keep=keep)


def _warn_of_vague(bus: MessageBus, run_id: str, vague: Sequence[str]) -> None:
    if vague:
        said = "has a literal whose content cannot be compared when the run goes on; it counts by its type"
        _warn(bus, run_id, "LiteralNotCompared", f"{', '.join(vague)} {said}")


def _warn(bus: MessageBus, run_id: str, code: str, message: str) -> None:
    if bus.wants(RunWarning):
        bus.publish(RunWarning(run_id=run_id, code=code, message=message))


def _ran(before: RunRecord, recorded: Mapping[str, Any], steps: Mapping[str, StepRecord]) -> float:
    """Return for how long a run ran when it was started before; of a start that crashed, until its last sign of life.

    Its parameters say it of all starts but the last one, and what that wrote at its end of that, too.
    """
    mark = steps.get(SPENT)
    if mark is not None and mark.entry == before.epoch:
        return mark.ended
    ran = float(recorded.get("ran", 0.0)) if before.epoch > 1 else 0.0  # a fork has those of another run
    return ran if before.owner is None else ran + max(0.0, before.beat - before.updated)


def _in_flight(steps: Mapping[str, StepRecord]) -> str:
    found = [step.task_id for step in steps.values() if step.task_id and step.kind in ("begun", "loop", FAILED)]
    return ", ".join(found[:5]) or "calls that nothing is recorded of"
