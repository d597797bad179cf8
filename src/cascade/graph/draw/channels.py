"""Lines between two layers of a drawing in letters: which row each of them goes along."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Net", "route"]

MOST_SHIFTS = 40


class Net:
    """Lines of one look that leave one place: a tree with one way along."""

    __slots__ = ("dashed", "source", "targets", "track")

    def __init__(self, source: int, dashed: bool) -> None:
        self.source = source
        """The column that it comes from, above."""
        self.dashed = dashed
        self.targets: list[int] = []
        """The columns that it leads to, below."""
        self.track: int | None = None
        """The row that it goes along, from 0; None where it is straight."""

    def span(self) -> tuple[int, int]:
        """Return the first and the last column that it touches."""
        return min(self.source, *self.targets), max(self.source, *self.targets)


def route(nets: list[Net], shift: Callable[[Net, int], bool]) -> int | None:
    """Give each net a row, so that no two lie on each other; return how many rows there are.

    None if it cannot be done: two nets would each have to be above the other, and `shift(net, column)`, which
    moves where a net arrives a little, does not help.
    """
    for _ in range(MOST_SHIFTS):
        stuck = _assign(nets)
        if stuck is None:
            return max((net.track + 1 for net in nets if net.track is not None), default=0)
        if not any(shift(*each) for each in stuck):
            return None
    return None


def _assign(nets: list[Net]) -> list[tuple[Net, int]] | None:
    """Fill row after row; return where nets arrive that wait for each other in a circle, if some do."""
    for net in nets:
        net.track = None
    waiting = [net for net in nets if net.targets != [net.source]]
    waiting.sort(key=Net.span)
    leaving = {net.source: net for net in waiting}
    row = 0
    while waiting:
        end = -3
        placed: list[Net] = []
        held: list[tuple[Net, int]] = []
        for net in waiting:
            # a net that leaves where this one arrives goes along a row further up
            above = [at for at in net.targets if (other := leaving.get(at)) is not net and other in waiting]
            if above:
                held += [(net, at) for at in above]
            elif net.span()[0] > end + 1:
                net.track, end = row, net.span()[1]
                placed.append(net)
        if not placed:
            return held
        waiting = [net for net in waiting if net not in placed]
        row += 1
    return None
