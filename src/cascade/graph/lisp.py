"""Graph -> S-expression: calls as calls, what is read more than once in a `let*`, other values as `#"repr"`.

(let* ((rows-1 (fetch "a.csv" :limit (param limit 10))))
  (join (clean rows-1) (count rows-1)))
"""

from __future__ import annotations

import json
import re
from typing import Any

from cascade.graph.draw.picture import clean, shortened
from cascade.graph.nest import Nest
from cascade.spec.graph import Graph, Pack
from cascade.spec.inputs import MASK, Env, Input
from cascade.spec.lazy import MappedResult
from cascade.spec.operations import CALLN, MAP, OPTIONAL, PACK, ROUTE
from cascade.spec.shown import without_passwords
from cascade.spec.signal import UNSET
from cascade.spec.task import Task

__all__ = ["to_lisp"]

ATOMS = frozenset({type(None), bool, int, float, str})
MOST_ITEMS = 12
UNFIT = re.compile(r"""[\s()"';#,`|\\]+""")


def to_lisp(nest: Nest) -> str:
    """Return the graphs as one S-expression; without recursion, so of any depth."""
    out: list[str] = []
    writers = [_Writer(nest, at, graph) for at, graph in enumerate(nest.graphs)]
    # Work on a stack: text is written, the rest stands for a reference of a graph, its definition, or a whole graph.
    stack: list[Any] = [writers[0]]
    while stack:
        item = stack.pop()
        if item.__class__ is str:
            out.append(item)
        elif isinstance(item, _Writer):
            stack += reversed(item.whole())
        elif len(item) == 2:
            writer, reference = item
            stack += reversed(writer.read(reference))
        else:
            writer, number, _ = item
            if (writer.at, number) in nest.inner:
                stack += reversed(
                    writer.wrapped(number, writer.subflow(number, writers[nest.inner[writer.at, number]]))
                )
            else:
                stack += reversed(writer.wrapped(number, writer.call(number)))
    return "".join(out) + "\n"


def word(text: str) -> str:
    """Return text as a symbol."""
    return UNFIT.sub("-", clean(text)).strip("-") or "_"


def atom(value: Any) -> str:
    """Return a plain value as text; what has no form of its own, as its repr: `#"..."`."""
    cls = value.__class__
    if cls in (list, tuple) and len(value) <= MOST_ITEMS and all(item.__class__ in ATOMS for item in value):
        return f"({' '.join([cls.__name__, *map(atom, value)])})"
    if value is None:
        return "nil"
    if cls is bool:
        return "#t" if value else "#f"
    if cls is int or cls is float:
        return repr(value) if abs(value) < 1e300 else str(float(value)) if cls is float else hex(value)
    if cls is str:
        return json.dumps(without_passwords(value), ensure_ascii=not value.isprintable())
    if isinstance(value, Task):
        return f"#'{word(value.name)}"
    return f"#{json.dumps(shortened(without_passwords(repr(value)), 60), ensure_ascii=False)}"


class _Writer:
    """Writes one graph. What it returns are pieces: text, and what is still to be written."""

    def __init__(self, nest: Nest, at: int, graph: Graph) -> None:
        self.at, self.graph, self.nest = at, graph, nest
        counts = [0] * len(graph)
        named: set[int] = set()
        for edge in graph.edges():
            if edge.kind == "jump":
                named |= {edge.source, edge.target}
            elif edge.kind == "sequence":
                named.add(edge.source)
            elif edge.source >= 0:
                counts[edge.source] += 1
        if graph.root >= 0:
            counts[graph.root] += 1
        named |= graph.jumps.keys()
        named |= {i for i, count in enumerate(counts) if count > 1}
        self.names = {i: f"{word(graph.name(i))}-{i}" for i in sorted(named) if i >= 0}

    def whole(self) -> list[Any]:
        """Return the let*, the bindings of loops, and the result."""
        graph = self.graph
        order = [i for i in self.order() if i in self.names]
        if not order:
            return [(self, graph.root)]
        pieces: list[Any] = ["(let* ("]
        for count, i in enumerate(order):
            pieces += ["\n       " if count else "", f"({self.names[i]} ", (self, i, "define"), ")"]
        pieces.append(")")
        for i, routes in graph.jumps.items():
            pieces.append(f"\n  (bind {self.names[i]}")
            for key, target in routes.items():
                pieces += [f" ({atom(key)} ", "exit" if target is None else (self, target), ")"]
            pieces.append(")")
        return [*pieces, "\n  ", (self, graph.root), ")"]

    def order(self) -> list[int]:
        """Return the nodes, each after all that it may read: a route may have a higher number than its router."""
        graph = self.graph
        waits = [0] * len(graph)
        readers: list[list[int]] = [[] for _ in range(len(graph))]
        for edge in graph.edges():
            if edge.kind != "jump" and edge.source >= 0:
                waits[edge.target] += 1
                readers[edge.source].append(edge.target)
        ready = [i for i in range(len(graph)) if not waits[i]]
        for i in ready:
            for reader in readers[i]:
                waits[reader] -= 1
                if not waits[reader]:
                    ready.append(reader)
        return ready

    def read(self, reference: int) -> list[Any]:
        """Write a reference: a name, an input, a value, or the node itself where nobody else reads it."""
        if reference < 0:
            slot = -1 - reference
            given = self.graph.inputs.get(slot)
            return [atom(self.graph.constants[slot]) if given is None else self.input(given)]
        name = self.names.get(reference)
        return [name] if name is not None else [(self, reference, "define")]

    def input(self, given: Input) -> str:
        default = "" if given.default is UNSET else f" {atom(given.shown(given.default))}"
        return f"({'env' if isinstance(given, Env) else 'param'} {word(given.name)}{default})"

    def call(self, i: int) -> list[Any]:
        graph = self.graph
        node, kind, references = graph.nodes[i], graph.kinds[i], graph.references(i)
        if kind == OPTIONAL:
            return ["(optional ", (self, references[0]), ")"]
        if kind == PACK:
            return self.pack(node, references)
        if kind == ROUTE:
            pieces: list[Any] = ["(router ", (self, references[0])]
            routes = graph.routes[i]
            for key, at in routes.routes.items():
                pieces += [f" ({atom(key)} ", (self, at), ")"]
            if routes.default is not None:
                pieces += [" (else ", (self, routes.default), ")"]
            return [*pieces, ")"]
        form = graph.forms[i]
        named = form.names if form is not None else ()
        head = f"({word(graph.name(i))}"
        if kind == MAP and isinstance(node, MappedResult):
            head = f"(map {word(graph.name(i))} ({' '.join(map(word, node.each))})"
        assert kind <= CALLN or kind == MAP
        count = len(references) - len(named)
        pieces = [head]
        for at in references[:count]:
            pieces += [" ", (self, at)]
        for name, at in zip(named, references[count:], strict=True):
            pieces += [f" :{word(name)} ", (self, at)]
        return [*pieces, ")"]

    def pack(self, node: Pack, references: list[int]) -> list[Any]:
        pieces: list[Any] = [f"({word(node.type.__name__)}"]
        keys = node.keys if node.keys is not None else [None] * len(references)
        for key, at in zip(keys, references, strict=True):
            pieces += [" ", (self, at)] if node.keys is None else [f" ({atom(key)} ", (self, at), ")"]
        return [*pieces, ")"]

    def subflow(self, i: int, inner: _Writer) -> list[Any]:
        graph = self.graph
        pieces: list[Any] = ["(subflow ("]
        secrets = self.nest.secrets(self.at, i)
        for count, (name, at) in enumerate(zip(graph.argument_names(i), graph.references(i), strict=True)):
            shown = atom(MASK) if name in secrets and graph.is_literal(at) else (self, at)
            pieces += [" (" if count else "(", f"{word(name)} ", shown, ")"]
        return [*pieces, ") ", inner, ")"]

    def wrapped(self, i: int, pieces: list[Any]) -> list[Any]:
        """Put around a call what was configured on it."""
        gate = self.graph.gates.get(i)
        if gate is None:
            return pieces
        for name in ("retry", "timeout", "heartbeat", "budget", "constraints", "max_iterations"):
            value = getattr(gate.terms, name)
            if value is not None:
                pieces = [f"({name.replace('_', '-')} {atom(value)} ", *pieces, ")"]
        if gate.condition is not None:
            otherwise = [] if gate.otherwise is None else [" ", (self, gate.otherwise)]
            pieces = ["(if " if otherwise else "(when ", (self, gate.condition), " ", *pieces, *otherwise, ")"]
        if gate.after:
            pieces = [f"(after ({' '.join(self.names[at] for at in gate.after)}) ", *pieces, ")"]
        return pieces
