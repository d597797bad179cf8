"""Worker threads for calls that would hold the event loop."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from queue import Empty, SimpleQueue
from time import perf_counter
from types import CoroutineType
from typing import Any

from cascade.spec.readable import readable

__all__ = ["Job", "Workers", "job_here"]

IDLE_SECONDS = 10.0


class Job:
    """One call on its way through a worker, which calls `deliver` when it is done, or found to be withdrawn."""

    __slots__ = (
        "_lock",
        "args",
        "begun",
        "context",
        "cut",
        "deliver",
        "error",
        "func",
        "is_cut",
        "kwargs",
        "orphaned",
        "seconds",
        "state",
        "value",
    )

    def __init__(
        self,
        func: Callable[..., Any],
        args: Any,
        kwargs: dict[str, Any],
        context: Context,
        deliver: Callable[[Job], None],
    ) -> None:
        self.func: Callable[..., Any] = func
        self.args: Any = args
        self.kwargs: dict[str, Any] = kwargs
        self.context: Context = context
        self.deliver: Callable[[Job], None] = deliver
        self.begun: Callable[[], None] | None = None
        """Called in the worker's thread when the call begins."""
        self.is_cut: bool = False
        """Whether the caller was cancelled."""
        self.cut: Callable[[], None] = _nothing
        """Called on the loop's thread then: ends what the call waits for."""
        self.value: Any = None
        self.error: BaseException | None = None
        self.seconds: float = 0.0
        self.state: str = "waiting"
        self.orphaned: Callable[[], None] = _nothing
        """Called in the worker's thread if the job ends after its event loop."""
        self._lock = threading.Lock()

    def withdraw(self) -> bool:
        """Take the job back if no worker has begun it; say whether that was in time."""
        with self._lock:
            if self.state != "waiting":
                return False
            self.state = "withdrawn"
            return True

    def drop(self) -> None:
        """Let go of what nobody waits for any more; a coroutine is closed, or Python would complain of it."""
        value, self.value = self.value, None
        if isinstance(value, CoroutineType):
            value.close()

    @readable("self")
    def run(self) -> None:
        """Carry out the call, in the thread of a worker."""
        with self._lock:
            if self.state != "waiting":
                return
            self.state = "running"
        if self.begun is not None:
            self.begun()
        _here.job = self
        start = perf_counter()
        try:
            self.value = self.context.run(self.func, *self.args, **self.kwargs)
        except BaseException as error:
            self.error = error
        _here.job = None
        self.seconds = perf_counter() - start
        self.state = "ended"
        # Nothing of the call stays alive in the worker, nor in a cycle through the error's traceback.
        del self.func, self.args, self.kwargs, self.context, self


_here = threading.local()


def job_here() -> Job | None:
    """Return the job that this thread is at work on."""
    return getattr(_here, "job", None)


def _nothing() -> None:
    pass


class Workers:
    """A pool of daemon threads that starts them when needed and lets idle ones go.

    Daemons, because neither the end of an event loop nor that of the process may wait for a call that
    nobody waits for any more (a `ThreadPoolExecutor` blocks the exit of the process).
    """

    def __init__(self, size: int, name: str) -> None:
        self.size = size
        self.name = name
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._load = 0
        self.waiters: deque[Any] = deque()
        """Futures of those who wait for room, of the loop's thread alone."""

    def wake(self) -> None:
        """Tell the first who waits that there may be room."""
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def wake_elsewhere(self) -> None:
        """Wake who waits, from the thread of a worker whose job's event loop has ended."""
        for waiter in list(self.waiters):
            with suppress(RuntimeError):
                waiter.get_loop().call_soon_threadsafe(self.wake)
                return

    @property
    def is_full(self) -> bool:
        """Whether a further job would have to wait for a thread."""
        return self._load >= self.size

    def submit(self, job: Job) -> None:
        """Hand a job to a worker; at most `size` run at once, first come first served."""
        with self._lock:
            self._load += 1
            start = self._load > self._threads and self._threads < self.size
            if start:
                self._threads += 1
        self._jobs.put(job)
        if start:
            threading.Thread(target=self._work, name=self.name, daemon=True).start()

    def close(self) -> None:
        """Let the threads end once they are idle."""
        with self._lock:
            count = self._threads
        for _ in range(count):
            self._jobs.put(None)

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self._load >= self._threads:  # a job is on its way to this thread
                        continue
                    self._threads -= 1
                return
            if job is None:
                with self._lock:
                    if self._load >= self._threads:  # submitted after `close`, and on its way to this thread
                        continue
                    self._threads -= 1
                return
            job.run()
            with self._lock:
                self._load -= 1
            job.deliver(job)
            del job
