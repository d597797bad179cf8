"""Calls of tasks that take time or are under a policy: what their attempts are, with events and resources."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from time import perf_counter
from types import CoroutineType
from typing import Any

from cascade.runtime.admission.ticket import Ticket
from cascade.runtime.execution.scheduler import drive
from cascade.runtime.execution.subflow import run_subflow
from cascade.runtime.frames.call import Call, at_call, at_register
from cascade.runtime.frames.frame import PENDING, Frame
from cascade.runtime.frames.started import Attempted, LoopStarted
from cascade.runtime.interpreter.results import is_signal
from cascade.runtime.policies.managed import ManagedCall, Work
from cascade.runtime.policies.stack import carry_out
from cascade.runtime.resources.for_calls import call_with_resources
from cascade.runtime.run.state import RunState
from cascade.spec.gate import Gate
from cascade.spec.operations import LOOP, MANAGED, MAP, SUBFLOW
from cascade.spec.placement import CallForm, arguments
from cascade.spec.readable import readable
from cascade.spec.resource import Inject

__all__ = ["invoke", "perform"]


@readable("run", "frame", "i", place=at_register)
async def perform(run: RunState, frame: Frame, i: int, started: Any) -> Any:
    """Carry out one instruction that was put aside; return what its register gets, or the loop that it begins.

    Raises:
        NodeFailure: the task raised.
    """
    block = frame.block
    op = block.ops[i]
    regs = frame.regs
    values = [regs[reference] for reference in block.references(i)]
    if block.kinds[i] == SUBFLOW:
        return await run_subflow(run, frame, i, values, started)
    form = block.forms[i]
    assert form is not None
    args, kwargs = arguments(form, values)
    if op == MAP:
        return await run.operations.map(run, frame, i, args, kwargs, started)
    gate = block.gates.get(i)
    call = Call(frame, i)
    ticket = attempted = None
    if started.__class__ is Ticket:
        ticket, started = started, PENDING
    elif started.__class__ is Attempted:
        attempted, ticket, started = started, started.ticket, PENDING
    if gate is not None and gate.amounts:
        gate = run.settled(call, gate, regs)
    asks = gate is not None and gate.terms.asks
    if op in (LOOP, MANAGED) or attempted is not None or asks or run.heard:
        # what is managed tells who comes before the run looks
        instance = call.instance(run.names)
        if op == LOOP or instance.has_looped(call.suffix):
            if started is PENDING:
                call.enter(instance)
            else:  # it was counted when it was begun
                call.enter_more(instance, 0)
                call.entered = True
    if started.__class__ is LoopStarted:
        call.enter_more(call.instance(run.names), started.count)
        loop = run.operations.loop(run, call, started.value, form, started.args, started.kwargs, gate, None)
        loop.count = started.count
        return loop
    value = started
    if started is PENDING:
        value = await invoke(run, call, form, args, kwargs, gate, ticket, attempted)
    if value.__class__ is not form.seen:
        if is_signal(value):
            return run.operations.loop(run, call, value, form, args, kwargs, gate, None)
        form.seen = value.__class__
    return value


def invoke(
    run: RunState,
    call: Call,
    form: CallForm,
    args: Any,
    kwargs: dict[str, Any],
    gate: Gate | None,
    ticket: Ticket | None = None,
    attempted: Attempted | None = None,
) -> Coroutine[Any, Any, Any]:
    """Call a task once (with a retry policy: until it succeeds); what is returned gives what it returned.

    Args:
        ticket: what limits and constraints have let the first attempt in with already.
        attempted: the first attempt, if it was made in place.

    Raises:
        NodeFailure: it raised, as it was awaited; the error has its note.
    """
    if run.observed or ticket is not None or form.task.needs or (gate is not None and gate.terms.is_policy):
        managed = ManagedTask(run, call, form, args, kwargs, gate, ticket)
        managed.attempted = attempted
        if gate is not None and gate.terms.streams:
            return run.operations.streamed(managed, carry_out(managed))
        return carry_out(managed)
    return call_plainly(run, call, form, args, kwargs)


@readable("run", "call", place=at_call)
async def call_plainly(run: RunState, call: Call, form: CallForm, args: Any, kwargs: dict[str, Any]) -> Any:
    """Call a task that is under no policy, and that nobody listens to."""
    try:
        return await make_call(run, call, form, args, kwargs)
    except BaseException as error:
        run.check_failed(call, error)
        raise


async def make_call(
    run: RunState,
    call: Call,
    form: CallForm,
    args: Any,
    kwargs: dict[str, Any],
    begun: Callable[[], None] | None = None,
) -> Any:
    """Call a task where it belongs; where it can be left, if somebody is to hear when it has `begun`."""
    if run.inline and form.inline is not None and (begun is None or form.task.mode == "inline"):
        run.ticker.begin()
        value = form.inline(*args, **kwargs)
        if run.ticker.due:
            run.ticker.caught(form)
    elif not run.direct:
        node = run.call_node(call, form)
        if begun is not None and run.tells_begun:
            node = node._replace(begun=begun)
        value = await run.executor.execute(node, tuple(args), kwargs)
    elif form.is_async:
        return await form.func(*args, **kwargs)
    else:
        value = await run.place(call, form, args, kwargs, begun)
    return await value if isinstance(value, CoroutineType) else value


class ManagedTask(ManagedCall):
    """A call of a task under policies, or under the eyes of a subscriber."""

    __slots__ = ("args", "filled", "form", "kwargs", "output", "started")

    def __init__(
        self,
        run: RunState,
        call: Call,
        form: CallForm,
        args: Any,
        kwargs: dict[str, Any],
        gate: Gate | None,
        ticket: Ticket | None,
    ) -> None:
        ManagedCall.__init__(self, run, call, gate, ticket)
        self.form = form
        self.args = args
        self.kwargs = kwargs
        self.filled: tuple[list[Any], dict[str, Any]] | None = None
        """The arguments with the resources in their places."""
        self.started: float | None = None
        """When the first attempt began."""
        self.output: Any = None
        """Where the items of a generator go, if somebody reads them one by one."""

    @property
    def name(self) -> str:
        return str(self.form.task.name)

    @property
    def is_here(self) -> bool:
        form = self.form
        return (
            form.is_async
            or self.gate.terms.streams
            or form.task.mode == "inline"
            or not (self.run.direct or self.run.tells_begun)
        )

    @property
    def has_given(self) -> bool:
        return self.output is not None and self.output.has_given

    @property
    def place(self) -> tuple[RunState, Call]:
        return self.run, self.call

    def keyed(self) -> tuple[Any, Any, dict[str, Any]]:
        return self.form, self.args, self.kwargs

    @readable("self", place=lambda known: known["self"].place if known["self"].started is not None else None)
    async def observe(self, work: Work) -> Any:
        try:
            value = await work(self)
        except BaseException as error:
            self.finish("Cancelled" if self.run.is_asked(error, self.call.scope) else "Failed", error, None)
            raise
        self.finish("Succeeded", None, value)
        return value

    def finish(self, status: str, error: BaseException | None, value: Any) -> None:
        if self.started is not None:
            self.run.publish_finished(self.call, status, perf_counter() - self.started, error, value)

    def attempt(self, work: Work) -> Awaitable[Any]:
        if self.run.is_interrupted:
            self.call.scope.check()  # while it waited
        if self.started is None:
            self.run.publish_started(self.call)
            self.started = perf_counter()
        if not self.form.task.needs and not self.gate.terms.injects:
            return work(self)
        return call_with_resources(self.run, self.call, self.injections(), partial(self.provide, work))

    def make(self) -> Awaitable[Any]:
        attempted, self.attempted = self.attempted, None
        if attempted is not None:
            return attempted.end()
        args, kwargs = self.filled or (self.args, self.kwargs)
        if self.gate.terms.streams:
            make = partial(make_call, self.run, self.call, self.form)
            return self.run.operations.attempt_streamed(self, args, kwargs, make, drive)
        begun = None if self.deadline is self.pulse is None else self.begun
        return make_call(self.run, self.call, self.form, args, kwargs, begun)

    def begun(self) -> None:
        """Start the clocks of the attempt, which a thread or a process has taken up."""
        for clock in (self.deadline, self.pulse):
            if clock is not None:
                clock.start()

    def provide(self, work: Work, found: dict[Inject, Any]) -> Awaitable[Any]:
        """Do the work with the resources that the call asks for."""
        self.call.scope.check()  # one of them may not have minded a cancel
        args = [found[value] if value.__class__ is Inject else value for value in self.args]
        kwargs = {name: found[value] if value.__class__ is Inject else value for name, value in self.kwargs.items()}
        self.complete(args, kwargs, {name: found[value] for name, value in self.missing().items()})
        self.filled = args, kwargs
        return work(self)

    def injections(self) -> list[Inject]:
        """The resources that this call asks for: as arguments, and as defaults of arguments not given."""
        given = [value for value in (*self.args, *self.kwargs.values()) if value.__class__ is Inject]
        return given + list(self.missing().values())

    def missing(self) -> dict[str, Inject]:
        task = self.form.task
        given = task.shape.names[: len(self.args)] if task.shape is not None else ()
        return {name: wanted for name, wanted in task.needs.items() if name not in given and name not in self.kwargs}

    def complete(self, args: list[Any], kwargs: dict[str, Any], provided: dict[str, Any]) -> None:
        """Add what was provided in the place of defaults: by name where the function allows it."""
        shape = self.form.task.shape
        only = () if shape is None else shape.names[: shape.only]
        last = max((at + 1 for at, name in enumerate(only) if name in provided), default=0)
        for name in only[len(args) : last]:
            args.append(provided.pop(name) if name in provided else shape.defaults[name])
        kwargs.update(provided)
