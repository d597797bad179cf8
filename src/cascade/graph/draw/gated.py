"""What runs for one way of a router alone: pictures show it behind the choice, as it runs, not before it."""

from __future__ import annotations

from collections.abc import Iterator

from cascade.spec.graph import Graph

__all__ = ["gates_of"]


MOST_DEEP = 30
"""Of more routers each looks no further than to those inside of its ways, so that nested ones are looked at once."""


def gates_of(graph: Graph) -> Iterator[tuple[int, int, int, list[str]]]:
    """Go through what routers choose: the router, its selector, a node that runs if it is chosen, the keys.

    Of what runs for a way alone, it is what comes first: what waits for nothing else of that way.
    """
    if not graph.routes:
        return
    readers = _readers(graph)
    for router, routes in graph.routes.items():
        ways: dict[int, list[str]] = {}
        for key, target in routes.routes.items():
            ways.setdefault(target, []).append(str(key))
        if routes.default is not None:
            ways.setdefault(routes.default, []).append("default")
        [selector] = graph.references(router)
        if graph.is_literal(selector):
            continue
        for target, keys in ways.items():
            if target < 0 or any(reader != router for reader in readers[target]) or target == selector:
                continue
            for first in _first(graph, _only_for(graph, target, readers)):
                yield router, selector, first, keys


def _readers(graph: Graph) -> list[list[int]]:
    readers: list[list[int]] = [[] for _ in range(len(graph))]
    for edge in graph.edges():
        if edge.kind == "jump":
            readers[edge.target].append(-1)
        elif edge.source >= 0:
            readers[edge.source].append(edge.target)
    if graph.root >= 0:
        readers[graph.root].append(-1)
    return readers


def _only_for(graph: Graph, target: int, readers: list[list[int]]) -> dict[int, list[int]]:
    """Return the nodes that nobody needs but `target`, itself among them, each with the nodes of these it waits for."""
    found: dict[int, list[int]] = {target: []}
    left: dict[int, int] = {}
    stack = [target]
    skipped = ("jump",) if len(graph.routes) <= MOST_DEEP else ("jump", "route")
    while stack:
        node = stack.pop()
        for edge in graph.edges_of(node):
            source = edge.source
            if edge.kind in skipped or source < 0 or source == node:
                continue
            left[source] = left.get(source, len(readers[source])) - 1
            if not left[source] and source not in found:
                found[source] = []
                stack.append(source)
    for node, waits in found.items():
        waits += [edge.source for edge in graph.edges_of(node) if edge.kind != "jump" and edge.source in found]
    return found


def _first(graph: Graph, only: dict[int, list[int]]) -> list[int]:
    return sorted(node for node, waits in only.items() if not waits)
