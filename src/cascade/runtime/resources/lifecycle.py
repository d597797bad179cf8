"""Lifecycle: how one resource is set up and torn down, whoever keeps it meanwhile."""

from __future__ import annotations

import asyncio
import difflib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Mapping
from contextvars import copy_context
from time import perf_counter
from typing import Any, Protocol

from cascade.errors import ResourceNotFoundError
from cascade.spec.notes import spelled
from cascade.spec.placement import Profile
from cascade.spec.resource import Inject, Resource
from cascade.spec.resource import described as described_value

__all__ = [
    "Host",
    "Job",
    "Opened",
    "at_once",
    "checked",
    "described",
    "find",
    "set_up",
    "settled",
    "tear_down",
    "tear_down_orphaned",
    "value_of",
]

log = logging.getLogger("cascade")
TOO_LONG = 0.010
"""A piece of a resource that held the event loop for so many seconds was none for in place."""
Job = tuple[Any, asyncio.Future[None]]
"""A call that was left behind in its thread, and a future for its end."""


class Host(Protocol):
    """What a pool asks of the run or the engine that it belongs to, and a set-up of the run that it happens in."""

    @property
    def engine(self) -> Any:
        """The engine, whose pool has what is of the scope "engine"."""

    @property
    def known(self) -> Mapping[str, Resource]:
        """What a resource is looked up in by its name."""

    @property
    def inline(self) -> bool:
        """Whether what is short may be done in place."""

    def left_behind(self) -> list[Job]:
        """Return the calls that may go on using what is open."""

    async def in_thread(
        self, owner: object, what: str, func: Callable[..., Any], *args: Any, profile: Profile | None = None
    ) -> Any:
        """Run a piece of a resource, `what`, in a worker thread; its profile learns how long it takes."""

    def publish_resource(self, name: str, acquired: bool) -> None:
        """Say that a resource was set up, or torn down."""


class Opened:
    """One resource that was set up: its value, and the generator that tears it down.

    Both happen in a context of its own, so that what the one sets the other can reset.
    """

    __slots__ = ("context", "generator", "is_announced", "is_bound", "is_here", "loop", "resource", "value")

    def __init__(self, resource: Resource, needed: dict[str, Any], inline: bool) -> None:
        self.resource = resource
        self.context = copy_context()
        self.generator = resource.func(**needed)
        self.value: Any = None
        self.is_announced = False
        self.loop = asyncio.get_running_loop()
        self.is_bound = resource.is_async
        """Whether the resource is of no use, and cannot be torn down, once its event loop has ended."""
        self.is_here = inline and resource.is_short
        """Whether both its pieces run in place, so that nothing of it is ever awaited."""


def described(resource: Resource) -> str:
    """Return a resource and where it was declared."""
    return f"resource {resource.name!r} (declared at {resource.declared})"


def checked(resource: Resource) -> Resource:
    """Return a resource that was given.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(resource, Resource):
        raise TypeError(
            f"a resource is declared with @cs.resource, which {described_value(resource)} is not; put it above its def"
        )
    return resource


def find(known: Mapping[str, Resource], wanted: Inject, asker: str) -> Resource:
    """Return the resource that is asked for; one known under the same name overrides it.

    Raises:
        ResourceNotFoundError: there is none of this name.
    """
    found = known.get(wanted.name)
    if found is not None:
        return found
    if isinstance(wanted.target, Resource):
        return wanted.target
    near = difflib.get_close_matches(wanted.name, list(known), 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ResourceNotFoundError(
        f"{asker} asks for the resource {wanted.name!r}, which nobody provides{hint} "
        f"(there are: {', '.join(sorted(known)) or 'none'}); give it with resources=[...] "
        "or engine.register(...)"
    )


async def set_up(host: Host, resource: Resource, needed: dict[str, Any], own: list[Opened]) -> Opened:
    """Set a resource up with what it needs; what there is to tear down is added to `own`.

    Args:
        host: the run that it is set up in.
    """
    opened = Opened(resource, needed, host.inline)
    generator = opened.generator
    try:
        value = await _step(host, opened, own, _first if resource.is_async else _first_sync)
    except asyncio.CancelledError:
        if not resource.is_async and (generator.gi_suspended or generator.gi_running):
            own.append(opened)  # its thread could not be stopped
        raise
    if value is _ENDED:
        raise RuntimeError(
            f"{described(resource)} ended without a yield; it yields once, what it gives to those who ask for it"
        )
    opened.value = value
    opened.is_announced = True
    own.append(opened)
    host.publish_resource(resource.name, True)
    return opened


async def tear_down(host: Host, opened: list[Opened], error: BaseException | None) -> BaseException | None:
    """Tear down what was set up, last first, with the failure thrown in if there is one.

    Returns the first failure of a teardown.
    """
    first = None
    where = None if error is None else error.__traceback__
    try:
        for one in reversed(opened):
            try:
                await _finish(host, one, error)
            except BaseException as failure:
                if failure is error:
                    BaseException.with_traceback(error, where)  # it only passed, and would lead here
                elif first is None:
                    first = failure
            if one.is_announced:
                host.publish_resource(one.resource.name, False)
        return first
    finally:
        del error, where, first  # their tracebacks lead here


def tear_down_orphaned(opened: list[Opened], error: BaseException | None) -> None:
    """Tear down what can be torn down where no event loop is left."""
    for one in reversed(opened):
        try:
            if one.resource.is_async:
                raise RuntimeError("its event loop has ended")
            one.context.run(_last_sync, one.generator, error)
        except BaseException as failure:
            if failure is not error:
                log.warning("resource %r was not torn down: %s", one.resource.name, spelled(failure))


async def _finish(host: Host, opened: Opened, error: BaseException | None) -> None:
    """Let the generator go on from its yield, with the failure if there is one."""
    more = await _step(host, opened, opened, _last if opened.resource.is_async else _last_sync, error)
    if more is not _ENDED:
        raise RuntimeError(
            f"{described(opened.resource)} yielded twice; it yields once, and what follows is its teardown"
        )


async def _step(host: Host, opened: Opened, owner: object, step: Callable[..., Any], *args: Any) -> Any:
    """Let a generator go on to its next yield or its end, in its context.

    A sync one goes where a sync task would: into a thread, or in place once it is known to be short there.
    """
    resource = opened.resource
    if not resource.is_async:
        profile = resource.setup if step is _first_sync else resource.teardown
        if opened.is_here or (profile.inline and host.inline):
            return _in_place(profile, opened.context.run, step, opened.generator, *args)
        piece = opened.context.run, step, opened.generator, *args
        return await host.in_thread(owner, described(resource), *piece, profile=profile)
    outcome = await asyncio.get_running_loop().create_task(
        settled(step, opened.generator, *args), context=opened.context
    )
    try:
        return value_of(outcome)
    finally:
        del outcome, args  # the traceback leads here


def at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """Return what comes of setting up, or tearing down, what is short: nothing of that is awaited."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a short resource had to be waited for")


def _in_place(profile: Profile, func: Callable[..., Any], *args: Any) -> Any:
    """Run a piece of a resource on the loop's thread; one that turns out slow goes to the threads again."""
    begun = perf_counter()
    try:
        return func(*args)
    finally:
        if perf_counter() - begun > TOO_LONG:
            profile.demote()


async def settled(work: Callable[..., Awaitable[Any]], *args: Any) -> tuple[Any, BaseException | None]:
    """Return what came of something: a KeyboardInterrupt would otherwise end the event loop from within a task.

    It is called here, so that a cancel before the beginning leaves no coroutine that nobody awaits.
    """
    try:
        return await work(*args), None
    except BaseException as error:
        return None, error


def value_of(outcome: tuple[Any, BaseException | None]) -> Any:
    """Return what came of something, or raise it."""
    value, error = outcome
    if error is None:
        return value
    try:
        raise error
    finally:
        del outcome, error


_ENDED = object()


def _first_sync(generator: Generator[Any, None, None]) -> Any:
    return next(generator, _ENDED)


def _last_sync(generator: Generator[Any, None, None], error: BaseException | None) -> Any:
    try:
        more = next(generator, _ENDED) if error is None else generator.throw(error)
    except StopIteration:
        return _ENDED
    if more is not _ENDED:
        generator.close()
    return more


async def _first(generator: AsyncGenerator[Any, None]) -> Any:
    return await anext(generator, _ENDED)


async def _last(generator: AsyncGenerator[Any, None], error: BaseException | None) -> Any:
    try:
        more = await (anext(generator, _ENDED) if error is None else generator.athrow(error))
    except StopAsyncIteration:
        return _ENDED
    if more is not _ENDED:
        await generator.aclose()
    return more
