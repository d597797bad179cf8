"""Tasks of asyncio that begin at once: what never waits ends before the event loop knows of it.

Python 3.12 has them as `eager_start`. For 3.11 the first step of the work is made here, by the means that asyncio has
for tasks of other makers, and the task goes on with what it gave. Without it a run that never waits costs the event
loop two iterations, some 25 us.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any

from cascade.spec.readable import readable

__all__ = ["begin"]


class Rest(Coroutine[Any, Any, None]):
    """Work whose first step was made before its task has begun."""

    __slots__ = ("cr_await", "gives_way", "waited")

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self.cr_await: Any = work
        """The work, by the name under which those look who go through what a coroutine waits for."""
        self.waited: Any = None
        """What it waits for since its first step, until the task knows of that."""
        self.gives_way: bool = False
        """Whether the first step gave others a turn (`sleep(0)`): what came meanwhile stands behind the task."""

    def send(self, value: Any) -> Any:
        """Go on; at first, wait for what the work waits for."""
        waited, self.waited = self.waited, None
        if self.gives_way:
            self.gives_way = False
        elif waited is None:
            return self.cr_await.send(value)
        else:
            waited._asyncio_future_blocking = True
        return waited

    def throw(self, *error: Any) -> Any:
        """Raise an error where the work waits; a cancel from before its task began, tell to what it waits for."""
        waited, self.waited = self.waited, None
        if waited is None or not waited.cancel():
            return self.cr_await.throw(*error)
        waited._asyncio_future_blocking = True
        return waited

    def close(self) -> None:
        """Close the work."""
        self.cr_await.close()

    def __await__(self) -> Any:
        raise NotImplementedError("it is for its task alone")


@readable("outer", place=lambda known: None)
def begin(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> None:
    """Begin work in a task of its own, and come back when it has ended or waits; it must not raise anything."""
    outer = asyncio.current_task(loop)
    if loop.get_task_factory() is not None:
        loop.create_task(work)
    elif sys.version_info >= (3, 12):
        asyncio.Task(work, loop=loop, eager_start=True)
    else:
        rest, context = Rest(work), copy_context()
        task = asyncio.Task(rest, loop=loop, context=context)
        if outer is not None:
            asyncio._leave_task(loop, outer)
        asyncio._enter_task(loop, task)
        try:
            rest.waited = context.run(work.send, None)
            rest.gives_way = rest.waited is None
            if rest.waited is not None:
                rest.waited._asyncio_future_blocking = False
        except StopIteration:
            asyncio._unregister_task(task)
            rest.cr_await = (_ for _ in ())  # nothing is left to do
        finally:
            asyncio._leave_task(loop, task)
            if outer is not None:
                asyncio._enter_task(loop, outer)
