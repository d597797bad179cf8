"""Connectors: how tasks come by that of their run (as the resource `connector`), and what it need not be able to do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from cascade.spec.resource import Resource
from cascade.spec.topics import Message

__all__ = ["resource_of", "with_topics"]


def with_topics(messages: Any, topic: str) -> AsyncIterator[Message]:
    """Go through the messages of a subscription with their topics: what was listened to, where it tells none."""
    if hasattr(messages, "with_topics"):
        found: AsyncIterator[Message] = messages.with_topics()
        return found
    return _told(messages, topic)


async def _told(messages: Any, topic: str) -> AsyncIterator[Message]:
    async for value in messages:
        yield Message(topic, value)


def resource_of(connector: Any, what: str) -> Resource:
    """Return a connector as the resource that `cs.inject("connector")` finds; `what` names the option.

    Raises:
        TypeError: it is no connector.
    """
    if isinstance(connector, type) or not all(
        callable(getattr(connector, name, None)) for name in ("publish", "subscribe")
    ):
        raise TypeError(
            f"{what} takes a connector (an object with the methods publish and subscribe, such as "
            f"cascade.adapters.connectors.local.LocalConnector()), not {connector!r}"
        )

    def provide() -> Iterator[Any]:
        yield connector

    return Resource(provide, "connector", "run", False)
