"""Worker processes, each with a pool of its own, so that one call can be killed and no other is disturbed.

The pool is loky's: it starts fresh interpreters (a fork would copy locks that our threads hold), does not run the
user's script again in them, and kills a worker with all that it has started.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from typing import Any
from weakref import ref

from cascade.adapters.executors.crossing import carry_out, pack_call, unpack_outcome
from cascade.adapters.executors.words import begin, hear
from cascade.errors import MissingExtraError
from cascade.spec.inside import inside_of

__all__ = ["WAITING", "Processes"]

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
FLAGS = "_args_from_interpreter_flags"
"""Of `multiprocessing.util`, and of the module `subprocess` that it asks: the flags that this interpreter was given."""
FOLLOW = 0.25
"""So often a worker looks whether its parent is still there."""
END_SECONDS = 5.0
"""How long the end of a worker is waited for; one that was killed takes some milliseconds."""


class Processes:
    """At most `size` worker processes, started when needed and kept until `close`.

    To be used on one event loop at a time.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._idle: list[_Worker] = []
        self._count = 0
        self._waiters: deque[asyncio.Future[_Worker | None]] = deque()
        self._generation = 0

    async def call(
        self,
        name: str,
        declared: str,
        func: Callable[..., Any],
        args: Any,
        kwargs: dict[str, Any],
        begun: Callable[[], None] | None = None,
    ) -> Any:
        """Call a function in a worker process; return what it returns. Cancelled, it kills the worker.

        Args:
            name: of the task, for errors, as `declared` is.
            begun: called when a worker takes up the call.

        Raises:
            MissingExtraError: the packages for it are not installed.
            TypeError: the function, an argument or the result does not pickle.
            BrokenProcessPool: the worker died.
        """
        what = f"task {name!r} (declared at {declared})"
        _check_installed(what)
        inside = inside_of()
        about, place = (None if inside is None else inside.about_here()) or (None, None)
        payload = pack_call(what, func, args, kwargs, about)
        worker = await self._take()
        try:
            if worker.executor is None:
                await worker.start()
            if begun is not None:
                begun()
            outcome = await worker.carry_out(payload, place)
        except GeneratorExit:  # its event loop is gone
            worker.kill_nowait()
            self._count -= 1
            raise
        except BrokenProcessPool as error:
            await self._discard(worker)
            raise BrokenProcessPool(
                f"the process that ran {what} died{_exit_of(error)}: something in it ended the process, or the "
                "system killed it (for want of memory, for example)"
            ) from None
        except BaseException:
            await self._discard(worker)
            raise
        await self._give_back(worker)
        return unpack_outcome(what, outcome)

    # --- who has which worker

    async def _take(self) -> _Worker:
        """Return a worker that nobody else has, first come first served."""
        if self._idle:
            return self._idle.pop()
        if self._count < self.size:
            self._count += 1
            return _Worker(self._generation)
        waiter: asyncio.Future[_Worker | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            worker = await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                self._pass_on(waiter.result())
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            raise
        return _Worker(self._generation) if worker is None else worker

    async def _give_back(self, worker: _Worker) -> None:
        if worker.generation != self._generation:
            await self._discard(worker)
        else:
            self._pass_on(worker)

    async def _discard(self, worker: _Worker) -> None:
        """Kill a worker and wait for its end; another may take its place."""
        try:
            await _until([worker.ending(kill=True)])
        finally:
            self._pass_on(None)

    def _pass_on(self, worker: _Worker | None) -> None:
        """Give a worker, or leave to start one, to who waits first."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done() and not waiter.get_loop().is_closed():
                waiter.set_result(worker)
                return
        if worker is None:
            self._count -= 1
        else:
            self._idle.append(worker)

    # --- the end

    def close(self) -> None:
        """Let the workers end: idle ones now, the others after their calls. Calls made later start new ones."""
        self._generation += 1
        idle, self._idle = self._idle, []
        self._count -= len(idle)
        for worker in idle:
            worker.end_soon()

    async def aclose(self) -> None:
        """Close, and wait until the workers that were idle have ended."""
        idle, self._idle = self._idle, []
        self._count -= len(idle)
        self.close()
        await _until([worker.ending(kill=False) for worker in idle])


class _Worker:
    """One process, which carries out one call at a time."""

    __slots__ = ("calls", "executor", "generation", "words")

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.executor: Any = None
        self.words: Any = None
        """What its calls say while they run comes out of this pipe."""
        self.calls = 0

    async def start(self) -> None:
        """Start the process, and wait until it is ready for calls."""
        from multiprocessing import Pipe, util

        from loky.backend import get_context, spawn
        from loky.process_executor import ProcessPoolExecutor

        if not _has_directory():
            spawn.os = _Directoryless()
            setattr(util, FLAGS, _flags_for_here)
        self.words, said = Pipe(duplex=False)
        with said:
            with _hangups_blocked():  # nothing is awaited in there: of two that overlap the second would leave them so
                self.executor = ProcessPoolExecutor(
                    max_workers=1,
                    timeout=None,
                    context=get_context("loky"),
                    initializer=_begin,
                    initargs=(os.getpid(), said),
                )
                started = self.executor.submit(_ready)
            util.Finalize(self.executor, _end_at_exit, (ref(self.executor),), exitpriority=100)
            await asyncio.wrap_future(started)

    async def carry_out(self, payload: bytes, place: Any = None) -> bytes:
        """Have a packed call made; return its packed outcome.

        Args:
            place: what takes down what the call says while it runs.
        """
        loop, pipe = asyncio.get_running_loop(), self.words
        self.calls += 1

        def heard() -> None:
            if not hear(pipe, self.calls, place):
                loop.remove_reader(pipe.fileno())

        try:
            loop.add_reader(pipe.fileno(), heard)
        except NotImplementedError:  # of Windows, where loops read no pipes
            if place is not None and place.pulse is not None:
                raise NotImplementedError(
                    'a task with mode="process" can have no heartbeat on this event loop, which reads no pipes; give '
                    "it a timeout"
                ) from None
            outcome: bytes = await asyncio.wrap_future(self.executor.submit(carry_out, payload))
            return outcome
        try:
            return await asyncio.wrap_future(self.executor.submit(carry_out, payload))
        finally:
            loop.remove_reader(pipe.fileno())

    def kill_nowait(self) -> None:
        """Kill the process and what it has started, soon."""
        if self.executor is not None:
            self.executor.shutdown(wait=False, kill_workers=True)
            self.words.close()

    def end_soon(self) -> None:
        """Let the idle process end by itself."""
        self.executor.shutdown(wait=False)
        self.words.close()

    def ending(self, kill: bool) -> asyncio.Future[None]:
        """Kill the process and what it has started, or let it end by itself; return a future for its end."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        executor = self.executor
        if self.words is not None:
            self.words.close()

        def shut_down() -> None:
            try:
                executor.shutdown(wait=True, kill_workers=kill)
            finally:
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(_resolve, ended)

        if executor is None:
            ended.set_result(None)
        else:
            threading.Thread(target=shut_down, name="cascade-process-end", daemon=True).start()
        return ended


WAITING = (Processes._take.__code__, _Worker.start.__code__)
"""The code of coroutines in which a call has no process yet."""


@contextmanager
def _hangups_blocked() -> Iterator[None]:
    """Have processes that are started here not end at a closed terminal by themselves.

    One of them is the pool's own, which keeps account of its semaphores and minds every other signal.
    """
    import signal

    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_at_exit(known: ref[Any]) -> None:
    """End a worker that nobody has closed at the end of a process, which `multiprocessing` would have wait for it."""
    executor = known()
    if executor is not None:
        executor.shutdown(wait=True, kill_workers=True)


async def _until(ends: Collection[asyncio.Future[None]]) -> None:
    """Wait until workers have ended; a cancel comes out behind that."""
    loop = asyncio.get_running_loop()
    until, cancel = loop.time() + END_SECONDS, None
    waiting = {end for end in ends if not end.done()}
    while waiting and (left := until - loop.time()) > 0:
        try:
            _, waiting = await asyncio.wait(waiting, timeout=left)
        except asyncio.CancelledError as error:
            cancel = error
            waiting = {end for end in waiting if not end.done()}
    if cancel is not None:
        raise cancel


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _check_installed(what: str) -> None:
    try:
        import cloudpickle  # noqa: F401
        import loky  # noqa: F401
        import psutil  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f'{what} has mode="process", which needs the package {error.name!r}: pip install cascade-py[process]'
        ) from None


def _exit_of(error: BrokenProcessPool) -> str:
    """Return how the worker ended, as far as the pool knows: ` (EXIT(3))`, ` (SIGKILL(-9))`."""
    found = re.search(r"\{(\w+\(-?\d+\))", str(error))
    return f" ({found[1]})" if found else ""


def _has_directory() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


class _Directoryless:
    """The module `os` for the pool, which sends the current directory to each worker: one that is gone as `.`.

    The worker inherits it anyhow, so that a task finds itself there, as in any other mode.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def getcwd(self) -> str:
        return os.getcwd() if _has_directory() else os.curdir


def _flags_for_here() -> list[str]:
    """Return the flags for the interpreters that keep account of semaphores: none looks for modules where nothing is.

    Python 3.13 cannot import all of its own there.
    """
    import subprocess

    flags: list[str] = getattr(subprocess, FLAGS)()
    return flags if _has_directory() or "-P" in flags else [*flags, "-P"]


# --- in the worker


def _begin(parent: int, said: Any) -> None:
    """Prepare a worker: signals are the business of the process that started it, whose end is also its own.

    Args:
        said: the pipe for what its calls say while they run.
    """
    import signal

    begin(said)
    for name in SIGNALS:
        if hasattr(signal, name):  # a handler that does nothing: to ignore one would go on to what the task starts
            signal.signal(getattr(signal, name), _leave_alone)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
    if hasattr(os, "getppid") and os.name != "nt":
        threading.Thread(target=_follow, args=(parent,), name="cascade-follow-parent", daemon=True).start()


def _follow(parent: int) -> None:
    import time

    while os.getppid() == parent:
        time.sleep(FOLLOW)
    os._exit(1)


def _leave_alone(signum: int, frame: object) -> None:
    """Do nothing at a signal to the whole group of processes."""


def _ready() -> None:
    """Say that a worker can take calls."""
