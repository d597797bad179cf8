"""Sources: where the items of a map come from, read a batch at a time."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Generator
from typing import Any

from cascade.runtime.event_loop.ticker import MOST_NUMBERS, Ticker
from cascade.runtime.frames.scope import to_the_end
from cascade.spec.iterables import check_iterable, check_lengths, refuse_lengths
from cascade.spec.lazy import MappedResult
from cascade.spec.mistakes import ATOMS, refuse_hidden
from cascade.spec.task import Task

__all__ = ["EVERYTHING", "Batch", "ColumnSource", "Source", "IteratorSource", "source_of"]

END = object()
EVERYTHING = sys.maxsize
SEQUENCES = (list, tuple, range)


class Batch:
    """Items that follow each other: position `p` of all columns is item `first + p`; from `at` to `end` are new."""

    __slots__ = ("at", "columns", "end", "first", "is_all")

    def __init__(self, first: int, columns: list[Any], at: int, end: int) -> None:
        self.first = first
        self.columns = columns
        self.at = at
        self.end = end
        self.is_all = False
        """Whether these are all items that are left of one column, for one comprehension."""


class Source:
    """Gives the items of a map in batches."""

    __slots__ = ("count",)

    def __init__(self, count: int | None = None) -> None:
        self.count = count
        """How many items there are, where that is known."""

    async def read(self, most: int) -> Batch | None:
        """Return up to `most` further items, None at the end. An empty batch says to try again after a turn."""
        raise NotImplementedError

    async def close(self, grace: float) -> None:
        """Close the generators that will not be read to their end."""


class ColumnSource(Source):
    """Items of lists, tuples and ranges."""

    __slots__ = ("at", "columns", "size")

    def __init__(self, columns: list[Any]) -> None:
        self.columns = columns
        self.size = len(columns[0])
        super().__init__(self.size)
        self.at = 0

    async def read(self, most: int) -> Batch | None:
        """Return the next items, where they are."""
        at = self.at
        if at >= self.size:
            return None
        self.at = min(at + most, self.size)
        batch = Batch(0, self.columns, at, self.at)
        batch.is_all = most == EVERYTHING
        return batch


class IteratorSource(Source):
    """Items of iterators, read side by side; async ones are awaited, item by item.

    A tick ends the reading of a batch, so a slow generator does not hold the event loop for many items.
    """

    __slots__ = ("ended", "failure", "iterators", "names", "one", "read_so_far", "sizes", "task", "ticker")

    def __init__(self, task: Task[..., Any], values: dict[str, Any], ticker: Ticker) -> None:
        self.task = task
        self.ticker = ticker
        self.names = tuple(values)
        self.sizes = {name: len(value) for name, value in values.items() if hasattr(value, "__len__")}
        self.iterators = [
            (value.__aiter__(), True) if hasattr(value, "__aiter__") else (iter(value), False)
            for value in values.values()
        ]
        super().__init__(next(iter(self.sizes.values())) if len(self.sizes) == len(values) else None)
        self.one = len(self.iterators) == 1 and not self.iterators[0][1]
        self.read_so_far = 0
        self.ended = False
        self.failure: BaseException | None = None

    async def read(self, most: int) -> Batch | None:
        """Read on until a tick; of async iterators one item."""
        if self.failure is not None:
            raise self.failure
        if self.ended:
            return None
        columns: list[list[Any]] = [[] for _ in self.iterators]
        try:
            if self.one:
                self.read_one(columns[0], most)
            elif any(is_async for _, is_async in self.iterators):
                self.take([await _next(iterator, is_async) for iterator, is_async in self.iterators], columns)
            else:
                turn = self.ticker.numbers(min(most, MOST_NUMBERS))
                for _ in turn:
                    self.take([next(iterator, END) for iterator, _ in self.iterators], columns)
                    if self.ended:
                        break
        except Exception as error:
            if not columns[0]:
                raise
            self.failure = error  # after what came before it
        finally:
            self.ticker.turn = None
        count = len(columns[0])
        if count:
            self.check(columns)
        first, self.read_so_far = self.read_so_far, self.read_so_far + count
        return None if self.ended and not count else Batch(first, columns, 0, count)

    def check(self, columns: list[list[Any]]) -> None:
        """Raise TypeError if the first new items have no value yet: they would get none while the graph runs."""
        for name, column in zip(self.names, columns, strict=True):
            if column[0].__class__ not in ATOMS:
                refuse_hidden(column[0], f"an item of {name}= in the map of {self.task.name!r} ({self.task.declared})")

    def read_one(self, column: list[Any], most: int) -> None:
        """Read one iterator, until a tick."""
        append = column.append
        most = min(most, MOST_NUMBERS)
        turn = self.ticker.numbers(most)
        for _, item in zip(turn, self.iterators[0][0], strict=False):
            append(item)
        self.ended = len(column) < most and len(turn) == most

    def take(self, row: list[Any], columns: list[list[Any]]) -> None:
        """Take in one item of each input, or that they have ended."""
        over = [value is END for value in row]
        if not any(over):
            for column, value in zip(columns, row, strict=True):
                column.append(value)
            return
        if not all(over):
            self.refuse(over, self.read_so_far + len(columns[0]))
        self.ended = True

    def refuse(self, over: list[bool], count: int) -> None:
        """Raise ValueError: some inputs have ended after `count` items, and others have not."""
        lengths: dict[str, object] = {
            name: count if is_over else f"{count + 1} or more" for name, is_over in zip(self.names, over, strict=True)
        }
        refuse_lengths(self.task, {**lengths, **self.sizes})

    async def close(self, grace: float) -> None:
        """Close all generators; raise what the first of them raises then."""
        failure: BaseException | None = None
        for iterator, _ in self.iterators:
            try:
                if isinstance(iterator, AsyncGenerator):
                    await to_the_end(iterator.aclose(), grace)
                elif isinstance(iterator, Generator):
                    iterator.close()
            except BaseException as error:
                failure = failure or error
        if failure is not None:
            raise failure


async def _next(iterator: Any, is_async: bool) -> Any:
    if not is_async:
        return next(iterator, END)
    try:
        return await iterator.__anext__()
    except StopAsyncIteration:
        return END


def source_of(node: MappedResult[Any], values: dict[str, Any], declared: dict[str, Any], ticker: Ticker) -> Source:
    """Return the source for what the inputs of a map have turned out to be.

    Raises:
        TypeError: one of them cannot be iterated.
        ValueError: they differ in length, or an iterator was spent by an earlier run.
    """
    if all(value.__class__ in SEQUENCES for value in values.values()):
        if len(values) > 1:
            check_lengths(node.task, {name: len(value) for name, value in values.items()})
        return ColumnSource(list(values.values()))
    for name, value in values.items():
        check_iterable(node.task, name, value)
    check_lengths(node.task, {name: len(value) for name, value in values.items() if hasattr(value, "__len__")})
    spent = node.spent
    for name, value in values.items():
        if (hasattr(value, "__next__") or hasattr(value, "__anext__")) and declared.get(name) is value:
            if spent:
                raise ValueError(
                    f"map of {node.task.name!r} (declared at {node.declared}): the iterator given as {name}= was spent "
                    "by an earlier run; give a list, or declare the map anew for each run"
                )
            node.spent = True
    return IteratorSource(node.task, values, ticker)
