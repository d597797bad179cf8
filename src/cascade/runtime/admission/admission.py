"""Who may start: calls under limits and constraints, first come first served (`wait_queues` says how).

One decision covers pauses, concurrency, rates and capacities: a call is given all that it needs at once or nothing,
so none holds one thing while it waits for another. One that may not start leaves a ticket and no asyncio task; those
that want the same wait in one queue, and only the first of each is looked at when something changes.

The alternative, a lock for each limit with a waiting task for each call, ties calls up in each other, keeps others
out for nothing, and made a call that waited three times as dear as one that did not: ten thousand waiting tasks are
80,000 objects for the garbage collector. The price is that while any limit stands every run looks at each call. Where
nothing stands, no call comes here (docs/decisions/calls-that-wait-are-tickets.md).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from heapq import heapify, heappop, heappush
from itertools import count
from operator import attrgetter
from time import monotonic
from typing import Any
from weakref import WeakSet

from cascade.runtime.admission.capacities import Capacities
from cascade.runtime.admission.limits import Gauge, Limits
from cascade.runtime.admission.ticket import Ticket
from cascade.runtime.admission.wait_queues import GrantPass, WaitQueue
from cascade.spec.inside import Inside
from cascade.spec.limits import GLOBAL
from cascade.spec.readable import readable

__all__ = ["Admission"]

NOTHING_NEEDED: dict[str, float] = {}
UNGOVERNED = ""
"""In the place of a task's name, for what no limit is for: a sub-flow, whose calls are counted themselves."""
FIRST = 1 << 60
"""Who is inside of what was let in already comes before all others, or could wait for them while they wait for it."""


class Admission:
    """Lets calls of one engine start: its `system_resources`, and its limits.

    Without a limit, and without constraints, no call comes here. `limits` may be changed from any thread, and
    `changed` is to be called on the event loop's then; all else belongs to that thread.
    """

    def __init__(
        self, system_resources: Mapping[str, float], clock: Callable[[], float] = monotonic, runs: Iterable[Inside] = ()
    ) -> None:
        self.capacities: Capacities = Capacities(system_resources)
        self.limits: Limits = Limits(clock)
        self.version: int = 0
        """Goes up when limits change."""
        self._runs = runs
        """The runs that are going on: they are told when limits begin or cease to stand."""
        self._table: Any = self.limits.table
        """What the gauges were made of."""
        self._gauges: dict[str, Gauge] = {}
        self._of: dict[str, tuple[tuple[Gauge, ...], Gauge | None]] = {}
        """By the name of a task: the gauges of its own scopes, in the same order for all, and that of `global`."""
        self._running: dict[str, int] = {}
        """How many calls of each name were let in and run."""
        self._queues: dict[Any, WaitQueue] = {}
        self.inner: WeakSet[Ticket] = WeakSet()
        """The calls of runs inside of tasks that had to wait."""
        self._numbers = count()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._end: float | None = None
        """When the next limit ends by itself."""

    # --- what is governed

    @property
    def stands(self) -> bool:
        """Whether there is any limit."""
        return bool(self.limits.table)

    def governs(self, name: str) -> bool:
        """Say whether some limit is for tasks of this name."""
        self._look()
        gauges, last = self._gauges_of(name)
        return last is not None or bool(gauges)

    def _look(self) -> None:
        """Take over what any thread has changed: at the beginning of each step, never in the middle of one."""
        if self._table is not self.limits.table:
            self._take_over()

    def _gauges_of(self, name: str) -> tuple[tuple[Gauge, ...], Gauge | None]:
        found = self._of.get(name)
        if found is None and name == UNGOVERNED:
            found = self._of[name] = (), None
        if found is None:
            own = sorted(
                (g for g in self._gauges.values() if g.scope != GLOBAL and g.is_for(name)), key=attrgetter("scope")
            )
            found = self._of[name] = tuple(own), self._gauges.get(GLOBAL)
        return found

    def _take_over(self) -> None:
        """Make the gauges say what the table says, and put those who wait in the lines that they belong in now."""
        table = self._table = self.limits.table
        self._end = self.limits.next_end()
        now = self.limits.clock()
        self.version += 1
        self._of.clear()
        kept, self._gauges = self._gauges, {}
        for scope in {scope for scope, _ in table}:
            gauge = self._gauges[scope] = kept.get(scope) or self._new_gauge(scope)
            most, rate = table.get((scope, "concurrency")), table.get((scope, "rate"))
            gauge.set((scope, "pause") in table, most and most.value, rate, now)
        if self._queues:
            self._line_up()

    def _line_up(self) -> None:
        """Put all who wait in the lines that they belong in, in the order in which they came."""
        waiting = sorted((each for queue in self._queues.values() for each in queue.waiting), key=attrgetter("number"))
        self._queues.clear()
        for ticket in waiting:
            self._queue(ticket)

    def _new_gauge(self, scope: str) -> Gauge:
        gauge = Gauge(scope)
        names = {name: running for name, running in self._running.items() if name != UNGOVERNED}
        gauge.running = sum(running for name, running in names.items() if gauge.is_for(name))
        return gauge

    # --- calls

    def ask(
        self,
        name: str,
        needed: Mapping[str, float],
        start: Callable[[Ticket], None] | None = None,
        place: object = None,
        inside: bool = False,
    ) -> Ticket:
        """Return a ticket for a call of a task: it is in, or it waits in line, and `start` is called in its turn.

        Args:
            needed: amounts of capacities, as `capacities.needed` gives them.
            start, place: what the ticket keeps; without a `start` it has a future instead.
            inside: it is a part of what was let in already.
        """
        number = next(self._numbers)
        ticket = Ticket(self, number - FIRST if inside else number, name, needed)
        ticket.start, ticket.place = start, place
        self._look()
        gauges, last = self._gauges_of(name)
        if not self._queues:
            now = self.limits.clock() if gauges or last is not None else 0.0
            if (
                (not gauges or all(gauge.is_open(now) for gauge in gauges))
                and (not needed or self.capacities.fit(needed))
                and (last is None or last.is_open(now))
            ):
                self._let_in(ticket, now)
                ticket.start = None
                return ticket
        loop = self._here()
        if start is None:
            ticket.turn = loop.create_future()
        if self._queue(ticket):
            self.let_in()
        return ticket

    def has_room(self, amounts: Mapping[str, float]) -> bool:
        """Say whether a call that holds these amounts would be let in at once, as long as no limit is for it.

        One that is over before anybody else can ask need not take them.
        """
        needed = self.capacities.needed(amounts)
        return not needed or (not self._queues and self.capacities.fit(needed))

    async def enter(
        self, name: str, needed: Mapping[str, float], blocked: Callable[[Ticket], None], inside: bool = False
    ) -> Ticket:
        """Wait until a call of a task may start, and take what it needs; `leave` gives it back.

        Args:
            blocked: called if there is a wait; `reason` says why.
            inside: it is a part of what was let in already.
        """
        ticket = self.ask(name, needed, inside=inside)
        if ticket.turn is not None:
            await self.wait(ticket, blocked)
        return ticket

    def holds(self, ticket: Ticket) -> bool:
        """Say whether a call that was let in may really begin: whether no limit has changed since."""
        self._look()
        return ticket.is_in and ticket.version == self.version

    @readable("ticket")
    async def wait(self, ticket: Ticket, blocked: Callable[[Ticket], None] | None = None) -> None:
        """Wait for the turn of a call; one that limits have overtaken as it was let in goes back to where it was."""
        try:
            if ticket.turn is not None:
                if blocked is not None and not ticket.is_in:
                    blocked(ticket)
                await ticket.turn
            while not self.holds(ticket):
                loop = self._here()
                if ticket.is_in:
                    self._take_back(ticket)
                ticket.turn = loop.create_future()
                self._queue(ticket)
                self._line_up()
                self.let_in()
                await ticket.turn
        except BaseException:
            self.withdraw([ticket])
            raise

    def withdraw(self, tickets: Iterable[Ticket]) -> None:
        """Forget calls that will not begin."""
        self._look()
        for ticket in tickets:
            if ticket.is_in:
                self._take_back(ticket)
            else:
                self._unqueue(ticket)
        if self._queues:
            self.let_in()

    def leave(self, name: str, needed: Mapping[str, float]) -> None:
        """Give back what a call held, and let in who may start now."""
        if not self._hand_on(name, needed):
            self._look()
            self._give_back(name, needed)
            if self._queues:
                self.let_in()

    def _hand_on(self, name: str, needed: Mapping[str, float]) -> bool:
        """Let the first in the only line take over just what a call held, in less time; say whether it does.

        Then what is free and what runs stay as they were when those behind it had to wait.
        """
        loop = self._loop
        if len(self._queues) != 1 or self._table is not self.limits.table or loop is None or loop.is_closed():
            return False
        (queue,) = self._queues.values()
        ticket = queue.heir(name, needed)
        if ticket is None:
            return False
        self._unqueue(ticket)
        ticket.version, ticket.is_in = self.version, True
        ticket.tell()
        if queue.waiting and queue.first().needed != needed:  # it may want less
            self.let_in()
        return True

    def _let_in(self, ticket: Ticket, now: float) -> None:
        """Take what a call needs."""
        name = ticket.name
        gauges, last = self._gauges_of(name)
        self._running[name] = self._running.get(name, 0) + 1
        if ticket.needed:
            self.capacities.take(ticket.needed)
        for gauge in gauges if last is None else (*gauges, last):
            gauge.running += 1
            if gauge.bucket is not None:
                gauge.bucket.take(now)
                ticket.buckets = (*ticket.buckets, (gauge.bucket, gauge.bucket.changes))
        ticket.version = self.version
        ticket.is_in = True

    def _give_back(self, name: str, needed: Mapping[str, float]) -> None:
        gauges, last = self._gauges_of(name)
        running = self._running.pop(name) - 1
        if running:
            self._running[name] = running
        for gauge in gauges:
            gauge.running -= 1
        if last is not None:
            last.running -= 1
        self.capacities.give_back(needed)

    def _take_back(self, ticket: Ticket) -> None:
        """Undo that a call was let in which has not begun."""
        ticket.is_in = False
        self._give_back(ticket.name, ticket.needed)
        for bucket, changes in ticket.buckets:
            bucket.give_back(changes)
        ticket.buckets = ()

    def _here(self) -> asyncio.AbstractEventLoop:
        """Return the event loop; where it is another one than before, nobody waits any more on that."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._queues.clear()
            self._loop = loop
        return loop

    def _queue(self, ticket: Ticket) -> bool:
        """Put a call at the end of its line; say whether it is the first there."""
        gauges, last = self._gauges_of(ticket.name)
        key = (gauges, last, frozenset(ticket.needed), ticket.number < 0)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = WaitQueue(key, gauges, last)
        ticket.queue = queue
        queue.waiting[ticket] = None
        return len(queue.waiting) == 1

    def _unqueue(self, ticket: Ticket) -> None:
        queue: WaitQueue | None = ticket.queue
        if queue is not None:
            del queue.waiting[ticket]
            ticket.queue = None
            if not queue.waiting and self._queues.get(queue.key) is queue:
                del self._queues[queue.key]

    def let_in(self) -> None:
        """Let in all who may start now."""
        if self._loop is not None and self._loop.is_closed():  # nobody waits there any more
            self._queues.clear()
        self._look()
        if len(self._queues) == 1 and self._let_in_first():
            return
        now = self.limits.clock()
        state = GrantPass(now)
        heads = [(queue.first().number, queue) for queue in self._queues.values()]
        if len(heads) > 1:
            heapify(heads)
        while heads:
            queue = heappop(heads)[1]
            ticket = queue.first()
            turn = ticket.turn
            if turn is not None and turn.cancelled():  # it is about to leave, and would not come to take it
                self._unqueue(ticket)
            elif state.lets_in(ticket, queue, self.capacities):
                self._call(ticket, now)
            else:
                continue  # the others in this line stand behind it
            if queue.waiting:
                heappush(heads, (queue.first().number, queue))
        self._arm(state.due)

    def _let_in_first(self) -> bool:
        """Let in the first, where all want the same and no rate has to be waited for; say whether that is so."""
        (queue,) = self._queues.values()
        if queue.has_rate:
            return False
        gauges, fit = queue.all, self.capacities.fit
        while queue.waiting:
            ticket = queue.first()
            if ticket.turn is not None and ticket.turn.cancelled():
                self._unqueue(ticket)
            elif fit(ticket.needed) and all(gauge.has_place() for gauge in gauges):
                self._call(ticket, 0.0)
            else:
                break
        if self._end is not None:
            self._arm(None)
        return True

    def _call(self, ticket: Ticket, now: float) -> None:
        """Let the first of its line in, and let it know."""
        self._unqueue(ticket)
        self._let_in(ticket, now)
        ticket.tell()

    def reason(self, ticket: Ticket) -> str:
        """Say what holds a call back that waits in line."""
        return str(ticket.queue.reason(ticket, self.limits.clock()))

    def waiting(self) -> Counter[str]:
        """Return how many calls wait in line, by the reason of the first in each."""
        now, found = self.limits.clock(), Counter[str]()
        for queue in self._queues.values():
            found[queue.reason(queue.first(), now)] += len(queue.waiting)
        return found

    # --- changes and time

    def changed(self) -> None:
        """Let a change of limits take effect, on the event loop's thread."""
        self._here()
        for inside in tuple(self._runs):
            if inside.run is not None:
                inside.run.look_at_limits()
        self.let_in()

    def attend(self) -> None:
        """See to it that limits end in time while a run goes on."""
        self._here()
        if self.limits.expire():
            self.changed()
        elif self._table is not self.limits.table:
            self.let_in()
        else:
            self._arm(None)

    def _arm(self, due: float | None) -> None:
        """Wake up when the next rate has a token, or the next limit ends."""
        end = self._end
        if end is not None and (due is None or end < due):
            due = end
        loop = self._loop
        if due is None or loop is None or loop.is_closed():
            return
        timer = self._timer
        if timer is not None:
            if self._timer_at <= due and not timer.cancelled():
                return
            timer.cancel()
        self._timer_at = due
        self._timer = loop.call_later(max(0.0, due - self.limits.clock()), self._wake)

    def _wake(self) -> None:
        self._timer = None
        if self.limits.expire():
            self.changed()
        else:
            self.let_in()
