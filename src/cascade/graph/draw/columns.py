"""How far right each cell of a layered drawing stands, with long lines straight: Brandes and Koepf (2001).

Cells are put into columns in four ways, going up or down and preferring left or right; each cell gets the mean of the
two in the middle. Columns are compacted by longest paths, so that any two neighbours keep their distance.
"""

from __future__ import annotations

from itertools import pairwise
from math import inf

__all__ = ["columns_of"]

Neighbours = list[list[int]]


def columns_of(
    layers: list[list[int]],
    above: Neighbours,
    below: Neighbours,
    sides: tuple[list[float], list[float]],
    bends: int,
) -> list[float]:
    """Return the x of each cell.

    Args:
        layers: the cells of each layer in their order.
        sides: how much room each cell needs to its left and to its right, the gaps included.
        bends: cells from this one on are points where lines pass a layer.
    """
    place = [0] * len(above)
    for layer in layers:
        for at, cell in enumerate(layer):
            place[cell] = at
    conflicts = _conflicts(layers, above, place, bends)
    ways = []
    for up in (False, True):
        for mirrored in (False, True):
            rows = layers[::-1] if up else layers
            rows = [row[::-1] for row in rows] if mirrored else rows
            roots = _aligned(rows, below if up else above, place, -1 if mirrored else 1, conflicts)
            left, right = sides[::-1] if mirrored else sides
            x = _compacted(rows, roots, left, right)
            ways.append([-value for value in x] if mirrored else x)
    return _balanced(ways, sides)


def _conflicts(layers: list[list[int]], above: Neighbours, place: list[int], bends: int) -> set[tuple[int, int]]:
    """Return the pieces of lines that cross a straight piece of a long one: they give way."""
    found: set[tuple[int, int]] = set()
    for upper, lower in pairwise(layers):
        first = start = 0
        for at, cell in enumerate(lower):
            inner = next((each for each in above[cell] if each >= bends), None) if cell >= bends else None
            if inner is None and at < len(lower) - 1:
                continue
            last = len(upper) if inner is None else place[inner]
            for each in lower[start : at + 1]:
                for over in above[each]:
                    if not first <= place[over] <= last and not (over >= bends and each >= bends):
                        found.add((over, each))
            start, first = at + 1, last
    return found


def _aligned(
    rows: list[list[int]], near: Neighbours, place: list[int], sign: int, conflicts: set[tuple[int, int]]
) -> list[int]:
    """Put each cell into the column of the median of its neighbours; return the first cell of its column."""
    roots = list(range(len(near)))
    next_of = list(roots)
    for row in rows:
        last = -inf
        for cell in row:
            others = sorted(near[cell], key=lambda each: sign * place[each])
            middle = len(others) - 1
            for other in others[middle // 2 : middle // 2 + 1 + middle % 2] if others else ():
                spot = sign * place[other]
                free = (other, cell) not in conflicts and (cell, other) not in conflicts
                if next_of[cell] == cell and last < spot and free:
                    next_of[other] = cell
                    next_of[cell] = roots[cell] = roots[other]
                    last = spot
    return roots


def _compacted(rows: list[list[int]], roots: list[int], left: list[float], right: list[float]) -> list[float]:
    """Return the x of each cell with all columns as far left as they can be, then as near to what is right of them."""
    after: dict[int, dict[int, float]] = {root: {} for root in roots}
    before: dict[int, dict[int, float]] = {root: {} for root in roots}
    for row in rows:
        for one, other in pairwise(row):
            a, b, apart = roots[one], roots[other], right[one] + left[other]
            if after[a].get(b, -1.0) < apart:
                after[a][b] = before[b][a] = apart
    waits = {root: len(each) for root, each in before.items()}
    order = [root for root, count in waits.items() if not count]
    x: dict[int, float] = dict.fromkeys(after, 0.0)
    for root in order:
        x[root] = max((x[each] + apart for each, apart in before[root].items()), default=0.0)
        for each in after[root]:
            waits[each] -= 1
            if not waits[each]:
                order.append(each)
    for root in reversed(order):
        nearest = min((x[each] - apart for each, apart in after[root].items()), default=inf)
        if nearest < inf:
            x[root] = max(x[root], nearest)
    return [x[root] for root in roots]


def _balanced(ways: list[list[float]], sides: tuple[list[float], list[float]]) -> list[float]:
    """Return the mean of the middle two of four x for each cell, the four laid onto the narrowest."""
    if not ways[0]:
        return []
    left, right = sides
    spans = []
    for way in ways:
        spans.append(
            (
                min(x - out for x, out in zip(way, left, strict=True)),
                max(x + out for x, out in zip(way, right, strict=True)),
            )
        )
    low, high = min(spans, key=lambda span: span[1] - span[0])
    moved = []
    for number, (way, span) in enumerate(zip(ways, spans, strict=True)):
        shift = high - span[1] if number % 2 else low - span[0]
        moved.append([x + shift for x in way])
    return [sum(sorted(four)[1:3]) / 2 for four in zip(*moved, strict=True)]
