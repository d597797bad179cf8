"""A run that is recorded: a run that is looked at call by call, whose journal may speak.

Runs that somebody listens to have each call looked at already, wherever it is made: in the pass, item by item, in
coroutines (`RunState.observed`). A recorded run is one of these, so none of the short ways has to know of journals:
what would make calls without looking is not taken. What is here adds three things where all calls go through: in
`observe_call` for calls in place, in `perform` for those that take time, and in the follower of loops.
"""

from __future__ import annotations

from collections.abc import Callable
from time import time
from types import CoroutineType
from typing import Any

from cascade.runtime.execution.follower import Follower
from cascade.runtime.execution.task import perform
from cascade.runtime.frames.call import Call, at_call, at_register
from cascade.runtime.frames.frame import NOTHING, PENDING, Frame
from cascade.runtime.frames.scope import NodeFailure
from cascade.runtime.interpreter.results import is_signal, refuse_lazy
from cascade.runtime.journal.journal import Journal
from cascade.runtime.maps.state import MapState
from cascade.runtime.run.operations import Operations
from cascade.runtime.run.state import RunState
from cascade.spec.control import Jump, TailCall, Value
from cascade.spec.lazy import Lazy
from cascade.spec.operations import CALLN, GATED, LOOP, MANAGED
from cascade.spec.placement import CallForm, arguments
from cascade.spec.readable import readable
from cascade.spec.resource import Inject

__all__ = ["RecordedRun", "recording"]

CALLS = frozenset([*range(CALLN + 1), GATED, LOOP, MANAGED])


class RecordedRun(RunState):
    """The state of a run with a journal."""

    __slots__ = ("journal",)

    def __init__(self, journal: Journal, *args: Any) -> None:
        self.journal = journal
        super().__init__(*args)
        self.compiles_flows = self.compiles_loops = False
        journal.masked, journal.secrets = self.masked, self.secrets

    def look_at_limits(self) -> None:
        """See whether some limit stands; each call is to be looked at, whoever listens."""
        super().look_at_limits()
        self.look_at_each_call()

    def observe_call(self, call: Call, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Call in place, with events around the call, and record what it gives."""
        started = time()
        value = super().observe_call(call, func, args, kwargs)
        if not isinstance(value, (Jump, TailCall, Lazy, CoroutineType)):
            self.journal.keep(self.names, call, value, started)
        return value

    def failure_at(self, call: Call, error: BaseException, attempt: int = 1) -> NodeFailure:
        """Return the failure of a node, and record for people that it failed."""
        if not isinstance(error, NodeFailure):
            self.journal.keep_failure(self.names, call, error, attempt)
        return super().failure_at(call, error, attempt)

    async def turn(self) -> None:
        """Give the event loop a turn, and the store the time that it needs."""
        await super().turn()
        if self.journal.writer.is_behind:
            await self.journal.writer.committed()


@readable("run", "frame", "i", place=at_register)
async def perform_recorded(run: RecordedRun, frame: Frame, i: int, started: Any) -> Any:
    """Carry out an instruction that was put aside, and record its value."""
    journal, call = run.journal, Call(frame, i)
    if journal.writer.is_behind:
        await journal.writer.committed()
        frame.scope.check()
    began = time()
    form = frame.block.forms[i]
    value: Any = PENDING
    if started is PENDING and form is not None and frame.block.kinds[i] <= CALLN:
        position = journal.position(call)
        if position is not None:
            args, kwargs = arguments(form, frame.values(i))
            value = resumed(run, call, form, args, kwargs, None, position)
        else:
            before = journal.entries_before(call)
            if before:
                instance = call.instance(run.names)
                instance.entries = max(instance.entries, before)
    if value is PENDING:
        value = await perform(run, frame, i, started)
    if value.__class__ is RecordedLoop:
        value = await value.follow()
    await journal.kept(run, Call(frame, i), value, began)
    return value


async def perform_item(state: MapState, call: Call, args: Any, kwargs: dict[str, Any], started: Any) -> Any:
    """Carry out one item of a map, with its loop if it is bound, and record its value."""
    run: Any = state.run
    journal, form, gate = run.journal, state.form, state.gate
    if journal.writer.is_behind:
        await journal.writer.committed()
        call.scope.check()
    began, value = time(), started
    if started is NOTHING:
        found = journal.found(call)
        if found is not PENDING:
            return state.known(found)
        position = journal.position(call)
        if position is not None:
            value = resumed(run, call, form, args, kwargs, (args, kwargs), position)
        else:
            value = await run.operations.call(run, call, form, args, kwargs, gate)
    if is_signal(value):
        value = RecordedLoop(run, call, value, form, args, kwargs, gate, (args, kwargs))
    if value.__class__ is RecordedLoop:
        value = await value.follow()
    await journal.kept(run, Call(state.frame, state.i, call.suffix.removeprefix(state.frame.suffix)), value, began)
    return value


class RecordedLoop(Follower):
    """A loop that records where it is at each entry."""

    __slots__ = ("first",)

    def __init__(self, run: Any, call: Call, value: Any, form: CallForm, args: Any, *more: Any) -> None:
        super().__init__(run, call, value, form, args, *more)
        self.first = [*args]
        """The arguments of the first entry by position: what is still one of them is known where the loop goes on."""

    @readable("run", "self", place=at_call)
    async def follow(self) -> Any:
        """Go where the signal leads until a plain value comes; return that."""
        run, value, within = self.run, self.value, self.within
        self.value = None
        try:
            within.check()
            while True:
                try:
                    if isinstance(value, (Jump, TailCall)):
                        self.record(value)
                        if run.journal.waits:
                            await run.journal.writer.committed()
                        value = await self.enter_slowly(value)
                        within.check()
                        if self.ended:
                            return self.end(value)
                    elif isinstance(value, CoroutineType):
                        value = await value
                        within.check()
                        if isinstance(value, TailCall) and not self.call.entered:
                            self.count_before()
                    elif isinstance(value, Lazy):
                        refuse_lazy(self.form, value)
                    else:
                        return self.end(value)
                except BaseException as error:
                    if isinstance(value, CoroutineType):
                        value.close()  # it was not begun, as the run is ending
                    run.check_failed(self.call, error)
                    raise
                if run.ticker.due and not isinstance(value, CoroutineType):
                    run.ticker.caught(self.form)
                    await run.turn()
        finally:
            self.let_go()

    def record(self, signal: Jump | TailCall) -> None:
        """Record the signal that is followed next, and who has returned it."""
        position: dict[str, Any] = {
            "number": self.number,
            "blueprint": None if self.activation is self.home.activation else self.activation.key,
            "count": self.count,
            "limit": self.limit,
            "entries": self.call.had(self.instance),
            "signal": _spelled(signal),
        }
        if isinstance(signal, TailCall) and signal.target_blueprint_id is None:
            position["args"] = [self._argument(at, value) for at, value in enumerate(self.args)]
            position["kwargs"] = {name: self._argument(-1, value) for name, value in self.kwargs.items()}
        home = Call(self.home, self.call.register, self.call.suffix.removeprefix(self.home.suffix))
        self.run.journal.keep_position(self.run.names, self.call, home, position)

    def _argument(self, at: int, value: Any) -> Any:
        """Return what stands for an argument of the last entry: the declared one, a resource, or a value."""
        if 0 <= at < len(self.first) and value is self.first[at]:
            return "declared", at
        if isinstance(value, Inject):
            return "resource", value.name
        return "value", value

    def _given(self, recorded: Any) -> Any:
        kind, value = recorded
        return self.first[value] if kind == "declared" else self._resource(value) if kind == "resource" else value

    def _resource(self, name: str) -> Inject:
        """Return what asks for a resource, as it was declared where the loop is."""
        asked = (*self.form.task.needs.values(), *self.activation.constants, *self.home.activation.constants)
        return next((one for one in asked if isinstance(one, Inject) and one.name == name), Inject(name))

    def stand(self, position: dict[str, Any]) -> None:
        """Be where the loop was when an earlier start recorded it."""
        blueprint = position["blueprint"]
        home = self.home.activation
        activation = home if blueprint is None else self.run.activation_of(blueprint, self.form)
        self.count, self.limit = position["count"], position["limit"]
        self.value = _signal(position["signal"])
        self.come_to(activation, position["number"])
        block, register = self.block_at(position["number"])
        form = block.forms[register]
        assert form is not None
        self.form, self.gate = form, block.gates.get(register)
        self.routes = activation.blueprint.graph.jumps.get(position["number"])
        if "args" in position:
            self.args = [self._given(value) for value in position["args"]]
            self.kwargs = {name: self._given(value) for name, value in position["kwargs"].items()}


def resumed(
    run: RecordedRun, call: Call, form: CallForm, args: Any, kwargs: dict[str, Any], item: Any, position: dict[str, Any]
) -> RecordedLoop:
    """Return the loop that a call has begun in an earlier start, where it was."""
    gate = call.frame.block.gates.get(call.register)
    if gate is not None and gate.amounts:
        gate = run.settled(call, gate, call.frame.regs)
    instance = call.instance(run.names)
    had = call.had(instance)
    call.enter_more(instance, max(position["entries"] - had, 0))
    call.entered = True
    loop = RecordedLoop(run, call, PENDING, form, args, kwargs, gate, item)
    loop.stand(position)
    return loop


def recording(operations: Operations[Any]) -> Operations[Any]:
    """Return the operations of a run that is recorded."""
    return operations._replace(perform=perform_recorded, loop=RecordedLoop, item=perform_item)


def _spelled(signal: Jump | TailCall) -> list[Any]:
    if isinstance(signal, Jump):
        data = signal.data
        return ["jump", signal.target_key, isinstance(data, Value), data.value if isinstance(data, Value) else data]
    return ["call", list(signal.args), signal.kwargs, signal.target_blueprint_id]


def _signal(spelled: list[Any]) -> Jump | TailCall:
    if spelled[0] == "jump":
        _, key, is_wrapped, data = spelled
        return Jump(key, Value(data) if is_wrapped else data)
    _, args, kwargs, blueprint_id = spelled
    return TailCall(args, kwargs, blueprint_id)
