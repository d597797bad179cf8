"""Structured concurrency for one frame: what it starts ends with it.

The shape of `asyncio.TaskGroup`, without an object per task of our own: the host awaits, children run beside
it; the first failure cancels the others and comes out of the host once all have ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from types import CoroutineType
from typing import Any, TypeVar

from cascade.runtime.admission.ticket import Ticket
from cascade.runtime.frames.cancel_scope import CancelScope, EndableRun
from cascade.runtime.frames.started import Started, close
from cascade.spec.readable import readable
from cascade.spec.shown import without_passwords

__all__ = ["Interrupted", "NodeFailure", "Scope", "preview_of", "to_the_end"]

T = TypeVar("T")


class NodeFailure(Exception):
    """Carries what a task raised through the engine; only the original comes out of a run."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.others: list[BaseException] = []
        """What other nodes raised at about the same time."""


class Interrupted(asyncio.CancelledError):
    """A cancel, with what nodes raised while they were being cancelled."""

    def __init__(self, others: list[BaseException]) -> None:
        super().__init__()
        self.others = others


class Scope(CancelScope):
    """The children of one host, and the first failure among them."""

    __slots__ = ("_interrupted", "_tasks", "_waiter", "failure", "host", "others", "parked")

    def __init__(self, run: EndableRun, around: CancelScope | None) -> None:
        self.run, self.around, self.asked = run, around, False  # without a call more: every run has some of these
        self.host: asyncio.Task[Any] | None = None
        self.failure: BaseException | None = None
        self.others: list[BaseException] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.parked: set[Ticket] = set()
        """Tickets of children that have not begun: they wait to be let in, or were just now."""
        self._waiter: asyncio.Future[None] | None = None
        self._interrupted = False

    @property
    def children(self) -> frozenset[asyncio.Task[None]]:
        """The asyncio tasks of the children that run."""
        return frozenset(self._tasks)

    def begin(self) -> None:
        """Make the current task the host."""
        self.host = asyncio.current_task()

    def forget(self) -> None:
        """Forget what failed, and where, once all is over: its traceback leads here."""
        self.failure = self.host = None
        self.others = []

    def start(self, work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Run `work(*args)` beside the host. In a scope that is ending nothing starts.

        A coroutine that comes last among the arguments is closed if nobody came to await it.
        """
        self._start(None if self.is_ending() else self._watch(work, args), args[-1])

    def start_watched(self, work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Start a child whose work takes this scope as its last argument, and calls `caught` and `leave` itself."""
        self._start(None if self.is_ending() else work(*args, self), args[-1])

    def add(self, child: asyncio.Task[None]) -> None:
        """Take a child in that calls `caught` and `leave` itself."""
        self._tasks.add(child)

    def _start(self, work: Coroutine[Any, Any, None] | None, started: object) -> None:
        if work is not None:
            task = asyncio.get_running_loop().create_task(work)
            self._tasks.add(task)
            if isinstance(started, (CoroutineType, Started)):
                task.add_done_callback(lambda _: started.close())
        else:
            close(started)

    def start_in(self, context: Context, work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Start a child with other context variables than those of here, for a call that had to wait."""
        if not self.is_ending():
            self._tasks.add(asyncio.get_running_loop().create_task(work(*args, self), context=context))

    def send_away(self) -> None:
        """Let go of the calls that were to be let in, or were and have not begun."""
        if self.parked:
            parked, self.parked = self.parked, set()
            next(iter(parked)).admission.withdraw(parked)

    async def _watch(self, work: Callable[..., Coroutine[Any, Any, None]], args: tuple[Any, ...]) -> None:
        try:
            self.check()  # since it was made
            await work(*args)
        except BaseException as error:
            self.caught(error)
        finally:
            self.leave()

    def caught(self, error: BaseException) -> None:
        """Take note of what a child raised."""
        if not self.run.is_asked(error, self):
            self.fail(error)
        elif isinstance(error, Interrupted):
            self.others += map(NodeFailure, error.others)

    def leave(self) -> None:
        """Take note that the current child ends."""
        tasks = self._tasks
        tasks.discard(asyncio.current_task())
        if not tasks:
            self._wake()

    def fail(self, error: BaseException) -> None:
        """Note a failure; the first one cancels the other children and reaches the host."""
        if self.failure is not None:
            self.others.append(error)
            return
        self.failure = error
        self.end()
        self.send_away()
        for task in self._tasks:
            task.cancel()
        if self._waiter is not None:
            self._wake()
        elif self.host is not None and self.host is not asyncio.current_task():
            self._interrupted = True
            self.cancel_task(self.host)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @readable("self")
    async def wait_until(self, is_there: Callable[[], bool], ask: Callable[[Any], None]) -> None:
        """Wait until `is_there()`; `ask` is given a future to resolve at the time. Raises the scope's failure."""
        while not is_there():
            if self.failure is not None:
                raise self.failure
            self._waiter = asyncio.get_running_loop().create_future()
            ask(self._waiter)
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self.failure is not None:
            raise self.failure

    async def join(self) -> None:
        """Wait until no child runs. Raises the scope's failure."""
        await self.wait_until(lambda: not self._tasks and not self.parked, lambda waiter: None)

    def _is_around_ending(self) -> bool:
        return self.around is not None and self.around.is_ending()

    async def close(self, error: BaseException) -> BaseException:
        """End what still runs after `error` reached the host; return what comes out of the host."""
        is_first = self.failure is None
        failure = self.failure = error if self.failure is None else self.failure
        if not self.asked:
            self.end()
        self.send_away()
        if is_first:  # else `fail` has cancelled them, and they may be cleaning up
            for task in self._tasks:
                task.cancel()
        raised, host = error, self.host
        cancelled = isinstance(error, asyncio.CancelledError) or self._is_around_ending()
        while self._tasks:
            try:
                await asyncio.wait(self._tasks)
            except asyncio.CancelledError:
                cancelled = True
            self._tasks = {task for task in self._tasks if not task.done()}  # some never came to begin
        self.send_away()
        if self._interrupted:
            self._interrupted = False
            error = failure
            if host is not None:
                self.uncancel_task(host)
            cancelled = self._is_around_ending()
        failed = _failed(failure, raised, *self.others)
        self.others = []
        if cancelled:
            ending = error if isinstance(error, asyncio.CancelledError) else asyncio.CancelledError()
            return Interrupted(failed) if failed else ending
        if isinstance(error, NodeFailure):
            error.others = [each for each in failed if each is not error.error]
        return error


def _failed(*errors: BaseException) -> list[BaseException]:
    """Return what nodes raised; what came from several of them, once."""
    found: dict[int, BaseException] = {}
    for error in errors:
        own = [error.error] if isinstance(error, NodeFailure) else []
        others = error.others if isinstance(error, (NodeFailure, Interrupted)) else []
        found.update((id(each), each) for each in (*own, *others))
    return [*found.values()]


async def to_the_end(work: Coroutine[Any, Any, T], grace: float) -> tuple[T, asyncio.CancelledError | None]:
    """Run what a cancel must not cut short: it has `grace` seconds left then.

    Returns what came of it, and the cancel.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    cancel: asyncio.CancelledError | None = None
    until: float | None = None
    while not task.done():
        try:
            left = None if until is None else until - loop.time()
            if left is not None and left <= 0:
                left = until = None
                task.cancel()
            await asyncio.wait({task}, timeout=left)
        except asyncio.CancelledError as error:
            if cancel is None:
                cancel, until = error, loop.time() + grace
    return task.result(), cancel


SLICED = (list, tuple, str, bytes)
LONGEST_SECRET = 1000


def preview_of(value: Any, length: int, masked: Callable[[str], str]) -> str:
    """Return the first characters of a result; what fails to show itself is no failure of the run."""
    try:
        if value.__class__ in SLICED and len(value) > length + LONGEST_SECRET:
            value = value[: length + LONGEST_SECRET]  # the first characters are of these
        return without_passwords(masked(repr(value)))[:length]
    except Exception as error:
        return f"<{type(value).__name__} whose repr fails: {type(error).__name__}>"[:length]
