"""Slots: what limits and constraints grant is held while an attempt is made."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

from cascade.runtime.admission.ticket import Ticket
from cascade.runtime.policies.managed import ManagedCall, Work
from cascade.runtime.run.deadlock import check_inner, hold, leave_slot, take_slot

__all__ = ["admitted"]


def admitted(managed: ManagedCall, work: Work) -> Awaitable[Any]:
    """Do the work once it is let in; at once if nothing holds it back."""
    run, constraints, ticket = managed.run, managed.gate.terms.constraints, managed.ticket
    if ticket is not None:
        managed.ticket = None
        return _in_slot(managed, take_slot(run, managed.call.frame.scope, ticket), work)
    if constraints is None and not run.governed:
        return work(managed)
    share = run.shares.get(managed.call.activation) if run.shares else None
    needed = run.engine.admission.capacities.needed(constraints and constraints.amounts, share)
    if not needed and not run.engine.admission.governs(managed.name):
        return work(managed)
    return _in_slot(managed, _enter(managed, needed, share is not None), work)


async def _in_slot(managed: ManagedCall, entering: Awaitable[Ticket], work: Work) -> Any:
    ticket = await entering
    try:
        return await work(managed)
    finally:
        leave_slot(ticket)


async def _enter(managed: ManagedCall, needed: Mapping[str, float], inside: bool) -> Ticket:
    """Wait to be let in; if that takes time, events and the map that this is an item of hear of it."""
    run, call = managed.run, managed.call
    map_state: Any = None

    def blocked(ticket: Ticket) -> None:
        nonlocal map_state
        check_inner(run, call, ticket)
        run.publish_blocked(call, ticket)
        map_state = run.under_way.get((call.frame, call.register))
        if map_state is not None:
            map_state.block()

    call.scope.check()
    try:
        ticket: Ticket = await run.engine.admission.enter(managed.name, needed, blocked, inside)
    finally:
        if map_state is not None:
            map_state.unblock()
    ticket.place = call
    hold(ticket, run)
    return ticket
