"""The queues in which calls wait: who is first, and what is spoken for.

A call that may not start yet stands in several lines, one behind the other: one for each `task:` scope that it is
in, one for the capacities that it needs, one for the scope `global`. It goes on to the next line once it could be
let in at this one, and a share is spoken for there (for the first of those who want the same) until it takes
everything at once, at the end of the last.
So what it waits for in one line keeps nobody waiting in lines that it has not come to, and nobody overtakes it in
those that it has. A paused call stands aside: nothing is spoken for on its behalf, but it keeps its place.

Nothing here looks at a clock in turns: what ends, gives back, changes or comes due says so.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from cascade.runtime.admission.capacities import Capacities
from cascade.runtime.admission.limits import Gauge
from cascade.runtime.admission.ticket import Ticket

__all__ = ["WaitQueue", "GrantPass"]


class WaitQueue:
    """The calls that wait for the same: limits of the same scopes, and capacities of the same names."""

    __slots__ = ("all", "gauges", "has_rate", "key", "last", "waiting")

    def __init__(self, key: tuple[Any, ...], gauges: tuple[Gauge, ...], last: Gauge | None) -> None:
        self.key = key
        self.gauges = gauges
        self.last = last
        """The one of the scope `global`."""
        self.all = gauges if last is None else (*gauges, last)
        self.has_rate = any(gauge.bucket is not None for gauge in self.all)
        self.waiting: OrderedDict[Ticket, None] = OrderedDict()

    def first(self) -> Ticket:
        """Return who has been waiting here for the longest."""
        for ticket in self.waiting:
            return ticket
        raise AssertionError("an empty line")

    def heir(self, name: str, needed: Mapping[str, float]) -> Ticket | None:
        """Return who is first, if it may have what a call of task `name` held that ends, and wants no more or less."""
        ticket = self.first()
        if self.has_rate or ticket.name != name or ticket.needed != needed:
            return None
        if ticket.turn is not None and ticket.turn.cancelled():
            return None
        for gauge in self.all:
            if gauge.paused or (gauge.most is not None and gauge.running > gauge.most):
                return None
        return ticket

    def reason(self, ticket: Ticket, now: float) -> str:
        """Say what holds a call back that waits here."""
        for gauge in sorted(self.all, key=lambda gauge: not gauge.paused):
            reason = gauge.reason(now)
            if reason is not None:
                return reason
        needs = ", ".join(f"{name}={amount}" for name, amount in ticket.needed.items())
        scopes = ", ".join(gauge.scope for gauge in self.all)
        return f"waits for {needs}" if needs else f"waits for its turn ({scopes})"


class GrantPass:
    """What is spoken for while all lines are looked at once, in the order in which their first calls came."""

    __slots__ = ("due", "held", "now", "spoken")

    def __init__(self, now: float) -> None:
        self.now = now
        self.spoken: dict[Gauge, int] = {}
        self.held: set[str] = set()
        """Capacities that somebody earlier waits for."""
        self.due: float | None = None
        """When a rate will let one more call start."""

    def lets_in(self, ticket: Ticket, queue: WaitQueue, capacities: Capacities) -> bool:
        """Say whether a call may start now; if not, speak for what it is to have."""
        last = queue.last
        if (last is not None and last.paused) or any(gauge.paused for gauge in queue.gauges):
            return False
        spoken = self.spoken
        for at, gauge in enumerate(queue.gauges):
            if not gauge.is_open(self.now, spoken.get(gauge, 0)):
                self._wait(gauge, queue.gauges[:at])
                return False
        needed = ticket.needed
        if needed and not capacities.fit(needed, self.held):
            self.held.update(needed)
            self._speak(queue.gauges)
            return False
        if last is not None and not last.is_open(self.now, spoken.get(last, 0)):
            self._wait(last, queue.gauges)
            return False
        return True

    def _speak(self, gauges: Iterable[Gauge]) -> None:
        for gauge in gauges:
            self.spoken[gauge] = self.spoken.get(gauge, 0) + 1

    def _wait(self, gauge: Gauge, passed: Iterable[Gauge]) -> None:
        """Note that the first of a line waits at one gauge, having passed others."""
        self._speak(passed)
        if gauge.bucket is not None and gauge.has_place(self.spoken.get(gauge, 0)):
            at = gauge.bucket.more_at(self.now)
            if at is not None and (self.due is None or at < self.due):
                self.due = at
