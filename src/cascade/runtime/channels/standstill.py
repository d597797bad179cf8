"""Runs in which all wait for each other in channels, and nothing is left that could wake one.

It is found by looking, so that nothing is noted while all goes well. All asyncio tasks of the run wait in channels, or
for calls of the run (as those that have begun sub-flows and maps do), or for limits that only calls of the run hold. No
timer of the run is set, but those that would end it; no callback of it is due. Whatever else somebody waits for, in a
thread, a process, for a signal, a task or an event of their own, might come, so that nothing is said then.

What belongs to the run is told by its context variable: tasks and timers see the context of what has made them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from cascade.errors import ChannelError
from cascade.runtime.admission.admission import Admission
from cascade.runtime.admission.ticket import Ticket
from cascade.runtime.frames.cancel_scope import TimedScope
from cascade.runtime.frames.scope import Scope
from cascade.runtime.run.active_calls import awaits, place_in_task
from cascade.spec.inside import present
from cascade.spec.lines import Line
from cascade.spec.readable import locals_of

if TYPE_CHECKING:
    from cascade.runtime.run.state import RunState

__all__ = ["Standstill", "standstill"]

MOST_NAMED = 20
OWN = "cascade."


class Standstill:
    """The waits of a run that are all in vain."""

    __slots__ = ("futures", "held", "run_id", "waits")

    def __init__(self, run_id: str, waits: list[tuple[str, asyncio.Future[Any]]], held: int) -> None:
        waits.sort(key=lambda each: each[0])
        self.run_id = run_id
        self.futures = [future for _, future in waits]
        self.waits = tuple(text for text, _ in waits)
        self.held = held
        """How many calls wait to be let in besides."""

    def error(self) -> ChannelError:
        """Return the error for one of them."""
        shown = "; ".join(self.waits[:MOST_NAMED])
        if len(self.waits) > MOST_NAMED:
            shown += f"; and {len(self.waits) - MOST_NAMED:,} more"
        if self.held:
            shown += f"; {self.held:,} calls more wait to be let in, for what these hold"
        return ChannelError(
            f"in run {self.run_id!r} all wait for each other in channels, and nothing is left that could wake one: "
            f"{shown}. Send what is waited for, or close a channel (channel.close()) to which nothing more comes; if "
            "code outside of the run sends or receives there, say so: channel.open_outside()"
        )


def standstill(run: RunState, waits: Iterable[tuple[asyncio.Future[Any], Line, str]]) -> Standstill | None:
    """Return who waits in vain, if all of a run do that go on; `waits` are all waits in its channels."""
    if run.result_sink is not None:
        return None  # who takes the results one by one may let further items begin
    scope, loop = run.run_scope, asyncio.get_running_loop()
    known = {future: (line, doing) for future, line, doing in waits}
    if not known or any(line.is_outside for line, _ in known.values()) or _is_something_due(loop, scope):
        return None
    found: list[tuple[str, asyncio.Future[Any]]] = []
    in_channels: list[asyncio.Task[Any]] = []
    held = 0
    for task in asyncio.all_tasks(loop):
        future = getattr(task, "_fut_waiter", None)
        if future in known:
            in_channels.append(task)
            continue
        context = _context_of(task, future)
        if context is None or not _is_in(context, scope):
            continue  # of who is about to go on, a callback is due
        waiting = _held_tickets(run, task)
        if waiting is None:
            return None
        held += waiting
    for task in in_channels:
        future = task._fut_waiter  # type: ignore[attr-defined]
        line, doing = known[future]
        place = place_in_task(task)
        who = f"asyncio task {task.get_name()!r}" if place is None else place.run.described(place.call)
        found.append((f"{who} {line.doing(doing)}", future))
    return Standstill(run.id, found, held) if found else None


def _is_something_due(loop: Any, scope: object) -> bool:
    """Say whether a callback or a timer of a run may come; True as well where that cannot be known."""
    try:
        ready, timers = list(loop._ready), list(loop._scheduled)
    except AttributeError:  # another loop than asyncio's
        return True
    return any(_is_in(each._context, scope) for each in ready if not each._cancelled) or any(
        _is_in(each._context, scope) and _may_wake(each._callback) for each in timers if not each._cancelled
    )


def _may_wake(callback: Any) -> bool:
    """Say whether a timer may have somebody go on: one of users, of a library, or the timeout of a call."""
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, TimedScope):
        return type(owner).__name__ != "RunScope"  # that of a run only ends it
    module = getattr(getattr(callback, "__func__", callback), "__module__", None) or ""
    return isinstance(owner, Admission) or not module.startswith(OWN)


def _is_in(context: Context, scope: object) -> bool:
    """Say whether a context is one of a run, or of a run inside of it."""
    inside = context.get(present)
    while inside is not None and inside is not scope:
        inside = inside.outer
    return inside is not None


def _context_of(task: asyncio.Task[Any], future: Any) -> Context | None:
    """Return the context of a task that waits; None: it does not."""
    if future is None:
        return None
    asked = getattr(task, "get_context", None)  # from Python 3.12 on
    if asked is not None:
        return asked()  # type: ignore[no-any-return]
    for callback, context in getattr(future, "_callbacks", None) or ():
        if getattr(callback, "__self__", None) is task:
            return context  # type: ignore[no-any-return]
    return None


def _held_tickets(run: RunState, task: asyncio.Task[Any]) -> int | None:
    """Return how many calls that wait to be let in a task waits for; None: it waits for something else than calls."""
    last = None
    for frame in awaits(task.get_coro()):
        last = frame
    if last is None:
        return None
    if last.f_code is Scope.wait_until.__code__:
        tickets = [*locals_of(last)["self"].parked]
    elif last.f_code is Admission.wait.__code__:
        tickets = [locals_of(last)["ticket"]]
    else:
        return None
    return len(tickets) if not tickets or not _may_be_let_in(run, tickets) else None


def _may_be_let_in(run: RunState, tickets: list[Ticket]) -> bool:
    """Say whether something else than the end of calls of the run may let one of these in."""
    if len(run.engine._active) > 1:
        return True
    for ticket in tickets:
        queue = ticket.queue
        if ticket.is_in or queue is None or queue.has_rate or any(gauge.paused for gauge in queue.all):
            return True
    return any(limit.until is not None for limit in run.engine.admission.limits.table.values())
