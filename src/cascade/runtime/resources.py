"""Resources of a run: set up when first needed, torn down once, in reverse order, in every outcome."""

from __future__ import annotations

import asyncio
import difflib
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from cascade.errors import ResourceNotFoundError
from cascade.runtime.run import RunState
from cascade.runtime.spot import Spot
from cascade.spec.resource import Inject, Resource

__all__ = ["Resources"]

log = logging.getLogger("cascade")


class _Opened:
    """One resource that was set up: its value and the generator that tears it down."""

    __slots__ = ("generator", "resource", "value")

    def __init__(self, resource: Resource, generator: Any, value: Any) -> None:
        self.resource = resource
        self.generator = generator
        self.value = value


class Resources:
    """The resources that the tasks of one run see."""

    def __init__(self, run: RunState, known: Mapping[str, Resource]) -> None:
        self._run = run
        self._known = known
        self._shared: dict[Resource, asyncio.Task[_Opened]] = {}
        self._opened: list[_Opened] = []

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

    @asynccontextmanager
    async def for_call(self, spot: Spot, wanted: list[Inject]) -> AsyncIterator[dict[Inject, Any]]:
        """Provide what one call asks for; what is its own is torn down behind it."""
        own: list[_Opened] = []
        found: dict[Inject, Any] = {}
        try:
            for inject in wanted:
                found[inject] = await self._provide(inject, self._run.described(spot), own, ())
            yield found
        except BaseException as error:
            await self._close(own, error)
            raise
        else:
            await self._close(own, None)

    async def _provide(self, wanted: Inject, asker: str, own: list[_Opened], path: tuple[Resource, ...]) -> Any:
        resource = self.find(wanted, asker)
        if resource in path:
            drawn = " -> ".join(step.name for step in (*path[path.index(resource) :], resource))
            raise ResourceNotFoundError(f"{asker} asks for resources that need each other: {drawn}")
        if resource.scope == "task":
            opened = await self._open(resource, own, path)
            own.append(opened)
            return opened.value
        task = self._shared.get(resource)
        if task is None or (task.done() and task.cancelled()):
            task = self._shared[resource] = asyncio.get_running_loop().create_task(self._open_shared(resource, path))
        while not task.done():
            await asyncio.wait({task})
        return task.result().value

    async def _open_shared(self, resource: Resource, path: tuple[Resource, ...]) -> _Opened:
        own: list[_Opened] = []
        opened = await self._open(resource, own, path)
        self._opened += own
        self._opened.append(opened)
        return opened

    async def _open(self, resource: Resource, own: list[_Opened], path: tuple[Resource, ...]) -> _Opened:
        """Set a resource up, after those that it needs."""
        asker = f"resource {resource.name!r} (declared at {resource.declared})"
        kwargs = {}
        for name, wanted in resource.needs.items():
            kwargs[name] = await self._provide(wanted, asker, own, (*path, resource))
        generator = resource.func(**kwargs)
        if resource.is_async:
            try:
                value = await anext(generator)
            except StopAsyncIteration:
                raise RuntimeError(f"{asker} ended without a yield") from None
        else:
            value = await self._run.in_thread(_first, generator)
            if value is _ENDED:
                raise RuntimeError(f"{asker} ended without a yield")
        self._run.publish_resource(resource.name, True)
        return _Opened(resource, generator, value)

    async def close(self, error: BaseException | None) -> BaseException | None:
        """Tear down what the run shared, last first; return the first failure of a teardown."""
        for task in self._shared.values():
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
            elif not task.cancelled():
                task.exception()
        opened, self._opened = self._opened, []
        return await self._tear_down(opened, error)

    def close_orphaned(self, error: BaseException | None) -> None:
        """Tear down what can be torn down where no event loop is left."""
        opened, self._opened = self._opened, []
        for one in reversed(opened):
            try:
                if one.resource.is_async:
                    raise RuntimeError("its event loop has ended")
                _last(one.generator, error)
            except BaseException as failure:
                if failure is not error:
                    log.warning("resource %r was not torn down: %r", one.resource.name, failure)

    async def _close(self, own: list[_Opened], error: BaseException | None) -> None:
        failure = await self._tear_down(own, error)
        if failure is None:
            return
        if error is None:
            raise failure
        error.add_note(f"besides, a resource failed in its teardown: {type(failure).__name__}: {failure}")

    async def _tear_down(self, opened: list[_Opened], error: BaseException | None) -> BaseException | None:
        first = None
        for one in reversed(opened):
            try:
                await self._finish(one, error)
            except BaseException as failure:
                if failure is not error and first is None:
                    first = failure
            self._run.publish_resource(one.resource.name, False)
        return first

    async def _finish(self, opened: _Opened, error: BaseException | None) -> None:
        """Let the generator go on from its yield, with the failure if there is one."""
        generator = opened.generator
        if not opened.resource.is_async:
            more = await self._run.in_thread(_last, generator, error)
        elif error is None:
            more = await anext(generator, _ENDED)
        else:
            try:
                more = await generator.athrow(error)
            except StopAsyncIteration:
                more = _ENDED
        if more is not _ENDED:
            raise RuntimeError(
                f"resource {opened.resource.name!r} (declared at {opened.resource.declared}) yielded twice; "
                "it yields once, and what follows is its teardown"
            )


_ENDED = object()


def _first(generator: Any) -> Any:
    return next(generator, _ENDED)


def _last(generator: Any, error: BaseException | None) -> Any:
    if error is None:
        return next(generator, _ENDED)
    try:
        return generator.throw(error)
    except StopIteration:
        return _ENDED
