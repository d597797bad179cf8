"""What a schedule says: when something happens, and what of it that was missed is made up for."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta, tzinfo
from typing import Literal, NamedTuple

from cascade.adapters.schedules.cron import times_after

__all__ = ["Overlap", "Schedule"]

Overlap = Literal["skip", "queue", "allow"]
IN_TIME, INSTANT = timedelta(seconds=60), timedelta(microseconds=1)
"""A time that is missed by less than that is made up for, where nothing else is to be."""
MOST = 1000
"""So many are made up for at once."""


class Schedule(NamedTuple):
    """When a program is run by the servers of its file."""

    cron: str
    zone: tzinfo
    catch_up: bool | int
    overlap: Overlap

    def next_after(self, time: datetime) -> datetime | None:
        """Return the next time, None if there is none in 50 years."""
        return next(times_after(self.cron, self.zone, time), None)

    def due(self, since: datetime, now: datetime) -> tuple[list[datetime], datetime | None]:
        """Return what is to be fired now, oldest first, and the next time.

        Args:
            since: the first time that was not fired yet.
        """
        most = MOST if self.catch_up is True else 1 if self.catch_up is False else self.catch_up
        if self.catch_up is False:
            since = max(since, now - IN_TIME + INSTANT)
        missed: deque[datetime] = deque(maxlen=most)
        for each in times_after(self.cron, self.zone, since - INSTANT):
            if each > now or (self.catch_up is True and len(missed) == MOST):
                return [*missed], each
            missed.append(each)
        return [*missed], None
