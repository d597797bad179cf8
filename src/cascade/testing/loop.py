"""The event loop of a virtual clock: asyncio's own, which lets the time pass for which it would have waited."""

from __future__ import annotations

import asyncio
import math
import os
import selectors
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from cascade.runtime.run.active_calls import running_calls
from cascade.spec.contexts import contextmanager
from cascade.testing.dial import Dial

__all__ = ["VirtualLoop"]

MOST_SHOWN = 10
"""So many calls are named when nothing is left that could happen."""

Found = list[tuple[selectors.SelectorKey, int]]


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop of coroutines, timers, threads and connections whose time is a virtual clock's."""

    _clock_resolution: float

    def __init__(self, clock: Dial) -> None:
        self.clock = clock
        self.held: int = 0
        """How many things really go on: calls in threads and processes, children."""
        self._jobs: dict[Any, None] = {}
        selector = _Selector(self)
        super().__init__(selector)
        selector.usual = len(selector.get_map())

    def time(self) -> float:
        """Return the seconds since the start of the clock."""
        return self.clock.elapsed

    def let_pass(self, seconds: float) -> None:
        """Move the clock on."""
        self.clock.elapsed += seconds
        # asyncio runs a timer when its time is less than this from now; for late times that is lost in rounding.
        self._clock_resolution = max(1e-9, math.ulp(self.clock.elapsed))

    def run_forever(self) -> None:
        """Run until it is stopped, and have Cascade go by the clock meanwhile."""
        with self.clock.active():
            super().run_forever()

    # --- what really goes on

    def hold(self) -> None:
        """Keep the clock from jumping until as many `release`s."""
        self.held += 1

    def release(self) -> None:
        """Take one `hold` back."""
        self.held -= 1

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Hold the clock inside a `with` block."""
        self.hold()
        try:
            yield
        finally:
            self.release()

    def begin(self, job: Any, submit: Callable[[Any], None]) -> None:
        """Hand a job to a worker thread, and hold the clock until it is back."""
        deliver = job.deliver

        def delivered(job: Any) -> None:
            deliver(job)
            with suppress(RuntimeError):  # the loop is closed
                self.call_soon_threadsafe(self.let_go, job)

        job.deliver = delivered
        self._jobs[job] = None
        self.hold()
        submit(job)

    def let_go(self, job: Any) -> None:
        """Wait no more for a job: it is back, or was left behind."""
        if job in self._jobs:
            del self._jobs[job]
            self.release()

    async def elsewhere(self, work: Any, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Await what a process does; `func(*args, **kwargs)` is the same in this one."""
        with self.holding():
            return await work

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        """Call a function in a thread, while the clock is held."""
        future = super().run_in_executor(executor, func, *args)
        self.hold()
        future.add_done_callback(lambda _: self.release())
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        """Wait for the end of its threads."""
        with self.holding():
            await super().shutdown_default_executor(*args)

    async def subprocess_exec(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
        """Start a child process, and hold the clock until it has ended."""
        child = _Child(self, protocol_factory)
        return await child.started(super().subprocess_exec(child.protocol, *args, **options))

    async def subprocess_shell(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
        """Start a shell, and hold the clock until it has ended."""
        child = _Child(self, protocol_factory)
        return await child.started(super().subprocess_shell(child.protocol, *args, **options))

    # --- what waits

    def stuck(self) -> RuntimeError:
        """Return the error for a loop in which nothing can happen any more."""
        waiting = [described for _, described in running_calls(self)]
        if not waiting:
            waiting = [f"asyncio task {task.get_name()}" for task in asyncio.all_tasks(self)]
        shown = ", ".join(waiting[:MOST_SHOWN])
        if len(waiting) > MOST_SHOWN:
            shown += f" and {len(waiting) - MOST_SHOWN} more"
        return RuntimeError(
            f"by the virtual clock nothing is left that could ever happen, and yet these wait: {shown}. A wake-up was "
            "lost, or they wait for each other; if a thread of your own was to wake them, use clock.held() meanwhile"
        )


class _Selector(selectors.BaseSelector):
    """Waits for what is real, and else lets the virtual time pass."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()
        self.usual = 0
        """How many files the loop itself has."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()

    def select(self, timeout: float | None = None) -> Found:
        found = self._real.select(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        loop = self._loop
        if loop.held or self._is_connected():
            found = self._real.select(timeout)
            if found or timeout is None:
                return found
        elif timeout is None:
            raise loop.stuck()
        loop.let_pass(timeout)
        return found

    def _is_connected(self) -> bool:
        """Say whether something may come from elsewhere; a server that nobody is connected to does not count."""
        known = self._real.get_map()
        if len(known) <= self.usual:
            return False
        return sum(not _is_listening(key.fd) for key in known.values()) > self.usual


def _is_listening(fd: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(fd)) as looked_at:
            return bool(looked_at.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:  # no socket
        return False


class _Child:
    """Holds the clock while a child process runs."""

    def __init__(self, loop: VirtualLoop, factory: Callable[[], Any]) -> None:
        self._loop = loop
        self._factory = factory
        self._is_held = False

    def protocol(self) -> Any:
        """Make the protocol that is told of the child."""
        protocol = self._factory()
        lost = protocol.connection_lost

        def connection_lost(error: Exception | None) -> None:
            self._end()
            lost(error)

        protocol.connection_lost = connection_lost
        self._is_held = True
        self._loop.hold()
        return protocol

    async def started(self, work: Any) -> Any:
        try:
            return await work
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        if self._is_held:
            self._is_held = False
            self._loop.release()
