"""Batches of calls for a cluster: as many in one message as take about so long, by what was measured of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import ceil
from typing import Any

from cascade.spec.protocols import CallNode

__all__ = ["Batches", "Item"]

PATIENCE = 0.25
"""So many seconds the calls of a function wait for the first one of it to be timed, once that has begun."""
AHEAD = 8
"""So many batches a thread are sent ahead: enough that none waits, and few enough that new measures soon count."""
MOST_KNOWN = 1000
"""Of so many functions it is known how long they take."""
NEWER = 0.5
"""How much the latest measure weighs."""


class Item:
    """One call on its way to a cluster and back."""

    __slots__ = (
        "about",
        "args",
        "deaths",
        "future",
        "is_alone",
        "is_off",
        "job",
        "kwargs",
        "node",
        "place",
        "variables",
    )

    def __init__(
        self, node: CallNode, args: Any, kwargs: dict[str, Any], about: Any, place: Any, variables: bytes
    ) -> None:
        self.node = node
        self.args = args
        self.kwargs = kwargs
        self.about = about
        self.place = place
        """What hears how far it has come."""
        self.variables = variables
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.job: Any = None
        self.is_alone: bool = node.begun is not None
        """Whether it shares no message with others, as its clock starts when it begins."""
        self.is_off: bool = False
        """Nobody waits for it any more."""
        self.deaths: int = 0
        """So many workers have died that it was given to, and may not have begun it."""

    def fail(self, error: BaseException) -> None:
        """End the call with an error."""
        if not self.future.done():
            self.future.set_exception(error)

    def give(self, outcome: bytes) -> None:
        """End the call with what came of it."""
        if not self.future.done():
            self.future.set_result(outcome)


class _Known:
    """What is known of a function, and its calls that wait."""

    __slots__ = ("func", "is_slow", "items", "out", "seconds", "timer")

    def __init__(self, func: Any) -> None:
        self.func = func
        self.items: deque[Item] = deque()
        self.seconds: float | None = None
        """How long one call takes."""
        self.is_slow = False
        """The first one took so long that none waits for it."""
        self.out = 0
        self.timer: Any = None


class Batches:
    """The calls that wait to be sent.

    Args:
        send: takes batches of calls of one function.
        threads: says how many calls the cluster can make at once.
        seconds: so long a batch should take.
    """

    def __init__(self, send: Callable[[list[list[Item]]], None], threads: Callable[[], int], seconds: float) -> None:
        self._send = send
        self._threads = threads
        self._seconds = seconds
        self._known: dict[int, _Known] = {}
        self._ready: dict[int, _Known] = {}

    def put(self, item: Item) -> None:
        """Take a call, which is sent with those that come in the same turn of the event loop."""
        key = id(item.node.func)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= MOST_KNOWN:
                self._known = {at: each for at, each in self._known.items() if each.items or each.out}
            known = self._known[key] = _Known(item.node.func)
        known.items.append(item)
        if not self._ready:
            asyncio.get_running_loop().call_soon(self._flush)
        self._ready[key] = known

    def _flush(self) -> None:
        ready, self._ready = self._ready, {}
        for known in ready.values():
            batches = self._batches(known)
            if batches:
                known.out += len(batches)
                self._send(batches)

    def _batches(self, known: _Known) -> list[list[Item]]:
        threads, size, ahead = self._threads(), 1, AHEAD
        if known.seconds is not None:
            by_time = int(self._seconds / max(known.seconds, 1e-7))
            size = max(1, min(by_time, ceil(len(known.items) / (2 * threads))))
        elif not known.is_slow and self._seconds:
            ahead = 2
        batches: list[list[Item]] = []
        while len(batches) < ahead * threads - known.out:
            batch = self._next(known.items, size)
            if not batch:
                break
            batches.append(batch)
        return batches

    def _next(self, items: deque[Item], size: int) -> list[Item]:
        """Take the calls of one batch, of those that somebody still waits for."""
        batch: list[Item] = []
        while items and len(batch) < size:
            item = items[0]
            if item.is_alone and batch and not item.is_off:
                break
            items.popleft()
            if not item.is_off:
                batch.append(item)
                if item.is_alone:
                    break
        return batch

    def waits_for(self, item: Item) -> bool:
        """Say whether others wait until the call has begun, as nothing is known of its function yet."""
        known = self._known.get(id(item.node.func))
        return known is not None and known.seconds is None and not known.is_slow

    def begun(self, item: Item) -> None:
        """Note that a call has begun: those that wait for its measure do not for long."""
        known = self._known.get(id(item.node.func))
        if known is not None and known.seconds is None and known.items and known.timer is None:
            known.timer = asyncio.get_running_loop().call_later(PATIENCE, self._give_up, known)

    def _give_up(self, known: _Known) -> None:
        known.timer = None
        if known.seconds is None:
            known.is_slow = True
            self._again(known)

    def back(self, item: Item, count: int, seconds: float) -> None:
        """Note that a batch is back, of so many calls that took so long; none: it was lost."""
        known = self._known.get(id(item.node.func))
        if known is None:
            return
        known.out = max(known.out - 1, 0)
        if count:
            each = seconds / count
            known.seconds = each if known.seconds is None else (1 - NEWER) * known.seconds + NEWER * each
        self._again(known)

    def _again(self, known: _Known) -> None:
        if known.items:
            if not self._ready:
                asyncio.get_running_loop().call_soon(self._flush)
            self._ready[id(known.func)] = known

    def close(self) -> None:
        """Forget what waits."""
        for known in self._known.values():
            if known.timer is not None:
                known.timer.cancel()
        self._known = {}
