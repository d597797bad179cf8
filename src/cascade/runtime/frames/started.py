"""What was begun in place and goes on elsewhere: maps and loops of emitted code that was left, first attempts."""

from __future__ import annotations

from types import CoroutineType
from typing import Any

__all__ = ["Attempted", "Started", "MapStarted", "LoopStarted", "close"]


class Started:
    """An instruction that was begun in place and is to be carried out to its end."""

    __slots__ = ()

    def close(self) -> None:
        """Let go of what nobody came to await."""


class Attempted(Started):
    """A first attempt that was made in place under a retry policy: what it failed of, or a coroutine that it gave."""

    __slots__ = ("outcome",)

    def __init__(self, outcome: Exception | CoroutineType[Any, Any, Any]) -> None:
        self.outcome: Any = outcome

    async def end(self) -> Any:
        """Raise what it failed of, or await what it gave; once."""
        outcome, self.outcome = self.outcome, None
        try:
            if isinstance(outcome, CoroutineType):
                return await outcome
            raise outcome
        finally:
            del outcome  # its traceback leads here

    def close(self) -> None:
        """Close a coroutine that the function gave."""
        if isinstance(self.outcome, CoroutineType):
            self.outcome.close()


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
