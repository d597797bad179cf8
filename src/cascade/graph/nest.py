"""A graph and the graphs of the sub-flows inside it, as one flat list, whatever their depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cascade.spec.blueprint import Blueprint
    from cascade.spec.graph import Graph

__all__ = ["Nest", "names_in", "nest_of"]


class Nest(NamedTuple):
    """The graphs of a program: the target's own first, each sub-flow's after the one that it stands in."""

    graphs: list[Graph]
    owners: list[tuple[int, int]]
    """For each graph: the graph around it and the number there of its sub-flow; (-1, -1) for the first."""
    inner: dict[tuple[int, int], int]
    """The graph of each sub-flow, by the graph around it and its number there."""

    def secrets(self, at: int, i: int) -> frozenset[str]:
        """Return the names of the secret parameters of the sub-flow that node `i` of graph `at` is."""
        inner = self.inner.get((at, i))
        inputs = () if inner is None else self.graphs[inner].inputs.values()
        return frozenset(given.name for given in inputs if given.secret)


def nest_of(blueprint: Blueprint) -> Nest:
    """Return the graphs that a blueprint was made of."""
    nest = Nest([], [], {})
    waiting = [(blueprint, -1, -1)]
    for program, around, number in waiting:
        at = len(nest.graphs)
        nest.graphs.append(program.graph)
        nest.owners.append((around, number))
        if around >= 0:
            nest.inner[around, number] = at
        waiting += [(each, at, i) for i, each in sorted(program.subflows.items())]
    return nest


def names_in(nest: Nest) -> list[list[str]]:
    """Return for each graph the names that people know its nodes by: `parse#2` is the second one called so of all."""
    counts: dict[str, int] = {}
    found: list[list[str]] = []
    for graph in nest.graphs:
        found.append([])
        for i in range(len(graph)):
            label = graph.name(i)
            counts[label] = counts.get(label, 0) + 1
            found[-1].append(f"{label}#{counts[label]}")
    return found
