"""Calls made in place although they are under a policy: what they take is at hand, so nothing has to be waited for.

A resource of the run or the engine is set up by the first call that asks for it, which is managed
(`runtime.execution.task`); those behind it are given what that one got. Emitted code is given the same where it
begins, and asks nothing.

A resource that each call has for itself is set up in place, too, and torn down there, once both are known to be short.

What a constraint holds need not be taken, as nobody else can ask for it before the call is over. It is enough that
there is room, and that nobody waits. Where the function gives a coroutine, the slot is taken before that begins.

A cache is asked in place for what it keeps in memory; only that. The call itself is managed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from cascade.runtime.frames.frame import PENDING, Activation, Frame
from cascade.spec.placement import arguments
from cascade.spec.resource import Inject, Own

if TYPE_CHECKING:
    from cascade.runtime.admission.ticket import Ticket
    from cascade.runtime.run.state import RunState
    from cascade.spec.blueprint import Block
    from cascade.spec.gate import Gate
    from cascade.spec.placement import CallForm
    from cascade.spec.policies import Constraints

__all__ = ["call_in_place", "has_room", "hold_place", "taken"]


def call_in_place(run: RunState, frame: Frame, form: CallForm, gate: Gate, values: list[Any], is_first: bool) -> Any:
    """Call with what the call takes; PENDING if not all of that is at hand.

    Args:
        is_first: no other call stands before it that has not yet asked whether it may start.
    """
    if gate.terms.cache is not None:
        return (
            run.engine.caches.at_hand(form.task, gate.terms.cache, *arguments(form, values))
            if run.finds_results
            else PENDING
        )
    if form.inline is None or not run.inline:
        return PENDING
    is_first = is_first and not frame.activation.depth  # those around a sub-flow may be put aside
    if gate.terms.constraints is not None and not (
        is_first and has_room(run, frame.activation, gate.terms.constraints)
    ):
        return PENDING
    has_own = False
    if gate.terms.injects:
        values = [_provided(run, value) if value.__class__ is Inject else value for value in values]
        for value in values:
            if value is PENDING:
                return PENDING
            has_own = has_own or value.__class__ is Own
    args, kwargs = arguments(form, values)
    if form.task.needs:
        for name, wanted in (form.needs_behind(len(args)) or {}).items():
            value = kwargs[name] = _provided(run, wanted)
            if value is PENDING:
                return PENDING
            has_own = has_own or value.__class__ is Own
    if has_own:
        return run.operations.call_with_own(run, form.inline, args, kwargs)
    return form.inline(*args, **kwargs)


def has_room(run: RunState, activation: Activation, constraints: Constraints) -> bool:
    """Say whether a call may hold what it needs without waiting for it."""
    if not run.finds_room or (run.shares and activation in run.shares):
        return False  # or it has a share of what the sub-flow around it holds
    admission = run.engine.admitting
    return admission is None or bool(admission.has_room(constraints.amounts))


def _kept(run: RunState, form: CallForm, gate: Gate) -> Callable[..., Any]:
    """Return what returns what is kept for a call, or PENDING."""
    look, task, policy = run.engine.caches.at_hand, form.task, gate.terms.cache

    def kept(*args: Any, **kwargs: Any) -> Any:
        return look(task, policy, args, kwargs)

    return kept


def hold_place(run: RunState, frame: Frame, i: int, form: CallForm, gate: Gate) -> Ticket | None:
    """Let a call in that was begun in place, and goes on; None if there is nothing to hold."""
    admission = run.engine.admitting
    needed = None
    if admission is not None and gate.terms.constraints is not None:
        needed = admission.capacities.needed(gate.terms.constraints.amounts)
    if not needed:
        return None
    ticket: Ticket = admission.ask(form.task.name, needed, place=(frame, i))
    frame.scope.parked.add(ticket)
    return ticket


def _provided(run: RunState, wanted: Inject) -> Any:
    """Return what a call is given for a resource, or PENDING if that is not there yet or not for any call."""
    found = run.at_hand.get(wanted)
    if found is None:
        return PENDING
    name, resource, value = found
    if run.known.get(name, resource) is not resource or (value.__class__ is Own and not resource.is_short):
        return PENDING
    return value


def taken(
    run: RunState, activation: Activation, block: Block, wanted: Iterable[tuple[int, str | int | None]]
) -> list[Any] | None:
    """Return what calls of a block take that emitted code is to make; None if not all of that is at hand.

    Args:
        wanted: their registers, and the names or places of arguments; None: what says whether there is room.
    """
    found = []
    for i, at in wanted:
        gate, form = block.gates.get(i), block.forms[i]
        assert form is not None
        if at is None:
            assert gate is not None
            if gate.terms.cache is not None:
                if not run.finds_results:
                    return None
                found.append(_kept(run, form, gate))
            elif gate.terms.constraints is not None:
                found.append(partial(has_room, run, activation, gate.terms.constraints))
            continue
        constants = activation.constants
        value = _provided(run, form.task.needs[at] if isinstance(at, str) else dict(block.injected(i, constants))[at])
        if value is PENDING or value.__class__ is Own:
            return None
        found.append(value)
    return found
