"""Which calls of a run have a span: of a loop or a map only so many."""

from __future__ import annotations

__all__ = ["Choice"]


class Choice:
    """Counts the calls of each node of a run, and says which have a span.

    Args:
        spans: "all": the first `most` calls of each node; "sampled": behind these one in two, in four, in eight, half
            as many each time as often again; "slow": none but those which turn out to be.
        most: how many.
    """

    __slots__ = ("_counts", "_late", "is_sampled", "is_slow", "left_out", "most", "seconds")

    def __init__(self, spans: str, most: int, seconds: float) -> None:
        self.is_sampled: bool = spans == "sampled"
        self.is_slow: bool = spans == "slow"
        self.most: int = most
        self.seconds: float = seconds
        self._counts: dict[object, int] = {}
        self._late: dict[object, int] = {}
        self.left_out: int = 0
        """How many calls had no span."""

    def takes(self, node: object) -> bool:
        """Say whether the next call of a node has a span from its beginning."""
        count = self._counts.get(node, 0)
        self._counts[node] = count + 1
        if self.is_slow:
            self.left_out += 1
            return False
        if count < self.most:
            return True
        if self.is_sampled and not count & ((1 << (count // self.most).bit_length()) - 1):
            return True
        self.left_out += 1
        return False

    def takes_late(self, node: object, failed: bool, seconds: float) -> bool:
        """Say whether a call without one gets a span now that it has ended: it failed, or took long."""
        if not failed and not (self.is_slow and seconds >= self.seconds):
            return False
        count = self._late.get(node, 0)
        if count >= self.most:
            return False
        self._late[node] = count + 1
        self.left_out -= 1
        return True
