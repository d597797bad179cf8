"""What calls hold while they wait for runs inside of them: a call of such a run that needs it would wait for ever.

A call that is let in is known to all that is begun from it, by a context variable. When a call of a run inside of a
task has to wait in a queue, those around it are looked at: what they hold comes back only after what they wait for. If
that leaves too little for it, whatever all others give back, it cannot be let in. Calls that are not inside of others
are never looked at, and neither are those that need not wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from cascade.errors import ConstraintError
from cascade.runtime.admission.capacities import ROUNDING
from cascade.runtime.admission.ticket import Ticket
from cascade.runtime.frames.call import Call
from cascade.runtime.run.awaiters import Holder, around, held_here
from cascade.spec.inside import inside_of

if TYPE_CHECKING:
    from cascade.runtime.admission.admission import Admission
    from cascade.runtime.admission.limits import Gauge
    from cascade.runtime.frames.scope import Scope
    from cascade.runtime.run.state import RunState

__all__ = ["PAUSES", "check_inner", "give_up", "held_here", "hold", "leave_slot", "note_wait", "stuck", "take_slot"]

_looks: WeakKeyDictionary[Any, tuple[Any, tuple[float, ...]]] = WeakKeyDictionary()
"""Of admissions: the event loop where it is looked again, and after which times."""
PAUSES = tuple(0.05 * 2**i for i in range(10))
"""Seconds until it is looked again whether a wait has become one that can never end."""


def hold(ticket: Holder, run: RunState) -> None:
    """Let all that is begun from here know of a call that was let in; until `give_up`."""
    ticket.around = held_here.get()
    ticket.run = run
    held_here.set(ticket)


def give_up(ticket: Holder) -> None:
    """Say that a call holds nothing any more."""
    ticket.run = ticket.place = None
    held_here.set(ticket.around)


async def take_slot(run: RunState, scope: Scope, ticket: Ticket) -> Ticket:
    """Begin a call of a scope that was let in while it was put aside; until `leave_slot`."""
    if not run.engine.admission.holds(ticket):
        await run.engine.admission.wait(ticket)
    scope.parked.discard(ticket)
    hold(ticket, run)
    return ticket


def leave_slot(ticket: Ticket) -> None:
    """Give back what a call was let in with."""
    give_up(ticket)
    ticket.admission.leave(ticket.name, ticket.needed)


def check_inner(run: RunState, call: Call, ticket: Ticket) -> None:
    """Look whether a call that has to wait could ever be let in.

    Raises:
        ConstraintError: what it needs is held by calls that wait for runs inside of them.
    """
    if not run.run_scope.depth:
        return
    lack = stuck(run, ticket)
    if lack is not None:
        raise _error(run, call, lack)
    ticket.place = call
    note_wait(ticket)


def _error(run: RunState, call: Call, lack: tuple[str, list[Ticket]]) -> ConstraintError:
    what, holders = lack
    by = " and ".join(sorted({_described(each) for each in holders}))
    return ConstraintError(
        f"{run.described(call)} can never be let in: {what} is held by {by}, and comes back only when this run, "
        f"{run.id!r}, has ended, which is inside of a task that waits for it; give the two tasks limits or capacities "
        "of their own, allow for both, or let the task that waits hold nothing"
    )


def stuck(run: RunState, ticket: Ticket) -> tuple[str, list[Ticket]] | None:
    """Return what a call of a run inside of a task would wait for in vain, in words, and who holds it."""
    ticket.inside, ticket.around = inside_of(), held_here.get()
    run.engine.admission.inner.add(ticket)
    return _in_vain(run.engine.admission).get(ticket)


def note_wait(ticket: Ticket) -> None:
    """Note where a call is that waits, and look again after a while: who has begun its run may await it only then."""
    ticket.around = held = held_here.get()
    while held is not None and (held.run is None or not isinstance(held, Ticket)):
        held = held.around
    if held is not None and ticket.inside is not None:
        admission, loop = ticket.admission, asyncio.get_running_loop()
        pending = _looks.get(admission)
        if pending is None or pending[0] is not loop:
            loop.call_later(PAUSES[0], _look_again, ref(admission))
        _looks[admission] = loop, PAUSES


def _look_again(admission: ref[Any]) -> None:
    """Fail a call that turns out to wait in vain; the others may not, then."""
    looked = admission()
    loop, pauses = (None, ()) if looked is None else _looks.pop(looked, (None, ()))
    if looked is None or loop is None or loop.is_closed():
        return
    lacks = _in_vain(looked)
    if lacks:
        first = min(lacks, key=attrgetter("number"))
        _fail(first, lacks[first])
    if len(pauses) > 1 and any(each.queue is not None for each in looked.inner):
        _looks[looked] = loop, pauses[1:]
        loop.call_later(pauses[1], _look_again, admission)


def _fail(ticket: Ticket, lack: tuple[str, list[Ticket]]) -> None:
    run = ticket.inside.run
    ticket.admission.withdraw([ticket])
    if ticket.start is not None:  # it asks once more, where it can fail
        ticket.place[0].scope.parked.discard(ticket)
        ticket.start(ticket)
    elif not ticket.turn.done():
        ticket.turn.set_exception(_error(run, ticket.place, lack))


def _in_vain(admission: Admission) -> dict[Ticket, tuple[str, list[Ticket]]]:
    """Return which calls of runs inside of tasks wait for what they cannot have, and for what, as `_lack` says."""
    chains: dict[Any, list[Ticket]] = {}
    waiting = {}
    for ticket in admission.inner:
        if ticket.queue is not None:
            place = ticket.inside, ticket.around
            if place not in chains:
                chains[place] = list(_around(ticket))
            waiting[ticket] = chains[place]
    while waiting:
        held = {each for chain in waiting.values() for each in chain}
        lacks = {each: lack for each in waiting if (lack := _lack(each, held)) is not None}
        if len(lacks) == len(waiting):
            return lacks
        waiting = {each: waiting[each] for each in lacks}
    return {}


def _described(ticket: Ticket) -> str:
    place = ticket.place
    return str(ticket.run.described(Call(*place) if isinstance(place, tuple) else place))


def _around(ticket: Ticket) -> Iterator[Ticket]:
    """Go through the calls that hold something until this one, which waits, has ended: from the inside outwards."""
    if ticket.inside.run is None:
        return
    for each in around(ticket.inside, ticket.around, None):
        if isinstance(each, Ticket) and each.admission is ticket.admission:
            yield each


def _lack(ticket: Ticket, held: Iterable[Ticket]) -> tuple[str, list[Ticket]] | None:
    """Return what a call cannot have for as long as others hold what they do, in words, and those who hold it."""
    queue, admission = ticket.queue, ticket.admission
    for gauge in queue.all:
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


def _passes(admission: Admission, gauge: Gauge) -> bool:
    """Say whether a limit on concurrency ends by itself."""
    limit = admission.limits.table.get((gauge.scope, "concurrency"))
    return limit is None or limit.until is not None
