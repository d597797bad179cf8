"""Which copies that loops make of nodes are the graph's own, so that they go by one id.

A node that feeds a loop runs in the graph around it for the first entry, and in the loop for the others: that is one
copy wherever the two can never run at a time. All of this is read off the graph alone, so ids do not depend on what
happens to come first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, NamedTuple

from cascade.graph.loops import sources, states_of
from cascade.spec.operations import CALLN

if TYPE_CHECKING:
    from cascade.spec.graph import Graph

__all__ = ["Joins", "joins_of", "targets_of"]


class Joins(NamedTuple):
    """By node: where the loop starts in which it is the graph's own copy; each node has one such loop at the most."""

    values: dict[int, int]
    """Of what is read there."""
    states: dict[int, int]
    """Of what jumps lead to, states and ways out, if nobody reads it."""


def joins_of(graph: Graph, hoisted: Collection[int]) -> Joins:
    """Look at the loops of a graph, each node at most once.

    Args:
        hoisted: what runs at most once a run, and so never in a loop.

    A loop's copy of a node is the graph's own if the graph around does not run the node, or has before the loop's first
    call: because that waits for it, or as nobody else asks for it. Of several loops it is that of the first one.
    """
    around, joins = _around(graph), Joins({}, {})
    read = {at for i in range(len(graph)) for at in sources(graph, i)} | {graph.root}
    readers = Counter(at for i in range(len(graph)) if around[i] for at in sources(graph, i))
    readers.update([graph.root, *(at for i, gate in graph.gates.items() if not around[i] for at in gate.after)])
    seen: set[int] = set()
    for home in sorted(read.intersection(graph.jumps)):
        sure = _walk(_certain(graph, home), lambda i: _certain(graph, i), seen, hoisted)
        seeds = [at for i in sure for at in _feeds(graph, i)]
        for at in targets_of(graph, home):
            if graph.kinds[at] > CALLN and at != home:  # it runs as it does for a reader
                seeds.append(at)
                continue
            if at not in read:
                joins.states.setdefault(at, home)
            seeds += _feeds(graph, at)
        rest = _walk(seeds, lambda i: _feeds(graph, i), seen, hoisted)
        first = {*sure, *_sole(graph, home, {*sure, *rest}, readers)} if around[home] else ()
        joins.values.update((i, home) for i in (*sure, *rest) if i in first or not around[i])
    return joins


def targets_of(graph: Graph, start: int) -> set[int]:
    """Return what a loop that starts at a node can enter: that node, and all that its jumps lead to."""
    states = states_of(graph, start) if start in graph.jumps else ()
    return {start, *(at for state in states for at in graph.jumps[state].values() if at is not None and at >= 0)}


def _walk(
    seeds: Iterable[int], needs: Callable[[int], Iterable[int]], seen: set[int], hoisted: Collection[int]
) -> list[int]:
    """Find what leads to `seeds`, but for what was seen before."""
    found = []
    stack = [*seeds]
    while stack:
        i = stack.pop()
        if i >= 0 and i not in seen and i not in hoisted:
            seen.add(i)
            found.append(i)
            stack += needs(i)
    return found


def _sole(graph: Graph, home: int, within: Collection[int], readers: Counter[int]) -> set[int]:
    """Find what nobody reads but `home` and what leads to it."""
    found = {home}
    left: dict[int, int] = {}
    stack = [home]
    while stack:
        for at in sources(graph, stack.pop()):
            left[at] = left.get(at, readers[at]) - 1
            if not left[at] and at in within and at not in found:
                found.add(at)
                stack.append(at)
    return found


def _around(graph: Graph) -> bytearray:
    """Mark what the graph around loops may run: what its target needs, and what anything waits for by `.after`."""
    marks = bytearray(len(graph))
    marks[: graph.needed] = b"\1" * graph.needed
    stack = [at for gate in graph.gates.values() for at in gate.after]
    while stack:
        i = stack.pop()
        if not marks[i]:
            marks[i] = 1
            stack += sources(graph, i)
    return marks


def _certain(graph: Graph, i: int) -> list[int]:
    """Return what node `i` waits for in any case, whether or not it then runs."""
    gate = graph.gates.get(i)
    if gate is None:
        return graph.references(i)
    found = [*graph.references(i), *(at for _, at in gate.amounts)]
    return found if gate.condition is None else [*found, gate.condition]


def _feeds(graph: Graph, i: int) -> list[int]:
    """Return all that an entry of a loop runs again for node `i`, perhaps."""
    gate, router = graph.gates.get(i), graph.routes.get(i)
    found = _certain(graph, i)
    if router is not None:
        found = [*found, *router.routes.values()]
        found += [] if router.default is None else [router.default]
    return found if gate is None or gate.otherwise is None else [*found, gate.otherwise]
