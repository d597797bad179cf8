"""Limits that change while an engine runs: which stand, and how many more calls each lets start."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import NamedTuple

from cascade.spec.limits import GLOBAL, Kind, Limit, matcher

__all__ = ["TokenBucket", "Gauge", "Limits"]

Key = tuple[str, Kind]


class ActiveLimit(NamedTuple):
    """A limit in the table: how much, and when it ends by itself (by the clock of the table)."""

    value: float
    until: float | None
    burst: int | None = None


class Limits:
    """The limits that stand. The table is replaced, never changed, so any thread may read it at any time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.table: dict[Key, ActiveLimit] = {}
        self._lock = threading.Lock()

    def put(self, scope: str, values: dict[Kind, float], ttl: float | None, burst: int | None = None) -> None:
        """Let limits stand; each replaces the one of its scope and kind. The burst is that of a rate among them."""
        until = None if ttl is None else self.clock() + ttl
        with self._lock:
            self.table = self.table | {
                (scope, kind): ActiveLimit(value, until, burst if kind == "rate" else None)
                for kind, value in values.items()
            }

    def drop(self, scope: str, *kinds: Kind) -> None:
        """Take limits away, if they stand."""
        with self._lock:
            self.table = {key: each for key, each in self.table.items() if key[0] != scope or key[1] not in kinds}

    def expire(self) -> bool:
        """Take away what has ended by itself; say whether there was such a limit."""
        now = self.clock()
        with self._lock:
            left = {key: each for key, each in self.table.items() if each.until is None or each.until > now}
            if len(left) == len(self.table):
                return False
            self.table = left
            return True

    def next_end(self) -> float | None:
        """Return when the next limit ends by itself."""
        return min((each.until for each in self.table.values() if each.until is not None), default=None)

    def listed(self) -> list[Limit]:
        """Return the limits that stand, by scope and kind."""
        now = self.clock()
        found = []
        for (scope, kind), (value, until, burst) in sorted(self.table.items()):
            if until is None or until > now:
                left = None if until is None else until - now
                found.append(Limit(scope, kind, None if kind == "pause" else value, left, burst))
        return found


class TokenBucket:
    """A token bucket: it starts full and holds its burst, by default what comes in one second, at least one token.

    One number says it all: when the next token is there. It may lie in the past, by as much as the bucket holds.
    """

    __slots__ = ("_interval", "_next", "_room", "_span", "changes", "limit", "most")

    def __init__(self, rate: float, now: float, burst: int | None = None) -> None:
        self.changes = 0
        """How often its rate has changed."""
        self._room = 0.0
        """For how many of the tokens taken before the last change there was room then."""
        self._set(rate, burst)
        self._next = now - self._span

    def _set(self, rate: float, burst: int | None) -> None:
        self.limit = rate, burst
        self.most: float = max(1.0, rate) if burst is None else burst
        self._interval = 1.0 / rate
        self._span = (self.most - 1.0) * self._interval

    @property
    def rate(self) -> float:
        """How many tokens come in a second."""
        return self.limit[0]

    def change(self, rate: float, now: float, burst: int | None = None) -> None:
        """Go on at another rate with the tokens that are there, as far as the bucket holds them now."""
        level = 1.0 + (now - self._begun(now)) / self._interval
        self._set(rate, burst)
        most = self.most
        self.changes += 1
        self._room = max(0.0, most - level)
        self._next = now - (min(level, most) - 1.0) * self._interval

    def tokens(self, now: float) -> int:
        """Return how many whole tokens are there."""
        behind = now - self._begun(now)
        return int(behind / self._interval + 1e-6) + 1 if behind >= -1e-6 * self._interval else 0

    def more_at(self, now: float) -> float | None:
        """Return when there will be one whole token more than now; None if the bucket holds no more."""
        tokens = self.tokens(now)
        return None if tokens + 1 > self.most else self._begun(now) + tokens * self._interval

    def take(self, now: float) -> None:
        """Take a token that is there."""
        self._next = self._begun(now) + self._interval

    def give_back(self, changes: int) -> None:
        """Put back a token that was taken, after so many changes, for a call that never began.

        One from before the last change counts as far as the bucket could have held it then.
        """
        back = 1.0
        if changes != self.changes:
            back = min(1.0, self._room)
            self._room -= back
        self._next -= back * self._interval

    def _begun(self, now: float) -> float:
        return max(self._next, now - self._span)


class Gauge:
    """What stands for one scope, and how many of its calls run."""

    __slots__ = ("_pattern", "bucket", "most", "paused", "running", "scope")

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self._pattern: re.Pattern[str] | None = None if scope == GLOBAL else matcher(scope)
        self.paused = False
        self.most: float | None = None
        self.bucket: TokenBucket | None = None
        self.running = 0

    def is_for(self, name: str) -> bool:
        """Say whether a task of this name is in the scope."""
        return self._pattern is None or self._pattern.match(name) is not None

    def set(self, paused: bool, most: float | None, rate: ActiveLimit | None, now: float) -> None:
        """Take over what stands now."""
        self.paused, self.most = paused, most
        if rate is None:
            self.bucket = None
        elif self.bucket is None:
            self.bucket = TokenBucket(rate.value, now, rate.burst)
        elif self.bucket.limit != (rate.value, rate.burst):
            self.bucket.change(rate.value, now, rate.burst)

    def is_open(self, now: float, spoken: int = 0) -> bool:
        """Say whether one more call may start, beside so many that are spoken for."""
        return self.has_place(spoken) and (self.bucket is None or self.bucket.tokens(now) > spoken)

    def has_place(self, spoken: int = 0) -> bool:
        """Say whether one more call may start, whatever the rate says."""
        return not self.paused and (self.most is None or self.running + spoken < self.most)

    def reason(self, now: float) -> str | None:
        """Return what keeps a call of this scope from starting now, in words."""
        if self.paused:
            return f"paused ({self.scope})"
        if not self.has_place():
            return f"waits for a place: concurrency={self.most:g} ({self.scope})"
        if not self.is_open(now) and self.bucket is not None:
            return f"waits for the rate of {self.bucket.rate:g} calls a second ({self.scope})"
        return None
