"""An event loop in which the order of tasks that are ready together is drawn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any

from cascade.testing.dial import Dial
from cascade.testing.loop import VirtualLoop

__all__ = ["ShufflingLoop"]


class ShufflingLoop(VirtualLoop):
    """A virtual loop that at each turn runs the tasks which are ready in an order drawn from a generator.

    Callbacks that are no tasks stay in their order and places, since asyncio and its users rely on that. Functions that
    would run in worker threads run on the loop's thread, in turns like tasks.
    """

    _ready: deque[asyncio.Handle]

    def __init__(self, clock: Dial, draw: Random) -> None:
        super().__init__(clock)
        self.numbers: count[int] = count(1)
        self._ready = self._turns = _Turns(draw)
        self.set_task_factory(_numbered_task)

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future that has the same place in sets each time."""
        return _Future(next(self.numbers), loop=self)

    def begin(self, job: Any, submit: Callable[[Any], None]) -> None:
        """Carry a job out on this thread, in its turn."""
        self.call_soon(_Elsewhere(job.run, lambda: job.deliver(job)))

    async def elsewhere(self, work: Any, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Call what a process would on this thread, in its turn."""
        work.close()
        return await self.run_in_executor(None, lambda: func(*args, **kwargs))

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        """Call a function on this thread, in its turn."""
        future = self.create_future()

        def call() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt | SystemExit):
                    raise
                future.set_exception(error)

        self.call_soon(_Elsewhere(call, lambda: None))
        return future


class _Elsewhere:
    """A function that would run in a thread of its own; it sees no running loop."""

    def __init__(self, call: Callable[[], None], after: Callable[[], None]) -> None:
        self._call = call
        self._after = after

    def __call__(self) -> None:
        loop = asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        try:
            self._call()
        finally:
            asyncio._set_running_loop(loop)
        self._after()


class _Turns(deque[asyncio.Handle]):
    """What is ready to run; the loop takes from the left as many as there were when its turn began."""

    def __init__(self, draw: Random) -> None:
        super().__init__()
        self._draw = draw
        self._left = 0

    def popleft(self) -> asyncio.Handle:
        if self._left <= 0:  # a new turn
            self._shuffle()
            self._left = len(self)
        self._left -= 1
        return super().popleft()

    def _shuffle(self) -> None:
        handles = list(self)
        places = [at for at, handle in enumerate(handles) if _is_drawn(handle)]
        if len(places) < 2:
            return
        drawn = [handles[at] for at in places]
        self._draw.shuffle(drawn)
        for at, handle in zip(places, drawn, strict=True):
            self[at] = handle  # in place: another thread may add to it meanwhile


def _is_drawn(handle: Any) -> bool:
    callback = handle._callback
    return isinstance(callback, _Elsewhere) or isinstance(getattr(callback, "__self__", None), asyncio.Task)


# Sets of tasks and futures are read in the order of their hashes, which by default are addresses in memory.


class _Task(asyncio.Task[Any]):
    def __init__(self, number: int, *args: Any, **options: Any) -> None:
        self.number = number
        super().__init__(*args, **options)

    def __hash__(self) -> int:
        return self.number


class _Future(asyncio.Future[Any]):
    def __init__(self, number: int, *, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number


def _numbered_task(loop: Any, work: Any, **options: Any) -> asyncio.Task[Any]:
    return _Task(next(loop.numbers), work, loop=loop, **options)
