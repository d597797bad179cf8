"""Resources of a run: set up when first needed, torn down once, in reverse order, in every outcome."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from cascade.errors import ResourceNotFoundError
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.scope import to_the_end
from cascade.runtime.resources.engine_resources import refuse_narrower
from cascade.runtime.resources.lifecycle import (
    Opened,
    described,
    find,
    set_up,
    settled,
    tear_down,
    tear_down_orphaned,
    value_of,
)
from cascade.runtime.run.state import RunState
from cascade.spec.notes import note_before, spelled
from cascade.spec.resource import Inject, Resource

__all__ = ["RunResources"]

log = logging.getLogger("cascade")


class RunResources:
    """The resources that the tasks of one run see."""

    def __init__(self, run: RunState, known: Mapping[str, Resource]) -> None:
        self._run = run
        self._known = known
        self._shared: dict[Resource, asyncio.Task[tuple[Any, BaseException | None]]] = {}
        self._opened: list[Opened] = []
        self._checked: set[Resource] = set()
        self._calls: dict[int, list[Opened]] = {}
        """What is of the scope "task" of calls that are going on, by the identity of their record."""

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to tear down."""
        return not self._shared and not self._opened

    @property
    def names(self) -> list[str]:
        """The names of what the run shares and has set up."""
        return [each.resource.name for each in self._opened]

    def open_for(self, owner: Any) -> list[str]:
        """Return the names of what a call may use: its own, and what the run shares."""
        return [*(each.resource.name for each in self._calls.get(id(owner), ())), *self.names]

    def find(self, wanted: Inject, asker: str) -> Resource:
        """Return the resource that is asked for; one known under the same name overrides it.

        Raises:
            ResourceNotFoundError: there is none of this name.
        """
        return find(self._known, wanted, asker)

    def _check(self, resource: Resource, known: Mapping[str, Resource], path: tuple[Resource, ...] = ()) -> None:
        """Raise ResourceNotFoundError if what a resource needs is not there, or needs the resource itself."""
        if resource in path:
            drawn = " -> ".join(step.name for step in (*path[path.index(resource) :], resource))
            raise ResourceNotFoundError(
                f"{described(resource)} is one of those that need each other: {drawn}; none can be set up first"
            )
        if resource not in self._checked:
            if resource.scope == "engine":
                known = self._run.engine.resources
            for wanted in resource.needs.values():
                found = find(known, wanted, described(resource))
                refuse_narrower(resource, wanted, found)
                self._check(found, known, (*path, resource))
            self._checked.add(resource)

    async def for_call(
        self, call: Call, wanted: list[Inject], work: Callable[[dict[Inject, Any]], Awaitable[Any]]
    ) -> Any:
        """Make one call with what it asks for; what is its own is torn down behind it.

        (No `asynccontextmanager`: that one sets the traceback of what passes, which not every exception allows.)
        """
        own: list[Opened] = []
        found: dict[Inject, Any] = {}
        try:
            for inject in wanted:
                found[inject] = await self._provide(inject, self._run.described(call), own)
            if own:
                self._calls[id(call)] = own
            value = await work(found)
        except BaseException as error:
            if self._run.has_left(call, own):  # they are in use still
                self._opened += own
            else:
                await self._close(own, error)
            raise
        finally:
            self._calls.pop(id(call), None)
        await self._close(own, None)
        return value

    async def _provide(self, wanted: Inject, asker: str, own: list[Opened]) -> Any:
        resource = self.find(wanted, asker)
        self._check(resource, self._known)
        if resource.scope == "engine":
            return await self._run.engine.kept.provide(self._run, resource, asker)
        if resource.scope == "task":
            for opened in own:
                if opened.resource is resource:
                    return opened.value
            return await self._open(resource, own)
        task = self._shared.get(resource)
        if task is None or (task.done() and (task.cancelled() or task.result()[1] is not None)):
            work = settled(self._open_shared, resource)
            task = self._shared[resource] = asyncio.get_running_loop().create_task(work)
        try:
            if not task.done():
                await asyncio.wait({task})
            return value_of(task.result())
        finally:
            del task  # it keeps an error whose traceback leads here

    async def _open_shared(self, resource: Resource) -> Any:
        own: list[Opened] = []
        try:
            return await self._open(resource, own)
        finally:
            self._opened += own

    async def _open(self, resource: Resource, own: list[Opened]) -> Any:
        """Set a resource up, after those that it needs; what there is to tear down is added to `own`."""
        what = described(resource)
        needed = {name: await self._provide(it, what, own) for name, it in resource.needs.items()}
        return (await set_up(self._run, resource, needed, own)).value

    async def stop(self) -> None:
        """End the set-ups that are still under way."""
        for task in self._shared.values():
            while not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def close(self, error: BaseException | None) -> BaseException | None:
        """Tear down what the run shared, last first; return the first failure of a teardown."""
        self._shared.clear()
        opened, self._opened = self._opened, []
        return await tear_down(self._run, opened, error)

    async def close_late(self, error: BaseException | None) -> None:
        """Tear down when the run is over."""
        failure = await self.close(error)
        if failure is not None:
            log.warning("a resource failed in its teardown after its run had ended: %s", spelled(failure))

    def close_orphaned(self, error: BaseException | None) -> None:
        """Tear down what can be torn down where no event loop is left."""
        opened, self._opened = self._opened, []
        tear_down_orphaned(opened, error)

    async def _close(self, own: list[Opened], error: BaseException | None) -> None:
        if not own:
            return
        failure, cancel = await to_the_end(tear_down(self._run, own, error), self._run.engine.thread_grace)
        ending = cancel or error
        if failure is not None:
            if ending is None:
                raise failure
            note_before(ending, f"besides, a resource failed in its teardown: {spelled(failure)}")
        if cancel is not None:
            raise cancel
