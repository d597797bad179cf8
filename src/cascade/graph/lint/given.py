"""What is given to nodes: texts made of lazy values, inputs that run for nothing, amounts of what there is not."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from typing import Any

from cascade.graph.lint.finding import Finding, found
from cascade.spec.graph import Graph
from cascade.spec.operations import CALLN, MAP, SUBFLOW

__all__ = ["check_given", "check_names_of_capacities"]

LAZY_TEXT = re.compile(
    r"<(?:LazyResult of|MappedResult of|Subflow of|Router over|Param|Env|(Task)) [^\n]*?declared at ([^>\n]+:\d+)>"
)
"""The repr of a lazy value, or of a task that nobody has called."""
MOST_LOOKS = 1000


def check_given(graph: Graph) -> Iterator[Finding]:
    """Look at the arguments, routes and conditions of a graph."""
    yield from _texts(graph)
    yield from _gated_inputs(graph)


def _texts(graph: Graph) -> Iterator[Finding]:
    for i in range(len(graph)):
        references = [*graph.references(i)]
        gate, routes = graph.gates.get(i), graph.routes.get(i)
        if gate is not None:
            references += [at for at in (gate.condition, gate.otherwise) if at is not None]
        if routes is not None:
            references += [*routes.routes.values(), *(() if routes.default is None else (routes.default,))]
        for reference in references:
            if reference >= 0 or not graph.is_literal(reference):
                continue
            text = _lazy_text(graph.constants[-1 - reference])
            if text is not None:
                place = graph.declared(i) or text[2]
                it = "call the task, and " if text[1] else ""
                yield found(
                    "lazy-text",
                    f"{graph.name(i)!r} is given a text with {text[0]} in it: what it is was taken for its value; "
                    f"{it}make the text while running: cs.format('...{{}}...', value)",
                    place,
                    graph.name(i),
                )


def _lazy_text(value: Any) -> re.Match[str] | None:
    """Return where the text of a lazy value is in a text, or in one in containers."""
    stack = [value]
    for _ in range(MOST_LOOKS):
        if not stack:
            break
        at = stack.pop()
        if isinstance(at, str):
            match = LAZY_TEXT.search(at) if "declared at" in at else None
            if match is not None:
                return match
        elif isinstance(at, dict):
            stack += [*at.keys(), *at.values()][:MOST_LOOKS]
        elif isinstance(at, (list, tuple)):
            stack += at[:MOST_LOOKS]
    return None


def _gated_inputs(graph: Graph) -> Iterator[Finding]:
    """Find what runs although only a node that is skipped reads it."""
    if not any(gate.condition is not None for gate in graph.gates.values()):
        return
    readers: dict[int, set[tuple[int, str]]] = {}
    for edge in graph.edges():
        if edge.kind != "jump" and edge.source >= 0:
            readers.setdefault(edge.source, set()).add((edge.target, edge.kind))
    for source, read in readers.items():
        i, kind = next(iter(read))
        gate = graph.gates.get(i)
        if len(read) > 1 or kind != "data" or source == graph.root or gate is None or gate.condition is None:
            continue
        config = getattr(graph.nodes[i], "config", None)
        at = 1 if config is not None and config.receiver else 0
        passes = gate.otherwise is None and graph.references(i)[at : at + 1] == [source]
        calls = graph.kinds[source] <= CALLN or graph.kinds[source] in (MAP, SUBFLOW)
        if passes or not calls or graph.is_literal(gate.condition):
            continue
        name = graph.name(source)
        yield found(
            "gated-input",
            f"{name!r} runs even if {graph.name(i)!r}, which alone reads it, is skipped: run_if gates one node; "
            f"a router keeps both from running: cs.Router(condition, {{True: {graph.name(i)}(...), False: None}})",
            graph.declared(source),
            name,
        )


def check_names_of_capacities(graph: Graph, capacities: Collection[str]) -> Iterator[Finding]:
    """Find constraints on what an engine has no capacity of."""
    for i, gate in graph.gates.items():
        names = [
            *(gate.terms.constraints.amounts if gate.terms.constraints is not None else ()),
            *(name for name, _ in gate.amounts),
        ]
        for name in names:
            if name not in capacities:
                near = get_close_matches(name, [*capacities], 1)
                has = f"it has: {', '.join(sorted(capacities))}" if capacities else "it has none"
                yield found(
                    "unknown-capacity",
                    f"{graph.name(i)!r} holds {name!r}, of which the engine has no capacity, so nothing is held back"
                    + (f"; did you mean {near[0]!r}?" if near else "")
                    + f" ({has}: system_resources)",
                    graph.declared(i),
                    graph.name(i),
                )
