"""What a picture shows, whatever its format: shapes and lines, read off the graphs that run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cascade.graph.draw.gated import gates_of
from cascade.graph.lint.ways import unseen_keys
from cascade.graph.nest import Nest
from cascade.spec.graph import Edge, Graph
from cascade.spec.inputs import Env
from cascade.spec.operations import KINDS

__all__ = [
    "STYLES",
    "Line",
    "Picture",
    "Shape",
    "Style",
    "clean",
    "cluster_of",
    "picture_of",
    "shape_id",
    "shortened",
    "title_of",
    "walk",
]

MOST_LETTERS = 48


class Style(NamedTuple):
    """How lines of one kind look."""

    color: str
    dashes: str = ""
    """As of SVG's stroke-dasharray."""
    width: float = 1.2
    dot: str = "solid"
    """The style's name in DOT."""


STYLES = {
    "data": Style("#475569"),
    "condition": Style("#9ca3af", "6 4", dot="dashed"),
    "otherwise": Style("#9ca3af", "1.5 3", dot="dotted"),
    "constraint": Style("#9333ea", "1.5 3", dot="dotted"),
    "sequence": Style("#4b5563", "6 4", dot="dashed"),
    "selector": Style("#2563eb", "6 4", dot="dashed"),
    "route": Style("#ea7a0c", "6 4", dot="dashed"),
    "gate": Style("#ea7a0c", "1.5 3", dot="dotted"),
    "jump": Style("#1d4ed8", width=2.4, dot="bold"),
    "exit": Style("#1d4ed8", width=2.4, dot="bold"),
    "result": Style("#94a3b8", width=1.0),
}
"""By kind of line. `exit` leads to an end mark; `result` from what a sub-flow computes to the sub-flow; `gate` from
what a router looks at to what runs for one of its ways alone."""


class Shape(NamedTuple):
    """One thing drawn."""

    id: str
    kind: str
    """task, map, param, router, container, optional, subflow, capacity or end"""
    label: str
    note: str
    """Where it was declared."""
    graph: int
    number: int
    """The number in that graph; below zero for what is no node of it."""


class Line(NamedTuple):
    """One arrow drawn, between the ids of two shapes."""

    source: str
    target: str
    kind: str
    name: str
    graph: int
    """The graph whose edge it is."""
    is_quiet: bool = False
    """Whether its name is not written: that says nothing, or stands at another line already."""


class Picture(NamedTuple):
    """All that is drawn of a program."""

    nest: Nest
    shapes: list[Shape]
    lines: list[Line]
    title: str = ""


def shape_id(graph: int, reference: int) -> str:
    """Return the id of a node, or, below zero, of an input."""
    prefix = f"g{graph}" if graph else ""
    return f"{prefix}n{reference}" if reference >= 0 else f"{prefix}p{-1 - reference}"


def picture_of(nest: Nest, title: str | None = None) -> Picture:
    """Return the shapes and lines of these graphs, in the order of the graphs.

    Args:
        title: what stands above it; by default the name of the target, if it has one.
    """
    shapes: list[Shape] = []
    lines: list[Line] = []
    for at, graph in enumerate(nest.graphs):
        unseen = unseen_keys(graph)
        within = _literals(graph)
        shapes += (shape for shape in _shapes(at, graph) if shape.number not in within)
        gated = [each for each in gates_of(graph) if each[2] not in within]
        told = {(router, key) for router, _, _, keys in gated for key in keys}
        for edge in graph.edges():
            if edge.source in within or (edge.kind == "jump" and edge.name in unseen.get(edge.source, ())):
                continue
            line = _line(at, _beyond(edge, within))
            is_told = edge.kind == "route" and (edge.target, edge.name) in told
            is_bare = edge.kind == "data" and line.name.isdecimal()  # of `*args`, or of a list: its place tells nothing
            lines.append(line._replace(is_quiet=True) if is_told or is_bare else line)
        for _, selector, first, keys in gated:
            lines.append(Line(shape_id(at, selector), shape_id(at, first), "gate", ", ".join(keys), at))
        for shape, line in _marks(at, graph, unseen):
            if shape is not None:
                shapes.append(shape)
            lines.append(line)
        around, number = nest.owners[at]
        if around >= 0:
            lines.append(Line(shape_id(at, graph.root), shape_id(around, number), "result", "", at))
    return Picture(nest, shapes, lines, clean(_title(nest.graphs[0]) if title is None else title))


def _literals(graph: Graph) -> dict[int, Edge]:
    """Return the containers that are written where they are read, each with the edge to its one reader."""
    found: dict[int, Edge] = {}
    others = {graph.root}
    for edge in graph.edges():
        is_first = edge.source not in found and edge.kind == "data"
        if is_first and edge.source >= 0 and KINDS[graph.kinds[edge.source]] == "container":
            found[edge.source] = edge
        else:
            others.add(edge.source if edge.kind != "jump" else edge.target)
    return {i: edge for i, edge in found.items() if i not in others}


def _beyond(edge: Edge, within: dict[int, Edge]) -> Edge:
    """Return an edge into such a container as one to who reads that, by the names of both: `argument.key`."""
    while edge.target in within:
        outer = within[edge.target]
        known = [name for name in (outer.name, edge.name) if not name.isdecimal()]
        edge = Edge(edge.source, outer.target, outer.kind, ".".join(known) or outer.name)
    return edge


def _title(graph: Graph) -> str:
    is_named = graph.root >= 0 and KINDS[graph.kinds[graph.root]] not in ("container", "optional", "router")
    return graph.name(graph.root) if is_named else ""


def _shapes(at: int, graph: Graph) -> Iterator[Shape]:
    for slot, given in graph.inputs.items():
        label = f"${given.name}" if isinstance(given, Env) else given.name
        yield Shape(shape_id(at, -1 - slot), "param", label, given.declared, at, -1 - slot)
    if graph.root < 0 and -1 - graph.root not in graph.inputs:  # a graph that only gives a value
        yield Shape(shape_id(at, graph.root), "container", "value", "", at, graph.root)
    for i, kind in enumerate(graph.kinds):
        yield Shape(shape_id(at, i), KINDS[kind], graph.name(i), graph.declared(i), at, i)


def _line(at: int, edge: Edge) -> Line:
    return Line(shape_id(at, edge.source), shape_id(at, edge.target), edge.kind, edge.name, at)


def _marks(at: int, graph: Graph, unseen: dict[int, set[str]]) -> Iterator[tuple[Shape | None, Line]]:
    """Draw what is no edge between nodes: the ways out of loops, and capacities that nodes hold."""
    prefix = f"g{at}" if at else ""
    for i, routes in graph.jumps.items():
        mark: Shape | None = Shape(f"{prefix}x{i}", "end", "end", "", at, -1)
        for key, target in routes.items():
            if target is None and str(key) not in unseen.get(i, ()):
                yield mark, Line(shape_id(at, i), f"{prefix}x{i}", "exit", str(key), at)
                mark = None
    known: dict[str, str] = {}
    for i, gate in graph.gates.items():
        for name, amount in gate.terms.constraints.amounts.items() if gate.terms.constraints is not None else ():
            if not isinstance(amount, (int, float)):
                continue  # a lazy amount is an edge of the graph
            fresh = None
            if name not in known:
                known[name] = f"{prefix}c{len(known)}"
                fresh = Shape(known[name], "capacity", name, "", at, -1)
            yield fresh, Line(known[name], shape_id(at, i), "constraint", f"{amount:g}", at)


def clean(text: str) -> str:
    """Return text without the characters that no XML and no terminal takes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter == " " else "\ufffd" for letter in text)


def shortened(text: str, most: int = MOST_LETTERS) -> str:
    """Return text that fits into a shape."""
    text = clean(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def walk(picture: Picture) -> Iterator[Shape | int | None]:
    """Go through the shapes, each graph's own and then its sub-flows.

    The number of a sub-flow's graph begins what belongs to it (the sub-flow itself included), None ends it.
    """
    nest = picture.nest
    members: list[list[Shape]] = [[] for _ in nest.graphs]
    children: list[list[int]] = [[] for _ in nest.graphs]
    for shape in picture.shapes:
        members[cluster_of(nest, shape)].append(shape)
    for at, (around, _) in enumerate(nest.owners):
        if around >= 0:
            children[around].append(at)
    stack = [(0, False)]
    while stack:
        at, done = stack.pop()
        if done:
            yield None
            continue
        if at:
            yield at
            stack.append((at, True))
        yield from members[at]
        stack += [(child, False) for child in reversed(children[at])]


def cluster_of(nest: Nest, shape: Shape) -> int:
    """Return the graph that a shape is drawn with: a sub-flow stands in a frame with the graph inside it."""
    return nest.inner.get((shape.graph, shape.number), shape.graph)


def title_of(nest: Nest, at: int) -> str:
    """Return what the frame around graph `at` is called."""
    around, number = nest.owners[at]
    return shortened(nest.graphs[around].name(number)) if around >= 0 else ""
