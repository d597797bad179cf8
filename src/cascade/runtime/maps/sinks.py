"""Sinks: the results of a map as they come, for whoever iterates over them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from math import inf
from typing import Any

from cascade.runtime.frames.scope import to_the_end
from cascade.spec.lazy import LazyResult
from cascade.spec.marks import SKIPPED

__all__ = ["ResultSink", "completed"]


class ResultSink:
    """Keeps the results of a map, or the items of a generator, until they are asked for.

    It makes that wait when there are many.
    """

    __slots__ = ("arrival", "drained", "is_held_up", "node", "reader", "values")

    def __init__(self, node: LazyResult[Any]) -> None:
        self.node = node
        self.values: deque[Any] = deque()
        self.drained: Callable[[], None] | None = None
        """Tells the map that there is room; None as long as the map has not begun."""
        self.is_held_up: Callable[[], bool] | None = None
        """Tells whether no result can come before a call that waits to be let in."""
        self.arrival: asyncio.Future[None] | None = None
        self.reader: asyncio.Task[Any] | None = None
        """Who asked last."""

    @property
    def waiting(self) -> int:
        """How many results nobody asked for yet."""
        return len(self.values)

    def put(self, first: int, values: list[Any]) -> None:
        """Take results, but for those left out."""
        self.values.extend(value for value in values if value is not SKIPPED)
        self.wake()

    def wake(self, _: object = None) -> None:
        """Let the reader look again."""
        if self.arrival is not None and not self.arrival.done():
            self.arrival.set_result(None)

    def waiting_reader(self) -> asyncio.Task[Any] | None:
        """Return who waits for results, if none can come before a call that waits to be let in."""
        if self.arrival is None or self.arrival.done() or not (self.is_held_up is None or self.is_held_up()):
            return None
        return self.reader

    async def wait(self) -> None:
        """Wait for results, or for the end of the run."""
        self.arrival = asyncio.get_running_loop().create_future()
        try:
            await self.arrival
        finally:
            self.arrival = None


async def completed(start: Callable[[ResultSink], Any], node: LazyResult[Any]) -> AsyncGenerator[Any, None]:
    """Start a run, yield the results of its map as they come, and end it if nobody wants more."""
    result_sink = ResultSink(node)
    run = start(result_sink)
    task: asyncio.Task[Any] = run._task
    task.add_done_callback(result_sink.wake)
    run._run_scope.reader = result_sink.waiting_reader
    values = result_sink.values
    cancel: asyncio.CancelledError | None = None
    try:
        while values or not task.done():
            result_sink.reader = asyncio.current_task()
            if not values:
                with run._bus.waiting_for(run.id):
                    await result_sink.wait()
                continue
            value = values.popleft()
            if result_sink.drained is not None:
                result_sink.drained()
            yield value
        result = await run
        if result_sink.drained is None:  # the map was skipped: what stands in for its list
            for value in result:
                yield value
    finally:
        run._run_scope.reader = None
        if not task.done():
            run.cancel()
            _, cancel = await to_the_end(asyncio.wait({task}), inf)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not complain
        if cancel is not None:
            raise cancel
