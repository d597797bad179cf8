"""Streams: what a task gives item by item, and what a task declares that takes it so."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, Generic, TypeVar

__all__ = ["Stream", "check_generator", "check_reader", "streams_in"]

T = TypeVar("T")

NAMED = re.compile(r"^\s*([\w.]*\bStream)\s*(\[.*\])?\s*(\|\s*None)?\s*$", re.DOTALL)
OWN = ("cs.Stream", "cascade.Stream")


class Stream(Generic[T]):
    """The items of an argument, one by one, as they come: a task declares it for a parameter.

    `async for` in an async task, `for` in a sync one, which runs in a thread. Given a generator task's lazy result, the
    task begins while that goes on; given anything else, it goes through its items. It is gone through once. In a
    test, `cs.Stream([1, 2])` gives what a plain call of the function needs:

        @cs.task
        async def total(numbers: cs.Stream[int]) -> int:
            return sum([number async for number in numbers])

    Args:
        items: what it goes through: an iterable, or an async one for `async for` alone.

    Raises:
        TypeError: they cannot be gone through.
    """

    def __init__(self, items: Iterable[T] | AsyncIterable[T]) -> None:
        self._later: AsyncIterator[T] | None = None
        self._items: Iterator[T] = iter(())
        if isinstance(items, AsyncIterable):
            self._later = items.__aiter__()
        elif isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
            raise TypeError(f"a Stream goes through the items of a list or another iterable, which {items!r} is not")
        else:
            self._items = iter(items)

    def __aiter__(self) -> AsyncIterator[T]:
        """Go through the items that are left."""
        return self

    async def __anext__(self) -> T:
        """Return the next item, when it is there."""
        if self._later is not None:
            return await self._later.__anext__()
        try:
            return next(self._items)
        except StopIteration:
            raise StopAsyncIteration from None

    def __iter__(self) -> Iterator[T]:
        """Go through the items that are left, in a thread.

        Raises:
            RuntimeError: it is called on the thread of the event loop, which would stand still.
        """
        import asyncio  # which costs more than all that declaring needs

        if asyncio._get_running_loop() is not None:
            raise RuntimeError("a Stream is read with `async for` in an async task; `for` would hold the event loop")
        return self

    def __next__(self) -> T:
        """Return the next item, when it is there."""
        if self._later is not None:
            raise RuntimeError("this Stream goes through async items: read it with `async for`")
        return next(self._items)


def streams_in(func: Any) -> frozenset[str]:
    """Return the parameters of a function that are annotated as streams."""
    try:
        annotations = getattr(func, "__annotations__", None) or {}
    except NameError:  # Python looks for the names only now, and one is not there yet
        return frozenset()
    found = [
        name
        for name, wanted in annotations.items()
        if wanted is Stream or (wanted.__class__ is not type and _is_stream(func, wanted))
    ]
    return frozenset(found) - {"return"} if found else NONE


NONE: frozenset[str] = frozenset()


def _is_stream(func: Any, wanted: Any) -> bool:
    if wanted.__class__ is not str:
        parts = getattr(wanted, "__args__", ()) if type(None) in getattr(wanted, "__args__", ()) else (wanted,)
        return any(part is Stream or getattr(part, "__origin__", None) is Stream for part in parts)
    named = NAMED.match(wanted) if "Stream" in wanted else None
    if named is None:
        return False
    first, *others = named[1].split(".")
    value = getattr(func, "__globals__", {}).get(first)
    if value is None:  # imported for type checkers alone, or where the function was made
        return named[1] in OWN
    for name in others:
        value = getattr(value, name, None)
    return value is Stream


def check_generator(task: Any) -> None:
    """Look at a task that is a generator function.

    Raises:
        ValueError: it is to run in a process of its own.
        NotImplementedError: it takes `resume_from`.
    """
    if task.mode == "process":
        raise ValueError(
            f'task {task.name!r} ({task.declared}) is a generator function, which mode="process" cannot run yet: leave '
            "the mode out, and it runs in a thread; or return a list"
        )
    if task.shape is not None and "resume_from" in (*task.shape.names, *task.shape.keywords):
        raise NotImplementedError(
            f"task {task.name!r} ({task.declared}) takes resume_from, to go on behind recorded items; that "
            "is not built yet: call the parameter something else, and a run that goes on calls the task anew"
        )


def check_reader(task: Any) -> None:
    """Look at a task that takes streams.

    Raises:
        ValueError: it is sync and would read in place, or in a process of its own.
    """
    if not task.is_async and task.mode in ("inline", "process"):
        names = ", ".join(sorted(task.streams))
        raise ValueError(
            f"task {task.name!r} ({task.declared}) reads a cs.Stream ({names}), for which it waits in a thread: leave "
            f'mode="{task.mode}" out, or make it an async def'
        )
