"""Where the boxes, lines and labels of one graph go: layers from above to below, in time about linear.

The method is that of Sugiyama: layers (`ranks.py`), an order within them (`crossings.py`), places across
(`columns.py`). Between any two layers of boxes lies one of labels, in which each label has a place of its own, and a
line has a point in each layer that it passes. Lines bend between layers alone: so none goes through a box, or through a
label of another.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from cascade.graph.draw.columns import columns_of
from cascade.graph.draw.crossings import order_layers
from cascade.graph.draw.ranks import ranks_of

__all__ = ["Box", "Layout", "Link", "Route", "lay_out"]

GAP = 26.0
"""Between two boxes; between lines or labels it is less."""
LEAVING, ARRIVING = 12.0, 19.0
"""Between boxes and the labels below them, between labels and the boxes below them."""
LOOP = 24.0
MOST_WIDTH = 1500.0
"""A layer whose boxes are wider together is broken into several."""
MOST_APART = 8
"""More lines of one bundle to one box have one way, if they have no labels."""
MOST_POINTS = 20_000
"""With more points where lines pass layers, long lines are drawn straight, whatever they meet."""


class Box(NamedTuple):
    """What is placed: its size, and the form of its border."""

    width: float
    height: float
    form: str = "box"
    """box, oval, diamond, hexagon, or dot, which lines meet in its middle"""


class Link(NamedTuple):
    """A line from one box to another."""

    source: int
    target: int
    width: float = 0.0
    height: float = 0.0
    """The size of its label; zero for none."""
    bundle: Hashable = None
    """Lines of one source and one bundle have one way as far as they can."""
    early: bool = False
    """The label is where the line leaves, not where it arrives."""
    loose: bool = False
    """Whether it may lead upwards, as jumps do."""


class Route(NamedTuple):
    """Where a line goes: vertical between each second pair of points. And the centre of its label."""

    points: list[tuple[float, float]]
    label: tuple[float, float] | None


class Layout(NamedTuple):
    """The centre of each box, the way of each link, and the size of it all."""

    places: list[tuple[float, float]]
    routes: list[Route]
    width: float
    height: float


@lru_cache(maxsize=256)
def lay_out(boxes: tuple[Box, ...], links: tuple[Link, ...], last: int | None = None) -> Layout:
    """Place boxes so that lines lead downwards, those of loops aside. Large programs are often made of equal parts.

    Args:
        last: the box that stands below all others.
    """
    return _Laying(boxes, links, last).layout() if boxes else Layout([], [], 0.0, 0.0)


class _Laying:
    """One drawing on the way: cells are boxes first, and then the points where lines pass layers."""

    def __init__(self, boxes: Sequence[Box], links: Sequence[Link], last: int | None) -> None:
        self.boxes = boxes
        self.links = links
        beside = [0.0] * len(boxes)
        for link in links:
            if link.source == link.target:
                beside[link.source] = max(beside[link.source], LOOP + 4 + link.width)
        firm = [(each.source, each.target) for each in links if not each.loose]
        loose = [(each.source, each.target) for each in links if each.loose and each.source != each.target]
        widths = [box.width + more + GAP for box, more in zip(boxes, beside, strict=True)]
        ranks = ranks_of(widths, firm, loose, MOST_WIDTH)
        if last is not None:
            ranks[last] = max((rank for box, rank in enumerate(ranks) if box != last), default=-1) + 1
        self.ranks = [2 * rank for rank in ranks]
        self.left = [(box.width + GAP) / 2 for box in boxes]
        self.right = [(box.width + GAP) / 2 + more for box, more in zip(boxes, beside, strict=True)]
        self.tall = [box.height for box in boxes]
        self.trunks: dict[Hashable, list[int]] = {}
        self.joined: dict[Hashable, dict[int, int]] = {
            way: {} for way, count in Counter(map(_joining, links)).items() if count > MOST_APART
        }
        """By what many lines lead to: the cell of each layer that they pass together."""
        is_few = sum(max(0, abs(self.ranks[a] - self.ranks[b]) - 1) for a, b in firm + loose) <= MOST_POINTS
        is_few = is_few or self._points_shared() <= MOST_POINTS
        self.labelled: dict[int, int] = {}
        """The cell of each link's label."""
        self.chains = [self._chain(number, link, is_few) for number, link in enumerate(links)]
        self.x: list[float] = []
        self.y: list[float] = []
        self.tops: list[float] = []
        self.floors: list[float] = []
        """The y where the layer of each cell begins and ends."""

    def _points_shared(self) -> int:
        spans: dict[Hashable, int] = {}
        for link in self.links:
            key = (link.source, link.bundle)
            spans[key] = max(spans.get(key, 0), abs(self.ranks[link.target] - self.ranks[link.source]))
        return sum(spans.values()) + len(self.links)

    def _chain(self, number: int, link: Link, is_few: bool) -> list[int]:
        """Return the cells that a line goes through, the upper one first."""
        if link.source == link.target:
            return []
        upper, lower = link.source, link.target
        if self.ranks[upper] > self.ranks[lower]:
            upper, lower = lower, upper
        first, last = self.ranks[upper] + 1, self.ranks[lower] - 1
        if first > last or (not is_few and last > first):
            return [upper, lower]
        is_down = upper == link.source
        trunk = self.trunks.setdefault((upper, link.bundle), []) if is_down and link.bundle is not None else None
        joined = self.joined.get(_joining(link)) if is_down and not link.width else None
        if joined is not None:
            for rank in range(first, last + 1):
                if rank not in joined:
                    joined[rank] = self._point(rank, None)
            return [upper, *(joined[rank] for rank in range(first, last + 1)), lower]
        label_at = first if link.early == is_down else last
        chain = [upper]
        for rank in range(first, last + 1):
            labelled = link if link.width and rank == label_at else None
            if trunk is None or (labelled is not None and not link.early):
                cell = self._point(rank, labelled)
            else:
                if rank - first == len(trunk):
                    trunk.append(self._point(rank, labelled))
                cell = trunk[rank - first]
            if labelled is not None:
                self.labelled[number] = cell
            chain.append(cell)
        chain.append(lower)
        return chain

    def _point(self, rank: int, labelled: Link | None) -> int:
        self.ranks.append(rank)
        side = 6.0 if labelled is None else labelled.width / 2 + 5.0
        self.left.append(side)
        self.right.append(side)
        self.tall.append(0.0 if labelled is None else labelled.height)
        return len(self.ranks) - 1

    def layout(self) -> Layout:
        """Return the drawing."""
        count = len(self.ranks)
        rows: dict[int, list[int]] = {rank: [] for rank in sorted(set(self.ranks))}
        for cell, rank in enumerate(self.ranks):
            rows[rank].append(cell)
        pairs = dict.fromkeys(pair for chain in self.chains for pair in pairwise(chain))
        above: list[list[int]] = [[] for _ in range(count)]
        below: list[list[int]] = [[] for _ in range(count)]
        numbers = {rank: number for number, rank in enumerate(rows)}
        for upper, lower in pairs:
            if numbers[self.ranks[lower]] - numbers[self.ranks[upper]] == 1:
                below[upper].append(lower)
                above[lower].append(upper)
        layers = order_layers(list(rows.values()), above, below)
        self.x = columns_of(layers, above, below, (self.left, self.right), len(self.boxes))
        boxes = len(self.boxes)
        spare = [GAP / 2 if cell < boxes else 4.0 for cell in range(count)]
        low = min(x - left + out for x, left, out in zip(self.x, self.left, spare, strict=True))
        self.x = [x - low for x in self.x]
        width = max(x + right - out for x, right, out in zip(self.x, self.right, spare, strict=True))
        height = self._down(layers, below)
        routes = self._routes()
        return Layout(list(zip(self.x[:boxes], self.y[:boxes], strict=True)), routes, width, height)

    def _down(self, layers: list[list[int]], below: list[list[int]]) -> float:
        """Give each cell its y: layers are as high as what is highest in them, and further apart where lines go far."""
        count, boxes = len(self.ranks), len(self.boxes)
        self.y, self.tops, self.floors = [0.0] * count, [0.0] * count, [0.0] * count
        top = 0.0
        for number, layer in enumerate(layers):
            tall = max(self.tall[cell] for cell in layer)
            for cell in layer:
                free = tall - self.tall[cell]
                self.y[cell] = top + (min(free, 24.0) if cell < boxes else free) / 2 + self.tall[cell] / 2
                self.tops[cell], self.floors[cell] = top, top + tall
            if number == len(layers) - 1:
                return top + tall
            far = max((abs(self.x[cell] - self.x[each]) for cell in layer for each in below[cell]), default=0.0)
            apart = ARRIVING if self.ranks[layer[0]] % 2 else LEAVING
            if self.ranks[layers[number + 1][0]] - self.ranks[layer[0]] > 1:
                apart = LEAVING + ARRIVING
            top += tall + apart + min(44.0, max(0.0, far - 50) * 0.12)
        return top

    # --- lines

    def _routes(self) -> list[Route]:
        starts = self._ports(0)
        ends = self._ports(-1)
        routes = []
        for number, (link, chain) in enumerate(zip(self.links, self.chains, strict=True)):
            if not chain:
                routes.append(self._loop(link))
                continue
            points = self._way(chain, starts[number], ends[number])
            if chain[0] != link.source:
                points.reverse()
            routes.append(Route(points, self._label(number, link, points)))
        return routes

    def _label(self, number: int, link: Link, points: list[tuple[float, float]]) -> tuple[float, float] | None:
        if not link.width:
            return None
        cell = self.labelled.get(number)
        if cell is not None:
            return self.x[cell], (self.tops[cell] + self.floors[cell]) / 2
        (x, y), (to_x, to_y) = points[0], points[-1]
        return (x + to_x) / 2, (y + to_y) / 2

    def _way(self, chain: list[int], start: float, end: float) -> list[tuple[float, float]]:
        upper, lower = chain[0], chain[-1]
        box, to = self.boxes[upper], self.boxes[lower]
        points = [(start, self.y[upper] + _reach(box, start - self.x[upper])), (start, self.floors[upper])]
        for cell in chain[1:-1]:
            points += [(self.x[cell], self.tops[cell]), (self.x[cell], self.floors[cell])]
        points += [(end, self.tops[lower]), (end, self.y[lower] - _reach(to, end - self.x[lower]))]
        return [at for before, at in pairwise([(-9.0, -9.0), *points]) if math.dist(before, at) > 0.5]

    def _loop(self, link: Link) -> Route:
        box, (x, y) = self.boxes[link.source], (self.x[link.source], self.y[link.source])
        inset = {"oval": 4.0, "diamond": 16.0, "hexagon": 5.0}.get(box.form, 0.0)
        right = x + box.width / 2 - inset
        points = [(right, y - 6), (right + LOOP - 4, y - 6), (right + LOOP - 4, y + 6), (right, y + 6)]
        return Route(points, (x + box.width / 2 + LOOP + link.width / 2, y) if link.width else None)

    def _ports(self, end: int) -> dict[int, float]:
        """Return where on its box each line begins (end 0) or ends (-1): lines of one way share the place."""
        wanted: dict[int, dict[int, list[int]]] = {}
        for number, chain in enumerate(self.chains):
            if chain:
                box, next_ = (chain[0], chain[1]) if end == 0 else (chain[-1], chain[-2])
                wanted.setdefault(box, {}).setdefault(next_, []).append(number)
        ports: dict[int, float] = {}
        for box, ways in wanted.items():
            listed = sorted(ways, key=lambda cell: self.x[cell])
            spots = _spread(self.x[box], self.boxes[box], [self.x[cell] for cell in listed])
            for cell, spot in zip(listed, spots, strict=True):
                ports.update(dict.fromkeys(ways[cell], spot))
        return ports


def _joining(link: Link) -> Hashable:
    return link.target, link.bundle, link.width


def _reach(box: Box, aside: float) -> float:
    """Return how far above or below its centre the border of a box is, so far aside of the centre."""
    half, part = box.height / 2, min(1.0, abs(aside) / (box.width / 2)) if box.width else 0.0
    if box.form == "oval":
        return half * math.sqrt(1 - part * part)
    if box.form == "diamond":
        return half * (1 - part)
    if box.form == "hexagon":
        return half * min(1.0, (1 - part) * box.width / 2 / 12)
    return half


def _spread(centre: float, box: Box, towards: list[float]) -> list[float]:
    """Return where lines leave a box for these places: straight where they can, and apart from each other."""
    half = box.width / 2 * {"box": 0.84, "hexagon": 0.72, "oval": 0.6, "diamond": 0.45}.get(box.form, 0.0)
    count = len(towards)
    if count == 1:
        return [towards[0] if abs(towards[0] - centre) <= half else centre]
    step = min(18.0, 2 * half / (count - 1))
    blocks: list[tuple[float, int]] = []  # of (sum, count): least squares, with the order and the steps kept
    for at, x in enumerate(towards):
        near = x if abs(x - centre) <= half else centre + math.copysign(half * 0.5, x - centre)
        total, size = near - at * step, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / size:
            before = blocks.pop()
            total, size = total + before[0], size + before[1]
        blocks.append((total, size))
    spots = [total / size for total, size in blocks for _ in range(size)]
    low, high = centre - half, centre + half - (count - 1) * step
    return [min(max(spot, low), high) + at * step for at, spot in enumerate(spots)]
