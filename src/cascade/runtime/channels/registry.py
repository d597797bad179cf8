"""The channels of one run, by name; who waits in them is counted, and looked at from time to time.

A wait that is over soon costs two numbers. As long as somebody waits, a timer looks whether anybody has gone on since
it looked last; only if nobody has is it found out whether anybody could (`standstill`). Pauses grow, so that a run
which waits for a day is not looked at every moment.
"""

from __future__ import annotations

import asyncio
from _thread import get_ident
from collections.abc import Callable
from contextvars import Context
from time import perf_counter
from types import FrameType
from typing import TYPE_CHECKING, Any
from weakref import ref

from cascade.errors import ChannelError
from cascade.runtime.budgets.account import pause, resume
from cascade.runtime.channels.standstill import Standstill, standstill
from cascade.runtime.run.awaiters import whereabouts
from cascade.runtime.run.deadlock import PAUSES
from cascade.spec.channels import Channel, Topic
from cascade.spec.events import Event, TaskBlocked
from cascade.spec.inside import inside_of
from cascade.spec.lines import Line
from cascade.spec.signal import UNSET

if TYPE_CHECKING:
    from cascade.runtime.run.state import RunState

__all__ = ["RunChannels", "channels_of"]

SHARE = 50
"""So many times as long as a look takes is the pause behind it, at the least."""


class RunChannels:
    """The channels of one run."""

    __slots__ = (
        *("__weakref__", "ended", "letters", "loop", "named", "quiet", "scope", "seen", "thread", "told", "waiting"),
        *("_has_budgets", "_timer", "_wants"),
    )

    def __init__(self, scope: Any) -> None:
        self.scope = scope
        self.loop: asyncio.AbstractEventLoop = scope.loop
        self.thread = get_ident()
        self.named: dict[str, Channel[Any] | Topic[Any]] = {}
        self.letters = scope.run.letters(self.named)
        """The messages, if the run is recorded."""
        self.waiting = 0
        """How many wait."""
        self.ended = 0
        """How many waits were over so far."""
        self.seen = -1
        """How many were, at the last look."""
        self.quiet = 0
        """How often in a row nobody had gone on."""
        self.told = 0
        """How many were told at once that they wait in vain, the last time."""
        self._timer: asyncio.TimerHandle | None = None
        self._wants: Callable[[type[Event]], bool] = scope.run.bus.wants
        self._has_budgets: bool = scope.run.has_budgets

    def declare(
        self, name: str, kind: Any, capacity: int | None, readers: int | None, frame: FrameType
    ) -> Channel[Any] | Topic[Any]:
        """Return the channel of a name, made when it is first asked for, which `frame` does.

        Raises:
            ChannelError: it was declared otherwise.
        """
        found = self.named.get(name)
        if found is None:
            declared = frame.f_code, frame.f_lineno
            if readers is not None:
                found = Topic(self, name, declared, readers)
            elif self.letters is not None:
                found = self.letters.channel(self, name, declared)
            else:
                found = Channel(self, name, declared)
            found.declare(kind, capacity)
            self.named[name] = found
            return found
        if readers != found.least:
            raise found.declared_twice(f"readers={found.least}", f"readers={readers}", (frame.f_code, frame.f_lineno))
        if (kind is not UNSET and kind is not found.kind) or (capacity is not None and capacity != found.asked):
            found.agree(kind, capacity, (frame.f_code, frame.f_lineno))
        return found

    # --- who waits

    def begin(self, line: Line, doing: str) -> None:
        """Take note that somebody begins to wait."""
        run: RunState | None = self.scope.run
        if run is None:
            raise ChannelError(f"{line.title} belongs to run {self.scope.name!r}, which has ended")
        if self._wants(TaskBlocked):
            _publish(line, doing)
        if self._has_budgets:
            pause(run)
        self.waiting += 1
        if self._timer is None:
            self.seen, self.quiet = self.ended, 0
            self._arm(PAUSES[0])

    def end(self) -> None:
        """Take note that somebody waits no more."""
        self.waiting -= 1
        self.ended += 1
        if self._has_budgets and self.scope.run is not None:
            resume(self.scope.run)

    def check_use(self, line: Line) -> None:
        """Raise ChannelError unless a channel may be used from here."""
        name = self.scope.name
        if asyncio._get_running_loop() is not self.loop:
            raise ChannelError(
                f"{line.title} lives on the event loop of its run, {name!r}, and is used from another thread or event "
                "loop: use it in an async task; from elsewhere, asyncio.run_coroutine_threadsafe(...) has it done"
            )
        if self.scope.run is None:
            raise ChannelError(f"{line.title} belongs to run {name!r}, which has ended")
        inside = inside_of()
        if inside is not self.scope and not line.is_outside:
            where = "outside of any run" if inside is None else f"in run {inside.name!r}"
            raise ChannelError(
                f"{line.title} belongs to run {name!r} and is used {where}: a run asks for channels of its own, "
                "cs.channel(name); if code outside is to use it, say so in the run: channel.open_outside()"
            )

    # --- who waits in vain

    def _arm(self, pause: float) -> None:
        self._timer = self.loop.call_later(pause, _look_at, ref(self), context=Context())

    def look(self) -> None:
        """Look whether anybody has gone on; if not, whether anybody can."""
        self._timer = None
        run = self.scope.run
        if run is None or not self.waiting:
            return
        begun, found = perf_counter(), None
        if self.ended == self.seen or self.told:
            found = standstill(run, [each for line in self.named.values() for each in line.waiters()])
            self.quiet += 1
        else:
            self.quiet = 0
        self.seen = self.ended
        if found is not None:
            self._tell(found)
            self._arm(PAUSES[0] / 50)
            return
        self.told = 0
        if self.quiet < len(PAUSES):
            pause = PAUSES[self.quiet]
        elif getattr(self.loop, "clock", None) is not None:
            return  # a virtual clock, which says itself that nothing is left to happen
        else:
            pause = PAUSES[-1]
        self._arm(max(pause, SHARE * (perf_counter() - begun)))

    def _tell(self, found: Standstill) -> None:
        """Have one of those who wait in vain fail; if that changes nothing for the others, more and more of them."""
        self.told = 2 * self.told or 1
        for future in found.futures[: self.told]:
            if not future.done():
                future.set_exception(found.error())


def _look_at(channels: ref[RunChannels]) -> None:
    known = channels()
    if known is not None:
        known.look()


def _publish(line: Line, doing: str) -> None:
    place = whereabouts()
    if place is not None:
        place.run.publish_blocked(place.call, line.doing(doing))


def channels_of(scope: Any) -> RunChannels:
    """Return the channels of a run, made when the first is asked for."""
    found: RunChannels
    try:
        found = scope.channels
    except AttributeError:
        found = scope.channels = RunChannels(scope)
    return found
