"""Running from a script: one call that owns the event loop."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Any, Literal, TypeVar, overload

from cascade.app.report import Reporter
from cascade.runtime.bus import MessageBus
from cascade.runtime.engine import Engine
from cascade.spec.lazy import LazyResult
from cascade.spec.policies import refuse_option
from cascade.spec.resource import Resource

__all__ = ["arun", "run"]

R = TypeVar("R")
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "SILENT"]
LogFormat = Literal["human", "json"]


@overload
def run(
    target: LazyResult[R],
    params: Mapping[str, Any] | None = None,
    *,
    resources: Iterable[Resource] = (),
    system_resources: Mapping[str, float] | None = None,
    log_level: LogLevel = "INFO",
    log_format: LogFormat = "human",
    connector: Any = None,
    state_backend: Any = None,
) -> R: ...
@overload
def run(
    target: Any,
    params: Mapping[str, Any] | None = None,
    *,
    resources: Iterable[Resource] = (),
    system_resources: Mapping[str, float] | None = None,
    log_level: LogLevel = "INFO",
    log_format: LogFormat = "human",
    connector: Any = None,
    state_backend: Any = None,
) -> Any: ...
def run(
    target: Any,
    params: Mapping[str, Any] | None = None,
    *,
    resources: Iterable[Resource] = (),
    system_resources: Mapping[str, float] | None = None,
    log_level: LogLevel = "INFO",
    log_format: LogFormat = "human",
    connector: Any = None,
    state_backend: Any = None,
) -> Any:
    """Run a target to its end and return its value; reports to stderr.

    In a script it owns the event loop. Where a loop already runs (a notebook) it blocks that loop until the
    run is done, in a loop of its own in a helper thread; `await cs.arun(...)` is the better way there.

    Args:
        target: what `Engine.run` takes.
        params: values for the parameters of the graph.
        resources: resources that tasks ask for by name.
        system_resources: capacities for `with_constraints`.
        log_level: "DEBUG" tells of each task, "INFO" of the run, retries and warnings, "WARNING" of what
            needs attention, "ERROR" of a failed run, "SILENT" of nothing.
        log_format: "human", or "json" for one JSON object a line.

    Raises:
        whatever a task raised, with a note that says which node it was.
    """
    for name, option in (("connector", connector), ("state_backend", state_backend)):
        if option is not None:
            refuse_option(f"cs.run({name}=...)")
    bus = MessageBus()
    Reporter(log_level, log_format).attach(bus)
    return block_on(_run(target, params, tuple(resources), system_resources, bus))


@overload
async def arun(
    target: LazyResult[R],
    params: Mapping[str, Any] | None = None,
    *,
    resources: Iterable[Resource] = (),
    system_resources: Mapping[str, float] | None = None,
) -> R: ...
@overload
async def arun(
    target: Any,
    params: Mapping[str, Any] | None = None,
    *,
    resources: Iterable[Resource] = (),
    system_resources: Mapping[str, float] | None = None,
) -> Any: ...
async def arun(
    target: Any,
    params: Mapping[str, Any] | None = None,
    *,
    resources: Iterable[Resource] = (),
    system_resources: Mapping[str, float] | None = None,
) -> Any:
    """Run a target on the event loop that is running, silently, and return its value; takes what `run` takes."""
    return await _run(target, params, tuple(resources), system_resources, None)


async def _run(
    target: Any,
    params: Mapping[str, Any] | None,
    resources: tuple[Resource, ...],
    system_resources: Mapping[str, float] | None,
    bus: MessageBus | None,
) -> Any:
    engine = Engine(bus=bus, system_resources=system_resources)
    try:
        return await engine.run(target, params, resources=resources)
    finally:
        await engine.aclose()


def block_on(work: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine to its end from synchronous code, wherever that is called from."""
    if not _is_looping():
        return asyncio.run(work)
    value: R = _Helper(work).wait()
    return value


def _is_looping() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Helper:
    """Runs a coroutine in a loop of its own in a thread, while the thread that asks for it is blocked."""

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self._work = work
        self._value: Any = None
        self._error: BaseException | None = None
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._interrupt: KeyboardInterrupt | None = None
        self._done = threading.Event()

    def wait(self) -> Any:
        thread = threading.Thread(target=copy_context().run, args=(self._begin,), name="cascade-run", daemon=True)
        with _handling_interrupts(self._interrupted):
            thread.start()
            self._done.wait()
            thread.join()
        if self._interrupt is not None:
            raise self._interrupt
        if self._error is not None:
            raise self._error
        return self._value

    def _interrupted(self, signum: int, frame: Any) -> None:
        """End the run; the blocked thread leaves when it has ended. Raising here could come at a bad moment."""
        self._interrupt = KeyboardInterrupt()
        if self._loop is not None and self._task is not None:
            with suppress(RuntimeError):  # the loop is closed: the run has ended by itself
                self._loop.call_soon_threadsafe(self._task.cancel)

    def _begin(self) -> None:
        try:
            self._value = asyncio.run(self._noted())
        except BaseException as error:
            self._error = error
        finally:
            self._done.set()

    async def _noted(self) -> Any:
        self._loop = asyncio.get_running_loop()
        self._task = task = asyncio.current_task()
        if self._interrupt is not None and task is not None:  # before there was anything to cancel
            task.cancel()
        return await self._work


@contextmanager
def _handling_interrupts(handle: Callable[[int, Any], None]) -> Iterator[None]:
    """Let Ctrl-C call `handle`, unless the program has a handler of its own for it."""
    known = signal.getsignal(signal.SIGINT)
    asyncios = isinstance(getattr(getattr(known, "func", None), "__self__", None), asyncio.Runner)
    usual = asyncios or known is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, known)
