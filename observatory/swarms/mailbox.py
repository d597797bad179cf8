"""What an agent is told by others, until it looks."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

__all__ = ["Mailbox", "neighbours"]

M = TypeVar("M")


class Mailbox(Generic[M]):
    """Messages for one reader, on one event loop; putting one in costs the sender no wait."""

    __slots__ = ("_there", "_waiter")

    def __init__(self) -> None:
        self._there: list[M] = []
        self._waiter: asyncio.Future[None] | None = None

    def put(self, message: M) -> None:
        """Add a message, and wake the reader."""
        self._there.append(message)
        _wake(self._waiter)

    def take_nowait(self) -> list[M]:
        """Take all that is there."""
        found = self._there
        self._there = []
        return found

    async def take(self, seconds: float) -> list[M]:
        """Take all that is there as soon as there is something: nothing, if nothing comes in so many seconds."""
        if not self._there:
            loop = asyncio.get_running_loop()
            self._waiter = waiter = loop.create_future()
            alarm = loop.call_later(seconds, _wake, waiter)
            try:
                await waiter
            finally:
                alarm.cancel()
                self._waiter = None
        return self.take_nowait()


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def neighbours(at: int, columns: int, rows: int) -> list[int]:
    """Return the numbers of the eight cells around one, on a grid that wraps around."""
    y, x = divmod(at, columns)
    return [
        (y + down) % rows * columns + (x + right) % columns
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
        if down or right
    ]
