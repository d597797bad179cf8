"""Tells code that runs on an event loop's thread when the loop should have a turn.

Code that makes short calls one after the other must let the event loop go on about every 10 ms, or timers, cancels
and other coroutines starve. To look at the clock behind each call costs 40 to 50 ns, as much as the call itself. To
look only behind every so many calls leaves the loop without a turn for as long as that many calls take, once one of
them has become slow. So a thread sets a flag every 10 ms while somebody runs work, and behind each call the flag is
looked at: one attribute.

Emitted code does not even look. A loop counts through a list of numbers, which a tick clears; a comprehension of a
map compares the classes of results with one that a tick takes away; a coroutine has guards that a tick invalidates.
Each looks around at a place where it looks anyway, and what it finds there is `due`.

The flag also finds slow functions without timing any: `begin` sets `ticks` to zero, and if it is two or more when a
call returns, something held the loop for 10 ms. That call is sent to the threads, where it is measured (`caught`).

The price is a thread, which lives only while there is work (20 ticks without any and it ends), and that it needs the
GIL to tick: CPython gives it up after 5 ms at the latest, so the thread sleeps so much less. What a turn is, and who
goes on behind it, says `turns`. The reasons with their measurements: docs/decisions/the-ticker.md.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable
from typing import Protocol
from weakref import ref

from cascade.compiler.code.emitted import Guards
from cascade.runtime.event_loop.turns import Turns, turns_here
from cascade.spec.placement import CallForm

__all__ = ["MOST_NUMBERS", "TICK", "Ticker"]

TICK = 0.010
IDLE_TICKS = 20
LIVELY = 0.5
SHORTEST = 0.001
MOST_NUMBERS = 1 << 14
_NUMBERS = list(range(MOST_NUMBERS))


class Clearable(Protocol):
    """What a tick clears: the numbers of a loop, the items of a block, the class that a comprehension expects."""

    def clear(self) -> None:
        """Have the code that runs with it look around."""


class Ticker:
    """The flag of one event loop's thread; `due` is to be looked at after each call."""

    __slots__ = ("armed", "asked", "due", "guards", "idle", "late", "ticks", "turn", "urgent", "used")

    def __init__(self) -> None:
        self.due: bool = False
        self.late: bool = False
        """Somebody has asked for a turn in this iteration of the loop: nobody else should begin what may take long."""
        self.asked: bool = False
        """Not only a tick has set the flag: limits have changed, or the thread that ticks is gone."""
        self.ticks: int = 0
        self.urgent: bool = False
        """The event loop should have a turn that was not due when the code began."""
        self.armed: bool = False
        self.used: bool = False
        self.idle: int = 0
        self.turn: Clearable | None = None
        """What an emitted loop iterates over, or a comprehension; a tick takes away what is left of it."""
        self.guards: list[ref[Guards]] = []
        """Of emitted coroutine functions; a tick takes them away."""

    def numbers(self, count: int) -> list[int]:
        """Return the numbers from 0 for an emitted loop, which end when the event loop should have a turn."""
        self.begin()
        turn = self.turn = _NUMBERS[:count]
        return turn

    def begin(self) -> None:
        """Say that code begins to run: ticks from before it are not its calls' fault."""
        self.ticks = 0
        self.urgent = False
        self.used = True
        if not self.armed:
            _arm(self)

    def hurry(self) -> None:
        """Have all code that runs look around as soon as it can, and give the event loop a turn; from any thread."""
        self.asked = True
        self.tick()

    def tick(self) -> None:
        """Have code that runs give the event loop a turn as soon as it can."""
        self.due = self.urgent = True
        turn = self.turn
        if turn is not None:
            turn.clear()
        for known in self.guards.copy():
            guards = known()
            if guards is not None:
                guards.invalidate()

    def rested(self) -> None:
        """Say that the event loop has its turn now."""
        self.due = False
        if self.asked:
            self.asked = False
            self.retire()
        if self.guards:
            found = [(known, guards) for known in self.guards if (guards := known()) is not None]
            found = [each for each in found if not each[1].is_retired]  # by a run that is to end: not to be given back
            self.guards = [known for known, _ in found]
            for _, guards in found:
                guards.validate()

    async def rest(self) -> None:
        """Wait while the event loop has its turn."""
        await turns_here().take(self)

    def passed(self) -> None:
        """Say that the event loop has had a turn: a tick that came while others ran asks for nothing more."""
        if self.due:
            self.rested()

    def retire(self) -> None:
        """Have each emitted coroutine look around behind its next await, not only the first that comes to it."""
        retired, self.guards = self.guards, []
        for known in retired:
            guards = known()
            if guards is not None:
                guards.is_retired = True
                guards.invalidate()

    def caught(self, form: CallForm | None) -> None:
        """Take note of the call that had just returned when the flag was seen."""
        if self.ticks >= 2 and form is not None and form.task.mode == "auto":
            form.profile.demote()
        self.ticks = 0

    def caught_in(self, is_async: bool, forms: Iterable[CallForm]) -> None:
        """Take note of an emitted function that had just returned then: one of those that it calls may be slow."""
        if self.ticks >= 2 and not is_async:
            for form in forms:
                if form.task.mode == "auto":
                    form.profile.demote()
        self.ticks = 0


_lock = threading.Lock()
_armed: list[Ticker] = []
_thread: threading.Thread | None = None


def _arm(ticker: Ticker) -> None:
    # Ctrl-C may break off between any two lines: what is not armed in the end is armed by the next who begins.
    global _thread
    with _lock:
        ticker.idle = 0
        if ticker not in _armed:
            _armed.append(ticker)
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_tick, name="cascade-ticker", daemon=True)
            _thread.start()
        ticker.armed = True


def _forget() -> None:
    """In a forked child: the thread is not there, and who holds the lock is not either."""
    global _lock, _thread
    _lock = threading.Lock()
    _thread = None
    for ticker in _armed:
        ticker.armed = False
        ticker.hurry()  # whoever comes to its turn arms it again
    _armed.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _pause() -> float:
    """Return how long to sleep, in seconds, before this thread asks for the GIL, which it is given late."""
    if time.monotonic() - Turns.busy_at < LIVELY:
        return SHORTEST
    return max(TICK - sys.getswitchinterval(), SHORTEST)


def _tick() -> None:
    global _thread
    counted = time.monotonic()
    while True:
        time.sleep(_pause())
        now = time.monotonic()
        counts = now - counted >= TICK
        if counts:
            counted = now
        for ticker in list(_armed):
            ticker.ticks += counts
            ticker.tick()
            if not counts:
                continue
            if ticker.used:
                ticker.used = False
                ticker.idle = 0
                continue
            ticker.idle += 1
            if ticker.idle > IDLE_TICKS:
                with _lock:
                    ticker.armed = False
                    if ticker.used:  # just begun: it saw itself armed and relies on it
                        ticker.armed = True
                    else:
                        _armed.remove(ticker)
        with _lock:
            if not _armed:
                _thread = None
                return
