"""Shutdown: of the runs of an engine one by one, and of the engine with all that it keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import cached_property
from math import inf
from typing import Any, Self

from cascade.adapters.executors.local import LocalExecutor
from cascade.runtime.event_loop.eager import begin
from cascade.runtime.events.bus import MessageBus
from cascade.runtime.frames.scope import to_the_end
from cascade.runtime.maps.sinks import ResultSink
from cascade.runtime.resources.pool import EngineHost, ResourcePool
from cascade.runtime.run.awaiters import around
from cascade.runtime.run.state import RunState
from cascade.runtime.run_scope import RunScope, Waiter, call_on
from cascade.spec.inside import inside_of
from cascade.spec.notes import note_more, spelled
from cascade.spec.protocols import Executor

__all__ = ["TEARDOWN_FAILED", "Shutdown"]

TEARDOWN_FAILED = "besides, a resource failed in its teardown: "


class Shutdown:
    """The methods of an engine that end something."""

    bus: MessageBus
    executor: Executor
    thread_grace: float
    recorder: Any
    page: Any
    steering: Any
    caches: Any

    def __init__(self) -> None:
        self._active: dict[str, RunScope] = {}
        self._ends: dict[str, asyncio.Future[None]] = {}
        """For active runs that somebody waits for: resolved when they have ended."""
        self._kept: set[asyncio.Task[Any]] = set()
        self._result_sinks: dict[asyncio.Task[Any], ResultSink] = {}
        """Of active runs whose results somebody iterates over."""
        self._spare: LocalExecutor | None = None

    @cached_property
    def kept(self) -> ResourcePool:
        """The resources of scope "engine"."""
        return ResourcePool("engine", EngineHost(self))

    def parted(self) -> list[Any]:
        """Forget, in a forked child, what goes on in the parent; return it."""
        left = [*self._active.values(), *self._ends.values(), *self._kept, *self._result_sinks.items(), self._spare]
        for each in (self._active, self._ends, self._kept, self._result_sinks):
            each.clear()
        self._spare = None
        return left

    async def _in_a_task(
        self, run_scope: RunScope, execute: Callable[..., Coroutine[Any, Any, Any]], *args: Any
    ) -> Any:
        """Run in a task of the run's own, so that a cancel of the caller is known, whatever a body makes of it."""
        waiter = Waiter(run_scope)
        try:
            begin(run_scope.loop, waiter.told_by(execute, *args))
            value = await waiter
            if waiter.is_asked:
                raise asyncio.CancelledError
            return value
        finally:
            value = None
            del waiter, run_scope, args  # the traceback leads here

    def _ended(self, run_scope: RunScope) -> None:
        run_id = run_scope.name
        run_scope.is_over = True
        if self._active.get(run_id) is run_scope:
            self._active.pop(run_id, None)
            if self._ends and (end := self._ends.pop(run_id, None)) is not None and not end.done():
                end.set_result(None)

    async def _torn_down(self, run: RunState, error: BaseException | None) -> BaseException | None:
        try:
            failure, cancel = await to_the_end(run.resources.close(error), self.thread_grace)
        except BaseException as other:
            return other
        if cancel is not None and failure is not None:
            note_more(cancel, TEARDOWN_FAILED + spelled(failure))
        return cancel or failure

    def cancel(self, run_id: str) -> bool:
        """End a run by its id, as `Run.cancel` does; awaiting it raises CancelledError. From any thread.

        Returns False if no run of this id is going on: it may just have ended.
        """
        run_scope = self._active.get(run_id)
        if run_scope is None:
            return False
        run_scope.cancel()
        return True

    def threads(self) -> LocalExecutor:
        """Return threads for resources: of the engine's executor, or of a spare one where that is another's."""
        executor = self.executor
        if isinstance(executor, LocalExecutor) and type(executor).execute is LocalExecutor.execute:
            return executor
        if self._spare is None:
            self._spare = LocalExecutor()
        return self._spare

    def keep(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something to its end that no run waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    async def aclose(self) -> None:
        """Wait for the runs that are going on, tear down resources of scope "engine", end worker threads and processes.

        A run whose results the caller iterated over (`as_completed`) and has not taken is cancelled.

        Raises:
            whatever a resource raised in its teardown, or else the executor as it was closed, once all is closed.
        """
        failure = await self._close(None)
        if failure is not None:
            raise failure

    async def _close(self, error: BaseException | None) -> BaseException | None:
        """Close the engine because of an error or without one; return what a resource raised in its teardown."""
        here, loop = asyncio.current_task(), asyncio.get_running_loop()
        for task, result_sink in [*self._result_sinks.items()]:
            if result_sink.reader is here:  # nobody else will take the results that the run waits to be taken
                task.cancel()
        own = [*around(inside_of(), None, here)]  # the runs that this is a part of
        if self.recorder is not None:  # they are handed back, and go on when they are started again
            for run_scope in [*self._active.values()]:
                if run_scope.task is not here and run_scope not in own:
                    call_on(run_scope.loop, run_scope.ask)
        while names := [
            name for name, run_scope in self._active.items() if run_scope.task is not here and run_scope not in own
        ]:
            end = self._ends.setdefault(names[0], loop.create_future())
            with self.bus.waiting_for(*names):
                await asyncio.wait({end})
        while self._kept:
            await asyncio.wait(self._kept)
        failure, cancel = await to_the_end(self.kept.close(error), self.thread_grace)
        if self.page is not None:
            page, self.page = self.page, None
            _, late = await to_the_end(page.close(), inf)
            cancel = cancel or late
        if self.steering is not None:
            _, late = await to_the_end(self.steering.end(), inf)
            cancel = cancel or late
        for executor in (self.executor, self._spare):
            if (close := getattr(executor, "aclose", None)) is not None:
                try:
                    await close()
                except Exception as other:
                    failure = failure or other
        if "caches" in self.__dict__:  # some call has asked for them
            self.caches.close()
        if self.recorder is not None:
            await self.recorder.writer.aclose()
        if cancel is not None:
            if failure is not None:
                note_more(cancel, TEARDOWN_FAILED + spelled(failure))
            raise cancel
        return failure

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, where: object) -> None:
        failure = await self._close(error)
        if failure is not None:
            if error is None:
                raise failure
            note_more(error, TEARDOWN_FAILED + spelled(failure))
