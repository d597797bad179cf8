"""What a run gives that was parked instead of ended, and how it is asked for."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

__all__ = ["PARK_AFTER", "Parked", "seconds_of_park"]

PARK_AFTER = 5.0
"""Waits of so many seconds and more are worth giving up the process for, where nobody says otherwise."""


class Parked(NamedTuple):
    """What a run with `park=` gives that only waits: nothing of it is in this process any more.

    It stands in the store as Parked, and a server goes on with it at its time, or when it is sent a signal.
    """

    until: datetime | None
    """When the first of its waits ends (in UTC); None: it only waits for signals."""
    signals: tuple[str, ...]
    """The names of the signals that it waits for."""


def seconds_of_park(park: object) -> float:
    """Return from how many seconds on a wait is parked.

    Raises:
        TypeError, ValueError: it is neither True nor a number of 0 or more.
    """
    if park is True:
        return PARK_AFTER
    if isinstance(park, bool) or not isinstance(park, (int, float)):
        raise TypeError(f"park= is True, or the seconds from which on a wait is parked, not {park!r}")
    if not 0 <= park < float("inf"):
        raise ValueError(f"park= is True, or a number of seconds, 0 or more, not {park!r}")
    return float(park)
