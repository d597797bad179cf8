"""What ends a run before its time: a timeout of the whole run, or a cancel by its id."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from cascade.runtime.run import RunState
from cascade.runtime.running import calls_of

__all__ = ["Ending"]

MOST_SHOWN = 5


class Ending:
    """How one run may be ended from outside of the task that it runs in."""

    __slots__ = (
        *("_borne", "_expired", "_handle", "_running", "asked", "is_over", "loop", "name", "run", "seconds", "task"),
    )

    def __init__(self, name: str, seconds: float | None, task: asyncio.Task[Any] | None = None) -> None:
        self.name = name
        self.seconds = seconds
        self.task = task
        self.run: RunState | None = None
        """Once it has begun."""
        self.asked = 0
        """How many cancels of the task were asked for here."""
        self.is_over = False
        self.loop = asyncio.get_running_loop()
        self._borne = 0
        self._handle: asyncio.TimerHandle | None = None
        self._expired = False
        self._running: list[str] = []

    def begin(self, run: RunState) -> None:
        """Start the clock, in the task of the run."""
        self.run = run
        self._borne = run.borne
        if self.seconds is not None and self.seconds != float("inf"):
            self._handle = self.loop.call_later(self.seconds, self._expire, run)

    def _expire(self, run: RunState) -> None:
        assert self.task is not None
        if self.task.cancelling() == self._borne:  # else it is about to end
            self._running = calls_of(run)
            self._expired = True
            self.task.cancel()

    def cancel(self) -> None:
        """Cancel the run, from any thread."""
        try:
            on_loop = asyncio.get_running_loop() is self.loop
        except RuntimeError:
            on_loop = False
        if on_loop:
            self._cancel()
        else:
            with suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self.task is not None and not self.is_over:
            self.asked += 1
            self.task.cancel()

    def settle(self, error: BaseException | None) -> BaseException | None:
        """Stop the clock once the run has its outcome; return what the run ends with."""
        if self._handle is not None:
            self._handle.cancel()
        if not self._expired:
            return error
        assert self.task is not None
        is_cancelled = self.task.uncancel() > self._borne
        if is_cancelled or isinstance(error, (KeyboardInterrupt, SystemExit)):
            return error
        shown, more = ", ".join(self._running[:MOST_SHOWN]), len(self._running) - MOST_SHOWN
        late = TimeoutError(
            f"run {self.name!r} took longer than its timeout of {self.seconds:g} s"
            + (f", and these were running: {shown}" if shown else "")
            + (f" and {more} more" if more > 0 else "")
        )
        if error is not None and not isinstance(error, asyncio.CancelledError):
            late.__cause__ = error
        return late

    async def forgive(self) -> None:
        """Leave the task, which goes on behind the run, as if it had not been cancelled here."""
        task = self.task
        left = 0
        for _ in range(self.asked):
            left = 0 if task is None else task.uncancel()
        try:
            await asyncio.sleep(0)  # a cancel that has not come yet comes here
        except asyncio.CancelledError:
            if left > self._borne:
                raise
