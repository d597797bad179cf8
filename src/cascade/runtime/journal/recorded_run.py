"""A run that is recorded: a run that is looked at call by call, whose journal may speak.

Runs that somebody listens to have each call looked at already, wherever it is made: in the pass, item by item, in
coroutines (`RunState.observed`). A recorded run is one of these, so none of the short ways has to know of journals:
what would make calls without looking is not taken. What is here adds three things where all calls go through: in
`observe_call` for calls in place, in `perform` for those that take time, and in what follows loops.

What carries out instructions stands above this, and is handed over in the record of operations: `recording` returns
one that does the same and records it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from time import time
from typing import Any, cast

from cascade.runtime.changes.fingerprint import names_of
from cascade.runtime.channels.letters import Letters
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import NOTHING, PENDING, Frame
from cascade.runtime.frames.node_ids import NodeIds
from cascade.runtime.frames.scope import NodeFailure
from cascade.runtime.frames.started import Uncommitted
from cascade.runtime.interpreter.last_readers import release_reads
from cascade.runtime.interpreter.results import is_signal
from cascade.runtime.journal.journal import Journal
from cascade.runtime.journal.kinds import as_recorded, deciding, is_kept
from cascade.runtime.journal.recorded_loop import PLAIN, RecordedLoop
from cascade.runtime.maps.state import MapState
from cascade.runtime.run.operations import Operations
from cascade.runtime.run.state import RunState
from cascade.runtime.run_scope import RunScope
from cascade.spec.blueprint import Blueprint
from cascade.spec.control import Jump, TailCall
from cascade.spec.operations import CALLN
from cascade.spec.parked import Parked
from cascade.spec.placement import CallForm, arguments

__all__ = ["RecordedRun", "recording"]


class RecordedRun(RunState):
    """The state of a run with a journal."""

    __slots__ = ("journal", "keeps_in_pass", "parked", "tells")
    _names: NodeIds
    parked: Parked | None
    """What it gives, if it ends because it only waits."""
    tells: bool
    """Whether calls have more done around them than being recorded: somebody listens, or a limit stands."""

    def __init__(
        self,
        journal: Journal,
        engine: Any,
        operations: Operations[RunState],
        run_scope: RunScope,
        blueprint: Blueprint,
        *inputs: Any,
    ) -> None:
        self.journal: Journal = journal
        self.parked = None
        super().__init__(engine, recording(operations), run_scope, blueprint, *inputs)
        self.compiles_flows = False
        self._names = NodeIds(self.id, journal.epoch)
        self._names.reach(None, blueprint)
        journal.names, journal.masked, journal.secrets = self.names, self.masked, self.secrets
        journal.own, journal.deciding = names_of(blueprint), deciding(blueprint)

    def look_at_limits(self) -> None:
        """See whether some limit stands; each call is to be looked at, whoever listens."""
        super().look_at_limits()
        self.tells = self.observed or self.has_budgets
        self.keeps_in_pass = self.inline and not self.tells and not self.journal.is_asked
        self.look_at_each_call()

    def observe_call(self, call: Call, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Call in place, with events around the call, and record what it gives."""
        started = time()
        if self.tells or self._names.has_looped(call.frame, call.register, call.suffix[len(call.frame.suffix) :]):
            value = super().observe_call(call, func, args, kwargs)
        else:
            value = func(*args, **kwargs)
        if value.__class__ in PLAIN or not is_signal(value):
            self.journal.keep(call, value, started)
            if self.journal.waits:
                return Uncommitted(value)
        return value

    def call_in_pass(self, frame: Frame, i: int, form: CallForm, values: list[Any]) -> Any:
        """Make a call that nothing but a journal looks at, and record what it gives."""
        call = form.inline
        assert call is not None
        kept = is_kept(form.task)
        is_inside = frame.loop is not None or frame.activation.key is not None or self._names.has_looped(frame, i)
        if is_inside or (not kept and self.journal.decides(frame, i)):
            args, kwargs = arguments(form, values)
            return self.observe_call(Call(frame, i), call, args, kwargs)
        started = time()
        if form.names:
            args, kwargs = arguments(form, values)
            value = call(*args, **kwargs)
        else:
            value = call(*values)
        if kept and (value.__class__ in PLAIN or not is_signal(value)):
            self.journal.keep_plainly(frame, i, value, started)
            if self.journal.waits:
                return Uncommitted(value)
        return value

    def failure_at(self, call: Call, error: BaseException, attempt: int = 1) -> NodeFailure:
        """Return the failure of a node, and record for people that it failed."""
        if not isinstance(error, NodeFailure):
            self.journal.keep_failure(call, error, attempt)
        return super().failure_at(call, error, attempt)

    def letters(self, named: dict[str, Any]) -> Letters:
        """Return what records the messages of the run's channels, which are known by their names."""
        with as_recorded(f"what is recorded of the messages of run {self.id!r}"):
            found = self.journal.letters = Letters(self.journal, named)
        return found

    async def turn(self) -> None:
        """Give the event loop a turn, and the store the time that it needs."""
        await super().turn()
        if self.journal.writer.is_behind:
            await self.journal.writer.committed()

    async def may_begin(self, call: Call) -> None:
        """Wait as long as the store is behind, as nothing new starts then; and for what was just decided."""
        if self.journal.writer.is_behind or self.journal.has_decided():
            await self.journal.writer.committed()
            call.scope.check()


@cache
def recording(operations: Operations[RunState]) -> Operations[Any]:
    """Return operations that do the same and record it, for a `RecordedRun`."""

    class Loop(RecordedLoop, operations.loop):  # type: ignore[misc, name-defined]
        """What follows a loop, and records where it is."""

        __slots__ = ()

        def jump(self, jump: Jump) -> tuple[int | None, Any, Any]:
            found: tuple[int | None, Any, Any] = super().jump(jump)
            if found[0] is not None:  # else it leads out, and the value of the loop is recorded
                self.record(jump)
            return found

        async def enter(self, *where: Any, called: bool = False) -> Any:
            if self.run.journal.waits and not called:
                await self.run.journal.writer.committed()
            return await super().enter(*where, called=called)

        async def skipped(self, *where: Any) -> tuple[bool, Any]:
            found: tuple[bool, Any] = await super().skipped(*where)
            await self.run.may_begin(self.call)
            return found

        async def tail(self, call: TailCall) -> Any:
            self.record(call)
            if self.run.journal.waits:
                await self.run.journal.writer.committed()
            return await super().tail(call)

    async def perform(run: RecordedRun, frame: Frame, i: int, started: Any) -> Any:
        """Carry out an instruction that was put aside, and record its value."""
        if started.__class__ is Uncommitted:
            await run.journal.writer.committed()
            if not (run.tells or run.ticker.asked):
                run.ticker.passed()  # the event loop has just had its turn
            return _given_on(frame, i, started)
        call, began, value = Call(frame, i), time(), PENDING
        await run.may_begin(call)
        form = frame.block.forms[i]
        if started is PENDING and form is not None and frame.block.kinds[i] <= CALLN:
            position = run.journal.position(call)
            if position is not None:
                value = _resumed(Loop, run, call, form, *arguments(form, frame.values(i)), None, position)
            elif before := run.journal.entries_before(call):
                instance = call.instance(run.names)
                instance.entries = max(instance.entries, before)
        if value is PENDING:
            value = await operations.perform(run, frame, i, started)
        if value.__class__ is Loop:
            value = await value.follow()
        await run.journal.kept(run, Call(frame, i), value, began)
        return value

    async def item(state: MapState, call: Call, args: Any, kwargs: dict[str, Any], started: Any) -> Any:
        """Carry out one item of a map, with its loop if it is bound, and record its value."""
        run: Any = state.run
        if started.__class__ is Uncommitted:
            await run.journal.writer.committed()
            return started.value
        began, value = time(), started
        await run.may_begin(call)
        if started is NOTHING:
            found = run.journal.found(call)
            if found is not PENDING:
                return state.known(found)
            position = run.journal.position(call)
            if position is not None:
                value = _resumed(Loop, run, call, state.form, args, kwargs, (args, kwargs), position)
            else:
                value = await operations.call(run, call, state.form, args, kwargs, state.gate)
        if is_signal(value):
            value = Loop(run, call, value, state.form, args, kwargs, state.gate, (args, kwargs))
        if value.__class__ is Loop:
            value = await value.follow()
        own = call.suffix.removeprefix(state.frame.suffix)
        await run.journal.kept(run, Call(state.frame, state.i, own), value, began)
        return value

    return operations._replace(perform=cast(Any, perform), loop=Loop, item=item)


def _given_on(frame: Frame, i: int, committed: Uncommitted) -> Any:
    """Give the values beside to their registers, whose readers go on with those of `i`; return the value of that."""
    for other, j, value in committed.beside:
        if value is PENDING:  # it is to be looked at again
            frame.waiters.setdefault(i, []).append((other, j))
            continue
        other.regs[j] = value
        if other.block.moves is not None:
            release_reads(other, j)
        if other.waiters and (waiting := other.waiters.pop(j, None)) is not None:
            frame.waiters.setdefault(i, []).extend(waiting)
    return committed.value


def _resumed(
    make: type[Any],
    run: RecordedRun,
    call: Call,
    form: CallForm,
    args: Any,
    kwargs: dict[str, Any],
    item: tuple[Any, dict[str, Any]] | None,
    position: dict[str, Any],
) -> Any:
    """Return the loop that a call has begun in an earlier start, where it was."""
    gate = call.frame.block.gates.get(call.register)
    if gate is not None and gate.amounts:
        gate = run.settled(call, gate, call.frame.regs)
    instance = call.instance(run.names)
    with as_recorded(f"where the loop of {run.journal.place(call)[1]} was"):
        call.enter_more(instance, max(position["entries"] - call.had(instance), 0))
        call.entered = True
        loop = make(run, call, PENDING, form, args, kwargs, gate, item)
        loop.stand(position)
    return loop
