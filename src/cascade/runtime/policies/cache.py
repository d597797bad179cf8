"""Calls of nodes with a cache: a look first, one call for equal keys at a time, and what it returned is kept."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from cascade.errors import CacheError
from cascade.runtime.policies.managed import ManagedCall, Work
from cascade.runtime.run.circular_waits import InProgress, waiting_for
from cascade.runtime.run.deadlock import give_up, hold
from cascade.spec.caching import Cached, CacheEntry, CacheKey, Corrupt, mark_of
from cascade.spec.control import Value
from cascade.spec.events import RunWarning
from cascade.spec.marks import PENDING
from cascade.spec.notes import spelled
from cascade.spec.protocols import CachePolicy

__all__ = ["Caches", "cached", "clock"]

MISS: Final = object()
clock = time.time
"""What the age of an entry is told by, in seconds."""


class Flight(InProgress):
    """A call that is being made for a key, and those who wait for its outcome in the order in which they came."""

    __slots__ = ("loop", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self.waiting: deque[asyncio.Future[bool]] = deque()


class Caches:
    """The stores of one engine, and which keys have a call on its way."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._stores: dict[str | None, Any] = {}
        self.flights: dict[tuple[int, str, str], Flight] = {}
        self._kept: int | None = 0
        """How many results are in the engine's own memory of which none was ever asked for again; else None."""

    def kept(self, policy: Cached) -> None:
        """Take note that a result was kept."""
        if self._backend is None and policy.store is None and self._kept is not None:
            self._kept += 1

    def used(self, policy: Cached) -> None:
        """Take note that a result was taken from where it was kept."""
        if policy.store is None:
            self._kept = None

    def lost(self) -> str:
        """Return what to tell if the engine ends now and takes results with it of which no use was made, or nothing."""
        if not self._kept:
            return ""
        return (
            f"{self._kept} result(s) that cs.cached() kept in memory are gone with this run, and none was used: "
            'give it a folder, cs.cached("folder"), or a store that outlives the run; or make all runs on one cs.Engine'
        )

    def store(self, policy: Cached) -> Any:
        """Return where a policy keeps its results."""
        given = self._backend if policy.store is None else policy.store
        if given is not None and not isinstance(given, str):
            return given
        found = self._stores.get(given)
        if found is None:
            from cascade.adapters.caching import MemoryStore, store_at

            found = self._stores[given] = MemoryStore() if given is None else store_at(given)
        return found

    def close(self) -> None:
        """Let go of what the stores made here hold open; each opens it anew if it is asked again."""
        for store in self._stores.values():
            close = getattr(store, "close", None)
            if close is not None:
                with suppress(Exception):  # a server that is away
                    close()

    def at_hand(self, task: Any, policy: Cached, args: Any, kwargs: dict[str, Any]) -> Any:
        """Return what is kept for a call, or PENDING if that is not known at once."""
        reach, store = task.reach, policy.store
        if store is None:
            store = self._backend
        if store is None or store.__class__ is str:
            store = self._stores.get(store)
        if reach is None or policy.key is not None or "is_at_hand" not in store.__class__.__dict__:
            return PENDING
        mark = mark_of(policy.version, args, kwargs)
        key: CacheKey | None = None if mark is None or not reach.is_current() else reach.keys.get(mark)
        if key is None or (self.flights and (id(store), key.task, key.digest) in self.flights):
            return PENDING
        entry = store.load(key)
        if entry is None or (policy.ttl is not None and clock() - entry.saved >= policy.ttl):
            return PENDING
        self.used(policy)
        return entry.value


def cached(managed: ManagedCall, policy: Cached | CachePolicy, work: Work) -> Awaitable[Any]:
    """Return what is kept for a call; else do the work, keep what it returns, and return that.

    Raises:
        CacheError: the call cannot be keyed, or the cache itself fails.
    """
    cls = _KeyedCall if policy.__class__ is Cached else _CheckedCall
    return cls(managed, policy).perform(work)


class _CachedCall:
    """One call of a node with a cache."""

    def __init__(self, managed: ManagedCall, policy: Cached | CachePolicy) -> None:
        self.managed = managed
        self.run = managed.run
        self.call = managed.call
        self.form, self.args, self.kwargs = managed.keyed()
        self.policy: Any = policy

    def hit(self, value: Any) -> Any:
        self.managed.is_hit = True
        self.run.publish_skip(self.call, "CacheHit")
        return value

    async def guarded(self, what: str, function: Callable[..., Any], *args: Any, in_thread: bool = False) -> Any:
        """Ask the cache for something; what it raises becomes a CacheError that names the task."""
        try:
            if in_thread:
                name = f"the cache of task {self.form.task.name!r}"
                value = await self.run.in_thread(self.call, name, function, *args)
            else:
                value = function(*args)
            return await value if hasattr(value, "__await__") else value
        except asyncio.CancelledError as error:
            if self.run.is_asked(error, self.call.scope):
                raise
            raise self.failure(what, error) from error
        except Exception as error:
            raise self.failure(what, error) from error

    def failure(self, what: str, error: BaseException) -> CacheError:
        task = self.form.task
        words = str(error) if isinstance(error, CacheError) else spelled(error)
        return CacheError(f"the cache of task {task.name!r} (declared at {task.declared}) failed to {what}: {words}")


class _CheckedCall(_CachedCall):
    """A call under a policy of a third party, which decides by itself."""

    async def perform(self, work: Work) -> Any:
        from cascade.adapters.caching.keys import inputs_of

        node = self.run.call_node(self.call, self.form)
        inputs = inputs_of(self.form.task, self.args, self.kwargs)
        found = await self.ask("check", node, inputs)
        if found is not None:
            return self.hit(found.value if found.__class__ is Value else found)
        value = await work(self.managed)
        if self.managed.is_kept(value):
            await self.ask("save", node, inputs, value)
        return value

    async def ask(self, name: str, *args: Any) -> Any:
        async def call() -> Any:
            answer = getattr(self.policy, name)(*args)
            if not hasattr(answer, "__await__"):
                raise TypeError(f"{type(self.policy).__name__}.{name} is not async: write `async def {name}`")
            return await answer

        return await self.guarded(name, call)


class _KeyedCall(_CachedCall):
    """A call whose results are kept by content."""

    async def perform(self, work: Work) -> Any:
        from cascade.adapters.caching.keys import key_of

        caches: Caches = self.run.engine.caches
        self.store = store = caches.store(self.policy)
        self.key: CacheKey = key_of(self.form.task, self.args, self.kwargs, self.policy)
        mark = (id(store), self.key.task, self.key.digest)
        loop = asyncio.get_running_loop()
        flight: Flight | None = None
        while flight is None and (ahead := caches.flights.get(mark)) is not None and ahead.loop is loop:
            if not await self.outcome(caches, mark, ahead):
                flight = ahead  # it failed, and this is the next in line
            elif (value := await self.look()) is not MISS:
                caches.used(self.policy)
                return self.hit(value)
        if flight is None:
            flight = caches.flights[mark] = Flight(loop)
        succeeded = False
        flight.place = self.call
        hold(flight, self.run)
        try:
            value = await self.look()
            if value is not MISS:
                succeeded = True
                caches.used(self.policy)
                return self.hit(value)
            value = await work(self.managed)
            if self.managed.is_kept(value):
                await self.keep(value)
                caches.kept(self.policy)
                succeeded = True
            return value
        finally:
            give_up(flight)
            _land(caches, mark, flight, succeeded)

    async def outcome(self, caches: Caches, mark: tuple[int, str, str], flight: Flight) -> bool:
        """Wait for a call that is on its way: True if it succeeded, False if it is for the one that waits to make it.

        Raises:
            CacheError: that call waits for this one.
        """
        waiter: asyncio.Future[bool] = flight.loop.create_future()
        flight.waiting.append(waiter)

        def vain() -> Exception:
            by = flight.run.described(flight.place)
            return CacheError(
                f"{self.run.described(self.call)} waits for a call of the same key that is on its way, {by}, which "
                "itself waits for it: it would wait for itself, for ever; call it for another key, or without a cache"
            )

        try:
            with waiting_for(flight, waiter, vain):
                return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and not waiter.exception() and not waiter.result():
                _pass_on(caches, mark, flight)
            raise

    async def look(self) -> Any:
        """Return what is kept, or MISS."""
        entry = await self.guarded("read", self.store.load, self.key, in_thread=self.in_threads())
        if entry is None:
            return MISS
        if not isinstance(entry, CacheEntry | Corrupt):
            problem = TypeError(f"{type(self.store).__name__}.load returned {entry!r}, not a CacheEntry or None")
            raise self.failure("read", problem)
        if isinstance(entry, Corrupt):
            self.warn("CacheCorrupt", f"{entry.reason}; {self.run.described(self.call)} is called again")
            return MISS
        ttl = self.policy.ttl
        return MISS if ttl is not None and clock() - entry.saved >= ttl else entry.value

    async def keep(self, value: Any) -> None:
        entry = CacheEntry(value, clock(), self.key.parts, self.key.digest)
        await self.guarded("keep its result", self.store.save, self.key, entry, in_thread=self.in_threads())

    def in_threads(self) -> bool:
        return bool(getattr(self.store, "in_threads", False))

    def warn(self, code: str, message: str) -> None:
        bus = self.run.bus
        if bus.wants(RunWarning):
            bus.publish(RunWarning(run_id=self.run.id, code=code, message=message))


def _land(caches: Caches, mark: tuple[int, str, str], flight: Flight, succeeded: bool) -> None:
    """End a call: if it succeeded all who wait may look, else the first of them makes it."""
    if succeeded:
        if caches.flights.get(mark) is flight:
            del caches.flights[mark]
        while flight.waiting:
            waiter = flight.waiting.popleft()
            if not waiter.done():
                waiter.set_result(True)
    else:
        _pass_on(caches, mark, flight)


def _pass_on(caches: Caches, mark: tuple[int, str, str], flight: Flight) -> None:
    while flight.waiting:
        waiter = flight.waiting.popleft()
        if not waiter.done():
            waiter.set_result(False)
            return
    if caches.flights.get(mark) is flight:
        del caches.flights[mark]
