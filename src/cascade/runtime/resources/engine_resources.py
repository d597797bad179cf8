"""Resources of scope "engine": set up once, when a run first needs them, and torn down when the engine closes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from cascade.adapters.executors.local import LocalExecutor
from cascade.errors import ResourceNotFoundError
from cascade.runtime.resources.lifecycle import Opened, described, find, set_up, settled, tear_down, tear_down_orphaned
from cascade.runtime.resources.lifecycle import value_of as value_of_outcome
from cascade.runtime.run.abandoned import after
from cascade.runtime.run.circular_waits import InProgress, waiting_for
from cascade.runtime.run.deadlock import give_up, hold
from cascade.spec.events import ResourceReleased
from cascade.spec.notes import spelled
from cascade.spec.resource import Inject, Resource

__all__ = ["EngineResources", "refuse_narrower"]

log = logging.getLogger("cascade")
Key = tuple[Any, ...]


class _Shared(InProgress):
    """One resource that the engine keeps, or that is being set up."""

    __slots__ = ("is_bound", "loop", "task", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self.task: asyncio.Task[tuple[Any, BaseException | None]]
        self.waiting = 0
        """How many calls wait for it to be set up."""
        self.is_bound = False
        """It, or something that it needs, is of no use without its event loop."""

    def is_good(self, here: asyncio.AbstractEventLoop) -> bool:
        """Say whether it is there, or will be."""
        task = self.task
        if not task.done():
            return self.loop is here
        if task.cancelled() or task.result()[1] is not None:
            return False
        return self.loop is here or not self.is_bound


class EngineResources:
    """The resources of scope "engine" of one engine.

    They are looked up among those registered with the engine, whatever a run was given. One that is in the place of
    another for a while (`override_resource`) does not reach what was set up without it, nor stays behind in it: what
    needs another has another of its own.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._shared: dict[Key, _Shared] = {}
        self._opened: list[Opened] = []
        self.left: list[tuple[Any, asyncio.Future[None]]] = []
        """Calls of any run that were left behind in their threads, and a future for the end of each."""

    async def provide(self, run: Any, resource: Resource, asker: str) -> Any:
        """Return the value of a resource, set up in this run if it is not there.

        Raises:
            RuntimeError: its set-up waits for `asker`.
        """
        key, here = self._key(resource), asyncio.get_running_loop()
        shared = self._shared.get(key)
        if shared is None or not shared.is_good(here):
            await self._let_go(here)
            shared = self._shared.get(key)
            if shared is None or not shared.is_good(here):
                shared = self._shared[key] = _Shared(here)
                shared.task = here.create_task(settled(self._open_shared, run, resource, shared))
        task = shared.task
        shared.waiting += 1
        try:
            if not task.done():
                await _ready(shared, described(resource), asker)
        except asyncio.CancelledError:
            if shared.waiting == 1:  # nobody else wants it
                await _end(task)
            raise
        finally:
            shared.waiting -= 1
        try:
            return value_of_outcome(task.result())
        except BaseException:
            if self._shared.get(key) is shared:
                del self._shared[key], shared.task
            raise
        finally:
            del task, shared  # they keep an error whose traceback leads here

    def _key(self, resource: Resource) -> Key:
        """Return what tells a resource from the same one that gets others for what it needs."""
        known = self._engine.resources
        return (resource, *[self._key(find(known, it, described(resource))) for it in resource.needs.values()])

    async def _open_shared(self, run: Any, resource: Resource, shared: _Shared) -> Any:
        own: list[Opened] = []
        hold(shared, run)
        try:
            return await self._open(run, resource, own, shared)
        finally:
            give_up(shared)
            for opened in own:
                shared.is_bound |= opened.is_bound
            for opened in own:
                opened.is_bound = shared.is_bound
            self._opened += own

    async def _open(self, run: Any, resource: Resource, own: list[Opened], shared: _Shared) -> Any:
        needed: dict[str, Any] = {}
        for name, wanted in resource.needs.items():
            found = find(self._engine.resources, wanted, described(resource))
            if _scope_of(wanted, found) == "engine":
                needed[name] = await self.provide(run, found, described(resource))
                shared.is_bound |= self._shared[self._key(found)].is_bound
            else:
                needed[name] = await self._open(run, found, own, shared)
        return (await set_up(run, resource, needed, own)).value

    async def _let_go(self, here: asyncio.AbstractEventLoop) -> None:
        """Tear down what is of no use any more because its event loop has ended."""
        lost = [each for each in self._opened if each.is_bound and each.loop is not here]
        if not lost:
            return
        self._opened = [each for each in self._opened if not each.is_bound or each.loop is here]
        failure = await tear_down(
            _TeardownHost(self._engine), [each for each in lost if not each.resource.is_async], None
        )
        if failure is not None:
            log.warning("a resource failed in its teardown after its event loop had ended: %s", spelled(failure))
        for each in lost:
            if each.resource.is_async and each.generator.ag_frame is not None:  # else it was closed with its loop
                log.warning("resource %r was not torn down: its event loop has ended", each.resource.name)

    @property
    def names(self) -> list[str]:
        """The names of what is set up."""
        return [each.resource.name for each in self._opened]

    # --- the end

    def parted(self) -> list[Any]:
        """Forget, in a forked child, what the parent keeps; return it."""
        left = [*self._shared.values(), *self._opened, *self.left]
        self._shared, self._opened, self.left = {}, [], []
        return left

    def leave(self, job: Any, ended: asyncio.Future[None]) -> None:
        """Note a call that was left behind and may use what is kept here."""
        self.left = [(each, end) for each, end in self.left if not end.done()]
        self.left.append((job, ended))

    async def close(self, error: BaseException | None) -> BaseException | None:
        """Tear everything down, last first; what calls that were left behind may still use, when they have ended."""
        for shared in self._shared.values():
            if shared.loop is asyncio.get_running_loop():
                await _end(shared.task)
        self._shared.clear()
        if not self._opened:
            return None
        await self._let_go(asyncio.get_running_loop())
        left = [(job, end) for job, end in self.left if not end.done()]
        if not left:
            return await self._tear_down(error)

        async def late() -> None:
            failure = await self._tear_down(error)
            if failure is not None:
                log.warning("a resource failed in its teardown after its engine had closed: %s", spelled(failure))

        def orphaned() -> None:
            opened, self._opened = self._opened, []
            tear_down_orphaned(opened, error)

        after(left, lambda: self.names, lambda: self._engine.keep(late()), orphaned)
        return None

    async def _tear_down(self, error: BaseException | None) -> BaseException | None:
        opened, self._opened = self._opened, []
        return await tear_down(_TeardownHost(self._engine), opened, error)


class _TeardownHost:
    """What a teardown asks of a run, where there is none any more."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    async def in_thread(self, owner: Any, what: str, func: Callable[..., Any], *args: Any) -> Any:
        engine = self._engine
        executor = engine.executor
        if type(executor).execute is not LocalExecutor.execute:
            executor = engine.spare_executor()

        def abandon(job: Any, ended: Any) -> None:
            log.warning("%s did not end within thread_grace=%s seconds; its thread goes on", what, engine.thread_grace)

        return await executor.in_thread(func, args, {}, grace=engine.thread_grace, abandon=abandon)

    def publish_resource(self, name: str, acquired: bool) -> None:
        bus = self._engine.bus
        if not acquired and bus.wants(ResourceReleased):
            bus.publish(ResourceReleased(resource_name=name))


def refuse_narrower(resource: Resource, wanted: Inject, found: Resource) -> None:
    """Raise ResourceNotFoundError for a resource of an engine that needs one which ends with each run."""
    if resource.scope == "engine" and _scope_of(wanted, found) == "run":
        raise ResourceNotFoundError(
            f'{described(resource)} has the scope "engine" and needs {described(found)} of the scope "run", which ends '
            f'before it does; give {found.name!r} the scope "engine", or "task" for one of its own'
        )


def _scope_of(wanted: Inject, found: Resource) -> str:
    """Return the scope that was asked for: one that is in the place of another lives as long as that."""
    return (wanted.target if isinstance(wanted.target, Resource) else found).scope


async def _ready(shared: _Shared, what: str, asker: str) -> None:
    """Wait for a set-up, unless that waits for who asks."""
    ready: asyncio.Future[None] = shared.loop.create_future()
    wake = partial(_wake, ready)

    def vain() -> Exception:
        return RuntimeError(
            f"{asker} asks for the {what}, whose set-up itself waits for it: they would wait for each other, for ever; "
            "have the set-up call plain functions, or tasks that ask for other resources"
        )

    shared.task.add_done_callback(wake)
    try:
        with waiting_for(shared, ready, vain):
            await ready
    finally:
        shared.task.remove_done_callback(wake)


def _wake(ready: asyncio.Future[None], _: object) -> None:
    if not ready.done():
        ready.set_result(None)


async def _end(task: asyncio.Task[Any]) -> None:
    while not task.done():
        task.cancel()
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            continue
