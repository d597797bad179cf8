"""Who asked for a cancel: the account that decides whether work may go on.

asyncio's own account, `Task.cancelling()`, cannot decide it. A `TaskGroup` cancels the task that it is in, and before
Python 3.13 does not always take that back; and a body may swallow the CancelledError that was meant for all that
comes after it (`asyncio.wait_for` of 3.11 does so by itself, if what it waits for comes in the same turn). So whatever
ends work early is written down here, as a chain: a run, around the attempt of a sub-flow with a timeout, around the
children of a frame. Work is ending if any link around it is, and then nothing of it begins: no entry of a loop, no
item, no attempt, no call that had to wait. Cancelling the asyncio task is only how a waiting body gets to know.

The chain is as those of trio and anyio are. Unlike theirs a cancel is told to a body once, as asyncio's users expect:
what it awaits afterwards, to clean up, is left alone.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

__all__ = ["CancelScope", "TimedScope"]


class EndableRun(Protocol):
    """What a scope asks of the run that it is in."""

    is_interrupted: bool
    run_scope: Any

    def interrupt(self) -> None:
        """Have the code that runs now look around."""

    def is_asked(self, error: BaseException, scope: CancelScope) -> bool:
        """Say whether an error is the cancel of a scope, or of what is around it."""


class CancelScope:
    """Work that may be ended before its time."""

    __slots__ = ("around", "asked", "run")

    def __init__(self, run: EndableRun | None, around: CancelScope | None) -> None:
        self.run: Any = run
        self.around: CancelScope | None = around
        self.asked: bool = False
        """Whether the work is to end, so that nothing of it may begin any more."""

    def is_ending(self) -> bool:
        """Say whether this, or what is around it, is to end."""
        if self.run is not None and not self.run.is_interrupted:
            return False  # nothing of the run is
        scope: CancelScope | None = self
        while scope is not None:
            if scope.asked:
                return True
            scope = scope.around
        return False

    def check(self) -> None:
        """Raise CancelledError if this is ending: to be called behind whatever may have swallowed one."""
        if self.is_ending():
            raise asyncio.CancelledError

    def end(self) -> None:
        """Write down that this is to end, and have the code that runs now look around."""
        self.asked = True
        if self.run is not None:
            self.run.interrupt()

    def cancel_task(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task that this takes back by `uncancel_task`; the run is to know that nobody else did."""
        if self.run is not None and task is self.run.run_scope.task:
            self.run.run_scope.own += 1
        task.cancel()

    def uncancel_task(self, task: asyncio.Task[Any]) -> None:
        """Take back such a cancel, once the task has heard of it."""
        if self.run is not None and task is self.run.run_scope.task:
            self.run.run_scope.own -= 1
        task.uncancel()


class TimedScope(CancelScope):
    """Work in one task that has so many seconds.

    When they are over it has failed of a TimeoutError, whatever it makes of being cancelled. If somebody ends what is
    around it as well, that wins.
    """

    __slots__ = ("_handle", "_is_over", "_started", "expired", "loop", "seconds", "task")

    def __init__(self, run: EndableRun | None, around: CancelScope | None, seconds: float | None) -> None:
        self.run: Any = run  # without a call more: every run has some of these
        self.around: CancelScope | None = around
        self.asked: bool = False
        self.seconds: float | None = seconds
        self.task: asyncio.Task[Any] | None = None
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.expired: bool = False
        self._handle: asyncio.TimerHandle | None = None
        self._started: float | None = None
        self._is_over = False

    def start(self, spent: float = 0.0) -> None:
        """Start the clock, of which so many seconds are spent, on the event loop's thread; only once."""
        if self._started is None and not self._is_over and self.seconds is not None and self.seconds != float("inf"):
            self._started = self.loop.time() - spent
            self._handle = self.loop.call_later(self.seconds - spent, self._expire)

    def _expire(self) -> None:
        assert self.task is not None
        if not self.is_ending():  # else it may be cleaning up
            self.expired = True
            self.end()
            self.cancel_task(self.task)

    def is_past(self) -> bool:
        """Say whether the time is up, also for work that held the event loop, so that no timer came."""
        if self._started is None or self.seconds is None:
            return False
        return self.expired or self.loop.time() - self._started >= self.seconds

    def stop(self) -> None:
        """Stop the clock once the work has ended; take back the cancel of its task."""
        self._is_over = True
        if self._handle is not None:
            self._handle.cancel()
        if self.expired and self.task is not None:
            self.uncancel_task(self.task)

    def is_late(self, error: BaseException | None) -> bool:
        """Say whether work that ended with `error`, or without, is too late, and nobody else has ended it."""
        ended = self.around is not None and self.around.is_ending()
        return not ended and not isinstance(error, (KeyboardInterrupt, SystemExit)) and self.is_past()
