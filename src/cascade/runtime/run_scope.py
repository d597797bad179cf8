"""The record of a run: what it is inside of, what ends it before its time, and the handle of who has started it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import Token
from functools import partial
from typing import Any, Generic, Literal

from cascade.runtime.events.bus import MessageBus
from cascade.runtime.frames.cancel_scope import CancelScope, EndableRun, TimedScope
from cascade.runtime.run.active_calls import calls_of, place_here
from cascade.runtime.run.awaiters import Awaiters, scopes_around
from cascade.runtime.run.circular_waits import waiting_for
from cascade.spec.inside import Inside, present
from cascade.spec.lazy import R
from cascade.spec.notebook import drawn
from cascade.spec.parked import Parked
from cascade.spec.refusals import NoValue

__all__ = ["Run", "RunScope", "Waiter", "call_on", "loop_for_start"]

MOST_SHOWN = 5
LATEST = 0.1
"""So many seconds after what it is inside of was to end, a run is cancelled if nobody has passed on the cancel."""


class RunScope(TimedScope):
    """The outermost scope of one run, and how it is ended from outside of the task that it runs in.

    A run that awaits what users wrote has a task of its own, so that each cancel of it is asked for here: whoever
    awaits the run passes on theirs. Other runs stay in the task of their caller, where `cancelling()` tells the
    truth, as nothing but calls is in between; `look` reads it.
    """

    __slots__ = (
        *(
            "_borne",
            "began",
            "_is_placed",
            "_running",
            "_token",
            "caller",
            "cancels",
            "depth",
            "idle",
            "in_place",
            "is_final",
            "is_over",
            "is_told",
        ),
        *("channels", "mailbox", "name", "outer", "own", "reader", "runs"),
    )

    began: float
    """When its first task could begin, by the clock of performance counters."""
    channels: Any
    """The channels of the run (`runtime.channels`); there are none before one is asked for."""
    mailbox: Any
    """What was sent to the run, if nobody records it; there is none before something is sent or waited for."""

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
        self.is_final: bool = False
        """Whether the run was cancelled by its id or handle, and not because who awaits it ends."""
        self._borne = 0 if self.task is None else self.task.cancelling()
        self._is_placed = False
        self.is_told: bool = False
        """Whether it was cancelled as nobody has passed on the cancel of what it is inside of."""
        self._running: list[str] = []
        self.outer: Inside | None = None
        self.depth: int = 0
        self.runs: set[RunScope] = set()
        self.idle: asyncio.Future[None] | None = None
        self._token: Token[Inside | None]

    def begin(self, run: EndableRun) -> None:
        """Let the code that runs from here on know of the run, and start its clock."""
        self.run = run
        run.is_interrupted = self.asked
        outer = present.get()
        if outer is not None and outer.run is not None:  # else it has ended
            self.outer, self.depth = outer, outer.depth + 1
            if self.caller is not None:
                outer.runs.add(self)
                if isinstance(outer, RunScope):  # what ends that ends this, before a cancel has come so far
                    self.around = outer
                    if outer.look() or outer.run.is_interrupted:
                        self._hear()
        self._token = present.set(self)
        if self.seconds is not None:
            self.start()

    def alarm(self) -> None:
        """Have the runs inside look whether what they are inside of is ending: the run, or a scope of it."""
        for inner in tuple(self.runs):
            call_on(inner.loop, inner._hear)

    def _hear(self) -> None:
        if self.run is None:
            return
        if not self._is_placed and self.caller is not None and self.outer is not None:
            self._is_placed = True
            scopes = scopes_around(self.caller, self.outer.run)
            if scopes is None:
                self.asked = True
            elif len(scopes) == 1:
                self.around = scopes.pop()  # what ends that needs a turn or more to come here as a cancel
        if self.asked or (self.around is not None and self.around.is_ending()):
            self.run.interrupt()
            if not self.in_place:
                self.loop.call_later(LATEST, self._pass_on)

    def _pass_on(self) -> None:
        """End the run if no cancel has come from what it is inside of: a task there may have swallowed it."""
        if self.run is not None and not self.cancels:
            self.is_told = True
            self.ask()

    async def empty(self) -> None:
        """End the runs inside that are left over, and wait until they have ended."""
        for run_scope in self.runs:
            run_scope.cancel()
        while self.runs:
            self.idle = self.loop.create_future()
            await self.idle

    def leave(self) -> None:
        """Let go of everything, as the run has ended."""
        outer, self.outer = self.outer, None
        if outer is not None:
            outer.runs.discard(self)
            if outer.idle is not None and not outer.idle.done():
                outer.loop.call_soon_threadsafe(_resolve, outer.idle)
        self.run = self.task = self.caller = self.reader = self.around = (
            None  # tasks keep errors whose tracebacks lead here
        )
        try:
            present.reset(self._token)
        except ValueError:
            return  # it was closed from elsewhere

    def move(self, task: asyncio.Task[Any] | None) -> None:
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
        self.is_final = True
        call_on(self.loop, self.ask)

    def ask(self) -> None:
        """Cancel the run, on its event loop's thread."""
        if self.task is not None and not self.is_over:
            self.cancels += 1
            self.end()
            self.task.cancel()

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

    @property
    def awaited_by(self) -> asyncio.Task[Any] | None:
        """The asyncio task that awaits the run; None: none does, that is known of."""
        return self.caller or (None if self.reader is None else self.reader())

    def about_here(self) -> tuple[tuple[Any, ...], Any] | None:
        """Return what is known of the call that this code is in, for a process that makes it; and what hears that."""
        from cascade.runtime.frames.step_keys import about

        place = place_here()
        return None if place is None else (tuple(about(place.run, place.call, place.attempt)), place)

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
        self._run_scope = run_scope

    def cancel(self, msg: object = None) -> bool:
        """Cancel the run."""
        if self.done():
            return False
        if self._is_asking:  # who waits is a part of the run, which is being cancelled
            return super().cancel(msg)
        self.is_asked = self._is_asking = True
        if not self._run_scope.is_told:
            self._run_scope.ask()
        self._is_asking = False
        return True

    def end(self, _: object) -> None:
        """Let who waits go on, as the run's task has ended."""
        if not self.done():
            self.set_result(None)

    async def told_by(self, execute: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Execute a run, in a task of its own, and say what came of it, also what a task would pass by its waiters."""
        try:
            self._run_scope.move(asyncio.current_task())
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
    def status(self) -> Literal["Running", "Parked", "Succeeded", "Failed", "Cancelled"]:
        """How it is going, or how it ended."""
        task = self._task
        if not task.done():
            return "Running"
        if task.cancelled():  # asked for, or else a task of the run raised it
            return "Cancelled" if self._run_scope.is_cancelled or not self._run_scope.is_over else "Failed"
        error = task.exception()
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            return "Cancelled"
        if error is None:
            return "Parked" if task.result().__class__ is Parked else "Succeeded"
        return "Failed"

    def cancel(self) -> None:
        """End the run: what is running is cancelled, and awaiting the run raises CancelledError.

        May be called from any thread. A run that has ended is left as it is.
        """
        self._run_scope.cancel()

    def __repr__(self) -> str:
        return f"<Run {self.id}: {self.status}>"

    def _repr_html_(self) -> str | None:
        return drawn(self)


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


def call_on(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    """Call a function on the thread of an event loop: at once if that is this one, never if the loop has ended."""
    try:
        is_here = asyncio.get_running_loop() is loop
    except RuntimeError:
        is_here = False
    if is_here:
        function()
    else:
        with suppress(RuntimeError):  # it is closed
            loop.call_soon_threadsafe(function)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
