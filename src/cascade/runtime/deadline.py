"""Timeouts of calls: what ends one attempt that takes too long."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["Deadline", "deadline_of"]


class Deadline:
    """The time that one attempt has, made in the task that it will cancel; the clock starts with `begin`.

    When the time is up the attempt has failed of a TimeoutError, whatever it makes of being cancelled.
    """

    __slots__ = ("_before", "_expired", "_handle", "_is_over", "_loop", "_started", "_task", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._before = task.cancelling()
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._started = 0.0
        self._expired = False
        self._is_over = False

    def begin(self) -> None:
        """Start the clock, on the event loop's thread; a second time changes nothing."""
        if self._handle is None and not self._is_over:
            self._started = self._loop.time()
            self._handle = self._loop.call_later(self.seconds, self._expire)

    def _expire(self) -> None:
        if self._task.cancelling() == self._before:  # else it is about to end, and may be cleaning up
            self._expired = True
            self._task.cancel()

    def settle(self, error: BaseException | None) -> bool:
        """Stop the clock once the attempt has ended, with `error` or without; say whether it was too late.

        It was not if somebody else cancelled it as well, or if it ends the process.
        """
        self._is_over = True
        if self._handle is not None:
            self._handle.cancel()
        if not self._expired:
            return False
        is_cancelled = self._task.uncancel() > self._before
        return not is_cancelled and not isinstance(error, (KeyboardInterrupt, SystemExit))

    def is_past(self) -> bool:
        """Say whether the time is up for a call in place, which held the event loop and could not be stopped."""
        return self._loop.time() - self._started >= self.seconds

    def error(self, described: str) -> TimeoutError:
        """Return the error of a call that was too late."""
        return TimeoutError(f"{described} took longer than its timeout of {self.seconds:g} s")


def deadline_of(gate: Any) -> Deadline | None:
    """Return the deadline of an attempt that is about to be made, if it has one."""
    if gate is None or gate.timeout is None or gate.timeout == float("inf"):
        return None
    return Deadline(gate.timeout)
