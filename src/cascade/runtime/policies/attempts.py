"""Calls that take time or are under a policy: attempts, constraints, resources, events."""

from __future__ import annotations

import asyncio
import random
from time import perf_counter
from types import CoroutineType
from typing import Any

from cascade.runtime.admission.ticket import Ticket
from cascade.runtime.frames.call import Call, at_call, at_register
from cascade.runtime.frames.frame import PENDING, Frame
from cascade.runtime.frames.scope import NodeFailure
from cascade.runtime.frames.started import LoopStarted
from cascade.runtime.interpreter.results import is_signal
from cascade.runtime.policies.cache import call_cached
from cascade.runtime.policies.subflow import run_subflow
from cascade.runtime.policies.timeout import Deadline, deadline_of
from cascade.runtime.resources.for_calls import call_with_resources
from cascade.runtime.run.deadlock import check_inner, give_up, hold
from cascade.runtime.run.state import RunState
from cascade.spec.graph import Gate
from cascade.spec.operations import LOOP, MANAGED, MAP, SUBFLOW
from cascade.spec.placement import CallForm, arguments
from cascade.spec.policies import Retry
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
    if op == SUBFLOW:
        return await run_subflow(run, frame, i, values)
    form = block.forms[i]
    assert form is not None
    args, kwargs = arguments(form, values)
    if op == MAP:
        return await run.operations.map(run, frame, i, args, kwargs, started)
    gate = block.gates.get(i)
    call = Call(frame, i)
    ticket = None
    if started.__class__ is Ticket:
        ticket, started = started, PENDING
    if gate is not None and gate.amounts:
        gate = run.settled(call, gate, regs)
    if op in (LOOP, MANAGED) or run.heard:  # what is managed tells who comes before the run looks
        copy = call.copy(run.names)
        if op == LOOP or copy.has_looped(call.suffix):
            if started is PENDING:
                call.enter(copy)
            else:  # it was counted when it was begun
                call.enter_more(copy, 0)
                call.entered = True
    if started.__class__ is LoopStarted:
        call.enter_more(call.copy(run.names), started.count)
        loop = run.operations.loop(run, call, started.value, form, started.args, started.kwargs, gate, None)
        loop.count = started.count
        return loop
    value = started
    if started is PENDING:
        value = await invoke(run, call, form, args, kwargs, gate, ticket)
    if value.__class__ is not form.seen:
        if is_signal(value):
            return run.operations.loop(run, call, value, form, args, kwargs, gate, None)
        form.seen = value.__class__
    return value


@readable("run", "call", place=at_call)
async def invoke(
    run: RunState,
    call: Call,
    form: CallForm,
    args: Any,
    kwargs: dict[str, Any],
    gate: Gate | None,
    ticket: Ticket | None = None,
) -> Any:
    """Call a task once (with a retry policy: until it succeeds); return what it returned.

    Args:
        ticket: what limits and constraints have let the first attempt in with already.

    Raises:
        NodeFailure: it raised; the error has its note.
    """
    attempts = 1
    try:
        managed = form.task.needs or (gate is not None and gate.is_policy)
        if not managed and not run.observed and ticket is None:
            return await make_call(run, call, form, args, kwargs)
        if ticket is not None and _needs_no_more(run, form, gate):
            return await let_in(run, ticket, call, form, args, kwargs)
        attempt = _Attempts(run, call, form, args, kwargs, gate)
        attempt.ticket = ticket
        try:
            if gate is not None and gate.cache is not None:
                return await call_cached(run, call, form, args, kwargs, gate.cache, attempt.run_all)
            return await attempt.run_all()
        finally:
            attempts = attempt.count or 1
    except NodeFailure:
        raise
    except asyncio.CancelledError as error:
        if run.is_asked(error, call.scope):
            raise
        raise run.failure_at(call, error, attempts) from None
    except BaseException as error:
        raise run.failure_at(call, error, attempts) from None


def _needs_no_more(run: RunState, form: CallForm, gate: Gate | None) -> bool:
    """Say whether a call that was let in only needs to be made."""
    return (gate is None or gate.only_holds) and not form.task.needs and not run.heard


async def let_in(run: RunState, ticket: Ticket, call: Call, form: CallForm, args: Any, kwargs: dict[str, Any]) -> Any:
    """Make a call that was let in, and give back what it held; `drive` does so itself for most async ones."""
    admission = run.admission
    if not admission.holds(ticket):
        await admission.wait_again(ticket)
    call.frame.scope.parked.discard(ticket)
    hold(ticket, run)
    try:
        if run.is_interrupted:
            call.scope.check()  # while it waited
        return await make_call(run, call, form, args, kwargs)
    finally:
        give_up(ticket)
        admission.leave(ticket.name, ticket.needed)


async def make_call(
    run: RunState, call: Call, form: CallForm, args: Any, kwargs: dict[str, Any], deadline: Deadline | None = None
) -> Any:
    """Call a task where it belongs; with a deadline, where it can be left."""
    if run.inline and form.inline is not None and (deadline is None or form.task.mode == "inline"):
        run.ticker.begin()
        value = form.inline(*args, **kwargs)
        if run.ticker.due:
            run.ticker.caught(form)
    elif not run.direct:
        value = await run.executor.execute(run.call_node(call, form), tuple(args), kwargs)
    elif form.is_async:
        return await form.func(*args, **kwargs)
    else:
        value = await run.place(call, form, args, kwargs, None if deadline is None else deadline.start)
    return await value if isinstance(value, CoroutineType) else value


class _Attempts:
    """The attempts of one call under a policy, or under the eyes of a subscriber."""

    __slots__ = ("args", "call", "count", "form", "gate", "kwargs", "run", "started", "ticket")

    def __init__(
        self, run: RunState, call: Call, form: CallForm, args: Any, kwargs: dict[str, Any], gate: Gate | None
    ) -> None:
        self.run = run
        self.call = call
        self.form = form
        self.args = args
        self.kwargs = kwargs
        self.gate = gate
        self.count = 0
        self.started: float | None = None
        self.ticket: Ticket | None = None

    @property
    def place(self) -> tuple[RunState, Call] | None:
        """Where it is, once an attempt has begun."""
        return None if self.started is None else (self.run, self.call)

    @readable("self", place=lambda known: known["self"].place)
    async def run_all(self) -> Any:
        retry = None if self.gate is None else self.gate.retry
        while True:
            self.call.scope.check()
            self.count += 1
            try:
                value = await self.run_once()
            except asyncio.CancelledError as error:
                asked = self.run.is_asked(error, self.call.scope)
                self.finish("Cancelled" if asked else "Failed", error)
                raise
            except BaseException as error:
                try:
                    again = retry is not None and self.may_repeat(retry, error)
                except Exception as raised:  # by a filter of the retry
                    self.finish("Failed", raised)
                    raise
                if not again:
                    self.finish("Failed", error)
                    raise
                assert retry is not None
                delay = retry.wait_after(self.count, random.random())
                self.run.publish_retry(self.call, self.count, retry.max_attempts, delay, error)
            else:
                self.finish("Succeeded", None, value)
                return value
            try:
                await asyncio.sleep(delay)
            except asyncio.CancelledError as error:
                self.finish("Cancelled", error)
                raise

    def may_repeat(self, retry: Retry, error: BaseException) -> bool:
        """Say whether another attempt is to be made."""
        return self.count < retry.max_attempts and not self.call.scope.is_ending() and retry.covers(error)

    async def run_once(self) -> Any:
        gate, run = self.gate, self.run
        if self.ticket is not None:
            ticket, self.ticket = self.ticket, None
            return await self.run_let_in(ticket)
        amounts = None if gate is None or gate.constraints is None else gate.constraints.amounts
        if amounts is None and not run.governed:
            return await self.run_held()
        admission, name = run.admission, self.form.task.name
        share = run.shares.get(self.call.activation) if run.shares else None
        needed = admission.capacities.needed(amounts, share)
        if not needed and not admission.governs(name):
            return await self.run_held()
        ticket = await self.enter(name, needed, share is not None)
        hold(ticket, run)
        try:
            return await self.run_held()
        finally:
            give_up(ticket)
            admission.leave(name, needed)

    async def enter(self, name: str, needed: Any, inside: bool) -> Ticket:
        """Wait to be let in; if that takes time, events and the map that this is an item of hear of it."""
        run, call = self.run, self.call
        items: Any = None

        def blocked(ticket: Ticket) -> None:
            nonlocal items
            check_inner(run, call, ticket)
            run.publish_blocked(call, ticket)
            items = run.under_way.get((call.frame, call.register))
            if items is not None:
                items.block()

        try:
            ticket: Ticket = await run.admission.enter(name, needed, blocked, inside)
            ticket.place = call
            return ticket
        finally:
            if items is not None:
                items.unblock()

    async def run_let_in(self, ticket: Ticket) -> Any:
        """The first attempt, of a call that was let in before it was begun."""
        admission = self.run.admission
        if not admission.holds(ticket):
            await admission.wait_again(ticket)
        self.call.frame.scope.parked.discard(ticket)
        hold(ticket, self.run)
        try:
            return await self.run_held()
        finally:
            give_up(ticket)
            admission.leave(ticket.name, ticket.needed)

    async def run_held(self) -> Any:
        """The call itself, while its constraints are held."""
        run = self.run
        if run.is_interrupted:
            self.call.scope.check()  # while it waited for them
        if self.started is None:
            run.publish_started(self.call)
            self.started = perf_counter()
        wanted = self.injections()
        if not wanted:
            return await self.call_itself(self.args, self.kwargs)
        return await call_with_resources(run, self.call, wanted, self.call_with)

    async def call_with(self, found: dict[Inject, Any]) -> Any:
        """The call itself, with the resources that it asks for."""
        self.call.scope.check()  # one of them may not have minded a cancel
        args = [found[value] if value.__class__ is Inject else value for value in self.args]
        kwargs = {name: found[value] if value.__class__ is Inject else value for name, value in self.kwargs.items()}
        self.complete(args, kwargs, {name: found[value] for name, value in self.missing().items()})
        return await self.call_itself(args, kwargs)

    async def call_itself(self, args: Any, kwargs: dict[str, Any]) -> Any:
        """The call itself, for as long as its timeout allows."""
        deadline = deadline_of(self.run, self.call.scope, self.gate)
        if deadline is None:
            return await make_call(self.run, self.call, self.form, args, kwargs)
        is_here = self.form.is_async or self.form.task.mode == "inline" or not self.run.direct
        if is_here:
            deadline.start()  # else when a thread or process takes it up
        failure: BaseException | None = None
        try:
            value = await make_call(self.run, self.call, self.form, args, kwargs, deadline)
        except BaseException as error:
            failure = error
        try:
            if deadline.settle(failure, by_clock=is_here):
                cause = None if isinstance(failure, asyncio.CancelledError) else failure
                raise deadline.error(self.run.described(self.call)) from cause
            if failure is not None:
                raise failure
        finally:
            cause = failure = None  # the traceback leads here
        return value

    def injections(self) -> list[Inject]:
        """The resources that this call asks for: as arguments, and as defaults of arguments not given."""
        if not self.form.task.needs and (self.gate is None or not self.gate.injects):
            return []
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

    def finish(self, status: Any, error: BaseException | None, value: Any = None) -> None:
        if self.started is not None:
            self.run.publish_finished(self.call, status, perf_counter() - self.started, error, value)
