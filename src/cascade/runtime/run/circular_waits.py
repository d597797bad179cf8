"""Waits of tasks for what is being made, or goes on, by those who wait for them: they would never end.

A call can wait for another one of the same key, for a resource that is being set up, or for a run that was started.
Each of these ends only after all that it waits for itself. When a wait begins inside of a task, all that ends only
after it is gathered: what is around it, what those who wait for that are in, and so on. If what is waited for is among
that, the last who came gets an error in the place of its wait. Who begins a wait may itself be awaited a little later
than it begins: where there is anything to suspect, it is looked again after a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from cascade.runtime.frames.call import Call
from cascade.runtime.run.awaiters import around, held_here
from cascade.runtime.run.deadlock import PAUSES
from cascade.spec.contexts import contextmanager
from cascade.spec.inside import Inside, inside_of

__all__ = ["InProgress", "waiting_for"]

_waits: dict[Any, list[Wait]] = {}
"""The waits that go on inside of tasks, by what they are for."""


class InProgress:
    """Something that one call makes while others may wait for it; `deadlock.hold` and `give_up` say when."""

    __slots__ = ("around", "place", "run")

    def __init__(self) -> None:
        self.run: Any = None
        self.place: Any = None
        self.around: Any = None

    def is_at(self, call: Call) -> bool:
        """Say whether it is a call that makes it."""
        return self.place is not None and bool(self.place.is_same(call))


class Wait:
    """A wait that has begun inside of a task."""

    __slots__ = ("awaited", "error", "future", "held", "inside", "task", "timer")

    def __init__(
        self, awaited: object, future: asyncio.Future[Any], inside: Inside, error: Callable[[], Exception]
    ) -> None:
        self.awaited = awaited
        self.future = future
        self.inside = inside
        self.held = held_here.get()
        self.task: asyncio.Task[Any] | None = None
        self.error = error
        self.timer: asyncio.TimerHandle | None = None

    def look(self, pauses: tuple[float, ...] = PAUSES) -> None:
        """Fail if it can never end; look again later if that might turn out."""
        if self.future.done() or not self.is_suspect():
            return
        circle = self.circle()
        if circle:  # a run goes on without who awaits it: sooner than that ends what it waits for itself
            first = next((one for one in circle if isinstance(one.awaited, InProgress)), self)
            first.future.set_exception(first.error())
        elif pauses:
            self.timer = self.future.get_loop().call_later(pauses[0], self.look, pauses[1:])

    def is_suspect(self) -> bool:
        """Say whether it could be in vain at all; that costs little."""
        inside: Inside | None = self.inside
        held = self.held
        while inside is not None and inside.run is not None:
            if inside is self.awaited or inside in _waits:
                return True
            inside = inside.outer
        while held is not None:
            if held is self.awaited or held in _waits:
                return True
            held = held.around
        return False

    def circle(self) -> list[Wait]:
        """Return waits, this one among them, that wait for each other; none: what it is for may end before it."""
        loop, later = self.future.get_loop(), set[Any]()
        paths = [[self]]
        for path in paths:
            wait = path[-1]
            for each in around(wait.inside, wait.held, wait.task):
                if each is self.awaited:
                    return path
                if each not in later:
                    later.add(each)
                    paths += [[*path, one] for one in _waits.get(each, ()) if one.is_on(loop)]
        return []

    def is_on(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Say whether it goes on, on an event loop."""
        return not self.future.done() and self.future.get_loop() is loop and self.inside.run is not None


@contextmanager
def waiting_for(
    awaited: object, future: asyncio.Future[Any], error: Callable[[], Exception], task: asyncio.Task[Any] | None = None
) -> Iterator[None]:
    """Have `future` fail with an error if it is awaited, here, by somebody whom `awaited` itself waits for.

    Args:
        task: who waits, if that is code of the user's and no call itself.
    """
    inside = inside_of()
    if inside is None:
        yield
        return
    wait = Wait(awaited, future, inside, error)
    wait.task = task
    _waits.setdefault(awaited, []).append(wait)
    try:
        wait.look()
        yield
    finally:
        others = _waits[awaited]
        others.remove(wait)
        if not others:
            del _waits[awaited]
        if wait.timer is not None:
            wait.timer.cancel()
