"""The connector of this process: messages between the threads and event loops of one program."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from cascade.adapters.connectors.messages import Messages
from cascade.adapters.connectors.topic_table import TopicTable
from cascade.spec.topics import Message, pattern_from, quality_from, topic_from

__all__ = ["LocalConnector"]


class LocalConnector:
    """Hands each message to those who listen to its topic at that moment; may be used from any thread and loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table: TopicTable[Messages] = TopicTable()

    async def publish(self, topic: str, message: Any, *, qos: int = 0, retain: bool = False) -> None:
        """Send a message to all who listen to a topic.

        Args:
            topic: its name, with levels between slashes if you like: `orders/new`.
            message: any value; it is not copied.
            qos: changes nothing: each message comes once.
            retain: keep it for those who come later, in place of one kept before; a retained message that is None or
                empty clears it.

        Raises:
            ValueError: the topic is no name or has a wildcard, or there is no such quality.
        """
        quality_from(qos)
        self.publish_nowait(topic, message, retain=retain)

    def publish_nowait(self, topic: str, message: Any, *, retain: bool = False) -> int:
        """Do what `publish` does, from any thread; return how many were listening."""
        sent = Message(topic_from(topic), message)
        with self._lock:
            if retain:
                self._table.retain(topic, message)
            listeners = [*self._table.listeners(topic)]
        for each in listeners:
            with suppress(RuntimeError):  # its loop is closed
                each.put_from_anywhere(sent)
        return len(listeners)

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[Messages]:
        """Listen to a topic: `async with connector.subscribe(topic) as messages`.

        Args:
            topic: its name, or a pattern: `+` is any one level (`cell/+/state`), `#` at the end all that follow
                (`cell/#`).

        Raises:
            ValueError: it is neither.
        """
        pattern, messages = pattern_from(topic), Messages()
        with self._lock:
            for each in self._table.add(pattern, messages):
                messages.put(each)
        try:
            yield messages
        finally:
            with self._lock:
                self._table.remove(pattern, messages)

    def listeners(self, topic: str) -> int:
        """Return how many listen to a topic now."""
        with self._lock:
            return sum(1 for _ in self._table.listeners(topic))
