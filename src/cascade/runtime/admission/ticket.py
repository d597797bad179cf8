"""Tickets: the place of one call among those that wait to be let in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

__all__ = ["Ticket"]


class CallPlace(Protocol):
    """What is asked of a call, to tell whether a ticket is its own."""

    frame: Any
    register: int


class Ticket:
    """A call that asks to be let in, and what it was let in with."""

    __slots__ = (
        *("__weakref__", "admission", "around", "buckets", "inside", "is_in", "queue", "name", "needed"),
        *("number", "place", "run", "start", "turn", "version"),
    )

    def __init__(self, admission: Any, number: int, name: str, needed: Mapping[str, float]) -> None:
        self.admission = admission
        self.number = number
        """Who came first has the smallest."""
        self.name = name
        self.needed = needed
        self.queue: Any = None
        self.turn: Any = None
        """A future for when it is let in; without one, `start` is called, unless it was let in at once."""
        self.start: Callable[[Ticket], None] | None = None
        self.place: Any = None
        """What `start` needs to know, or else where the call is."""
        self.is_in = False
        """Whether the call was let in, though it may not have noticed yet."""
        self.version = -1
        """The state of the limits that it was let in under."""
        self.buckets: tuple[Any, ...] = ()
        """The buckets that it took a token from, and how often their rates had changed by then."""
        self.run: Any = None
        """Whose call it is, while it holds what it was let in with; see `cascade.runtime.run.deadlock`."""
        self.around: Ticket | None = None
        """The one that it was begun in."""
        self.inside: Any = None
        """The run that it is in, if that is inside of a task."""

    def is_at(self, call: CallPlace) -> bool:
        """Say whether it is the ticket of a call, or of a sub-flow, which any call of its run may be in."""
        place = self.place
        if isinstance(place, tuple):
            return place[0] is call.frame and place[1] == call.register
        return not self.name or (place is not None and bool(place.is_same(call)))

    def tell(self) -> None:
        """Let the call know that it was let in."""
        if self.turn is not None:
            self.turn.set_result(None)
        elif self.start is not None:
            self.start(self)
