"""The connector of this process: messages between the threads and event loops of one program."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

__all__ = ["LocalConnector"]


class LocalConnector:
    """Hands each message to those who listen to its topic at that moment; may be used from any thread and loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[str, list[tuple[Any, Any]]] = {}
        self._retained: dict[str, Any] = {}

    async def publish(self, topic: str, message: Any, *, retain: bool = False) -> None:
        """Send a message to all who listen to a topic.

        Args:
            topic: its name.
            message: any value; it is not copied.
            retain: keep it for those who come later, in place of one kept before; a retained None clears it.
        """
        self.publish_nowait(topic, message, retain=retain)

    def publish_nowait(self, topic: str, message: Any, *, retain: bool = False) -> int:
        """Do what `publish` does, from any thread; return how many were listening."""
        with self._lock:
            if retain:
                self._retained.pop(topic, None)
                if message is not None:
                    self._retained[topic] = message
            listeners = list(self._listeners.get(topic, ()))
        for loop, queue in listeners:
            with suppress(RuntimeError):  # its loop is closed
                loop.call_soon_threadsafe(queue.put_nowait, message)
        return len(listeners)

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[AsyncIterator[Any]]:
        """Listen to a topic: `async with connector.subscribe(topic) as messages`."""
        import asyncio

        queue: asyncio.Queue[Any] = asyncio.Queue()
        entry = (asyncio.get_running_loop(), queue)
        with self._lock:
            if topic in self._retained:
                queue.put_nowait(self._retained[topic])
            self._listeners.setdefault(topic, []).append(entry)
        try:
            yield _Messages(queue)
        finally:
            with self._lock:
                left = [each for each in self._listeners[topic] if each is not entry]
                if left:
                    self._listeners[topic] = left
                else:
                    del self._listeners[topic]

    def listeners(self, topic: str) -> int:
        """Return how many listen to a topic now."""
        with self._lock:
            return len(self._listeners.get(topic, ()))


class _Messages:
    """What comes out of a queue, one after the other."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def __aiter__(self) -> _Messages:
        return self

    async def __anext__(self) -> Any:
        return await self._queue.get()
