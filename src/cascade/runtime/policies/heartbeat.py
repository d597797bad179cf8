"""Heartbeats of calls: what ends one attempt that has been silent for too long."""

from __future__ import annotations

import asyncio
from typing import Any

from cascade.runtime.frames.cancel_scope import TimedScope
from cascade.runtime.policies.managed import ManagedCall, Work, late
from cascade.spec.readable import readable

__all__ = ["Pulse", "alive"]


class Pulse(TimedScope):
    """The time that a call may be silent: each sign of life begins it anew.

    A sign is no more than a time that is written down, from whatever thread: the timer looks at it when it comes due.
    """

    __slots__ = ("last", "was_silent")

    def __init__(self, managed: ManagedCall, seconds: float) -> None:
        TimedScope.__init__(self, managed.run, managed.clock or managed.call.scope, seconds)
        self.last: float = float("-inf")
        self.was_silent = False
        """Whether a sign came too late, and before the timer could come: where it held the event loop."""

    def start(self, spent: float = 0.0) -> None:
        """Start the clock, on the event loop's thread; only once."""
        super().start(spent)
        if self._started is not None:
            self.last = max(self.last, self._started)

    def beat(self, is_prompt: bool = True) -> None:
        """Take down a sign of life; `is_prompt` if it was not on its way for long."""
        now = self.loop.time()
        if is_prompt and self.seconds is not None and now - self.last >= self.seconds and self._started is not None:
            self.was_silent = True
        self.last = now

    def is_past(self) -> bool:
        """Say whether the call was silent for too long, also where it held the event loop, so that no timer came."""
        if self._started is None or self.seconds is None:
            return False
        return self.expired or self.was_silent or self.loop.time() - self.last >= self.seconds

    def _expire(self) -> None:
        assert self.seconds is not None
        left = self.last + self.seconds - self.loop.time()
        if left > 0:
            self._handle = self.loop.call_later(left, self._expire)
        else:
            super()._expire()


@readable("pulse")
async def alive(managed: ManagedCall, seconds: float, work: Work) -> Any:
    """Do the work of one attempt, for as long as it gives signs of life."""
    pulse = managed.pulse = Pulse(managed, seconds)
    pulse.task = asyncio.current_task()
    if managed.is_here:
        pulse.start()  # else when a thread or process takes it up
    failure: BaseException | None = None
    try:
        value = await work(managed)
    except BaseException as error:
        failure = error
    try:
        pulse.stop()
        pulse.task = managed.pulse = None  # which may keep an error whose traceback leads here
        if (managed.is_here or pulse.expired) and pulse.is_late(failure):
            described = managed.run.described(managed.call)
            raise late(
                f"{described} gave no sign of life for its heartbeat of {seconds:g} s; it gives one by "
                "cs.current().heartbeat()",
                failure,
            )
        if failure is not None:
            raise failure
    finally:
        failure = None  # the traceback leads here
    return value
