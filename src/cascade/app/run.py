"""Running from a script: one call that owns the event loop."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import copy_context
from types import FrameType
from typing import Any, Literal, TypeVar, overload

from cascade.app.progress import Progress
from cascade.app.report import Reporter
from cascade.runtime.bus import MessageBus
from cascade.runtime.engine import Container, Engine
from cascade.runtime.run import RunState
from cascade.runtime.running import running_calls
from cascade.spec.connecting import resource_of
from cascade.spec.events import RunWarning
from cascade.spec.lazy import Lazy, R
from cascade.spec.policies import refuse_option
from cascade.spec.resource import Resource

__all__ = ["arun", "run"]

V = TypeVar("V")
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "SILENT"]
LogFormat = Literal["human", "json"]
MOST_TOLD = 10
"""So many calls are named when Ctrl-C ends a run."""


@overload
def run(
    target: Lazy[R],
    params: Mapping[str, Any] | None = None,
    *,
    resources: Iterable[Resource] = (),
    system_resources: Mapping[str, float] | None = None,
    timeout: float | None = None,
    log_level: LogLevel = "INFO",
    log_format: LogFormat = "human",
    connector: Any = None,
    state_backend: Any = None,
) -> R: ...
@overload
def run(
    target: Container,
    params: Mapping[str, Any] | None = None,
    *,
    resources: Iterable[Resource] = (),
    system_resources: Mapping[str, float] | None = None,
    timeout: float | None = None,
    log_level: LogLevel = "INFO",
    log_format: LogFormat = "human",
    connector: Any = None,
    state_backend: Any = None,
) -> Any: ...
@overload
def run(
    target: V,
    params: Mapping[str, Any] | None = None,
    *,
    resources: Iterable[Resource] = (),
    system_resources: Mapping[str, float] | None = None,
    timeout: float | None = None,
    log_level: LogLevel = "INFO",
    log_format: LogFormat = "human",
    connector: Any = None,
    state_backend: Any = None,
) -> V: ...
def run(
    target: Any,
    params: Mapping[str, Any] | None = None,
    *,
    resources: Iterable[Resource] = (),
    system_resources: Mapping[str, float] | None = None,
    timeout: float | None = None,
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
        timeout: how many seconds the run may take.
        log_level: "DEBUG" tells of each task, "INFO" of the run, retries and warnings, "WARNING" of what
            needs attention, "ERROR" of a failed run, "SILENT" of nothing.
        log_format: "human", or "json" for one JSON object a line.
        connector: carries messages for `cs.recv`.

    Raises:
        Exception: whatever a task raised, with a note that says which node it was.
        TimeoutError: the run took longer than its timeout.
        KeyboardInterrupt: Ctrl-C; the run was cancelled and has ended, and stderr says what was running.
    """
    if state_backend is not None:
        refuse_option("cs.run(state_backend=...)")
    if connector is not None:
        resources = (*resources, resource_of(connector, "cs.run(connector=...)"))
    bus = MessageBus()
    reporter = Reporter(log_level, log_format)
    reporter.attach(bus)
    return block_on(_run(target, params, tuple(resources), system_resources, timeout, bus, reporter.progress))


@overload
async def arun(
    target: Lazy[R],
    params: Mapping[str, Any] | None = None,
    *,
    resources: Iterable[Resource] = (),
    system_resources: Mapping[str, float] | None = None,
    timeout: float | None = None,
) -> R: ...
@overload
async def arun(
    target: Container,
    params: Mapping[str, Any] | None = None,
    *,
    resources: Iterable[Resource] = (),
    system_resources: Mapping[str, float] | None = None,
    timeout: float | None = None,
) -> Any: ...
@overload
async def arun(
    target: V,
    params: Mapping[str, Any] | None = None,
    *,
    resources: Iterable[Resource] = (),
    system_resources: Mapping[str, float] | None = None,
    timeout: float | None = None,
) -> V: ...
async def arun(
    target: Any,
    params: Mapping[str, Any] | None = None,
    *,
    resources: Iterable[Resource] = (),
    system_resources: Mapping[str, float] | None = None,
    timeout: float | None = None,
) -> Any:
    """Run a target on the event loop that is running, silently, and return its value; takes what `run` takes."""
    return await _run(target, params, tuple(resources), system_resources, timeout, None)


async def _run(
    target: Any,
    params: Mapping[str, Any] | None,
    resources: tuple[Resource, ...],
    system_resources: Mapping[str, float] | None,
    timeout: float | None,
    bus: MessageBus | None,
    progress: Progress | None = None,
) -> Any:
    async with Engine(bus=bus, system_resources=system_resources) as engine:
        if progress is not None:
            progress.watch(engine)
        try:
            return await engine.run(target, params, timeout=timeout, resources=resources)
        finally:
            if progress is not None:
                progress.stop()


def block_on(work: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine to its end from synchronous code, wherever that is called from; Ctrl-C cancels it."""
    main = _Interruptible(work)
    value: R = _Helper(main).wait() if _is_looping() else main.run()
    return value


def _is_looping() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Interruptible:
    """Runs a coroutine in a loop of its own, and cancels it at Ctrl-C."""

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self.interrupt: KeyboardInterrupt | None = None
        self._work = work
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self) -> Any:
        """Run to the end in this thread; an interrupted run ends with KeyboardInterrupt."""
        with _handling_interrupts(self._interrupted_here):
            try:
                value = self.begin()
            except asyncio.CancelledError:
                if self.interrupt is None:
                    raise
        if self.interrupt is not None:
            raise self.interrupt
        return value

    def begin(self) -> Any:
        """Run to the end, with Ctrl-C handled elsewhere."""
        return asyncio.run(self._noted())

    async def _noted(self) -> Any:
        self._loop = asyncio.get_running_loop()
        self._task = task = asyncio.current_task()
        if self.interrupt is not None and task is not None:  # before there was anything to cancel
            task.cancel()
        return await self._work

    def _interrupted_here(self, signum: int, frame: FrameType | None) -> None:
        """End the run, from the signal handler of the thread that it runs in; a second Ctrl-C breaks in."""
        if self.interrupt is not None:
            raise KeyboardInterrupt
        self.interrupt = KeyboardInterrupt()
        if self._loop is not None:
            try:
                running = running_calls(self._loop, frame)
            except Exception:  # it came at a moment at which nothing can be told; the run is to end all the same
                running = []
            with suppress(RuntimeError):  # the loop is closed: the run has ended by itself
                self._loop.call_soon_threadsafe(self._end, running)

    def interrupted_elsewhere(self, signum: int, frame: FrameType | None) -> None:
        """End the run, from the signal handler of another thread. Raising there could come at a bad moment."""
        self.interrupt = KeyboardInterrupt()
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._end, None)

    def _end(self, running: list[tuple[RunState, str]] | None) -> None:
        assert self._loop is not None
        assert self._task is not None
        if not self._task.done():
            self._task.cancel()
            _tell(running_calls(self._loop) if running is None else running)


def _tell(running: list[tuple[RunState, str]]) -> None:
    """Publish what Ctrl-C ends, for each run."""
    named: dict[RunState, list[str]] = {}
    for run, described in running:
        named.setdefault(run, []).append(described)
    for run, calls in named.items():
        if run.bus.wants(RunWarning):
            more = f" and {len(calls) - MOST_TOLD} more" if len(calls) > MOST_TOLD else ""
            message = f"Ctrl-C ends the run; these were running: {', '.join(calls[:MOST_TOLD])}{more}"
            run.bus.publish(RunWarning(run_id=run.id, code="Interrupted", message=message))


class _Helper:
    """Runs a coroutine in a loop of its own in a thread, while the thread that asks for it is blocked."""

    def __init__(self, main: _Interruptible) -> None:
        self._main = main
        self._value: Any = None
        self._error: BaseException | None = None
        self._done = threading.Event()

    def wait(self) -> Any:
        thread = threading.Thread(target=copy_context().run, args=(self._begin,), name="cascade-run", daemon=True)
        with _handling_interrupts(self._main.interrupted_elsewhere):
            thread.start()
            self._done.wait()
            thread.join()
        if self._main.interrupt is not None:
            raise self._main.interrupt
        if self._error is not None:
            raise self._error
        return self._value

    def _begin(self) -> None:
        try:
            self._value = self._main.begin()
        except BaseException as error:
            self._error = error
        finally:
            self._done.set()


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
