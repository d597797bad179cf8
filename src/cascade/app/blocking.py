"""Running a coroutine to its end from synchronous code, wherever that is called from; signals end it as Ctrl-C does."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from types import FrameType
from typing import Any

from cascade.runtime.run.active_calls import running_calls
from cascade.runtime.run.state import RunState
from cascade.spec.events import RunWarning
from cascade.spec.lazy import R

__all__ = ["SIGNALS", "Ended", "block_on"]

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Ctrl-C, a system that ends the process, a terminal that is closed (there is no such signal on Windows)."""
MOST_TOLD = 10
"""So many calls are named when a signal ends a run."""
PATIENCE = 1.0
"""Seconds that what holds the thread of the event loop has after a signal, before it is broken off."""
HASTE, ROUNDS = 0.05, 3
"""After a second signal, seconds that what is cancelled has to end, and how often: an end may take tasks of its own."""


def block_on(work: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine to its end from synchronous code, wherever that is called from; a signal cancels it."""
    main = _Interruptible(work)
    value: R = _Helper(main).wait() if _is_looping() else main.run()
    try:
        return value
    finally:
        del value


def _is_looping() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Interruptible:
    """Runs a coroutine in a loop of its own, and cancels it at a signal; a second one does not wait for its end."""

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self.signum = 0
        """Which signal was the first."""
        self._is_told = self._is_overdue = self._is_forced = self._is_over = False
        self._lock = threading.Lock()
        self._running: list[tuple[RunState, str]] | None = None
        self._work = work
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.get_ident()
        self._timer: threading.Timer | None = None

    def run(self) -> Any:
        """Run to the end in this thread; a signal ends it with KeyboardInterrupt or SystemExit."""
        with Handling(self._signalled_here):
            try:
                value = self.begin()
            except BaseException as error:
                if not self.signum:
                    raise
                cause = error if isinstance(error, Exception) else None
                raise error_for(self.signum) from cause
            finally:
                with self._lock:
                    self._is_over = True
        if self.signum:
            raise error_for(self.signum)
        try:
            return value
        finally:
            del value  # it may hold errors whose tracebacks lead here

    def begin(self) -> Any:
        """Run to the end, with signals handled elsewhere."""
        runner = asyncio.Runner()
        try:
            return _taken(runner.run(self._noted()))
        finally:
            try:
                if not self._is_forced:
                    runner.close()
            finally:
                if self._is_forced and self._loop is not None:  # maybe only while tasks swallowed their cancel
                    _abandon(self._loop)
                self._task = None

    async def _noted(self) -> list[Any]:
        """Return what came of it: asyncio's runner would ask an error for its repr, which not every one has."""
        self._loop = asyncio.get_running_loop()
        self._task = task = asyncio.current_task()
        if self.signum and task is not None:  # before there was anything to cancel
            self._is_told = True
            task.cancel()
        try:
            return [await self._work, None]
        except Exception as error:
            return [None, error]

    # --- signals, in the thread that the run is in

    def _signalled_here(self, signum: int, frame: FrameType | None) -> None:
        """End the run; a second signal breaks in where the thread is."""
        if self._is_over:
            return
        if self.signum:
            self._is_forced |= not self._is_overdue
            self._is_overdue = False
            self._tell()
            raise error_for(self.signum)
        self.signum = signum
        if self._loop is not None:
            try:
                self._running = running_calls(self._loop, frame)
            except Exception:  # it came at a moment at which nothing can be told; the run is to end all the same
                self._running = []
            self._timer = threading.Timer(PATIENCE, self._overdue)
            self._timer.daemon = True
            self._timer.start()
            with suppress(RuntimeError):  # the loop is closed: the run has ended by itself
                self._loop.call_soon_threadsafe(self._end)

    def _overdue(self) -> None:
        """Break off what holds the thread of the event loop, which has not had a turn since the signal."""
        with self._lock:
            if not self._is_over and not self._is_told:
                self._is_overdue = True
                if hasattr(signal, "pthread_kill"):  # a sleep ends as well
                    signal.pthread_kill(self._thread, self.signum)
                else:
                    import _thread

                    _thread.interrupt_main(signal.Signals(self.signum))

    def _end(self) -> None:
        assert self._task is not None
        if self._timer is not None:
            self._timer.cancel()
        if not self._task.done():
            self._task.cancel()
            self._tell()

    def _tell(self) -> None:
        """Publish what the signal ends, for each run, once."""
        if self._is_told or self._loop is None:
            return
        self._is_told = True
        running = running_calls(self._loop) if self._running is None else self._running
        named: dict[RunState, list[str]] = {}
        for run, described in running:
            named.setdefault(run, []).append(described)
        what = "Ctrl-C" if self.signum == signal.SIGINT else signal.Signals(self.signum).name
        for run, calls in named.items():
            if run.bus.wants(RunWarning):
                more = f" and {len(calls) - MOST_TOLD} more" if len(calls) > MOST_TOLD else ""
                message = f"{what} ends the run; these were running: {', '.join(calls[:MOST_TOLD])}{more}"
                run.bus.publish(RunWarning(run_id=run.id, code="Interrupted", message=message))

    # --- signals, in another thread

    def signalled_elsewhere(self, signum: int) -> bool:
        """End the run, from the signal handler of another thread; say whether that was asked for before."""
        if self.signum:
            self._is_forced = True
            return True
        self.signum = signum
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._end)
        return False


class _Helper:
    """Runs a coroutine in a loop of its own in a thread, while the thread that asks for it is blocked."""

    def __init__(self, main: _Interruptible) -> None:
        self._main = main
        self._outcome: list[Any] = []
        self._done = threading.Event()

    def wait(self) -> Any:
        thread = threading.Thread(target=copy_context().run, args=(self._begin,), name="cascade-run", daemon=True)
        with Handling(self._signalled):
            thread.start()
            self._done.wait()
        if self._main.signum:
            raise error_for(self._main.signum)
        thread.join()
        return _taken(self._outcome)

    def _signalled(self, signum: int, frame: FrameType | None) -> None:
        # Nothing is raised here, which could come at a bad moment: at a second signal the thread is left behind.
        if self._main.signalled_elsewhere(signum):
            self._done.set()

    def _begin(self) -> None:
        try:
            self._outcome = [self._main.begin(), None]
        except BaseException as error:
            self._outcome = [None, error]
        finally:
            self._done.set()


def _taken(outcome: list[Any]) -> Any:
    """Return the value in an outcome, or raise the error in it; it is emptied, as an error's traceback leads to it."""
    value, error = outcome
    outcome.clear()
    try:
        if error is not None:
            raise error
        return value
    finally:
        del value, error


def _abandon(loop: asyncio.AbstractEventLoop) -> None:
    """Leave an event loop, and the tasks on it that do not end at once."""
    for _ in range(ROUNDS):
        tasks = asyncio.all_tasks(loop)
        if not tasks or loop.is_closed():
            break
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks, timeout=HASTE))
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # nobody waits for it, on purpose
        with suppress(BaseException):  # the `finally`s in it, as far as they go without a loop
            task.get_coro().close()
    loop.close()


class Ended(SystemExit):
    """A signal has ended the run, and ends the process with the code that shells give for it."""

    def __init__(self, signum: int) -> None:
        self.status: int = 128 + signum
        super().__init__(self.status)


def error_for(signum: int) -> BaseException:
    """Return what a run ends with that a signal has ended."""
    return KeyboardInterrupt() if signum == signal.SIGINT else Ended(signum)


class Handling:
    """Lets signals call `handle`, for a while; not those that the program handles itself, or ignores.

    Only in the main thread, where Python calls handlers. A run inside of a run handles them first.
    """

    def __init__(self, handle: Callable[[int, FrameType | None], None]) -> None:
        self._handle = handle
        self._known: dict[int, Any] = {}
        self._process = os.getpid()

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for signum in SIGNALS:
                known = signal.getsignal(signum)
                if _is_usual(signum, known):
                    self._known[signum] = known
                    signal.signal(signum, self._signalled)

    def __exit__(self, *_: object) -> None:
        for signum, known in self._known.items():
            signal.signal(signum, known)

    def _signalled(self, signum: int, frame: FrameType | None) -> None:
        known = self._known[signum]
        if os.getpid() != self._process:  # in a child that was forked meanwhile it means what it did before
            signal.signal(signum, known)
            os.kill(os.getpid(), signum)
            return
        try:
            self._handle(signum, frame)
        finally:
            if _is_ours(known):
                known(signum, frame)


def _is_ours(known: Any) -> bool:
    return isinstance(getattr(known, "__self__", None), Handling)


def _is_usual(signum: int, known: Any) -> bool:
    """Say whether a handler is Python's own, or asyncio's, or that of a run around."""
    asyncios = isinstance(getattr(getattr(known, "func", None), "__self__", None), asyncio.Runner)
    usual = signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL
    return asyncios or known is usual or known == usual or _is_ours(known)
