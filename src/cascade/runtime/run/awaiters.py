"""Who waits for what: which calls, set-ups and runs cannot end before something inside of them has.

What is begun in a task is not always waited for. Only where each step outwards is a plain wait is it known that the
outer one goes on when the inner one has ended, and not before: an asyncio task that a call awaits (by way of `gather`,
a `TaskGroup`, `wait_for` or tasks of the user's own), or that a thread of a call does nothing but wait for. Whatever
else there is (a call that looks from time to time, one that waits for the first of several) might go on by itself, so
that nothing is said of it. asyncio's callbacks tell who is woken by what; nothing is noted while all goes well.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import Context, ContextVar
from functools import partial
from time import monotonic, sleep
from types import FrameType, FunctionType
from typing import TYPE_CHECKING, Any, Protocol

from cascade.adapters.executors.workers import Job, job_here
from cascade.runtime.frames.call import Call
from cascade.runtime.run.active_calls import Place, call_in, place_here, place_in_task
from cascade.spec.inside import Inside, inside_of, waited_for
from cascade.spec.readable import locals_of

if TYPE_CHECKING:
    from cascade.runtime.frames.scope import Scope

__all__ = ["Awaiters", "around", "held_here", "scopes_around", "whereabouts"]

held_here: ContextVar[Any] = ContextVar("cascade_held", default=None)
"""The last call around this code that was let in, or thing that is being made around it (see `run.circular_waits`)."""


PATIENCE = 1.0
"""So many seconds a thread waits for the coroutine that has begun it to be where it can be found."""


class Holder(Protocol):
    """What holds something, or is being made, while calls inside of it may wait for that."""

    run: Any
    place: Any
    around: Any

    def is_at(self, call: Call) -> bool:
        """Say whether it is at a call."""


class Awaiters:
    """All who wait for one asyncio task and do nothing else."""

    def __init__(self, *futures: asyncio.Future[Any] | None) -> None:
        self.tasks: set[Any] = set()
        """The task, and the other asyncio tasks that wait for it."""
        self.calls: list[tuple[Any, Any]] = []
        """The calls among them, as (run, call)."""
        self.callers: list[asyncio.Task[Any]] = []
        """The tasks that are in these calls."""
        self.jobs: list[Job] = []
        """The jobs of the threads among them."""
        self.contexts: list[Context] = []
        """The contexts of the jobs."""
        waiting: list[Any] = [*futures]
        while waiting:
            each = waiting.pop()
            if each is None or each in self.tasks:
                continue
            self.tasks.add(each)
            if isinstance(each, concurrent.futures.Future):
                self._add_jobs(_jobs_that_wait(each))
                continue
            if isinstance(each, asyncio.Task):
                if each in waited_for:
                    self._add_jobs([waited_for[each]])
                call = call_in(each)
                if call is not None:
                    self.calls.append(call)
                    self.callers.append(each)
                    continue  # who waits for the call is another matter
            for callback, _ in getattr(each, "_callbacks", None) or ():
                waiting += _told_by(callback)

    def _add_jobs(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self.jobs.append(job)
            if (context := getattr(job, "context", None)) is not None:
                self.contexts.append(context)

    def are_in(self, run_id: str) -> bool:
        """Say whether a call of a run is among them."""
        insides = [inside_of(context) for context in self.contexts]
        return any(run.id == run_id for run, _ in self.calls) or any(
            inside is not None and inside.name == run_id for inside in insides
        )

    def are_at(self, held: Holder) -> bool:
        """Say whether what holds something, or is being made, is among them."""
        for context in self.contexts:
            each = context.get(held_here)
            while each is not None and each is not held:
                each = each.around
            if each is held:
                return True
        task = getattr(held, "task", None)
        if task is not None:
            return task in self.tasks
        return any(run is held.run and held.is_at(call) for run, call in self.calls)


def around(inside: Inside | None, held: Holder | None, task: asyncio.Task[Any] | None) -> Iterator[Any]:
    """Go through what ends only after something that waits: from the inside outwards.

    Args:
        inside: the run that it is in.
        held: the last thing around it that was noted by `deadlock.hold`.
        task: the asyncio task that waits, if that is one of the user's; None: a call of the run does so itself.
    """
    by = None if task is None else Awaiters(task)
    while inside is not None and inside.run is not None:
        while held is not None and (held.run is None or held.run.run_scope.depth >= inside.depth):
            if held.run is not None and (by is None or by.are_at(held)):
                yield held
            held = held.around
        if by is not None and not by.are_in(inside.name):
            return
        yield inside
        by = Awaiters(inside.awaited_by)
        inside = inside.outer


def whereabouts() -> Place | None:
    """Return the call that this code is a part of: in it, in a thread of it, or in an asyncio task that it waits for.

    Nothing is noted before somebody asks. Whatever a thread does, the coroutine that waits for it knows whose it is.
    """
    place = place_here()
    if place is not None:
        return place
    job = job_here()
    if job is None:
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no event loop runs in this thread
            return None
        return _awaited(task)
    return _of_job(job)


def _of_job(job: Job) -> Place | None:
    """Return the call that a thread is at work for: that of the coroutine that waits for the job."""
    until = monotonic() + PATIENCE
    while True:
        place = _awaited(*_futures_of(job))
        inside = inside_of()
        if place is not None:
            _have_named(place.run, until)
        if place is not None or inside is None:
            return place
        for owner, left, _ in [*inside.run.abandoned]:
            if left is job and isinstance(owner, Call):
                return Place(inside.run, owner, 1)
        if monotonic() > until:
            return None
        sleep(0.0001)  # the thread is ahead of the coroutine, which is about to wait for it


def _futures_of(job: Job) -> list[asyncio.Future[Any]]:
    """Return the futures that are settled when a job is delivered: by what it tells, or a loop around that."""
    told, found = [*_cells(job.deliver)], []
    for part in told:
        if isinstance(part, asyncio.Future):
            found.append(part)
        elif isinstance(part, FunctionType):
            told += [cell for cell in _cells(part) if not any(cell is each for each in told)]
    return found


def scopes_around(task: asyncio.Task[Any], run: Any) -> set[Scope] | None:
    """Return the scopes of the calls of a run that wait for a task, and for nothing else; None: of one that is cut off.

    They may be in that task, or do so in threads.
    """
    here = call_in(task, run)
    if here is not None:
        return {here[1].scope}
    by = Awaiters(task)
    futures = [future for job in by.jobs for future in _futures_of(job)]
    if any(future.cancelled() for future in futures):
        return None
    return {call.scope for each, call in (*by.calls, *Awaiters(*futures).calls) if each is run}


def _have_named(run: Any, until: float) -> None:
    """Have a run name its nodes on the thread of its event loop, which others may be doing there, too."""
    if not run.is_named:
        with suppress(RuntimeError):  # the loop is closed
            run.run_scope.loop.call_soon_threadsafe(lambda: run.names.name_all())
    while not run.is_named and monotonic() < until:
        sleep(0.0001)


def _awaited(*futures: asyncio.Future[Any] | None) -> Place | None:
    """Return the call that waits for one of these, and for nothing else."""
    for task in Awaiters(*futures).callers:
        place = place_in_task(task)
        if place is not None:
            return place
    return None


def _cells(function: Callable[..., Any]) -> list[Any]:
    """Return what a function knows from around it."""
    found = []
    for cell in getattr(function, "__closure__", None) or ():
        with suppress(ValueError):  # it has no value yet
            found.append(cell.cell_contents)
    return found


def _told_by(callback: object) -> list[Any]:
    """Return the futures that a callback of a future is to settle, and the tasks that it wakes."""
    parts = [getattr(callback, "__self__", None)]
    if isinstance(callback, partial):
        parts += callback.args
    if isinstance(callback, FunctionType):
        cells = callback.__closure__ or ()
        free = dict(zip(callback.__code__.co_freevars, cells, strict=True))
        if "return_when" in free and free["return_when"].cell_contents == asyncio.FIRST_COMPLETED:
            return []  # who waits may go on without it
        parts += [cell.cell_contents for cell in cells]
    parts += [getattr(part, "_on_completed_fut", None) for part in parts]  # of a TaskGroup
    return [part for part in parts if isinstance(part, (asyncio.Future, concurrent.futures.Future))]


def _jobs_that_wait(future: concurrent.futures.Future[Any]) -> Iterator[Job]:
    """Go through the calls in threads that are in `future.result()`, or a `wait` for it, without a timeout."""
    for innermost in sys._current_frames().values():
        frame: FrameType | None = innermost
        while frame is not None and frame.f_code not in _WAITS:
            frame = frame.f_back
        if frame is None or not _WAITS[frame.f_code](frame.f_locals, future):
            continue
        while frame is not None and frame.f_code is not Job.run.__code__:
            frame = frame.f_back
        if frame is not None:
            yield locals_of(frame)["self"]


def _is_in_result(known: Mapping[str, Any], future: object) -> bool:
    return known.get("self") is future and known.get("timeout", 0) is None


def _is_in_wait(known: Mapping[str, Any], future: object) -> bool:
    return (
        known.get("timeout", 0) is None
        and known.get("return_when") == concurrent.futures.ALL_COMPLETED
        and isinstance(known.get("fs"), set)
        and future in known["fs"]
    )


_WAITS = {
    concurrent.futures.Future.result.__code__: _is_in_result,
    concurrent.futures.Future.exception.__code__: _is_in_result,
    concurrent.futures.wait.__code__: _is_in_wait,
}
