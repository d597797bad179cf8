"""Setting the timestamps and durations of events by a virtual clock, on their way to who subscribed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from cascade.runtime.events.bus import MessageBus
from cascade.runtime.events.channels import PASSING, Channel, Hub
from cascade.spec.events import Event, RunFinished, RunStarted, TaskExecutionFinished, TaskExecutionStarted
from cascade.testing.dial import Dial

__all__ = ["Stamps"]

ENDS: dict[type[Event], type[Event]] = {RunStarted: RunFinished, TaskExecutionStarted: TaskExecutionFinished}
"""What begins, and what tells how long it took."""


class Stamps:
    """Stands before the channels of the buses that it follows.

    Args:
        clock: what the time is.
        named: makes the ids of events that have no id by their nature; by default they keep what they have.
        kept: gets each event as it goes out; then nobody needs to subscribe to it.
    """

    def __init__(
        self,
        clock: Dial,
        named: Callable[[], str] | None = None,
        kept: Callable[[Event], None] | None = None,
    ) -> None:
        self._clock = clock
        self._named = named
        self._kept = kept
        self._begun: dict[Any, float] = {}
        self._hubs: dict[Hub, None] = {}

    def follow(self, bus: MessageBus) -> None:
        """Stamp what a bus publishes from now on."""
        hub = bus.hub()
        if hub not in self._hubs:
            self._hubs[hub] = None
            hub.route = partial(self._route, hub)  # type: ignore[method-assign]
            _forget_routes(hub)

    def end(self) -> None:
        """Follow no bus any more."""
        for hub in self._hubs:
            del hub.route
            _forget_routes(hub)
        self._hubs.clear()
        self._begun.clear()

    def _route(self, hub: Hub, event_type: type[Event]) -> tuple[Any, ...]:
        routes = hub.routes
        channels = Hub.route(hub, event_type)
        ends = ENDS.get(event_type)
        if not channels and self._kept is None and (ends is None or not Hub.route(hub, ends)):
            return channels
        stamped = (_Stamper(hub, self, event_type, channels),)
        routes[event_type] = stamped
        if ends is not None:
            routes.pop(ends, None)
        return stamped

    def stamp(self, event: Any) -> Any:
        """Return an event with its times set."""
        cls, now = type(event), self._clock.steady()
        elements = list(event)
        elements[cls._fields["timestamp"].at] = self._clock.time()
        if self._named is not None and cls._fields["event_id"].init:
            elements[cls._fields["event_id"].at] = self._named()
        key = (event[0], event[2]) if isinstance(event, TaskExecutionStarted | TaskExecutionFinished) else event.run_id
        if cls in ENDS:
            self._begun[key] = now
        elif cls in ENDS.values():
            elements[cls._fields["duration"].at] = now - self._begun.pop(key, now)
        stamped = tuple.__new__(cls, elements)
        if self._kept is not None:
            self._kept(stamped)
        return stamped


class _Stamper(Channel):
    """The one channel of a type of events; hands them on to the others."""

    def __init__(self, hub: Hub, stamps: Stamps, event_type: type[Event], channels: tuple[Channel, ...]) -> None:
        super().__init__(hub, (event_type,), self._pass_on)
        self._stamps = stamps
        self._channels = channels

    def _pass_on(self, event: Event) -> None:
        stamped = self._stamps.stamp(event)
        for channel in self._channels:
            try:
                result = channel.sink(stamped)
            except PASSING:
                raise
            except BaseException as error:
                channel.report(error)
            else:
                if result is not None:
                    channel.follow(result, 1)


def _forget_routes(hub: Hub) -> None:
    with hub._lock:
        hub._replace(hub.channels)
