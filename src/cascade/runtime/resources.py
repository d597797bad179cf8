"""Resources of a run: set up when first needed, torn down once, in reverse order, in every outcome."""

from __future__ import annotations

import asyncio
import difflib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import Any

from cascade.errors import ResourceNotFoundError
from cascade.runtime.run import RunState
from cascade.runtime.scope import spelled, to_the_end
from cascade.runtime.spot import Spot
from cascade.spec.resource import Inject, Resource

__all__ = ["Resources"]

log = logging.getLogger("cascade")


class _Opened:
    """One resource that was set up: its value, and the generator that tears it down.

    Both happen in a context of its own, so that what the one sets the other can reset.
    """

    __slots__ = ("context", "generator", "is_announced", "resource", "value")

    def __init__(self, resource: Resource, needed: dict[str, Any]) -> None:
        self.resource = resource
        self.context = copy_context()
        self.generator = resource.func(**needed)
        self.value: Any = None
        self.is_announced = False


class Resources:
    """The resources that the tasks of one run see."""

    def __init__(self, run: RunState, known: Mapping[str, Resource]) -> None:
        self._run = run
        self._known = known
        self._shared: dict[Resource, asyncio.Task[tuple[Any, BaseException | None]]] = {}
        self._opened: list[_Opened] = []
        self._checked: set[Resource] = set()

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to tear down."""
        return not self._shared and not self._opened

    def find(self, wanted: Inject, asker: str) -> Resource:
        """Return the resource that is asked for; one registered under the same name overrides it.

        Raises:
            ResourceNotFoundError: there is none of this name.
        """
        found = self._known.get(wanted.name)
        if found is not None:
            return found
        if isinstance(wanted.target, Resource):
            return wanted.target
        near = difflib.get_close_matches(wanted.name, list(self._known), 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ResourceNotFoundError(
            f"{asker} asks for the resource {wanted.name!r}, which nobody provides{hint} "
            f"(there are: {', '.join(sorted(self._known)) or 'none'}); give it with resources=[...] "
            "or engine.register(...)"
        )

    def _check(self, resource: Resource, path: tuple[Resource, ...]) -> None:
        """Raise ResourceNotFoundError if what a resource needs is not there, or needs the resource itself."""
        if resource in path:
            drawn = " -> ".join(step.name for step in (*path[path.index(resource) :], resource))
            raise ResourceNotFoundError(
                f"{_described(resource)} is one of those that need each other: {drawn}; none can be set up first"
            )
        if resource not in self._checked:
            for wanted in resource.needs.values():
                self._check(self.find(wanted, _described(resource)), (*path, resource))
            self._checked.add(resource)

    @asynccontextmanager
    async def for_call(self, spot: Spot, wanted: list[Inject]) -> AsyncIterator[dict[Inject, Any]]:
        """Provide what one call asks for; what is its own is torn down behind it."""
        own: list[_Opened] = []
        found: dict[Inject, Any] = {}
        try:
            for inject in wanted:
                found[inject] = await self._provide(inject, self._run.described(spot), own)
            yield found
        except BaseException as error:
            if self._run.has_left(spot, own):  # they are in use still
                self._opened += own
            else:
                await self._close(own, error)
            raise
        else:
            await self._close(own, None)

    async def _provide(self, wanted: Inject, asker: str, own: list[_Opened]) -> Any:
        resource = self.find(wanted, asker)
        self._check(resource, ())
        if resource.scope == "task":
            for opened in own:
                if opened.resource is resource:
                    return opened.value
            return await self._open(resource, own)
        task = self._shared.get(resource)
        if task is None or (task.done() and (task.cancelled() or task.result()[1] is not None)):
            work = _settled(self._open_shared, resource)
            task = self._shared[resource] = asyncio.get_running_loop().create_task(work)
        if not task.done():
            await asyncio.wait({task})
        return _value_of(task.result())

    async def _open_shared(self, resource: Resource) -> Any:
        own: list[_Opened] = []
        try:
            return await self._open(resource, own)
        finally:
            self._opened += own

    async def _open(self, resource: Resource, own: list[_Opened]) -> Any:
        """Set a resource up, after those that it needs; what there is to tear down is added to `own`."""
        what = _described(resource)
        opened = _Opened(resource, {name: await self._provide(it, what, own) for name, it in resource.needs.items()})
        generator = opened.generator
        try:
            value = await self._step(opened, own, _first if resource.is_async else _first_sync)
        except asyncio.CancelledError:
            if not resource.is_async and (generator.gi_suspended or generator.gi_running):
                own.append(opened)  # its thread could not be stopped
            raise
        if value is _ENDED:
            raise RuntimeError(f"{what} ended without a yield; it yields once, what it gives to those who ask for it")
        opened.value = value
        opened.is_announced = True
        own.append(opened)
        self._run.publish_resource(resource.name, True)
        return value

    async def _step(self, opened: _Opened, owner: Any, step: Any, *args: Any) -> Any:
        """Let a generator go on to its next yield or its end, in its context."""
        if not opened.resource.is_async:
            what = _described(opened.resource)
            return await self._run.in_thread(owner, what, opened.context.run, step, opened.generator, *args)
        task = asyncio.get_running_loop().create_task(_settled(step, opened.generator, *args), context=opened.context)
        return _value_of(await task)

    async def stop(self) -> None:
        """End the set-ups that are still under way."""
        for task in self._shared.values():
            while not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def close(self, error: BaseException | None) -> BaseException | None:
        """Tear down what the run shared, last first; return the first failure of a teardown."""
        opened, self._opened = self._opened, []
        return await self._tear_down(opened, error)

    async def close_late(self, error: BaseException | None) -> None:
        """Tear down when the run is over."""
        failure = await self.close(error)
        if failure is not None:
            log.warning("a resource failed in its teardown after its run had ended: %r", failure)

    def close_orphaned(self, error: BaseException | None) -> None:
        """Tear down what can be torn down where no event loop is left."""
        opened, self._opened = self._opened, []
        for one in reversed(opened):
            try:
                if one.resource.is_async:
                    raise RuntimeError("its event loop has ended")
                one.context.run(_last_sync, one.generator, error)
            except BaseException as failure:
                if failure is not error:
                    log.warning("resource %r was not torn down: %r", one.resource.name, failure)

    async def _close(self, own: list[_Opened], error: BaseException | None) -> None:
        if not own:
            return
        failure, cancel = await to_the_end(self._tear_down(own, error), self._run.engine.thread_grace)
        ending = cancel or error
        if failure is not None:
            if ending is None:
                raise failure
            ending.add_note(f"besides, a resource failed in its teardown: {spelled(failure)}")
        if cancel is not None:
            raise cancel

    async def _tear_down(self, opened: list[_Opened], error: BaseException | None) -> BaseException | None:
        first = None
        for one in reversed(opened):
            try:
                await self._finish(one, error)
            except BaseException as failure:
                if failure is not error and first is None:
                    first = failure
            if one.is_announced:
                self._run.publish_resource(one.resource.name, False)
        return first

    async def _finish(self, opened: _Opened, error: BaseException | None) -> None:
        """Let the generator go on from its yield, with the failure if there is one."""
        more = await self._step(opened, opened, _last if opened.resource.is_async else _last_sync, error)
        if more is not _ENDED:
            raise RuntimeError(
                f"{_described(opened.resource)} yielded twice; it yields once, and what follows is its teardown"
            )


def _described(resource: Resource) -> str:
    return f"resource {resource.name!r} (declared at {resource.declared})"


async def _settled(work: Callable[..., Awaitable[Any]], *args: Any) -> tuple[Any, BaseException | None]:
    """Return what came of something: a KeyboardInterrupt would otherwise end the event loop from within a task.

    It is called here, so that a cancel before the beginning leaves no coroutine that nobody awaits.
    """
    try:
        return await work(*args), None
    except BaseException as error:
        return None, error


def _value_of(outcome: tuple[Any, BaseException | None]) -> Any:
    value, error = outcome
    if error is None:
        return value
    try:
        raise error
    finally:
        del outcome, error


_ENDED = object()


def _first_sync(generator: Any) -> Any:
    return next(generator, _ENDED)


def _last_sync(generator: Any, error: BaseException | None) -> Any:
    try:
        more = next(generator, _ENDED) if error is None else generator.throw(error)
    except StopIteration:
        return _ENDED
    if more is not _ENDED:
        generator.close()
    return more


async def _first(generator: Any) -> Any:
    return await anext(generator, _ENDED)


async def _last(generator: Any, error: BaseException | None) -> Any:
    try:
        more = await (anext(generator, _ENDED) if error is None else generator.athrow(error))
    except StopAsyncIteration:
        return _ENDED
    if more is not _ENDED:
        await generator.aclose()
    return more
