"""The messages that were sent to one run, and who in it waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from cascade.errors import StateError
from cascade.spec import clocks
from cascade.spec.signal import UNSET

__all__ = ["Mailbox", "Wanted", "refuse_name"]

MOST = 10_000
"""So many messages are kept that nobody has taken."""


class Wanted(NamedTuple):
    """What somebody waits for."""

    name: str
    read: Callable[[Any], Any]
    """Makes of what was sent what is given, or raises."""
    seconds: float | None
    """So long at the most."""
    default: Any
    """What comes after that time; UNSET: a TimeoutError."""


class Mailbox:
    """The messages to a run that nobody records, in the order in which they came; each is taken once.

    A message is handed to who waits first, so that nobody who comes later takes it from under them.
    """

    __slots__ = ("ids", "kept", "waiting")

    def __init__(self) -> None:
        self.kept: list[tuple[str, Any]] = []
        """What nobody has taken, by name."""
        self.ids: dict[str, None] = {}  # no set: an empty one takes 150 bytes more, and thousands of runs wait
        self.waiting: list[tuple[str, asyncio.Future[Any]]] = []

    def send(self, run_id: str, name: str, value: Any, id: str | None) -> None:
        """Keep a message, or hand it to who waits for it; one of an `id` that was there before counts once.

        Raises:
            StateError: too many are kept.
        """
        if id in self.ids:
            return
        if len(self.kept) >= MOST:
            raise StateError(
                f"run {run_id!r} has {MOST:,} messages that nobody has taken, and keeps no more: cs.wait_signal(name) "
                "takes one"
            )
        if id is not None:
            self.ids[id] = None
        self.kept.append((name, value))
        self.hand_out()

    def hand_out(self) -> None:
        """Give what is kept to those who wait for it, first come first served."""
        for name, waiter in self.waiting if self.kept else ():
            if not waiter.done():
                at = next((at for at, one in enumerate(self.kept) if one[0] == name), None)
                if at is not None:
                    waiter.set_result(self.kept.pop(at))

    async def next(self, name: str, left: Callable[[], float] | None) -> tuple[str, Any] | None:
        """Wait for the next message of a name, and take it; None: none came while there were seconds `left`."""
        waiter = asyncio.get_running_loop().create_future()
        self.waiting.append((name, waiter))
        try:
            self.hand_out()
            while not waiter.done() and (left is None or left() > 0):
                await asyncio.wait({waiter}, timeout=None if left is None else min(left(), clocks.LOOK))
            return waiter.result() if waiter.done() else None
        except BaseException:
            if waiter.done():
                self.put_back(waiter.result())
            raise
        finally:
            self.waiting = [one for one in self.waiting if one[1] is not waiter]

    def put_back(self, message: Any) -> None:
        """Keep a message again that was handed to somebody who waits no more."""
        self.kept.insert(0, message)
        self.hand_out()

    async def take(self, wanted: Wanted) -> Any:
        """Wait for a message; return what it is read as, or the default.

        Raises:
            TimeoutError: none came in time.
        """
        clock = asyncio.get_running_loop().time
        end = None if wanted.seconds is None else clock() + wanted.seconds
        message = await self.next(wanted.name, None if end is None else lambda: end - clock())
        return late(wanted) if message is None else wanted.read(message[1])


def late(wanted: Wanted) -> Any:
    """Return what stands in for a message that did not come in time."""
    if wanted.default is UNSET:
        raise TimeoutError(f"no signal {wanted.name!r} came within {wanted.seconds:g} seconds")
    return wanted.default


def refuse_name(name: object, what: str) -> None:
    """Raise ValueError for a name of messages that is none."""
    if not isinstance(name, str) or not name:
        raise ValueError(f"{what} takes the name of a signal, a text that is not empty, not {name!r}")
