"""Tickets: the place of one call among those that wait to be let in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Ticket"]


class Ticket:
    """A call that asks to be let in, and what it was let in with. What was not used is to be closed."""

    __slots__ = (
        "admission",
        "begun",
        "buckets",
        "is_in",
        "line",
        "name",
        "needed",
        "number",
        "start",
        "turn",
        "version",
    )

    def __init__(self, admission: Any, number: int, name: str, needed: dict[str, float]) -> None:
        self.admission = admission
        self.number = number
        """Who came first has the smallest."""
        self.name = name
        self.needed = needed
        self.line: Any = None
        self.turn: Any = None
        """A future for when it is let in; without one, `start` is called, unless it was let in at once."""
        self.start: Callable[[Ticket], None] | None = None
        self.is_in = False
        """It was let in, though it may not have noticed yet."""
        self.begun = False
        """The call has begun, and gives back itself what it holds."""
        self.version = -1
        """The state of the limits that it was let in under."""
        self.buckets: list[Any] = []
        """Those that it took a token from."""

    def close(self) -> None:
        """Give back what it was let in with, or its place, unless the call has begun."""
        if not self.begun:
            self.begun = True
            self.admission.withdraw([self])
