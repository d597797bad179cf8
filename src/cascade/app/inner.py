"""Runs inside of tasks: they belong to the engine that runs the task."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from cascade.adapters.executors.workers import job_here
from cascade.runtime.run.active_calls import call_at
from cascade.spec.contexts import contextmanager
from cascade.spec.inside import Inside, inside_of, waited_for

if TYPE_CHECKING:
    from cascade.runtime.engine import Engine

__all__ = ["current_engine", "on_its_loop", "wait_for"]


def current_engine() -> Engine:
    """Return the engine that runs the task that calls this, in a worker thread too.

    Raises:
        RuntimeError: it is called from no task; in a process of its own (`mode="process"`) a task has no engine.
    """
    inside = inside_of()
    if inside is None:
        raise RuntimeError(
            "cs.current_engine() is called from outside of any task, or in a process of its own, where no engine runs; "
            "call it in a task, or keep an engine: `async with cs.Engine() as engine`"
        )
    engine: Engine = inside.run.engine
    return engine


async def on_its_loop(inside: Inside, work: Coroutine[Any, Any, Any]) -> Any:
    """Await work of the engine of a task, which may itself be on another event loop, of a thread."""
    if asyncio.get_running_loop() is inside.loop:
        return await work
    with _sent(inside, work) as future:
        return await asyncio.wrap_future(future)


def wait_for(inside: Inside, work: Coroutine[Any, Any, Any]) -> Any:
    """Wait in the thread of a task for work on the event loop of its engine; it ends with the call of the task.

    Raises:
        RuntimeError: the task is on the thread of the event loop, which would wait for itself.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    if loop is inside.loop:
        work.close()
        found = call_at(sys._getframe(1))
        what = f"task {found}" if found else f"run {inside.name!r}"
        raise RuntimeError(
            f"cs.run(...) was called in {what}, on the thread of the event loop that would have to carry it out; write "
            '`async def` and `await cs.arun(...)`, or @cs.task(mode="blocking") for a function that waits in a thread'
        )
    with _sent(inside, work) as future:
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise asyncio.CancelledError from None
        finally:
            del future  # it keeps an error whose traceback leads here


@contextmanager
def _sent(inside: Inside, work: Coroutine[Any, Any, Any]) -> Iterator[concurrent.futures.Future[Any]]:
    """Have work done on the loop of an engine, until the call of the thread that asks for it is cancelled."""
    begun: asyncio.Task[Any] | None = None

    async def noted() -> Any:
        nonlocal begun
        begun = asyncio.current_task()
        if job is not None and job.is_cut:
            work.close()
            raise asyncio.CancelledError
        if job is not None and begun is not None:
            waited_for[begun] = job
        try:
            return await work
        finally:
            begun = None  # it keeps an error whose traceback leads here

    def cut() -> None:
        if begun is not None:
            begun.cancel()

    job = job_here()
    if job is None:
        yield asyncio.run_coroutine_threadsafe(noted(), inside.loop)
        return
    before, job.cut = job.cut, cut  # before it begins: this thread may go on long after that
    try:
        yield asyncio.run_coroutine_threadsafe(noted(), inside.loop)
    finally:
        job.cut = before
