"""Messages on their way to one listener."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from cascade.spec.topics import Message

__all__ = ["Messages"]


class Messages:
    """What a subscription gives: the messages that have come, one after the other, for one reader.

    `async for value in messages` gives their values, `messages.with_topics()` each as a `Message`, with its topic.
    The iteration ends when the connector is closed.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._there: deque[Message] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._is_over = False

    def put(self, message: Message) -> None:
        """Add a message, on the thread of the event loop that the listener is on."""
        self._there.append(message)
        self._wake()

    def put_from_anywhere(self, message: Message) -> None:
        """Add a message from any thread.

        Raises:
            RuntimeError: the event loop of the listener is closed.
        """
        self._loop.call_soon_threadsafe(self.put, message)

    def end_from_anywhere(self) -> None:
        """End the iteration, from any thread."""
        with suppress(RuntimeError):  # its loop is closed
            self._loop.call_soon_threadsafe(self.end)

    def end(self) -> None:
        """End the iteration, behind what has come."""
        self._is_over = True
        self._wake()

    def ready(self) -> list[Message]:
        """Take the messages that are there already."""
        found = [*self._there]
        self._there.clear()
        return found

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _take(self) -> Message:
        while not self._there:
            if self._is_over:
                raise StopAsyncIteration
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._there.popleft()

    def __aiter__(self) -> Messages:
        return self

    async def __anext__(self) -> Any:
        return (await self._take()).value

    def with_topics(self) -> AsyncIterator[Message]:
        """Go through the messages as they are, each with its topic."""
        return _Whole(self)


class _Whole:
    """The messages of a listener as they are, not their values alone."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages

    def __aiter__(self) -> _Whole:
        return self

    async def __anext__(self) -> Message:
        return await self._messages._take()
