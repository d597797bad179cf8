"""The policies of a call, one around the other: the one place that says which there are, and in which order.

From the outside inwards:

1. *hooks*: they are told of what fails anywhere inside.
2. *cache*: what is kept needs nothing of all that follows, and one call is made for equal keys at a time.
3. the events of the call, which are one pair for all its attempts: it begins when the first attempt is let in.
4. *retry*: whatever an attempt fails of may be tried again, its wait in a queue and its timeout too.
5. *slot*: what limits and constraints grant is held for one attempt, and given back while the next is waited for.
6. resources that belong to a call: each attempt gets its own, set up while the slot is held.
7. *budget*: what an attempt may spend of what its agent was given, its time included.
8. *heartbeat*: how long an attempt may be silent.
9. *timeout*: the time of an attempt. What waits in a queue, or for a resource, has not begun.
10. the call of the function, or all of a sub-flow.

A policy is one function in a file of its own, of a managed call and the work inside of it, and one step below. It
returns something to await: where it has nothing to do it hands on that of the work, and costs no coroutine. Tasks and
sub-flows differ in what there is to attempt, which `ManagedCall` spells out, and in no policy.

The alternative is a loop that has all of them written out. It was no faster, and was there twice, for tasks and for
sub-flows: each said anew what is tried again, and what ends an attempt. Steps that are bound to each other when a call
begins (`partial(retried, call, partial(...))`) would need no names, and took 10 % more instructions.

Plain calls do not come here: lowering marks calls under a policy as MANAGED, so that whatever makes calls faster
leaves them alone; or as GATED, which come here once they have failed or have to wait (`interpreter.in_place`).
A journal would be the outermost step, of calls that a run which records has all marked so.
"""

from __future__ import annotations

from collections.abc import Awaitable
from math import inf
from typing import Any

from cascade.runtime.policies.cache import cached
from cascade.runtime.policies.heartbeat import alive
from cascade.runtime.policies.hooks import hooked
from cascade.runtime.policies.managed import ManagedCall
from cascade.runtime.policies.retry import retried
from cascade.runtime.policies.slot import admitted
from cascade.runtime.policies.timeout import in_time
from cascade.spec.readable import readable

__all__ = ["carry_out"]


@readable("managed", place=lambda known: known["managed"].place)
async def carry_out(managed: ManagedCall) -> Any:
    """Make a call under all its policies; return what it gives.

    Raises:
        NodeFailure: it failed; the error has its note.
    """
    try:
        return await _hooked(managed)
    except BaseException as error:
        if managed.attempted is not None:
            managed.attempted.close()
        managed.run.check_failed(managed.call, error, managed.count)
        raise


def _hooked(managed: ManagedCall) -> Awaitable[Any]:
    return _cached(managed) if managed.gate.terms.hooks is None else hooked(managed, managed.gate.terms.hooks, _cached)


def _cached(managed: ManagedCall) -> Awaitable[Any]:
    return (
        _observed(managed) if managed.gate.terms.cache is None else cached(managed, managed.gate.terms.cache, _observed)
    )


def _observed(managed: ManagedCall) -> Awaitable[Any]:
    return managed.observe(_retried)


def _retried(managed: ManagedCall) -> Awaitable[Any]:
    return (
        _admitted(managed)
        if managed.gate.terms.retry is None
        else retried(managed, managed.gate.terms.retry, _admitted)
    )


def _admitted(managed: ManagedCall) -> Awaitable[Any]:
    return admitted(managed, _attempted)


def _attempted(managed: ManagedCall) -> Awaitable[Any]:
    if managed.gate.terms.budget is not None or managed.call.accounts is not None:
        return managed.attempt(_spending)
    return managed.attempt(_timed if managed.gate.terms.heartbeat is None else _alive)


def _spending(managed: ManagedCall) -> Awaitable[Any]:
    from cascade.runtime.budgets.spending import spent

    return spent(managed, _timed if managed.gate.terms.heartbeat is None else _alive)


def _alive(managed: ManagedCall) -> Awaitable[Any]:
    return alive(managed, managed.gate.terms.heartbeat or inf, _timed)


def _timed(managed: ManagedCall) -> Awaitable[Any]:
    seconds = managed.gate.terms.timeout
    return managed.make() if seconds is None or seconds == inf else in_time(managed, seconds)
