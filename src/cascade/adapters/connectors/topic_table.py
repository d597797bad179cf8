"""Who listens to what, and what is retained: the table of a broker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from cascade.spec.topics import Message, fits, has_wildcards, is_empty

__all__ = ["TopicTable"]

L = TypeVar("L")


class TopicTable(Generic[L]):
    """Listeners by topic or pattern, and the last retained message of each topic. It locks nothing."""

    def __init__(self) -> None:
        self._exact: dict[str, list[L]] = {}
        self._patterns: dict[str, list[L]] = {}
        self.retained: dict[str, Any] = {}
        """By topic, the one that was written last at the end."""

    def add(self, pattern: str, listener: L) -> list[Message]:
        """Let somebody listen; return the retained messages that are for them, in the order of their writing."""
        (self._patterns if has_wildcards(pattern) else self._exact).setdefault(pattern, []).append(listener)
        if not has_wildcards(pattern):
            return [Message(pattern, self.retained[pattern], True)] if pattern in self.retained else []
        return [Message(topic, value, True) for topic, value in self.retained.items() if fits(pattern, topic)]

    def remove(self, pattern: str, listener: L) -> None:
        """Let somebody listen no more."""
        table = self._patterns if has_wildcards(pattern) else self._exact
        left = [each for each in table[pattern] if each is not listener]
        if left:
            table[pattern] = left
        else:
            del table[pattern]

    def listeners(self, topic: str) -> Iterator[L]:
        """Go through those who listen to a topic."""
        yield from self._exact.get(topic, ())
        for pattern, each in self._patterns.items():
            if fits(pattern, topic):
                yield from each

    def retain(self, topic: str, value: Any) -> None:
        """Keep a message in place of the one before; one that says nothing clears it."""
        self.retained.pop(topic, None)
        if not is_empty(value):
            self.retained[topic] = value
