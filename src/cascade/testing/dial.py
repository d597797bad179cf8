"""What a virtual clock shows."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime

from cascade.testing.faults import Faults

__all__ = ["START", "Dial"]

START = datetime(2030, 1, 1, tzinfo=UTC).timestamp()
"""What a virtual clock says at first, in seconds since the epoch: the same in each test."""


class Dial:
    """The time of a virtual clock; its event loop moves it on.

    Args:
        start: what it shows at first: seconds since the epoch, or an aware datetime.
        faults: what goes wrong in the runs that go by it.

    Raises:
        ValueError: a datetime without a time zone.
    """

    def __init__(self, start: float | datetime, faults: Faults | None) -> None:
        if isinstance(start, datetime):
            if start.tzinfo is None:
                raise ValueError(f"a virtual clock starts at a datetime with a time zone: {start!r}, tzinfo=UTC")
            start = start.timestamp()
        self.start = start
        self.elapsed: float = 0.0
        """Seconds that have passed by this clock."""
        self.faults = faults

    def time(self) -> float:
        """Return what `time.time()` would say, in seconds since the epoch."""
        return self.start + self.elapsed

    def now(self) -> datetime:
        """Return the time as a datetime in UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def steady(self) -> float:
        """Return what `time.monotonic()` would say: the seconds since the start."""
        return self.elapsed

    def active(self) -> AbstractContextManager[None]:
        """Let what is run meanwhile go by this clock, where its event loop is one of this clock's.

        Raises:
            RuntimeError: another virtual clock is in use.
        """
        raise NotImplementedError
