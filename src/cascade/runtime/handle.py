"""A run that goes on while its caller does something else."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any, Generic, Literal

from cascade.runtime.events.bus import MessageBus
from cascade.runtime.run_scope import RunScope
from cascade.spec.lazy import R
from cascade.spec.refusals import NoValue

__all__ = ["Run", "loop_for_start"]


class Run(NoValue, Generic[R]):
    """A run that was started: await it for its result."""

    def __init__(self, run_scope: RunScope, task: asyncio.Task[R], bus: MessageBus) -> None:
        self.id: str = run_scope.name
        self._run_scope = run_scope
        self._task = task
        self._bus = bus

    def __bool__(self) -> Literal[True]:  # type: ignore[override]
        return True

    def _spelled(self) -> str:
        return "run"

    def _why(self, what: str) -> str:
        return f"{self!r} is a run and not its value, so it cannot be {what}"

    def _instead(self, instead: str) -> str:
        return "await it first: value = await run"

    def __await__(self) -> Generator[Any, None, R]:
        if not self._task.done() and asyncio.get_running_loop() is not self._run_scope.loop:
            raise RuntimeError(
                f"{self!r} goes on on another event loop than the one that awaits it here: await it where it was "
                "started (asyncio.run_coroutine_threadsafe(...) asks from another thread), or start it on this loop"
            )
        if not self._task.done():
            self._run_scope.caller = self._run_scope.caller or asyncio.current_task()
        waiting, work = self._bus.waiting_for(self.id), self._run_scope.outcome(self._task).__await__()
        del self  # the task keeps an error whose traceback leads here
        with waiting:
            try:
                result: R = yield from work
                return result
            finally:
                del work

    @property
    def status(self) -> Literal["Running", "Succeeded", "Failed", "Cancelled"]:
        """How it is going, or how it ended."""
        task = self._task
        if not task.done():
            return "Running"
        if task.cancelled():  # asked for, or else a task of the run raised it
            return "Cancelled" if self._run_scope.is_cancelled or not self._run_scope.is_over else "Failed"
        error = task.exception()
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            return "Cancelled"
        return "Succeeded" if error is None else "Failed"

    def cancel(self) -> None:
        """End the run: what is running is cancelled, and awaiting the run raises CancelledError.

        May be called from any thread. A run that has ended is left as it is.
        """
        self._run_scope.cancel()

    def __repr__(self) -> str:
        return f"<Run {self.id}: {self.status}>"


def loop_for_start() -> asyncio.AbstractEventLoop:
    """Return the event loop that a run is started on.

    Raises:
        RuntimeError: none is running.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "engine.start(...) begins a run on the running event loop, and there is no running event loop here: "
            "call it in an `async def main(): ...` that asyncio.run(main()) runs (run = engine.start(target); value = "
            "await run), or use cs.run(target), which needs no loop"
        ) from None
