"""The door of an engine: a socket on which other processes of the same user may ask it to pause, to end, or how it is.

It is served by a thread of its own, so that it answers while the event loop is busy. What only the event loop knows is
asked there and answered when it comes, while others go on being served.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any, TypeAlias

from cascade.adapters.doors.server import Caller, LineServer, told
from cascade.adapters.doors.sockets import DOOR, Entrance
from cascade.errors import ConnectorError

__all__ = ["Answer", "Door", "Later", "answered"]

PATIENCE = 2.0
"""Seconds that an answer may take which the event loop is to give."""

Answer: TypeAlias = Callable[[dict[str, Any], Callable[[object], None]], object]
"""Given a request, and what takes an answer that comes later (an error is one, too)."""


class Later:
    """Returned in place of an answer that comes later, with the one to give if it comes too late; None: an error."""

    __slots__ = ("instead", "patience")

    def __init__(self, instead: object = None, patience: float | None = None) -> None:
        self.instead = instead
        self.patience = PATIENCE if patience is None else patience


async def answered(answer: Answer, request: dict[str, Any], patience: float) -> Any:
    """Return the answer to a request that is made on this event loop; what stands for it if it comes too late.

    Raises:
        CascadeError: it is refused.
    """
    loop = asyncio.get_running_loop()
    coming: asyncio.Future[object] = loop.create_future()

    def later(value: object) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(lambda: None if coming.done() else coming.set_result(value))

    value = answer(request, later)
    if isinstance(value, Later):
        instead = value.instead
        try:
            value = await asyncio.wait_for(coming, patience)
        except TimeoutError:
            value = instead
    if isinstance(value, BaseException):
        raise value
    return value


class Pending:
    """A caller who waits for an answer."""

    __slots__ = ("caller", "due", "instead")

    def __init__(self, caller: Caller, later: Later) -> None:
        self.caller = caller
        self.due = monotonic() + later.patience
        self.instead = later.instead


class Door(LineServer):
    """Serves the socket of one engine."""

    def __init__(self, answer: Answer) -> None:
        """Open.

        Args:
            answer: gives an answer to a request, or raises a CascadeError whose message is told.

        Raises:
            ConnectorError: the folder for doors is not safe.
            OSError: there can be no socket.
        """
        self._answer = answer
        self._pending: dict[int, Pending] = {}
        """By the number of the request."""
        self._answers: deque[tuple[int, object]] = deque()
        self._asked = 0
        super().__init__(Entrance(DOOR), "cascade-door")

    def heard(self, caller: Caller, said: dict[str, Any]) -> dict[str, Any] | None:
        """Answer a request, or have its caller wait for the answer."""
        self._asked = number = self._asked + 1

        def later(value: object) -> None:
            self._answers.append((number, value))
            self.hurry()

        value = self._answer(said, later)
        if not isinstance(value, Later):
            return told(value)
        self._pending[number] = Pending(caller, value)
        caller.is_waiting = True
        return None

    def left(self, caller: Caller) -> None:
        """Forget what a caller has asked for who has left."""
        for number in [number for number, each in self._pending.items() if each.caller is caller]:
            del self._pending[number]

    def turn(self) -> float:
        """Give the answers that have come, and give up those that have not."""
        while self._answers:
            self._give(*self._answers.popleft())
        now = monotonic()
        for number in [number for number, each in self._pending.items() if each.due <= now]:
            late = ConnectorError(f"the event loop has not answered within {PATIENCE:g} s: some code holds its thread")
            instead = self._pending[number].instead
            self._give(number, late if instead is None else instead)
        return min((each.due for each in self._pending.values()), default=inf)

    def _give(self, number: int, value: object) -> None:
        waiting = self._pending.pop(number, None)
        if waiting is not None:
            waiting.caller.is_waiting = False
            self.say(waiting.caller, told(value))
            self.go_on(waiting.caller)
