"""Blocks: calls of a short function for many items, in one comprehension each.

Nothing is asked between two calls but whether the class of a result is known to be plain. A list of items for calls of
one argument is swept: all of it in one loop, which ends when a tick takes the expected class away. Else there is a
comprehension for each block; what it iterates over is shared with the ticker, which takes away what is left of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import repeat
from typing import Any
from weakref import ref

from cascade.compiler.guesses import Guesses
from cascade.runtime.frame import NOTHING
from cascade.runtime.signals import is_signal
from cascade.runtime.ticker import Ticker

__all__ = ["Caller"]

Odd = Callable[[Any], Any]
MOST_ODD = 64
"""So many results of other classes than the last one's are looked at one by one."""


# `for value in (call(item),)` is an assignment (CPython 3.9 made it one), to a variable of the comprehension's own:
# that of `:=` belongs to the function around and costs more.
def _each(call: Any, items: Any, seen: Any, odd: Odd) -> list[Any]:
    return [value if value.__class__ is seen else odd(value) for item in items for value in (call(item),)]


# `append` behind each call is a little slower than a comprehension, but the results are where they belong at once. To
# move them costs more, because each has to be fetched into the processor's cache again to count a reference to it.
def _sweep(call: Any, items: Any, results: list[Any], ends: Callable[[Any], bool]) -> bool:
    for item in items:
        value = call(item)
        results.append(value)
        if value.__class__ is not seen and ends(value):  # type: ignore[name-defined]  # noqa: F821
            return True
    return False


def _each_mixed(call: Any, items: Any, plain: set[type], odd: Odd) -> list[Any]:
    return [value if value.__class__ in plain else odd(value) for item in items for value in (call(item),)]


def _pairs(call: Any, pairs: Any, plain: set[type], odd: Odd) -> list[Any]:
    return [value if value.__class__ in plain else odd(value) for one, two in pairs for value in (call(one, two),)]


def _rows(call: Any, rows: Any, plain: set[type], odd: Odd) -> list[Any]:
    return [value if value.__class__ in plain else odd(value) for row in rows for value in (call(*row),)]


def _fill(call: Any, rows: Any, plain: set[type], odd: Odd, out: list[Any]) -> None:
    append = out.append
    for row in rows:
        value = call(*row)
        append(value if value.__class__ in plain else odd(value))


class Caller:
    """Calls the function of one map for blocks of items.

    Args:
        before: what goes by position to every call, before all else (the receiver of a method).
        order: the names of what follows by position.
        each: the inputs that are iterated, in the order of the columns of a block.
        same: by name, what is the same for every call.
        seen: the class that results had so far.
    """

    __slots__ = ("guesses", "keywords", "marked", "odds", "places", "plain", "seen", "signals", "swept")

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
        self.guesses: Guesses | None = None
        self.swept: list[Any] = []
        """The results of the last sweep and what was before it."""
        self.marked: list[int] = []
        """Where signals were among them."""

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

    def ends(self, value: Any) -> bool:
        """Look at a result that was not of the class expected, or behind a tick; say whether the sweep is to end."""
        guesses, results = self.guesses, self.swept
        assert guesses is not None
        if value.__class__ is not self.seen:
            self.odd(value)
            if is_signal(value):
                self.marked.append(len(results) - 1)
                results[-1] = NOTHING
            else:
                guesses.classes["seen"] = guesses.scope["seen"] = self.seen
        return guesses.ticker.due or self.odds > MOST_ODD

    def sweep(self, func: Any, waiting: Any, results: list[Any], ticker: Ticker) -> bool:
        """Call `func` for each item, append the results, and say whether there may be more items.

        A tick takes the expected class away, and so ends it. The places of signals stay empty; `marked` says which
        they are.
        """
        self.signals, self.marked, self.odds, self.swept = [], [], 0, results
        call = partial(func, **self.keywords) if self.keywords else func
        if self.guesses is None or self.guesses.is_retired:
            self.guesses = Guesses(_sweep, {"seen": self.seen}, ticker)
            ticker.guesses.append(ref(self.guesses))
        else:
            self.guesses.classes["seen"] = self.seen
            self.guesses.restore()
        return bool(self.guesses.function(call, waiting, results, self.ends))

    def call(self, func: Any, waiting: Any, others: list[Any], out: list[Any] | None = None) -> list[Any]:
        """Call `func` for each item until `waiting` ends; return the results.

        Args:
            waiting: an iterator over the first column, which may end early.
            others: the rest of the columns.
            out: filled with the results one by one, so that they are there if a call raises.
        """
        self.signals = []
        call = partial(func, **self.keywords) if self.keywords else func
        places = self.places
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
