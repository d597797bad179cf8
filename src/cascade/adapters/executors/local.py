"""The executor of this process: coroutines on the event loop, functions in place or in worker threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from time import perf_counter
from typing import Any

from cascade.adapters.executors.workers import Job, Workers
from cascade.spec.inside import depth_here
from cascade.spec.placement import CallForm, Profile
from cascade.spec.protocols import CallNode
from cascade.spec.readable import readable
from cascade.spec.signal import uncrossable

__all__ = ["LocalExecutor"]

PATIENCE = 0.001
"""Seconds that calls of a function wait for the first one of it to be timed."""
READERS = 10_000
"""So many threads may wait for the items of streams; each is a call that has begun."""


class LocalExecutor:
    """Runs async tasks on the event loop and places sync ones by their `mode`.

    Args:
        blocking_threads: at most so many calls of mode "blocking" (and of "auto", while in threads) at once. Runs
            inside of tasks have as many threads of their own, at each depth: none waits for those who wait for it.
        compute_threads: at most so many calls of mode "compute" at once; by default one for each processor.
        processes: at most so many calls of mode "process" at once, each in a process of its own; by default one
            for each processor.
    """

    runs_inline = True
    """The engine may call short functions in place instead of asking `execute`. It holds for this class: a
    subclass that overrides `execute` gets every call, unless it says this itself."""

    def __init__(
        self, blocking_threads: int = 64, compute_threads: int | None = None, processes: int | None = None
    ) -> None:
        for name, number in (
            ("blocking_threads", blocking_threads),
            ("compute_threads", compute_threads),
            ("processes", processes),
        ):
            if number is not None and (not isinstance(number, int) or number < 1):
                raise ValueError(f"LocalExecutor needs {name} of 1 or more, not {number!r}")
        self._threads = blocking_threads, compute_threads or os.cpu_count() or 1
        self._pools: dict[tuple[str, int], Workers] = {}
        self._size = processes or os.cpu_count() or 1
        self._processes: Any = None

    async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the node's function where its mode says, and return what it returns."""
        if node.is_async:
            return await node.func(*args, **kwargs)
        if node.mode == "inline":
            return node.func(*args, **kwargs)
        if node.mode == "process":
            return await self.processes.call(node.name, node.declared, node.func, args, kwargs)
        return await self.in_thread(node.func, args, kwargs, node.mode)

    async def place(
        self,
        form: CallForm,
        args: Any,
        kwargs: dict[str, Any],
        grace: float,
        abandon: Callable[[Job, Any], None],
        begun: Callable[[], None] | None = None,
    ) -> Any:
        """Call a sync task in a process or a thread, or in place once that is known to be short.

        Args:
            grace: how long a cancelled call is waited for, in seconds.
            abandon: told of a call that outlived the grace, with a future for its end.
            begun: called on the loop's thread when a worker takes up the call, which is then not made in place.
        """
        task, profile = form.task, form.profile
        if task.mode == "process":
            return await self.processes.call(task.name, task.declared, form.func, args, kwargs, begun)
        if task.mode == "auto" and begun is None:
            if not profile.measured:
                if profile.started is None:
                    profile.started = perf_counter()
                else:
                    await self.measured(profile)
            workers = self._workers("blocking")
            while form.inline is None and workers.is_full:
                await self._room(workers)
            if form.inline is not None:
                workers.wake()  # who waited for room behind this call can go in place, too
                return form.inline(*args, **kwargs)
        return await self.in_thread(form.func, args, kwargs, task.mode, profile, grace, abandon, begun)

    def _workers(self, mode: str) -> Workers:
        """Return the threads for calls of here: those of a run inside of a task are not the ones that wait for it.

        Nor are those that read streams the ones that what they wait for needs.
        """
        kind = mode if mode in ("compute", "reading") else "blocking"
        key = kind, depth_here()
        workers = self._pools.get(key)
        if workers is None:
            size = {"compute": self._threads[1], "reading": READERS}.get(kind, self._threads[0])
            workers = self._pools[key] = Workers(size, f"cascade-{kind}")
        return workers

    async def measured(self, profile: Profile) -> None:
        """Wait until the first call of a function is timed, or has taken so long that it is not short."""
        import asyncio

        until = (profile.started or perf_counter()) + PATIENCE
        while not profile.measured:
            left = until - perf_counter()
            if left <= 0:
                profile.measured = True
                return
            waiter = asyncio.get_running_loop().create_future()
            profile.waiters.append(waiter)
            try:
                await asyncio.wait({waiter}, timeout=left)
            finally:
                if waiter in profile.waiters:
                    profile.waiters.remove(waiter)

    async def _room(self, workers: Workers) -> None:
        """Wait until a thread may be free."""
        import asyncio

        waiter = asyncio.get_running_loop().create_future()
        workers.waiters.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                workers.wake()
            elif waiter in workers.waiters:
                workers.waiters.remove(waiter)
            raise

    @readable("job")
    async def in_thread(
        self,
        func: Callable[..., Any],
        args: Any,
        kwargs: dict[str, Any],
        mode: str = "blocking",
        profile: Profile | None = None,
        grace: float = 1.0,
        abandon: Callable[[Job, Any], None] | None = None,
        begun: Callable[[], None] | None = None,
    ) -> Any:
        """Call a function in a worker thread, with a copy of the context variables of here.

        Cancelled, it withdraws the call or waits for it up to `grace` seconds, and then leaves it behind. `begun` is
        called on the loop's thread after a worker has taken the call up.
        """
        import asyncio

        loop = asyncio.get_running_loop()
        arrival: asyncio.Future[None] = loop.create_future()
        end: asyncio.Future[None] | None = None  # for a call that is cancelled, and `arrival` with it
        is_back = False
        workers = self._workers(mode)

        def arrived(job: Job) -> None:
            nonlocal is_back
            is_back = True
            if job.is_cut:
                job.drop()
            if profile is not None and job.state == "ended":
                profile.learn(job.seconds)
            workers.wake()
            for future in (arrival, end):
                if future is not None and not future.done():
                    future.set_result(None)

        def deliver(job: Job) -> None:
            try:
                loop.call_soon_threadsafe(arrived, job)
            except RuntimeError:  # the loop is closed: nobody waits any more
                job.orphaned()
                workers.wake_elsewhere()

        job = Job(func, args, kwargs, copy_context(), deliver)
        if begun is not None:
            job.begun = partial(_tell, loop, begun)
        workers.submit(job)
        try:
            await arrival
        except asyncio.CancelledError:
            job.is_cut = True
            job.cut()
            if is_back:
                job.drop()
            else:
                end = loop.create_future()
                await self._leave(job, end, grace, abandon)
            raise
        if job.error is not None:
            error, job.error = job.error, None
            if isinstance(error, (StopIteration, StopAsyncIteration)):
                raise uncrossable(error) from error
            try:
                raise error
            finally:
                del error
        return job.value

    async def _leave(self, job: Job, future: Any, grace: float, abandon: Callable[[Job, Any], None] | None) -> None:
        """Part from a call whose caller was cancelled."""
        import asyncio

        if job.withdraw():
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + grace
        while not future.done():
            left = until - loop.time()
            if left <= 0:
                break
            try:
                await asyncio.wait({future}, timeout=left)
            except asyncio.CancelledError:
                continue
        if not future.done() and abandon is not None:
            abandon(job, future)

    @property
    def processes(self) -> Any:
        """The worker processes; none is started before there is a call for it."""
        if self._processes is None:
            from cascade.adapters.executors.processes import WAITING, Processes

            QUEUES.update(WAITING)
            self._processes = Processes(self._size)
        return self._processes

    def parted(self) -> list[Any]:
        """Forget, in a forked child, the workers of the parent; return them."""
        left = [*self._pools.values(), self._processes]
        self._pools, self._processes = {}, None
        return left

    def close(self) -> None:
        """Let the worker threads and processes end."""
        self.close_threads()
        if self._processes is not None:
            self._processes.close()

    def close_threads(self) -> None:
        """Let the worker threads end."""
        for workers in self._pools.values():
            workers.close()

    async def aclose(self) -> None:
        """Let the worker threads end, and wait for the end of the processes."""
        self.close_threads()
        if self._processes is not None:
            await self._processes.aclose()


QUEUES = {LocalExecutor._room.__code__, LocalExecutor.measured.__code__}
"""The code of coroutines in which a call waits to be taken up; that of processes is added when they are needed."""


def _tell(loop: Any, call: Callable[[], None]) -> None:
    """Have something called on a loop's thread, unless the loop has ended."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call)
