"""The pool of resources of one run, or of one engine: each set up once, when first needed, and torn down once.

Both scopes are one pool. They differ in what they look resources up in, in which event loop there is at the end, and
in who ends a set-up that nobody waits for any more: a run when it ends, for a retry may want it; an engine at once,
since it may go on for days. What belongs to a single call (the scope "task") is no pool's: `for_calls` tears it down.

What was called in a thread and did not end when it was asked to may go on using what is open. Then the teardown waits
for the thread (`run.abandoned`), at the latest until the program ends, and what fails in it is logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Literal

from cascade.runtime.resources.lifecycle import (
    Host,
    Job,
    Opened,
    described,
    find,
    set_up,
    settled,
    tear_down,
    tear_down_orphaned,
    value_of,
)
from cascade.runtime.run.abandoned import after
from cascade.runtime.run.circular_waits import InProgress, waiting_for
from cascade.runtime.run.deadlock import give_up, hold
from cascade.spec.events import ResourceReleased
from cascade.spec.notes import spelled
from cascade.spec.placement import Profile
from cascade.spec.resource import Inject, Resource

__all__ = ["EngineHost", "ResourcePool", "asked_scope"]

log = logging.getLogger("cascade")
Key = tuple[Any, ...]
OVER = {"run": "its run had ended", "engine": "its engine had closed"}


class _Shared(InProgress):
    """One resource that a pool has, or that is being set up."""

    __slots__ = ("is_bound", "loop", "task", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, is_bound: bool) -> None:
        super().__init__()
        self.loop = loop
        self.task: asyncio.Task[tuple[Any, BaseException | None]]
        self.waiting = 0
        """How many calls wait for it to be set up."""
        self.is_bound = is_bound
        """Whether the resource, or one that it needs, is of no use without its event loop."""

    def is_good(self, here: asyncio.AbstractEventLoop) -> bool:
        """Say whether it is there, or will be."""
        task = self.task
        if not task.done():
            return self.loop is here
        if task.cancelled() or task.result()[1] is not None:
            return False
        return self.loop is here or not self.is_bound


class ResourcePool:
    """The resources of scope "run" of one run, or of scope "engine" of one engine.

    Those of an engine are looked up among the ones registered with it, whatever a run was given. One that is in the
    place of another for a while (`override_resource`) does not reach what was set up without it, nor stays behind in
    it: what needs another has another of its own.
    """

    def __init__(self, scope: Literal["run", "engine"], host: Host) -> None:
        self.scope: Literal["run", "engine"] = scope
        self.host = host
        self._shared: dict[Key, _Shared] = {}
        self.opened: list[Opened] = []
        """What there is to tear down, in the order of its set-ups."""
        self.checked: set[Resource] = set()
        """Resources of which it is known that all is there that they need."""
        self.at_hand: dict[Inject, tuple[str, Resource, Any]] = {}
        """What calls were given that others may be given as it is: the name that it was found by, and its value."""
        self.of_calls: dict[int, list[Opened]] = {}
        """What is of the scope "task" of calls that are going on, by the identity of their record."""

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to tear down."""
        return not self._shared and not self.opened

    @property
    def names(self) -> list[str]:
        """The names of what is set up."""
        return [each.resource.name for each in self.opened]

    def open_for(self, owner: object) -> list[str]:
        """Return the names of what a call may use: its own, and what the run shares."""
        return [*(each.resource.name for each in self.of_calls.get(id(owner), ())), *self.names]

    # --- set-ups

    def provide(
        self, run: Host, wanted: Inject, resource: Resource, asker: str, own: list[Opened]
    ) -> Coroutine[Any, Any, Any]:
        """Return, to be awaited, the value of a resource that was found for what is `wanted`.

        Args:
            run: the run that it is set up in, if it is not there.
            asker: the words for what asks.
            own: what its asker has for itself; what is set up for that alone is added.
        """
        scope = resource.scope
        if self.scope == "engine":
            scope = "engine" if asked_scope(wanted, resource) == "engine" else "task"
        if scope == "task":
            return self._open_own(run, resource, own)
        pool: ResourcePool = self if scope == self.scope else self.host.engine.kept
        return pool._share(run, resource, asker)

    async def _open_own(self, run: Host, resource: Resource, own: list[Opened]) -> Any:
        """Return the value of a resource that its asker has for itself."""
        if self.scope == "run":
            for opened in own:
                if opened.resource is resource:
                    return opened.value
        return await self._open(run, resource, own)

    async def _share(self, run: Any, resource: Resource, asker: str) -> Any:
        """Return the value of a resource of the pool's own.

        Raises:
            RuntimeError: its set-up waits for `asker`.
        """
        key, here = self._key(resource), asyncio.get_running_loop()
        shared = self._shared.get(key)
        if shared is None or not shared.is_good(here):
            if self.opened:
                await self._let_go(here)
            shared = self._shared.get(key)
            if shared is None or not shared.is_good(here):
                shared = self._shared[key] = _Shared(here, _is_bound(key))
                shared.task = here.create_task(settled(self._open_shared, run, resource, shared))
        task = shared.task
        shared.waiting += 1
        try:
            if not task.done():
                await (_ready(shared, task, resource, asker) if self.scope == "engine" else asyncio.wait({task}))
        except asyncio.CancelledError:
            while self.scope == "engine" and shared.waiting == 1 and not task.done():  # nobody else wants it
                with suppress(asyncio.CancelledError):
                    await _end(task)
            raise
        finally:
            shared.waiting -= 1
        try:
            return value_of(task.result())
        except BaseException:
            if self._shared.get(key) is shared:
                del self._shared[key], shared.task
            raise
        finally:
            del task, shared  # they keep an error whose traceback leads here

    def _key(self, resource: Resource) -> Key:
        """Return what tells a resource from the same one that gets others for what it needs."""
        if self.scope == "run":  # where none is put in the place of another
            return (resource,)
        known = self.host.known
        return (resource, *[self._key(find(known, it, described(resource))) for it in resource.needs.values()])

    async def _open_shared(self, run: Any, resource: Resource, shared: _Shared) -> Any:
        own: list[Opened] = []
        if self.scope == "engine":  # nobody inside of a run's set-up asks for what is that run's
            hold(shared, run)
        try:
            return await self._open(run, resource, own)
        finally:
            if self.scope == "engine":
                give_up(shared)
            for opened in own:
                opened.is_bound = shared.is_bound
            self.opened += own

    async def _open(self, run: Host, resource: Resource, own: list[Opened]) -> Any:
        """Set a resource up, after those that it needs; what there is to tear down is added to `own`."""
        what, needed = described(resource), {}
        for name, wanted in resource.needs.items():
            found = find(self.host.known, wanted, what)
            needed[name] = await self.provide(run, wanted, found, what, own)
        return (await set_up(run, resource, needed, own)).value

    async def _let_go(self, here: asyncio.AbstractEventLoop) -> None:
        """Tear down what is of no use any more because its event loop has ended."""
        lost = [each for each in self.opened if each.is_bound and each.loop is not here]
        if not lost:
            return
        self.opened = [each for each in self.opened if not each.is_bound or each.loop is here]
        failure = await tear_down(self.host, [each for each in lost if not each.resource.is_async], None)
        if failure is not None:
            log.warning("a resource failed in its teardown after its event loop had ended: %s", spelled(failure))
        for each in lost:
            if each.resource.is_async and each.generator.ag_frame is not None:  # else it was closed with its loop
                log.warning("resource %r was not torn down: its event loop has ended", each.resource.name)

    # --- the end

    async def close(self, error: BaseException | None) -> BaseException | None:
        """End the set-ups that are still under way, and tear everything down, last first.

        What calls that were left behind may still use is torn down when they have ended. Returns the first failure of
        a teardown.
        """
        here = asyncio.get_running_loop()
        for shared in self._shared.values():
            if shared.loop is here and not shared.task.done():
                await _end(shared.task)
        self._shared.clear()
        if self.opened:
            await self._let_go(here)
        left = self.host.left_behind() if self.opened else []
        if not left:
            return await tear_down(self.host, self._taken(), error)
        after(
            left,
            lambda: self.names,
            lambda: self.host.engine.keep(self._tear_down_late(error)),
            lambda: tear_down_orphaned(self._taken(), error),
        )
        return None

    async def _tear_down_late(self, error: BaseException | None) -> None:
        failure = await tear_down(self.host, self._taken(), error)
        if failure is not None:
            log.warning("a resource failed in its teardown after %s: %s", OVER[self.scope], spelled(failure))

    def _taken(self) -> list[Opened]:
        opened, self.opened = self.opened, []
        return opened


class EngineHost:
    """What the pool of an engine asks of it: a set-up asks a run, but a teardown comes when there is none any more."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self._left: list[Job] = []

    @property
    def known(self) -> Mapping[str, Resource]:
        """The resources that are registered now."""
        known: Mapping[str, Resource] = self.engine.resources
        return known

    @property
    def inline(self) -> bool:
        """Whether what is short may be done in place."""
        return bool(self.engine.runs_inline)

    def leave(self, job: object, ended: asyncio.Future[None]) -> None:
        """Note a call, of any run, that was left behind and may use what is open."""
        self._left = [*self.left_behind(), (job, ended)]

    def left_behind(self) -> list[Job]:
        """Return the calls that are left behind still."""
        return [(job, end) for job, end in self._left if not end.done()]

    async def in_thread(
        self, owner: object, what: str, func: Callable[..., Any], *args: Any, profile: Profile | None = None
    ) -> Any:
        """Run a piece of a resource, `what`, in a worker thread; its profile learns how long it takes."""
        grace = self.engine.thread_grace

        def abandon(job: object, ended: object) -> None:
            log.warning("%s did not end within thread_grace=%s seconds; its thread goes on", what, grace)

        return await self.engine.threads().in_thread(func, args, {}, profile=profile, grace=grace, abandon=abandon)

    def publish_resource(self, name: str, acquired: bool) -> None:
        """Say that a resource was torn down; of its set-up a run has told."""
        bus = self.engine.bus
        if not acquired and bus.wants(ResourceReleased):
            bus.publish(ResourceReleased(resource_name=name))


def asked_scope(wanted: Inject, found: Resource) -> str:
    """Return the scope that was asked for: one that is in the place of another lives as long as that."""
    return (wanted.target if isinstance(wanted.target, Resource) else found).scope


def _is_bound(key: Key) -> bool:
    """Say whether a resource, or anything that it needs, is async, and so of no use without its event loop."""
    return key[0].is_async or any(map(_is_bound, key[1:]))


async def _ready(shared: _Shared, task: asyncio.Task[Any], resource: Resource, asker: str) -> None:
    """Wait for a set-up, unless that waits for who asks."""
    ready: asyncio.Future[None] = shared.loop.create_future()
    wake = partial(_wake, ready)

    def vain() -> Exception:
        return RuntimeError(
            f"{asker} asks for the {described(resource)}, whose set-up itself waits for it: they would wait for each "
            "other, for ever; have the set-up call plain functions, or tasks that ask for other resources"
        )

    task.add_done_callback(wake)
    try:
        with waiting_for(shared, ready, vain):
            await ready
    finally:
        task.remove_done_callback(wake)


def _wake(ready: asyncio.Future[None], _: object) -> None:
    if not ready.done():
        ready.set_result(None)


async def _end(task: asyncio.Task[Any]) -> None:
    while not task.done():
        task.cancel()
        await asyncio.wait({task})
