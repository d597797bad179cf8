"""Dataflow scheduling: a node starts when its inputs are there, and nothing waits for anything else.

Each call that `run_ready` puts aside becomes a child of the scope that its frame stands in, an asyncio task with one
coroutine: `drive`. When the call is done, `drive` puts the value into its register, wakes what was parked with it,
and runs what can run now. Of the calls that this puts aside it takes one itself, and starts tasks for the others. So
a chain of coroutines is one task, and there are no levels, no barriers, and no workers that take calls from a queue.

`drive` is long on purpose. What stands between an asyncio task and the future that it waits for is resumed at every
turn: one coroutine more is paid for by each call and each item that waits. Hence it makes plain async calls itself
(also those that a ticket has let in), awaits an emitted loop itself, and follows a loop itself, where
`task.perform` would do the same two coroutines deeper. Without the first of these a chain of short
coroutines took twice as long. The price is that a rule about plain calls stands in two places, here and in `perform`;
`_is_plain` is where they part.

A call that a limit or a constraint may be for asks for a ticket first: a task is made for it only when its turn has
come, since ten thousand waiting tasks cost more than what they wait for
(docs/decisions/calls-that-wait-are-tickets.md).

The first failure ends the scope: what runs is cancelled, what was put aside is closed, and the error comes out where
the frame was run (docs/decisions/one-account-of-cancels.md says how a cancel of the run is told from an error of a
task).
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from functools import partial
from typing import Any

from cascade.runtime.admission.ticket import Ticket
from cascade.runtime.frames.call import Call, at_register
from cascade.runtime.frames.frame import PENDING, Frame
from cascade.runtime.frames.scope import Scope
from cascade.runtime.interpreter.interpreter import MAY_WAIT, TURN, Deferred, run_ready
from cascade.runtime.interpreter.last_readers import release_reads
from cascade.runtime.interpreter.results import is_signal
from cascade.runtime.run.deadlock import held_here, leave_slot, note_wait, stuck, take_slot
from cascade.runtime.run.state import RunState
from cascade.spec.operations import CALL1, CALLN, LOOP, MOVE1
from cascade.spec.placement import CallForm, arguments
from cascade.spec.readable import readable

__all__ = ["advance", "complete", "drive", "evaluate"]


async def advance(run: RunState, work: list[Any], mine: Scope) -> Deferred | None:
    """Run until nothing more can run at once, and start what takes time.

    Returns one call of scope `mine` for the caller to go on with in place, which saves a task.
    """
    deferred: list[Deferred] = []
    run.ticker.begin()
    return await resume(run, work, deferred, run_ready(run, work, deferred), mine)


async def resume(
    run: RunState, work: list[Any], deferred: list[Deferred], outcome: Any, mine: Scope
) -> Deferred | None:
    """Go on after `run_ready` ended with `outcome`; see `advance`."""
    if outcome is not None:
        run.passes[id(work)] = work
        try:
            while outcome is not None:
                _start_all(run, deferred)
                deferred.clear()
                if outcome is TURN:
                    await run.turn()
                else:
                    await run.wait_for_measure(outcome)
                run.ticker.begin()
                outcome = run_ready(run, work, deferred)
        finally:
            del run.passes[id(work)]
            for state in run.under_way.values():
                state.tell()  # who reads a map that waits may be known now
    return _start_all(run, deferred, mine)


def _start_all(run: RunState, deferred: list[Deferred], mine: Scope | None = None) -> Deferred | None:
    """Start calls beside their hosts, all but one of scope `mine`, which is returned."""
    create = asyncio.get_running_loop().create_task
    kept = None
    for frame, i, started in deferred:
        scope = frame.scope
        if started is MAY_WAIT and (started := _asked(run, frame, i)) is None:
            continue
        if scope is mine:
            kept, mine = (frame, i, started), None
        elif started is PENDING and not scope.is_ending():
            scope.add(create(drive(run, frame, i, started, scope)))
        else:
            scope.start_watched(drive, run, frame, i, started)
    return kept


@readable("run", "frame", "i", "known", "compiled", "outcome", place=at_register)
async def drive(run: RunState, frame: Frame, i: int, started: Any, beside: Scope | None = None) -> None:
    """Carry out a call that takes time, then what it makes possible.

    Args:
        beside: the scope whose child this is; None: its host. (One coroutine a child: each one more that stands
            between a task and the event loop costs at every turn.)
    """
    scope, ticker = frame.scope, run.ticker
    try:
        if run.is_interrupted:
            scope.check()  # since this was made
        while True:
            block = frame.block
            form = block.forms[i]
            begun: Any = None
            if started is PENDING and block.ops[i] == LOOP and form is not None:
                begun = run.operations.start_compiled(run, frame, i, form, None)
            if begun is not None and form is not None:  # awaited here: nothing stands between the task and the loop
                outcome = failure = None
                while begun is not None:
                    (compiled, guards, known), begun = begun, None
                    try:
                        outcome = await compiled
                    except BaseException as error:
                        failure = error
                    compiled = None
                    if guards.is_retired:
                        run.look()
                    elif ticker.due and failure is None:
                        await run.turn()
                        begun = run.operations.start_compiled(run, frame, i, form, outcome)
                value = run.operations.finish_compiled(run, frame, i, known, outcome, failure)
                del compiled, guards, outcome, failure
            elif form is None or not form.is_async or not _is_plain(run, frame, i, form, started):
                value = await run.operations.perform(run, frame, i, started)
            else:  # what `perform` would do, in one coroutine instead of three
                try:
                    if started is not PENDING:  # a ticket
                        await take_slot(run, scope, started)
                    try:
                        if run.is_interrupted:
                            scope.check()  # while it waited
                        if block.ops[i] == CALL1:
                            value = await form.func(frame.regs[block.places[i]])
                        else:
                            args, kwargs = arguments(form, frame.values(i))
                            value = await form.func(*args, **kwargs)
                    finally:
                        if started is not PENDING:
                            leave_slot(started)
                except BaseException as error:
                    run.check_failed(Call(frame, i), error)
                    raise
                if value.__class__ is not form.seen:
                    if is_signal(value):
                        value = await run.operations.perform(run, frame, i, value)
                    else:
                        form.seen = value.__class__
            if run.is_interrupted:
                scope.check()  # the task may not have minded a cancel
            if value.__class__ is run.operations.loop:  # it is followed from here, so that nothing stands between
                value = await value.follow()
            if ticker.due:
                await run.turn()
            if value is PENDING:  # it is to be looked at again
                frame.waiters.setdefault(i, []).append((frame, i))
            else:
                frame.regs[i], value = value, None
            if block.moves is not None and value is None:
                if frame.left is None and block.moves[i] == MOVE1:
                    frame.regs[block.places[i]] = None
                elif block.read_by is None or i in block.read_by:
                    release_reads(frame, i)
            waiting = frame.waiters.pop(i, None) if frame.waiters else None
            if waiting is None:
                return
            if len(waiting) == 1 and waiting[0].__class__ is tuple:
                after, j = waiting[0]
                form = after.block.forms[j] if j < len(after.block.forms) else None
                is_next = form is not None and form.is_async and after.block.ops[j] == CALL1 and after.scope is scope
                if is_next and (run.journal is None or not run.journal.is_asked):  # else it may be recorded
                    # A chain: this was its one input, so there is nothing else to run.
                    frame, i, started = after, j, PENDING
                    continue
            work: list[Any] = []
            frame.wake(waiting, work)
            if not work:
                return
            call = await advance(run, work, scope)
            if call is None:
                return
            frame, i, started = call
    except BaseException as error:
        if beside is None:
            raise
        beside.caught(error)
    finally:
        if beside is not None:
            beside.leave()


def _is_plain(run: RunState, frame: Frame, i: int, form: CallForm, started: object) -> bool:
    """Say whether a call needs nothing but to be made, maybe with a ticket."""
    op = frame.block.ops[i]
    if started is PENDING:
        return op <= CALLN and run.awaits
    if started.__class__ is not Ticket or op == LOOP or not run.takes_tickets or form.task.needs:
        return False
    gate = frame.block.gates.get(i)
    return (gate is None or gate.terms.only_holds) and not run.names.has_looped(frame, i)


def _asked(run: RunState, frame: Frame, i: int) -> Any:
    """Ask whether a call may start that may be under a limit or a constraint; None: not yet.

    It costs no more than a ticket then; its coroutines are made in its turn. Else what it is started with: its ticket,
    or PENDING, where it asks by itself or there is nothing to ask for.
    """
    admission, gate, form = run.engine.admission, frame.block.gates.get(i), frame.block.forms[i]
    assert form is not None
    constraints = None if gate is None else gate.terms.constraints
    share = run.shares.get(frame.activation) if run.shares else None
    needed = admission.capacities.needed(constraints and constraints.amounts, share)
    if (gate is not None and (gate.amounts or gate.terms.cache is not None)) or (not needed and not run.governs(form)):
        return PENDING
    ticket = admission.ask(form.task.name, needed, _start_held, (frame, i), share is not None)
    if not ticket.is_in and run.run_scope.depth and stuck(run, ticket) is not None:
        admission.withdraw([ticket])
        return PENDING  # it will come there once more, where it can fail
    frame.scope.parked.add(ticket)
    if ticket.start is None:
        return ticket
    if not ticket.is_in:
        note_wait(ticket)
        if run.context is None:
            run.context = copy_context()
        run.publish_blocked(Call(frame, i), ticket)
    return None


def _start_held(ticket: Ticket) -> None:
    """Start a call that has waited; with the context of its run, not of the call that made room for it."""
    frame, i = ticket.place
    run: RunState = frame.scope.run
    context = copy_context() if run.context is None else run.context.copy()
    if context.get(held_here) is not ticket.around:
        context.run(held_here.set, ticket.around)
    frame.scope.start_in(context, drive, run, frame, i, ticket if ticket.is_in else PENDING)


@readable("run", "frame", "wanted")
async def evaluate(run: RunState, frame: Frame, work: list[Any], deferred: list[Deferred], wanted: list[int]) -> None:
    """Carry out the work and the calls put aside; wait until the `wanted` registers of `frame` have values.

    Raises:
        NodeFailure: a node failed; nothing that was started here is running any more.
    """
    run.ticker.begin()
    outcome = run_ready(run, work, deferred)
    if outcome is not None or deferred or frame.waiters or frame.scope.parked:
        await complete(run, frame, work, deferred, outcome, wanted)


@readable("scope")
async def complete(
    run: RunState, frame: Frame, work: list[Any], deferred: list[Deferred], outcome: object, wanted: list[int]
) -> None:
    """Do for `evaluate` what its first run could not do at once."""
    scope, regs = frame.scope, frame.regs
    scope.begin()
    try:
        call = await resume(run, work, deferred, outcome, scope)
        if call is not None:
            await drive(run, *call)
        for at in wanted:
            if regs[at] is PENDING:
                await scope.wait_until(partial(_is_there, regs, at), partial(frame.park, at))
        await scope.join()
        scope.check()
    except BaseException as error:
        ending = await scope.close(error)
        try:
            if ending is error:
                raise
            raise ending from None
        finally:
            del ending  # its traceback leads here


def _is_there(regs: list[Any], at: int) -> bool:
    return regs[at] is not PENDING
