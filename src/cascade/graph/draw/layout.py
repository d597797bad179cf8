"""Where boxes go: layers by longest path, an order by barycentres, places by least squares. Linear but for sorting.

The method is that of Sugiyama, kept small: long lines get a waypoint in each layer they cross as long as
there are few of them, and are drawn straight otherwise.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

__all__ = ["Box", "Layout", "arrange", "rows_of"]

GAP = 26.0
RISE = 50.0
SWEEPS = 4
MOST_WAYPOINTS = 4000
TALL = 20.0
MOST_IN_ROW = 24
"""A layer of more boxes than this is broken into rows."""


class Box(NamedTuple):
    """The size of what is placed."""

    width: float
    height: float


class Layout(NamedTuple):
    """The centre of each box, the waypoints of each line, and the size of it all."""

    places: list[tuple[float, float]]
    floors: list[float]
    """The y below all boxes of the same layer."""
    bends: list[list[tuple[float, float]]]
    width: float
    height: float


def arrange(boxes: list[Box], lines: list[tuple[int, int]]) -> Layout:
    """Place boxes so that lines lead downwards; the lines form no cycle."""
    count = len(boxes)
    rows, _ = rows_of(count, lines)
    boxes = list(boxes)
    chains = _waypoints(boxes, rows, lines)
    layers: list[list[int]] = [[] for _ in range(max(rows, default=-1) + 1)]
    for at, row in enumerate(rows):
        layers[row].append(at)
    above: list[list[int]] = [[] for _ in boxes]
    below: list[list[int]] = [[] for _ in boxes]
    for chain in chains:
        for upper, lower in itertools.pairwise(chain):
            below[upper].append(lower)
            above[lower].append(upper)
    _order(layers, above, below)
    layers = [layer[at : at + MOST_IN_ROW] for layer in layers for at in range(0, len(layer), MOST_IN_ROW)]
    x = _across(layers, boxes, above, below)
    y, floors, height = _down(layers, boxes)
    left = min((x[at] - boxes[at].width / 2 for at in range(len(boxes))), default=0.0)
    right = max((x[at] + boxes[at].width / 2 for at in range(len(boxes))), default=0.0)
    places = [(x[at] - left, y[at]) for at in range(len(boxes))]
    bends = []
    for chain in chains:
        bends.append([spot for at in chain[1:-1] for spot in _passing(places[at], floors[at])])
    return Layout(places[:count], floors[:count], bends, right - left, height)


def _passing(top: tuple[float, float], floor: float) -> list[tuple[float, float]]:
    """Return how a line passes a layer: straight down, if some box of it is tall."""
    return [top, (top[0], floor)] if floor - top[1] > TALL else [top]


def rows_of(count: int, lines: list[tuple[int, int]]) -> tuple[list[int], bool]:
    """Return the layer of each box, and whether the lines have no cycle.

    A box stands below all that it waits for; what waits for nothing, just above its first reader.
    """
    waits = [0] * count
    readers: list[list[int]] = [[] for _ in range(count)]
    for source, target in lines:
        if source != target:
            waits[target] += 1
            readers[source].append(target)
    rows = [0] * count
    heads = [at for at in range(count) if not waits[at]]
    ready = list(heads)
    for at in ready:
        for reader in readers[at]:
            rows[reader] = max(rows[reader], rows[at] + 1)
            waits[reader] -= 1
            if not waits[reader]:
                ready.append(reader)
    for at in heads:
        if readers[at]:
            rows[at] = min(rows[reader] for reader in readers[at]) - 1
    return rows, len(ready) == count


def _waypoints(boxes: list[Box], rows: list[int], lines: list[tuple[int, int]]) -> list[list[int]]:
    """Return each line as the boxes that it passes, waypoints among them, which join `boxes` and `rows`."""
    needed = sum(max(0, rows[target] - rows[source] - 1) for source, target in lines)
    chains = []
    for source, target in lines:
        chain = [source]
        for row in range(rows[source] + 1, rows[target]) if needed <= MOST_WAYPOINTS else ():
            chain.append(len(boxes))
            boxes.append(Box(8.0, 0.0))
            rows.append(row)
        chain.append(target)
        chains.append(chain)
    return chains


def _order(layers: list[list[int]], above: list[list[int]], below: list[list[int]]) -> None:
    """Sort each layer by where its neighbours stand, down and up again."""
    place: dict[int, float] = {}
    for layer in layers:
        for at, box in enumerate(layer):
            place[box] = at / len(layer)
    for sweep in range(SWEEPS):
        neighbours = above if sweep % 2 == 0 else below
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            if len(layer) > 1:
                layer.sort(key=lambda box: _mean([place[at] for at in neighbours[box]], place[box]))
                for at, box in enumerate(layer):
                    place[box] = at / len(layer)


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _across(layers: list[list[int]], boxes: list[Box], above: list[list[int]], below: list[list[int]]) -> list[float]:
    """Return the x of each box: as near to its neighbours as the order and the gaps allow."""
    x = [0.0] * len(boxes)
    for layer in layers:
        _settle(layer, boxes, [0.0] * len(layer), x)
    for sweep in range(SWEEPS * 2):
        neighbours = above if sweep % 2 == 0 else below
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wanted = [_mean([x[at] for at in neighbours[box]], x[box]) for box in layer]
            _settle(layer, boxes, wanted, x)
    return x


def _settle(layer: list[int], boxes: list[Box], wanted: list[float], x: list[float]) -> None:
    """Place one layer: least squares from where each box wants to be, with the order and the gaps kept."""
    offset, offsets = 0.0, []
    for at, box in enumerate(layer):
        if at:
            offset += (boxes[layer[at - 1]].width + boxes[box].width) / 2 + GAP
        offsets.append(offset)
    blocks: list[tuple[float, int]] = []  # (sum, count) of boxes that stand shoulder to shoulder
    for want, moved in zip(wanted, offsets, strict=True):
        total, count = want - moved, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / count:
            before = blocks.pop()
            total, count = total + before[0], count + before[1]
        blocks.append((total, count))
    at = 0
    for total, count in blocks:
        for _ in range(count):
            x[layer[at]] = total / count + offsets[at]
            at += 1


def _down(layers: list[list[int]], boxes: list[Box]) -> tuple[list[float], list[float], float]:
    y, floors = [0.0] * len(boxes), [0.0] * len(boxes)
    top = 0.0
    for layer in layers:
        tall = max(boxes[at].height for at in layer)
        for at in layer:
            y[at] = top + boxes[at].height / 2
            floors[at] = top + tall
        top += tall + RISE
    return y, floors, max(0.0, top - RISE)
