"""The graph model: what was declared, in parallel arrays, in topological order.

There is no object for a node beyond its lazy result. A *reference* is an int: the number of a node,
or, below zero, of a constant (`-1 - slot`), so that one list can hold the values of both: nodes from
the front, constants from the back. `Node` and `Edge` are views, made when somebody looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from cascade.spec.containers import Remake
from cascade.spec.gate import Gate
from cascade.spec.inputs import Input
from cascade.spec.lazy import Lazy, LazyResult
from cascade.spec.operations import CALL0, CALL1, KINDS, MAP, OPTIONAL, SUBFLOW
from cascade.spec.placement import CallForm
from cascade.spec.signal import Signal

__all__ = [
    "Edge",
    "EdgeKind",
    "Graph",
    "Node",
    "Optional",
    "Pack",
    "Routes",
]

EdgeKind = Literal["data", "condition", "otherwise", "constraint", "sequence", "selector", "route", "jump"]


class Pack(Signal):
    """A container with lazy results inside, as it was when first read."""

    __slots__ = ("__weakref__", "items", "keys", "remake", "type")

    def __init__(
        self, type: type, items: tuple[Any, ...], keys: tuple[Any, ...] | None, remake: Remake | None = None
    ) -> None:
        self.type = type
        self.items = items
        self.keys = keys
        self.remake = remake
        """What makes it of a dict or list, where it is none itself."""

    def make(self, values: list[Any]) -> Any:
        """Return a container of the same type that holds these values."""
        if self.keys is not None:
            made = dict(zip(self.keys, values, strict=True))
            return made if self.remake is None else self.remake(made)
        if self.remake is not None:
            return self.remake(values)
        if self.type is list:
            return values
        if self.type is tuple:
            return tuple(values)
        return self.type(*values)

    def __repr__(self) -> str:
        return f"<{self.type.__name__} of {len(self.items)} that holds lazy results>"


class Optional(Lazy):
    """Asked for by a run: the last of a sequence, which reads as None where it was skipped with nothing."""

    __slots__ = ("result",)

    word = "the end of a sequence"

    def __init__(self, result: LazyResult[Any]) -> None:
        self.result = result
        self.code, self.lasti, self.plan = result.code, result.lasti, None


class Routes:
    """The routes of one router: key to reference."""

    __slots__ = ("default", "routes")

    def __init__(self, routes: dict[Any, int], default: int | None) -> None:
        self.routes = routes
        self.default = default


class Node(NamedTuple):
    """One node, looked at."""

    number: int
    kind: str
    name: str
    declared: str


class Edge(NamedTuple):
    """One edge, looked at: `target` needs `source`. `name` is the argument, or the key of a route.

    A source below zero is an input (`graph.inputs`); a jump's source is the step that jumps.
    """

    source: int
    target: int
    kind: EdgeKind
    name: str


class Graph:
    """A declared graph: nodes that the target always needs, then those that a route or an `otherwise`
    may need, then those that only a jump leads to; each part in topological order.
    """

    __slots__ = (
        "__weakref__",
        "constants",
        "forms",
        "gates",
        "index",
        "inputs",
        "jumps",
        "kinds",
        "last",
        "needed",
        "nodes",
        "operands",
        "places",
        "root",
        "routes",
        "strict",
    )

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.kinds: bytearray = bytearray()
        self.forms: list[CallForm | None] = []
        self.places: list[int] = []
        self.operands: list[int] = []
        self.last: list[int] = []
        """Which of the calls of several values reads each node last, as far as any does; -1: none."""
        self.constants: list[Any] = []
        self.gates: dict[int, Gate] = {}
        self.routes: dict[int, Routes] = {}
        self.jumps: dict[int, dict[Any, int | None]] = {}
        """The routes of each bound node: key to reference, or None for the way out."""
        self.inputs: dict[int, Input] = {}
        """The parameters and variables, by constant slot."""
        self.index: dict[Any, Any] = {}
        """The reference of each lazy value read."""
        self.root: int = 0
        self.strict: int = 0
        self.needed: int = 0

    def __len__(self) -> int:
        return len(self.nodes)

    def references(self, i: int) -> list[int]:
        """Return the references of the data that node `i` reads, in order."""
        kind = self.kinds[i]
        if kind == CALL1:
            return [self.places[i]]
        if kind == CALL0:
            return []
        place = self.places[i]
        return self.operands[place + 1 : place + 1 + self.operands[place]]

    def name(self, i: int) -> str:
        """Return what node `i` is called."""
        node = self.nodes[i]
        if isinstance(node, LazyResult):
            return node.label
        return node.type.__name__ if isinstance(node, Pack) else KINDS[self.kinds[i]]

    def declared(self, i: int) -> str:
        """Return where node `i` was declared: `file:line`."""
        node = self.nodes[i]
        return node.declared if isinstance(node, Lazy) else ""

    def node(self, i: int) -> Node:
        """Look at node `i`."""
        return Node(i, KINDS[self.kinds[i]], self.name(i), self.declared(i))

    def argument_names(self, i: int) -> list[str]:
        """Return what the data references of node `i` are called."""
        node = self.nodes[i]
        count = len(self.references(i))
        form = self.forms[i]
        if isinstance(node, Pack):
            return [str(key) for key in (node.keys if node.keys is not None else range(count))]
        if self.kinds[i] == OPTIONAL:
            return ["target"]
        if form is None or self.kinds[i] == SUBFLOW:
            return list(node.kwargs) if isinstance(node, LazyResult) and node.kwargs else [""] * count
        shape = form.task.shape
        placed = count - len(form.names)
        known = shape.names if shape is not None else ()
        return [known[at] if at < len(known) else str(at) for at in range(placed)] + list(form.names)

    def __iter__(self) -> Iterator[Node]:
        return map(self.node, range(len(self.nodes)))

    def edges_of(self, i: int) -> Iterator[Edge]:
        """Look at the edges that lead into node `i`, and at the jumps that leave it."""
        router = self.routes.get(i)
        names = self.argument_names(i) if router is None else [""]
        for name, source in zip(names, self.references(i), strict=True):
            if self._is_edge(source):
                yield Edge(source, i, "data" if router is None else "selector", name)
        if router is not None:
            routes = dict(router.routes)
            for key, source in routes.items():
                if self._is_edge(source):
                    yield Edge(source, i, "route", str(key))
            if router.default is not None and self._is_edge(router.default):
                yield Edge(router.default, i, "route", "default")
        gate = self.gates.get(i)
        if gate is not None:
            if gate.condition is not None and self._is_edge(gate.condition):
                yield Edge(gate.condition, i, "condition", "run_if")
            if gate.otherwise is not None and self._is_edge(gate.otherwise):
                yield Edge(gate.otherwise, i, "otherwise", "otherwise")
            for name, source in gate.amounts:
                if self._is_edge(source):
                    yield Edge(source, i, "constraint", name)
            for source in gate.after:
                yield Edge(source, i, "sequence", "next")
        for key, target in self.jumps.get(i, {}).items():
            if target is not None:
                yield Edge(i, target, "jump", str(key))

    def is_literal(self, reference: int) -> bool:
        """Say whether a reference is a plain value of the graph: no node and no input."""
        return not self._is_edge(reference)

    def _is_edge(self, reference: int) -> bool:
        return reference >= 0 or -1 - reference in self.inputs

    def edges(self) -> Iterator[Edge]:
        """Look at all edges, grouped by the node they lead into."""
        for i in range(len(self.nodes)):
            yield from self.edges_of(i)

    @property
    def shape(self) -> tuple[Any, ...]:
        """What two graphs share that differ in literals alone; hashable where keys of routes and defaults are."""
        sites = tuple((id(n.code), n.lasti) if isinstance(n, Lazy) else (n.type, n.keys, n.remake) for n in self.nodes)
        return (
            bytes(self.kinds),
            tuple(self.forms),
            tuple(self.places),
            tuple(self.operands),
            tuple((slot, *given.key()) for slot, given in self.inputs.items()),
            tuple((i, gate.key()) for i, gate in self.gates.items()),
            tuple((i, tuple(r.routes.items()), r.default) for i, r in self.routes.items()),
            tuple((i, tuple(routes.items())) for i, routes in self.jumps.items()),
            tuple(
                (i, n.each, n.concurrency, n.window, n.errors) for i, n in enumerate(self.nodes) if self.kinds[i] == MAP
            ),
            tuple((i, id(n.target)) for i, n in enumerate(self.nodes) if self.kinds[i] == SUBFLOW),
            sites,
            self.root,
            self.strict,
            self.needed,
        )
