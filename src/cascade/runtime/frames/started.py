"""What emitted code had begun where it was left: maps and loops that the interpreter takes over in the middle."""

from __future__ import annotations

from types import CoroutineType
from typing import Any

__all__ = ["Started", "MapStarted", "LoopStarted", "close"]


class Started:
    """An instruction that emitted code had begun and the interpreter is to carry out to its end."""

    __slots__ = ()

    def close(self) -> None:
        """Let go of what nobody came to await."""


class MapStarted(Started):
    """A map whose function was called for all items, and returned more than a value for some."""

    __slots__ = ("values",)

    def __init__(self, values: list[Any]) -> None:
        self.values = values

    def close(self) -> None:
        """Close the coroutines that the function returned."""
        for value in self.values:
            if value.__class__ is CoroutineType:
                value.close()


class LoopStarted(Started):
    """A loop that has had some entries, and what the last of them returned."""

    __slots__ = ("args", "count", "kwargs", "value")

    def __init__(self, value: Any, count: int, args: Any, kwargs: dict[str, Any]) -> None:
        self.value = value
        self.count = count
        self.args = args
        """With which the last call was made."""
        self.kwargs = kwargs

    def close(self) -> None:
        """Close the coroutine that the function returned."""
        if self.value.__class__ is CoroutineType:
            self.value.close()


def close(started: object) -> None:
    """Let go of what a call put aside returned, if somebody would have had to await it."""
    if isinstance(started, (CoroutineType, Started)):
        started.close()
