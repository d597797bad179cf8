"""What ends a run before its time: a timeout of the whole run, a cancel of it or of the task that awaits it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from cascade.runtime.frames.cancel_scope import CancelScope, EndableRun, TimedScope
from cascade.runtime.run.active_calls import calls_of
from cascade.runtime.run.awaiters import Awaiters
from cascade.runtime.run.circular_waits import waiting_for

__all__ = ["RunScope", "Waiter"]

MOST_SHOWN = 5


class RunScope(TimedScope):
    """The outermost scope of one run, and how it is ended from outside of the task that it runs in.

    A run that awaits what users wrote has a task of its own, so that each cancel of it is asked for here: whoever
    awaits the run passes on theirs. Other runs stay in the task of their caller, where `cancelling()` tells the
    truth, as nothing but calls is in between; `look` reads it.
    """

    __slots__ = ("_borne", "_running", "caller", "cancels", "in_place", "is_over", "name", "own", "reader", "waiter")

    def __init__(self, name: str, seconds: float | None) -> None:
        self.run: Any = None  # this and the next lines without a call more: every run has one
        self.around: CancelScope | None = None
        self.asked: bool = False
        self.seconds: float | None = seconds
        self.expired: bool = False
        self._handle, self._started, self._is_over = None, None, False
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.name: str = name
        self.task = asyncio.current_task(self.loop)
        self.caller: asyncio.Task[Any] | None = self.task
        """The task that awaits the run; None: it was started, as one of its own."""
        self.reader: Callable[[], asyncio.Task[Any] | None] | None = None
        """Gives the task that can only wait for more results of the run, if somebody takes them one by one."""
        self.in_place: bool = True
        self.cancels: int = 0
        """How many cancels of the task were asked for here."""
        self.own: int = 0
        """How many cancels of the task are the run's own: a clock's, or a child's that failed."""
        self.is_over: bool = False
        self.waiter: Waiter | None = None
        """What the caller waits for, if the run has a task of its own."""
        self._borne = 0 if self.task is None else self.task.cancelling()
        self._running: list[str] = []

    def begin(self, run: EndableRun) -> None:
        """Start the clock of a run."""
        self.run = run
        run.is_interrupted = self.asked
        if self.seconds is not None:
            self.start()

    def move(self, task: asyncio.Task[Any]) -> None:
        """Give the run a task of its own."""
        self.task, self.in_place, self._borne = task, False, 0

    def _expire(self) -> None:
        if not self.look():
            self._running = calls_of(self.run)
            super()._expire()

    def look(self) -> bool:
        """Say whether the run is ending; look for a cancel that nobody has told of."""
        if not self.asked and self.in_place and self._is_told():
            self.asked = True
            if self.run is not None:
                self.run.is_interrupted = True
        return self.asked

    def _is_told(self) -> bool:
        """Say whether the caller's task, where the run is in it, was cancelled by somebody else than the clock."""
        task = self.task
        return self.in_place and task is not None and task.cancelling() > self._borne + self.own

    def cancel(self) -> None:
        """Cancel the run, from any thread."""
        try:
            on_loop = asyncio.get_running_loop() is self.loop
        except RuntimeError:
            on_loop = False
        if on_loop:
            self.ask()
        else:
            with suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(self.ask)

    def ask(self) -> None:
        """Cancel the run, on its event loop's thread."""
        if self.task is not None and not self.is_over:
            self.cancels += 1
            self.end()
            self.task.cancel()
            if self.run is None and self.waiter is not None:  # it never comes to begin
                self.task.add_done_callback(self.waiter.end)

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody has cancelled the run, and not its clock."""
        return self.cancels > 0 or (self.look() and not self.expired) or self._is_told()

    def settle(self, error: BaseException | None) -> BaseException | None:
        """Stop the clock once the run has its outcome; return what the run ends with."""
        self.stop()
        if not self.is_past() or self.is_cancelled or isinstance(error, (KeyboardInterrupt, SystemExit)):
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

    async def outcome(self, task: asyncio.Task[Any]) -> Any:
        """Wait for a run that was started, or give what came of it; a cancel of who waits here is one of the run."""
        waiter = None
        try:
            if not task.done():
                here = asyncio.current_task()
                waiter = Waiter(self)
                task.add_done_callback(waiter.end)
                with waiting_for(self, waiter, partial(self.vain, here), here):
                    await waiter
            if waiter is not None and waiter.is_asked and not task.cancelled() and task.exception() is None:
                raise asyncio.CancelledError
            return task.result()
        finally:
            del self, task, waiter  # the traceback leads here

    def vain(self, task: asyncio.Task[Any] | None) -> Exception:
        """Return the error for an asyncio task that awaits the run and is awaited by it."""
        calls = Awaiters(task).calls
        who = calls[0][0].described(calls[0][1]) if calls else f"task {task and task.get_name()!r}"
        return RuntimeError(
            f"{who} awaits the run {self.name!r}, which itself waits for it: they would wait for each other, "
            "for ever; return what the run is to give, or start what is to be awaited as a run of its own"
        )

    async def forgive(self) -> None:
        """Leave the task of the caller, which goes on behind the run, as if it had not been cancelled here."""
        task = asyncio.current_task()
        left = 0
        for _ in range(self.cancels):
            left = 0 if task is None else task.uncancel()
        try:
            await asyncio.sleep(0)  # a cancel that has not come yet comes here
        except asyncio.CancelledError:
            if left > self._borne:
                raise


class Waiter(asyncio.Future[Any]):
    """What somebody waits for who awaits a run: cancelled, it has the run end, and is done when that is."""

    def __init__(self, run_scope: RunScope) -> None:
        super().__init__(loop=run_scope.loop)
        self.is_asked: bool = False
        self._is_asking = False
        self._ask = run_scope.ask

    def cancel(self, msg: object = None) -> bool:
        """Cancel the run."""
        if self.done():
            return False
        if self._is_asking:  # who waits is a part of the run, which is being cancelled
            return super().cancel(msg)
        self.is_asked = self._is_asking = True
        self._ask()
        self._is_asking = False
        return True

    def end(self, _: object) -> None:
        """Let who waits go on, as the run's task has ended."""
        if not self.done():
            self.set_result(None)

    async def told_by(self, execute: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Execute a run, in a task of its own, and say what came of it, also what a task would pass by its waiters."""
        try:
            work = execute(*args)
            del args
            value = await work
        except GeneratorExit:  # the event loop was left behind, and nobody waits any more
            raise
        except BaseException as error:
            self.set_exception(error)
        else:
            self.set_result(value)
        finally:
            value = None
            del self  # it keeps an error whose traceback leads here
