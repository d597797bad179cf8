"""Guards: the classes that an emitted coroutine function expects of results, which a tick takes away.

The function compares the class of each result with its guard anyway, to tell signals from values. If nothing has the
class any more, it looks closer, and finds that the event loop should have a turn: one look for both.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any
from weakref import ref

from cascade.compiler.code.source_writer import Deoptimize, odd

__all__ = ["Guards"]


class Guards:
    """A copy of an emitted function with guards of its own, for one event loop."""

    __slots__ = ("__weakref__", "classes", "function", "is_retired", "scope", "ticker")

    def __init__(self, function: Callable[..., Any], classes: dict[str, Any], ticker: Any) -> None:
        assert isinstance(function, FunctionType)
        self.scope = {**function.__globals__, **classes}
        if "odd" in self.scope:
            self.scope["odd"] = partial(_odd, ref(self))
        self.function: Callable[..., Any] = FunctionType(function.__code__, self.scope, function.__name__)
        self.classes = classes
        """By the names that the function knows them by."""
        self.ticker = ticker
        self.is_retired = False
        """Whether they are taken away for good: whoever runs with them is to look around, and go on with others."""

    def invalidate(self) -> None:
        """Have the function look closer at its next result; from any thread."""
        self.scope.update(dict.fromkeys(self.classes))

    def validate(self) -> None:
        """Have the function expect again what it expected."""
        self.scope.update(self.classes)


def _odd(known: ref[Guards], value: Any) -> None:
    """Leave if a result is more than a value, or if whoever runs with these guards is to look around."""
    odd(value)
    guards = known()
    if guards is not None and guards.is_retired:
        raise Deoptimize
