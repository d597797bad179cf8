"""What calls hold while they wait for runs inside of them: a call of such a run that needs it would wait for ever.

A call that is let in is known to all that is begun from it, by a context variable. When a call of a run inside of a
task has to wait in line, those around it are looked at: what they hold comes back only after what they wait for. If
that leaves too little for it, whatever all others give back, it cannot be let in. Calls that are not inside of others
are never looked at, and neither are those that need not wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from functools import partial
from types import FunctionType
from typing import Any

from cascade.errors import ConstraintError
from cascade.runtime.capacities import ROUNDING
from cascade.runtime.limits import Gauge
from cascade.runtime.spot import Spot
from cascade.runtime.ticket import Ticket
from cascade.spec.inside import Inside, inside_of, waited_for

__all__ = ["check_inner", "give_up", "held_here", "hold", "stuck"]

held_here: ContextVar[Ticket | None] = ContextVar("cascade_held", default=None)
"""The last call around this code that was let in."""


def hold(ticket: Ticket, run: Any) -> None:
    """Let all that is begun from here know of a call that was let in; until `give_up`."""
    ticket.around = held_here.get()
    ticket.run = run
    held_here.set(ticket)


def give_up(ticket: Ticket) -> None:
    """Say that a call holds nothing any more."""
    ticket.run = ticket.place = None
    held_here.set(ticket.around)


def check_inner(run: Any, spot: Spot, ticket: Ticket) -> None:
    """Look whether a call that has to wait could ever be let in.

    Raises:
        ConstraintError: what it needs is held by calls that wait for runs inside of them.
    """
    lack = stuck(run, ticket) if run.depth else None
    if lack is None:
        return
    what, holders = lack
    by = " and ".join(sorted({_described(each) for each in holders}))
    raise ConstraintError(
        f"{run.described(spot)} can never be let in: {what} is held by {by}, and comes back only when this run, "
        f"{run.id!r}, has ended, which is inside of a task that waits for it; give the two tasks limits or capacities "
        "of their own, allow for both, or let the task that waits hold nothing"
    )


def stuck(run: Any, ticket: Ticket) -> tuple[str, list[Ticket]] | None:
    """Return what a call of a run inside of a task would wait for in vain, in words, and who holds it."""
    ticket.inside, ticket.around = inside_of(), held_here.get()
    inner = run.admission.inner
    inner.add(ticket)
    waiting = {each: list(_around(each)) for each in inner if each.line is not None}
    while ticket in waiting:
        held = {each for chain in waiting.values() for each in chain}
        hopeful = [each for each in waiting if _lack(each, held) is None]
        if not hopeful:
            return _lack(ticket, held)
        for each in hopeful:
            del waiting[each]
    return None


def _described(ticket: Ticket) -> str:
    place = ticket.place
    return str(ticket.run.described(Spot(*place) if isinstance(place, tuple) else place))


def _around(ticket: Ticket) -> Iterator[Ticket]:
    """Go through the calls that hold something until this one, which waits, has ended: from the inside outwards."""
    inside: Inside | None = ticket.inside
    held: Ticket | None = ticket.around
    while held is not None:
        if held.run is not None:
            while inside is not None and inside.depth - 1 > held.run.depth:
                if not _is_awaited(inside.caller, held.run.is_in_call):
                    return
                inside = inside.around
            if held.admission is ticket.admission:
                yield held
        held = held.around


def _lack(ticket: Ticket, held: Iterable[Ticket]) -> tuple[str, list[Ticket]] | None:
    """Return what a call cannot have for as long as others hold what they do, in words, and those who hold it."""
    line, admission = ticket.line, ticket.admission
    for gauge in line.all:
        holders = [each for each in held if each.name and gauge.is_for(each.name)]
        if gauge.most is not None and len(holders) >= gauge.most and holders and not _passes(admission, gauge):
            return f"concurrency={gauge.most:g} ({gauge.scope})", holders
    whole = admission.capacities.whole
    for name, amount in ticket.needed.items():
        holders = [each for each in held if name in each.needed]
        taken = sum(each.needed[name] for each in holders)
        if holders and amount > whole[name] * (1 + ROUNDING) - taken:
            return f"capacity {name}={whole[name]:g}", holders
    return None


def _passes(admission: Any, gauge: Gauge) -> bool:
    """Say whether a limit on concurrency ends by itself."""
    standing = admission.limits.table.get((gauge.scope, "concurrency"))
    return standing is None or standing.until is not None


def _is_awaited(task: asyncio.Task[Any] | None, is_in_call: Callable[[asyncio.Task[Any]], bool]) -> bool:
    """Say whether some call of a task waits for an asyncio task, and does not just let it go on beside it."""
    known: set[Any] = set()
    waiting = [task]
    while waiting:
        each = waiting.pop()
        if each is None or each in known:
            continue
        known.add(each)
        if isinstance(each, asyncio.Task) and (each in waited_for or is_in_call(each)):
            return True
        for callback, _ in getattr(each, "_callbacks", None) or ():
            waiting += _told_by(callback)
    return False


def _told_by(callback: Any) -> list[Any]:
    """Return the futures that a callback of a future is to settle, and the tasks that it wakes."""
    parts = [getattr(callback, "__self__", None)]
    if isinstance(callback, partial):
        parts += callback.args
    if isinstance(callback, FunctionType):
        cells = callback.__closure__ or ()
        free = dict(zip(callback.__code__.co_freevars, cells, strict=True))
        if "return_when" in free and free["return_when"].cell_contents == asyncio.FIRST_COMPLETED:
            return []  # who waits may go on without it
        parts += [cell.cell_contents for cell in cells]
    parts += [getattr(part, "_on_completed_fut", None) for part in parts]  # of a TaskGroup
    return [part for part in parts if isinstance(part, asyncio.Future)]
