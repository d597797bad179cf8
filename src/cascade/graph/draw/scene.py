"""What a picture is drawn of: boxes, frames and lines with their places, for every format that draws for itself.

What a sub-flow needs is laid out first and is then a box in the graph around it. Nothing here recurs, however deep
sub-flows stand in each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, NamedTuple

from cascade.graph.draw.layers import Box, Layout, Link, Route, lay_out
from cascade.graph.draw.picture import Line, Picture, Shape, shortened, title_of
from cascade.graph.draw.texts import text_width

__all__ = ["Drawn", "Frame", "Part", "Placed", "Scene", "path_of", "scene_of", "whole_of"]

PADDING, TITLE = 14.0, 24.0
MOST_LABEL = 26
TEXT, SMALL, HIGH = 12.0, 10.0, 13.0
"""The sizes of letters in boxes and of labels; the height of a label."""
FORMS = {"param": "oval", "router": "diamond", "map": "hexagon", "end": "dot"}
EARLY = frozenset(("jump", "exit", "gate"))
"""Kinds of lines that are named by what they leave."""


class Part:
    """What is laid out as one: a graph, in a frame if it is that of a sub-flow; ids of boxes, and parts in it."""

    __slots__ = ("around", "id", "items", "title")

    def __init__(self, id: str, title: str, around: int) -> None:
        self.id = id
        self.title = title
        self.around = around
        """The number of the part around it; -1 for the outermost."""
        self.items: list[Item] = []


class Item(NamedTuple):
    """A box to be placed."""

    id: str
    kind: str
    label: str
    note: str
    more: str
    """A second line of text."""


class Placed(NamedTuple):
    """A box with its centre and size."""

    item: Item
    x: float
    y: float
    width: float
    height: float


class Frame(NamedTuple):
    """The frame of a sub-flow."""

    id: str
    title: str
    x: float
    y: float
    width: float
    height: float


class Drawn(NamedTuple):
    """Lines of one kind between two boxes, drawn as one."""

    source: str
    target: str
    kind: str
    names: list[str]
    label: str
    route: Route


class Scene(NamedTuple):
    """All of a picture, outer frames first."""

    boxes: list[Placed]
    frames: list[Frame]
    lines: list[Drawn]
    width: float
    height: float


class Ends(NamedTuple):
    """Where lines lead: for the id of each shape, the part that it stands in, and the box that stands for it."""

    parts: list[Part]
    homes: dict[str, tuple[int, str]]


def whole_of(picture: Picture, more: Callable[[Shape], str] = lambda shape: "") -> Ends:
    """Return the parts of a picture of which nothing is folded."""
    nest = picture.nest
    parts = [Part("", "", -1)]
    homes: dict[str, tuple[int, str]] = {}
    framed = nest.inner
    frames: dict[int, str] = {}
    for shape in picture.shapes:
        inner = framed.get((shape.graph, shape.number))
        if inner is not None:
            frames[inner] = shape.id
    for graph in range(1, len(nest.graphs)):
        parts.append(Part(frames[graph], title_of(nest, graph), nest.owners[graph][0]))
    for shape in picture.shapes:
        homes[shape.id] = (shape.graph, shape.id)
        if (shape.graph, shape.number) not in framed:
            parts[shape.graph].items.append(item_of(shape, more(shape)))
    return Ends(parts, homes)


def item_of(shape: Shape, more: str) -> Item:
    """Return what stands for a shape."""
    return Item(shape.id, shape.kind, "" if shape.kind == "end" else shortened(shape.label), shape.note, more)


def box_of(item: Item) -> Box:
    """Return the size of a box: as wide as its text needs."""
    if item.kind == "end":
        return Box(18, 18, "dot")
    around = {"param": 34, "map": 36, "router": 52, "subflow": 34, "fold": 52}.get(item.kind, 24)
    width = max(54.0, text_width(item.label, TEXT) + around, text_width(item.more, SMALL) + around - 6)
    high = 40.0 if item.kind == "router" else 30.0
    return Box(round(width), high + (14 if item.more else 0), FORMS.get(item.kind, "box"))


def scene_of(lines: Iterable[Line], ends: Ends) -> Scene:
    """Place all boxes, frames and lines."""
    merged: list[dict[tuple[str, str, str], list[Line]]] = [{} for _ in ends.parts]
    for line in lines:
        part, source = ends.homes[line.source]
        at, target = ends.homes[line.target]
        if line.kind == "result" and part < len(ends.parts) and ends.parts[part].id == line.target:
            merged[part].setdefault((source, "", "result"), []).append(line)
        elif part == at and (source != target or line.kind == "jump"):
            merged[part].setdefault((source, target, line.kind), []).append(line)
    laid = _laid_out(ends.parts, merged)
    return _placed(ends.parts, laid)


class _Laid(NamedTuple):
    """One part, laid out by itself."""

    layout: Layout
    boxes: list[Box]
    lines: list[tuple[tuple[str, str, str], list[str], str]]
    box: Box
    """The frame around it."""
    inside: list[int]
    """The parts in it."""


def _laid_out(parts: list[Part], merged: list[dict[tuple[str, str, str], list[Line]]]) -> list[_Laid]:
    found: list[Any] = [None] * len(parts)
    inside: list[list[int]] = [[] for _ in parts]
    for number, part in enumerate(parts):
        if part.around >= 0:
            inside[part.around].append(number)
    for number in range(len(parts) - 1, -1, -1):
        part = parts[number]
        boxes = [box_of(item) for item in part.items] + [found[each].box for each in inside[number]]
        places = {item.id: at for at, item in enumerate(part.items)}
        places.update((parts[each].id, len(part.items) + at) for at, each in enumerate(inside[number]))
        border = None
        if part.around >= 0:  # what it gives leaves by its lower border
            border = places[""] = len(boxes)
            boxes.append(Box(1, 0))
        lines, links = [], []
        for (source, target, kind), known in merged[number].items():
            names = [line.name for line in known]
            label = label_of([line.name for line in known if not line.is_quiet])
            early = kind in EARLY
            width = text_width(label, SMALL)
            bundle = (kind, label if early else "")
            link = Link(places[source], places[target], width, HIGH if width else 0.0, bundle, early, kind == "jump")
            lines.append(((source, target, kind), names, label))
            links.append(link)
        layout = lay_out(tuple(boxes), tuple(links), border)
        wide = max(layout.width, text_width(part.title, TEXT) + 20) + 2 * PADDING
        found[number] = _Laid(layout, boxes, lines, Box(wide, layout.height + TITLE), inside[number])
    return found


def label_of(names: list[str]) -> str:
    """Return what is written on lines with these names that are drawn as one."""
    known = list(dict.fromkeys(name for name in names if name))
    text = ", ".join(known[:6])
    if len(names) > 3 and len(text) > MOST_LABEL:
        return f"×{len(names):,}"
    return shortened(text, MOST_LABEL)


def _placed(parts: list[Part], laid: list[_Laid]) -> Scene:
    """Put the parts into each other, outer ones first."""
    boxes: list[Placed] = []
    frames: list[Frame] = []
    lines: list[Drawn] = []
    spots: dict[int, tuple[float, float]] = {}
    written: set[Any] = set()
    for number, (part, one) in enumerate(zip(parts, laid, strict=True)):
        left = top = 0.0
        if part.around >= 0:
            (x, y), box = spots[number], one.box
            frames.append(Frame(part.id, part.title, x, y, box.width, box.height))
            left, top = x - one.layout.width / 2, y - box.height / 2 + TITLE
        for item, (x, y), box in zip(part.items, one.layout.places, one.boxes, strict=False):
            boxes.append(Placed(item, left + x, top + y, box.width, box.height))
        for each, (x, y) in zip(one.inside, one.layout.places[len(part.items) :], strict=False):
            spots[each] = left + x, top + y
        for ((source, target, kind), names, label), route in zip(one.lines, one.layout.routes, strict=True):
            points = [(left + x, top + y) for x, y in route.points]
            label_at = None if route.label is None else (left + route.label[0], top + route.label[1])
            if label_at is not None and (label, label_at) in written:  # lines of one bundle have one label
                label, label_at = "", None
            written.add((label, label_at))
            lines.append(Drawn(source, target or part.id, kind, names, label, Route(points, label_at)))
    return Scene(boxes, frames, lines, laid[0].layout.width, laid[0].layout.height)


def path_of(line: Drawn) -> str:
    """Return a line as the data of an SVG path."""
    points = line.route.points
    (x, y), (to_x, to_y) = points[0], points[-1]
    if line.source == line.target:
        far = points[1][0] + 6
        return f"M{x:.1f} {y:.1f}C{far:.1f} {y - 10:.1f} {far:.1f} {to_y + 10:.1f} {to_x:.1f} {to_y:.1f}"
    path = f"M{x:.1f} {y:.1f}"
    for (x, y), (to_x, to_y) in pairwise(points):
        if abs(x - to_x) < 0.05:
            path += f"V{to_y:.1f}"
        else:
            middle = (y + to_y) / 2
            path += f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}"
    return path
