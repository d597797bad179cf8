"""Whether a run does nothing but wait, and for so long that its process can do without it.

A wait says when it ends, and for which message it is (`Parking.wait`). What else goes on is found by looking, a moment
after a wait has begun and once a second from then on: the run only waits if each of its asyncio tasks is either in such
a wait, or waits for others of which that is so. Whatever cannot be told is work. So is what has a timeout of its own,
as its clock would stop.

To park a run is to cancel it, as when its engine is closed: what it waits for is in its store, and it goes on there.
What is over by the time that the cancel has come makes the run due at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from math import inf
from typing import Any, NamedTuple

from cascade.runtime.frames.scope import Scope
from cascade.runtime.run.active_calls import awaits
from cascade.spec import clocks
from cascade.spec.parked import Parked
from cascade.spec.readable import locals_of

__all__ = ["Parking", "only_waits"]

SOON = 0.02
"""So many seconds after a wait has begun the others that begin with it have, too."""
LOOK = 1.0
"""So often one looks at a run that waits and does something else."""


class _Wait(NamedTuple):
    end: float
    """When it ends, in seconds since 1970."""
    name: str | None
    """The message that it is for."""
    since: float


class Parking:
    """The waits of one run, and when it is parked.

    Args:
        seconds: what ends sooner is waited for here, and so long a message may take.
    """

    def __init__(self, run_scope: Any, seconds: float) -> None:
        self.parked: Parked | None = None
        """What the run gives, once it is decided that it is parked."""
        self._run_scope = run_scope
        self._seconds = seconds
        self._waits: dict[asyncio.Task[Any], _Wait] = {}
        self._due = inf
        self._names: frozenset[str] = frozenset()
        self._is_stale = False
        """Whether a wait has ended since that was decided."""
        self._next: asyncio.TimerHandle | None = None

    @contextmanager
    def wait(self, end: float | None, name: str | None = None) -> Iterator[None]:
        """Let a wait of the current asyncio task be known while the block lasts."""
        task = asyncio.current_task()
        assert task is not None
        self._waits[task] = _Wait(inf if end is None else end, name, self._run_scope.loop.time())
        if self._next is None:
            self._next = self._run_scope.loop.call_later(SOON, self._look)
        try:
            yield
            self._is_stale = True
        except Exception:
            self._is_stale = True
            raise
        finally:
            del self._waits[task]

    def _look(self) -> None:
        """Park the run if it only waits; else look again."""
        self._next = None
        if self.parked is not None or not self._waits or self._run_scope.is_over:
            return
        now, loop = clocks.now(), self._run_scope.loop
        ends = min(each.end for each in self._waits.values())
        heard = [each.since for each in self._waits.values() if each.name is not None]
        left = max(heard, default=-inf) + self._seconds - loop.time()
        if ends - now < self._seconds or left > 0 or not only_waits(self._run_scope.task, self._waits):
            self._next = loop.call_later(min(left, LOOK) if left > 0 else LOOK, self._look)
            return
        self._is_stale = False
        self._due, self._names = ends, frozenset(each.name for each in self._waits.values() if each.name is not None)
        until = None if ends == inf else datetime.fromtimestamp(ends, UTC)
        self.parked = Parked(until, tuple(sorted(self._names)))
        self._run_scope.ask()

    def due(self, inbox: Any) -> tuple[float, int | None]:
        """Return when the run is due, 0 for at once; and the last message that it knows of, if it waits for some.

        Args:
            inbox: its messages, if it has asked for some.
        """
        kept = () if inbox is None else [name for name, _ in inbox.kept]
        due = 0.0 if self._is_stale or self._names.intersection(kept) else self._due
        return due, inbox.after if self._names else None


def only_waits(task: asyncio.Task[Any] | None, waits: dict[asyncio.Task[Any], Any]) -> bool:
    """Say whether an asyncio task of a run, and all that it has started, is in one of these waits."""
    if task is None:
        return False
    scopes, last = [], None
    for frame in awaits(task.get_coro()):
        last, known = frame, locals_of(frame)
        if known.get("deadline") is not None or known.get("pulse") is not None:
            return False  # `in_time`, `alive`
        if "scope" in known:  # `scheduler.complete`, which may carry out one call itself
            scopes.append(known["scope"])
    if task not in waits:
        if last is None or last.f_code is not Scope.wait_until.__code__:
            return False
        scopes.append(locals_of(last)["self"])
    return all(not scope.parked and all(only_waits(each, waits) for each in scope.children) for scope in scopes)
