"""Timeouts of calls: what ends one attempt that takes too long."""

from __future__ import annotations

import asyncio
from typing import Any

from cascade.runtime.frames.cancel_scope import CancelScope, TimedScope

__all__ = ["Deadline", "deadline_of"]


class Deadline(TimedScope):
    """The time that one attempt has, made in the task that it will cancel; the clock starts with `start`."""

    __slots__ = ()

    def __init__(self, run: Any, around: CancelScope, seconds: float) -> None:
        super().__init__(run, around, seconds)
        self.task = asyncio.current_task()

    def settle(self, error: BaseException | None, by_clock: bool = True) -> bool:
        """Stop the clock once the attempt has ended, with `error` or without; say whether it was too late.

        Args:
            by_clock: the attempt was made on the event loop's thread, and may have held it. (A thread's call may have
                ended in time, and have come to be heard late.)
        """
        self.stop()
        self.task = None  # which may keep an error whose traceback leads here
        return (by_clock or self.expired) and self.is_late(error)

    def error(self, described: str) -> TimeoutError:
        """Return the error of a call that was too late."""
        return TimeoutError(f"{described} took longer than its timeout of {self.seconds:g} s")


def deadline_of(run: Any, around: CancelScope, gate: Any) -> Deadline | None:
    """Return the deadline of an attempt that is about to be made, if it has one."""
    if gate is None or gate.timeout is None or gate.timeout == float("inf"):
        return None
    return Deadline(run, around, gate.timeout)
