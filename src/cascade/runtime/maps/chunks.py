"""Chunks: calls of a short function for many items, in one comprehension each.

Nothing is asked between two calls but whether the class of a result is known to be plain. What a comprehension iterates
over is shared with the ticker, which takes away what is left of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import repeat
from typing import Any

from cascade.runtime.interpreter.results import is_signal

__all__ = ["ChunkCaller"]

Odd = Callable[[Any], Any]
MOST_ODD = 64
"""So many results of other classes than the last one's are looked at one by one."""


# `for value in (call(item),)` is an assignment (CPython 3.9 made it one), to a variable of the comprehension's own:
# that of `:=` belongs to the function around and costs more.
def _each(call: Callable[..., Any], items: Iterable[Any], seen: type | None, odd: Odd) -> list[Any]:
    return [value if value.__class__ is seen else odd(value) for item in items for value in (call(item),)]


def _each_mixed(call: Callable[..., Any], items: Iterable[Any], plain: set[type], odd: Odd) -> list[Any]:
    return [value if value.__class__ in plain else odd(value) for item in items for value in (call(item),)]


def _pairs(call: Callable[..., Any], pairs: Iterable[Any], plain: set[type], odd: Odd) -> list[Any]:
    return [value if value.__class__ in plain else odd(value) for one, two in pairs for value in (call(one, two),)]


def _rows(call: Callable[..., Any], rows: Iterable[Any], plain: set[type], odd: Odd) -> list[Any]:
    return [value if value.__class__ in plain else odd(value) for row in rows for value in (call(*row),)]


def _fill(call: Callable[..., Any], rows: Iterable[Any], plain: set[type], odd: Odd, out: list[Any]) -> None:
    append = out.append
    for row in rows:
        value = call(*row)
        append(value if value.__class__ in plain else odd(value))


class ChunkCaller:
    """Calls the function of one map for blocks of items.

    Args:
        before: what goes by position to every call, before all else (the receiver of a method).
        order: the names of what follows by position.
        each: the inputs that are iterated, in the order of the columns of a block.
        same: by name, what is the same for every call.
        seen: the class that results had so far.
    """

    __slots__ = ("keywords", "odds", "places", "plain", "seen", "signals")

    def __init__(
        self,
        before: tuple[Any, ...],
        order: tuple[str, ...],
        each: tuple[str, ...],
        same: dict[str, Any],
        seen: type | None,
    ) -> None:
        self.places: list[Any] | None = None
        """For each position: the number of a column, or an endless iterator; None: some column goes by name."""
        self.keywords: dict[str, Any] = {}
        if each == order and not before:
            self.places = list(range(len(each)))
        elif set(each) <= set(order):
            self.places = [repeat(value) for value in before]
            self.places += [each.index(name) if name in each else repeat(same[name]) for name in order]
        if same:
            self.keywords = {name: value for name, value in same.items() if name not in order}
        self.seen = seen
        self.plain: set[type] = set()
        """The classes that results had and that are no signals."""
        self.odds = 0
        """How many results of the last block were not of the class `seen`."""
        self.signals: list[Any] = []
        """What the last block has found that is more than a value."""

    @property
    def may_sweep(self) -> bool:
        """Whether one class of results is expected, of calls of one argument."""
        return self.places is not None and len(self.places) == 1 and self.odds <= MOST_ODD and self.seen is not None

    def odd(self, value: Any) -> Any:
        """Look at a result of a class that was not expected."""
        self.odds += 1
        if is_signal(value):
            self.signals.append(value)
        else:
            self.seen = value.__class__
            self.plain.add(self.seen)
        return value

    def bound(self, func: Any) -> Any:
        """Return the function with what goes by name and is the same for every call."""
        return partial(func, **self.keywords) if self.keywords else func

    def call(self, func: Any, waiting: Iterable[Any], others: list[Any], out: list[Any] | None = None) -> list[Any]:
        """Call `func` for each item until `waiting` ends; return the results.

        Args:
            waiting: an iterator over the first column, which may end early.
            others: the rest of the columns.
            out: filled with the results one by one, so that they are there if a call raises.
        """
        self.signals = []
        call, places = self.bound(func), self.places
        assert places is not None
        mixed, self.odds = self.odds > MOST_ODD, 0
        if out is None and len(places) == 1:
            if mixed:
                return _each_mixed(call, waiting, self.plain, self.odd)
            return _each(call, waiting, self.seen, self.odd)
        columns = [waiting, *others]
        rows: Iterable[Any] = zip(*[columns[at] if at.__class__ is int else at for at in places], strict=False)
        if out is not None:
            _fill(call, rows, self.plain, self.odd, out)
            return out
        return (_pairs if len(places) == 2 else _rows)(call, rows, self.plain, self.odd)
