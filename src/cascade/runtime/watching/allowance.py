"""So much may be heard in a second: what is beyond that would cost the run too much."""

from __future__ import annotations

__all__ = ["Allowance"]


class Allowance:
    """So many calls a second, and so many at once (a token bucket that may be overdrawn)."""

    __slots__ = ("left", "most", "rate", "since")

    def __init__(self, rate: float, most: float, now: float, left: float | None = None) -> None:
        self.rate = rate
        self.most = most
        self.since = now
        self.left: float = most if left is None else left

    def take(self, count: int, now: float) -> bool:
        """Take what was heard since the last time; say whether it was no more than is allowed."""
        self.left = min(self.most, self.left + (now - self.since) * self.rate) - count
        self.since = now
        return self.left >= 0
