"""Which layer each box of a picture stands in: the first step of a layered drawing (Sugiyama, Tagawa, Toda 1981)."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence

__all__ = ["ranks_of"]

Pair = tuple[int, int]


def ranks_of(widths: Sequence[float], firm: Sequence[Pair], loose: Sequence[Pair], most: float) -> list[int]:
    """Return the layer of each box, from 0.

    Args:
        widths: of the boxes.
        firm: lines that lead downwards; should they have a cycle, it is broken somewhere.
        loose: lines that lead downwards where they can: jumps, which form cycles.
        most: what stands in one layer is no wider together; the rest of it goes to layers of their own below it.
    """
    place = {box: at for at, box in enumerate(_sequence(len(widths), firm, loose))}
    below: list[list[int]] = [[] for _ in widths]
    has_above = bytearray(len(widths))
    for source, target in (*firm, *loose):
        if source != target:
            upper, lower = (source, target) if place[source] < place[target] else (target, source)
            below[upper].append(lower)
            has_above[lower] = 1
    ranks = [0] * len(widths)
    for box in place:
        for lower in below[box]:
            ranks[lower] = max(ranks[lower], ranks[box] + 1)
    for box in place:  # what waits for nothing stands just above its first reader
        if not has_above[box] and below[box]:
            ranks[box] = min(ranks[lower] for lower in below[box]) - 1
    return _broken(ranks, widths, most)


def _sequence(count: int, firm: Sequence[Pair], loose: Sequence[Pair]) -> list[int]:
    """Return the boxes in an order in which firm lines lead forwards, and loose ones where they can.

    Of what may come next, what a walk along the loose lines meets first comes first.
    """
    readers: list[list[int]] = [[] for _ in range(count)]
    waits = [0] * count
    for source, target in firm:
        if source != target:
            readers[source].append(target)
            waits[target] += 1
    keys = _met(count, loose)
    order: list[int] = []
    left = list(waits)
    ready = [box for box in range(count) if not left[box]]
    for box in ready:
        order.append(box)
        for reader in readers[box]:
            left[reader] -= 1
            if not left[reader]:
                ready.append(reader)
    for box in reversed(order):  # what is only read comes when its first reader does
        keys[box] = min([keys[box], *(keys[reader] for reader in readers[box])])
    left = list(waits)
    heap = [(keys[box], box) for box in range(count) if not left[box]]
    heapq.heapify(heap)
    done = bytearray(count)
    order = []
    rest = iter(range(count))
    while len(order) < count:
        box = heapq.heappop(heap)[1] if heap else next(each for each in rest if not done[each])  # a cycle: break it
        if done[box]:
            continue
        done[box] = 1
        order.append(box)
        for reader in readers[box]:
            left[reader] -= 1
            if not left[reader] and not done[reader]:
                heapq.heappush(heap, (keys[reader], reader))
    return order


def _met(count: int, loose: Sequence[Pair]) -> list[int]:
    """Return when a walk in breadth along the loose lines meets each box; `count` for those that it never meets."""
    ways: dict[int, list[int]] = {}
    for source, target in loose:
        ways.setdefault(source, []).append(target)
    met = [count] * count
    number = 0
    for start in sorted(ways):
        queue = deque([start])
        while queue:
            box = queue.popleft()
            if met[box] == count:
                met[box] = number
                number += 1
                queue += ways.get(box, ())
    return met


def _broken(ranks: list[int], widths: Sequence[float], most: float) -> list[int]:
    """Break layers that are too wide into several."""
    layers: list[list[int]] = [[] for _ in range(max(ranks, default=-1) + 1)]
    for box, rank in enumerate(ranks):
        layers[rank].append(box)
    row = 0
    for layer in layers:
        total = sum(widths[box] for box in layer)
        share = total / max(1, -(-total // most)) if most > 0 else total
        filled = 0.0
        for box in layer:
            if filled and filled + widths[box] > share + 1:
                row += 1
                filled = 0.0
            ranks[box] = row
            filled += widths[box]
        row += 1
    return ranks
