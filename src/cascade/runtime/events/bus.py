"""Carries events from runs to those who subscribed to them.

The engine publishes on its loop's thread, and `publish` never waits. The engine calls `flush` at each turn of
its code, `drain` there too if the bus is `congested`, and `settle` when a run is over. A handler may itself
wait for a run; so that the two never wait for each other, the engine says so with `waiting_for`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Generic, Literal, TypeVar, overload

from cascade.runtime.events.channels import (
    NOBODY,
    PASSING,
    BatchChannel,
    Channel,
    HandlerCall,
    Hub,
    StreamChannel,
    present_call,
)
from cascade.spec.contexts import contextmanager
from cascade.spec.events import Event, TaskExecutionFinished, TaskExecutionStarted, TaskSkipped

__all__ = ["MessageBus", "Stream", "Subscription"]

BUFFER: Final = 10_000
"""How many events a subscriber may be behind before runs wait for it."""

_NO_HANDLER: Final = nullcontext()
_TASK_EVENTS: Final = (TaskExecutionStarted, TaskExecutionFinished, TaskSkipped)
"""The events of any task. Retries and waits for capacities are told where they happen: elsewhere that costs nothing."""

E = TypeVar("E", bound=Event)


class MessageBus:
    """Where runs publish their events. `previews=N` asks them for the first N characters of each result.

    A bus may serve several engines, and several loops one after the other.
    """

    def __init__(self, previews: int | None = None) -> None:
        if previews is not None and (isinstance(previews, bool) or previews < 0):
            raise ValueError(f"previews is a number of characters or None, not {previews!r}")
        self.previews = previews
        self._hub: Hub = NOBODY
        """The channels; a bus has its own once somebody subscribes."""
        self._watched = (-1, False)

    # --- for subscribers

    @overload
    def subscribe(
        self, event_type: type[E], handler: Callable[[E], object], *, batch: Literal[False] = False
    ) -> Subscription: ...
    @overload
    def subscribe(
        self, event_type: type[E], handler: Callable[[list[E]], object], *, batch: Literal[True]
    ) -> Subscription: ...
    def subscribe(
        self, event_type: type[Event], handler: Callable[[Any], object], *, batch: bool = False
    ) -> Subscription:
        """Call `handler` with each event of a type and its subclasses, or with lists of them if `batch`.

        A batch comes at each turn of a run, at the latest 10 ms after its first event, and always before
        RunFinished. An async handler's calls are awaited one after the other, with the context variables that
        `subscribe` was called with; when more than 10,000 events wait for it, runs wait too. What a handler
        raises is logged, once, and changes nothing else (but KeyboardInterrupt and SystemExit pass). May be
        called from any thread.
        """
        check_event_type(event_type)
        if not callable(handler):
            raise TypeError(f"a handler is called with events, but {handler!r} cannot be called")
        channel = (BatchChannel if batch else Channel)(self.hub(), (event_type,), handler)
        channel.hub.add(channel)
        return Subscription(channel)

    def stream(self, event_type: type[E], run_id: str | None = None) -> Stream[E]:
        """Return the events of a type and its subclasses from now on, for one `async for`.

        The stream ends at the RunFinished of the run, which it gives too if that is of the type. Without a
        run_id it gives the events of all runs, until the first RunFinished. Leaving the `async for`
        unsubscribes it. When more than 10,000 events wait to be read, runs wait too.
        """
        check_event_type(event_type)
        feed = StreamChannel(self.hub(), event_type, run_id)
        feed.hub.add(feed)
        return Stream(feed)

    def hub(self) -> Hub:
        """Return the channels of this bus and no other; whichever thread comes first, all have the same."""
        self._hub = self.__dict__.setdefault("_own", Hub())
        return self._hub

    # --- for the engine

    @property
    def version(self) -> int:
        """A number that goes up with each change of the subscriptions."""
        return self._hub.version

    def wants(self, event_type: type[Event]) -> bool:
        """Tell whether an event of exactly this type would reach anybody, until `version` changes."""
        try:
            return bool(self._hub.routes[event_type])
        except KeyError:
            return bool(self._hub.route(event_type))

    @property
    def is_watched(self) -> bool:
        """Whether the start, the end or the skip of a task would reach anybody."""
        version, watched = self._watched
        if version != self._hub.version:
            version = self._hub.version
            watched = any(self.wants(kind) for kind in _TASK_EVENTS)
            self._watched = version, watched
        return watched

    def publish(self, event: Event) -> None:
        """Give an event to all who want it; on the loop's thread only.

        Where no loop is running, an async handler cannot be awaited: that is a RuntimeError.
        """
        try:
            channels = self._hub.routes[type(event)]
        except KeyError:
            channels = self._hub.route(type(event))
        for channel in channels:
            try:
                result = channel.sink(event)
            except PASSING:
                raise
            except BaseException as error:
                channel.report(error)
            else:
                if result is not None:
                    channel.follow(result, 1)

    def teller(self, event_type: type[Event]) -> Callable[[Any], None]:
        """Return what publishes events of exactly this type, in as few steps as one subscriber needs."""
        hub, publish = self._hub, self.publish
        version, channels = hub.version, hub.routes.get(event_type) or hub.route(event_type)
        if len(channels) != 1:
            return publish
        (channel,) = channels
        sink = channel.sink

        def tell(event: Event) -> None:
            if hub.version != version:
                publish(event)
                return
            try:
                result = sink(event)
            except PASSING:
                raise
            except BaseException as error:
                channel.report(error)
            else:
                if result is not None:
                    channel.follow(result, 1)

        return tell

    def parted(self) -> list[Any]:
        """Forget, in a forked child, what the parent is to deliver; return it. Handlers stay, streams end."""
        left: list[Any] = [self._hub]
        self._hub = self._own = hub = Hub()
        self._watched = (-1, False)
        for channel in left[0].channels:
            left.append({**channel.__dict__})
            if isinstance(channel, StreamChannel):
                channel.active = False
            else:
                channel.begin(hub)
                hub.add(channel)
        return left

    def flush(self) -> None:
        """Deliver what batches have collected."""
        self._hub.flush()

    @property
    def congested(self) -> bool:
        """Whether some async handler or stream is more than 10,000 events behind."""
        return any(each.behind > BUFFER for each in self._hub.channels)

    async def drain(self, run_id: str | None = None) -> None:
        """Wait, for a run, until the bus is not congested."""
        hub = self._hub
        await hub.wait(run_id, lambda: [each for each in hub.channels if each.behind > BUFFER])

    @property
    def has_channels(self) -> bool:
        """Whether some async handler or stream takes events in its own time."""
        return bool(self._hub.channels)

    async def settle(self, run_id: str | None = None) -> None:
        """Deliver, for a run, all that was published until now; wait until async handlers are done with it.

        Streams are not waited for, nor is a handler that itself waits for this run.
        """
        if not self._hub.channels:
            return
        self._hub.flush()
        marks = [(each, each.accepted) for each in self._hub.channels]
        await self._hub.wait(run_id, lambda: [each for each, mark in marks if each.active and each.finished < mark])

    def waiting_for(self, *run_ids: str) -> AbstractContextManager[None]:
        """Say, around an `await` that ends only after these runs, that they must not wait for the caller.

        It matters if an async handler is the caller, or called it, and does nothing otherwise.
        """
        call = present_call.get()
        return _NO_HANDLER if call is None else self._waiting(call, run_ids)

    @contextmanager
    def _waiting(self, call: HandlerCall, run_ids: tuple[str, ...]) -> Iterator[None]:
        call.waits_for.extend(run_ids)
        self._hub.moved()
        try:
            yield
        finally:
            for run_id in run_ids:
                call.waits_for.remove(run_id)


class Subscription:
    """What `MessageBus.subscribe` returns."""

    __slots__ = ("_channel",)

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def unsubscribe(self) -> None:
        """Begin no further call of the handler, not even for what is buffered; from any thread."""
        self._channel.leave()


class Stream(Generic[E]):
    """What `MessageBus.stream` returns: events as they come, for one `async for`."""

    __slots__ = ("_feed",)

    def __init__(self, feed: StreamChannel) -> None:
        self._feed = feed

    def __aiter__(self) -> AsyncIterator[E]:
        return _Reading(self)

    async def __anext__(self) -> E:
        event: E = await self._feed.take()
        return event

    async def aclose(self) -> None:
        """Leave the stream."""
        self._feed.leave()

    def __del__(self) -> None:
        self._feed.leave()


class _Reading(Generic[E]):
    """One `async for` over a stream: leaving the loop drops this, even if somebody keeps the stream."""

    __slots__ = ("_stream",)

    def __init__(self, stream: Stream[E]) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[E]:
        return self

    def __anext__(self) -> Awaitable[E]:
        return self._stream.__anext__()

    def __del__(self) -> None:
        self._stream.__del__()


def check_event_type(event_type: object) -> None:
    """Raise a TypeError if it is not a class of events."""
    if not (isinstance(event_type, type) and issubclass(event_type, Event)):
        raise TypeError(f"subscribe to a class of events, such as TaskEvent, not to {event_type!r}")
