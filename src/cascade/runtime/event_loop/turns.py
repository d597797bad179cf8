"""Turns of an event loop: what code that ran on its thread has kept waiting is done, until nothing else is ready.

One look of the loop at its sockets is not enough: to answer a request takes several, each for what the one before has
made ready. So a turn has as many as there is something to do for, and all code that holds the loop shares it: at its
end one piece of code after the other goes on, those first that have waited longest, until one asks for the next turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import Any, ClassVar, Final, Protocol
from weakref import WeakKeyDictionary

__all__ = ["LONGEST", "Turns"]

LONGEST: Final = 0.005
"""A turn ends after so many seconds, whatever is ready then."""
LINGER: Final = 0.0005
"""So long a turn waits for what those who have just been answered ask next, where that has paid off before."""
MOST_MISSES: Final = 15
"""After waiting for nothing, so many turns at the most do not wait."""
NOISE: Final = 3
"""If an iteration of the loop takes so many times as long as the quickest one, something was done in it."""


class Late(Protocol):
    """Something that can be told that this iteration of the loop has taken long."""

    late: bool


class Turns:
    """The turns of one event loop."""

    __slots__ = (
        *("active", "ends", "floor", "found", "held", "is_open", "last", "late"),
        *("missed", "quiet", "ready", "skips", "until", "waiting"),
    )

    busy_at: ClassVar[float] = float("-inf")
    """When others had something to do in a turn of some loop, the last time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.waiting: deque[asyncio.Future[None]] = deque()
        """Futures of the pieces of code that hold the loop, and wait for the end of a turn."""
        self.ready: Any = getattr(loop, "_ready", None)
        """What asyncio's own loops have to do. Others do not show it: they are judged by the time they take."""
        self.is_open = False
        self.held = False
        """Somebody has asked for a turn since the last one was over."""
        self.late: list[Late] = []
        """Who has asked for one in this iteration of the loop."""
        self.until = 0.0
        """When a turn begins though nobody has asked for it."""
        self.ends = 0.0
        """When the turn must end; 0: none has begun since somebody went on."""
        self.active = 0.0
        """When something was done in this turn, the last time."""
        self.quiet = self.found = False
        """This turn has waited for more; it has found more then."""
        self.last = 0.0
        self.floor = float("inf")
        self.missed = self.skips = MOST_MISSES

    async def take(self, late: Late) -> None:
        """Let everybody else have a turn, and those go on who have waited longer."""
        late.late = True
        self.late.append(late)
        if self.is_open and monotonic() < self.ends:
            await asyncio.sleep(0)  # what has begun in a turn belongs to those whose turn it is
            return
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self.waiting.append(waiter)
        self.held = True
        if not self.is_open:
            self.ends = 0.0
            self.go_on(loop)
        await waiter

    def go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have a look in the next iteration of the loop."""
        loop.call_soon(self.look, loop)
        self.is_open = True

    def look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin a turn, or see whether it is over."""
        self.is_open = False  # should Ctrl-C break off here, the next who takes a turn begins anew
        now = monotonic()
        for late in self.late:
            late.late = False
        self.late.clear()
        if not self.ends:
            while self.waiting and self.waiting[0].done():  # cancelled
                self.waiting.popleft()
            if not self.waiting:
                return
            if self.held or now >= self.until:
                self.ends, self.active, self.quiet, self.found = now + LONGEST, 0.0, False, False
            else:  # who went on did not take long
                self.let_go()
        elif now >= self.ends or not self.goes_on(now):
            self.end(now)
        self.last = now
        self.go_on(loop)

    def goes_on(self, now: float) -> bool:
        """Say whether there was something to do since the last look, or may soon be."""
        if self.ready is not None:
            busy = bool(self.ready)
        else:
            took = now - self.last
            self.floor = min(self.floor, took)
            busy = took > NOISE * self.floor
        if busy:
            self.active = now
            self.found = self.quiet
            return True
        if not self.active or self.skips or now - self.active >= LINGER:
            return False
        self.quiet = True
        return True

    def end(self, now: float) -> None:
        """End the turn: let others go on, one after the other, until one of them asks for a turn."""
        self.ends, self.until, self.held = 0.0, now + 2 * LONGEST, False
        if self.active:
            Turns.busy_at = self.active
            if self.quiet:
                self.missed = 0 if self.found else min(2 * self.missed + 1, MOST_MISSES)
                self.skips = self.missed
            elif self.skips:
                self.skips -= 1
        self.let_go()

    def let_go(self) -> None:
        """Let the one go on that has waited longest."""
        while self.waiting:
            waiter = self.waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break


_known: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


def turns_here() -> Turns:
    """Return the turns of the running event loop."""
    loop = asyncio.get_running_loop()
    turns = _known.get(loop)
    if turns is None:
        turns = _known[loop] = Turns(loop)
    return turns
