"""Keeping what happened, to look at it afterwards."""

from __future__ import annotations

from typing import TypeVar

from cascade.runtime.events.bus import MessageBus
from cascade.spec.events import Event

__all__ = ["SpySubscriber"]

E = TypeVar("E", bound=Event)


class SpySubscriber:
    """Subscribes to every event of a bus and keeps them, in the order in which they came, in `events`."""

    def __init__(self, bus: MessageBus) -> None:
        self.events: list[Event] = []
        self._subscription = bus.subscribe(Event, self.events.append)

    def events_of_type(self, event_type: type[E]) -> list[E]:
        """Return the events of a type and its subclasses."""
        return [event for event in self.events if isinstance(event, event_type)]

    def unsubscribe(self) -> None:
        """Keep no more."""
        self._subscription.unsubscribe()
