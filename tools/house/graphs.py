"""What follows from who leads to whom: the longest chain, floors, circles."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tools.house.source import Graph


def only(graph: Graph, nodes: Iterable[str]) -> dict[str, set[str]]:
    """Keep these nodes and what goes on among them."""
    kept = set(nodes)
    return {node: graph[node] & kept for node in graph if node in kept}


def groups(graph: Graph) -> list[list[str]]:
    """Part the nodes into those that reach each other, the ones that others lead to first (Tarjan's way)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []
    for start in graph:
        work = [] if start in order else [(start, iter(sorted(graph[start])))]
        while work:
            node, rest = work[-1]
            if node not in order:
                order[node] = low[node] = len(order)
                stack.append(node)
            for other in rest:
                if other not in order:
                    work.append((other, iter(sorted(graph[other]))))
                    break
                if other in stack:
                    low[node] = min(low[node], order[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == order[node]:
                    at = stack.index(node)
                    found.append(sorted(stack[at:]))
                    del stack[at:]
    return found


def circles(graph: Graph) -> list[list[str]]:
    """List the groups of nodes that reach each other, the largest first."""
    return sorted((group for group in groups(graph) if len(group) > 1), key=len, reverse=True)


def longest_chain(graph: Graph, uncounted: Collection[str] = ()) -> list[str]:
    """Give the longest way from node to node.

    A circle is on it with all its nodes; it leads through what does not count, which is not on it.
    """
    group_of: dict[str, int] = {}
    chains: list[list[str]] = []
    for number, group in enumerate(groups(graph)):
        group_of.update(dict.fromkeys(group, number))
        below = {group_of[other] for node in group for other in graph[node]} - {number}
        counted = [node for node in group if node not in uncounted]
        chains.append(counted + max((chains[each] for each in sorted(below)), key=len, default=[]))
    return max(chains, key=len, default=[])
