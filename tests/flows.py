"""Tasks at the top of a module, so that graphs of them can be written as JSON and read back."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, Flag, IntFlag
from typing import Any, NamedTuple

import cascade as cs


class Pair(NamedTuple):
    """A named tuple to nest lazy results in."""

    left: Any
    right: Any


class Color(Enum):
    """Something that is no plain value."""

    RED = 1


class Mode(Flag):
    """Flags that can be had together."""

    READ = 1
    WRITE = 2


class Bits(IntFlag):
    """Flags that are numbers, also those that have no name."""

    ONE = 1
    TWO = 2


@dataclass
class Point:
    """A record that JSON text is read as."""

    x: int
    y: int = 0


@cs.task
def give(*args: Any, **kwargs: Any) -> Any:
    """Give back what comes in."""
    return (args, kwargs) if kwargs else args[0] if len(args) == 1 else args


@cs.task(name="plus", pure=True, mode="inline", retry=2, tags=["sum"])
def add(a: Any, b: Any = 0) -> Any:
    """Add."""
    return a + b


@cs.task
async def later(a: Any) -> Any:
    """Give back what comes in, as a coroutine."""
    return a


@cs.task
def count(n: int, log: Any = ()) -> Any:
    """Count down in a loop."""
    if n > 0:
        return cs.Jump("again", {"n": n - 1, "log": (*log, n)})
    return cs.Jump("stop", log)


@cs.task
def ping(n: int, at: str = "ping") -> Any:
    """Jump to the other state, or out."""
    return cs.Jump("other", n - 1) if n > 0 else cs.Jump("leave", {"a": n})


@cs.task
def take(n: int) -> Any:
    """Call itself until nothing is left."""
    return cs.TailCall(args=[n - 1]) if n > 0 else "none left"


@cs.resource
def five() -> Iterator[int]:
    """Five."""
    yield 5


@cs.task
def with_five(a: int, given: int = cs.inject(five)) -> int:
    """Add the resource."""
    return a + given


class Ledger:
    """Its methods are tasks."""

    @cs.task
    def total(self, n: int) -> int:
        """Return n."""
        return n

    @staticmethod
    def plain(n: int) -> int:
        """Return n plus one; it is no task."""
        return n + 1


multiply = cs.task(pure=True)(operator.mul)
static = cs.task(Ledger.plain)
quick = cs.task(name="quick", mode="inline")(give.func)
hidden = cs.task(lambda n: n)
