"""When the nodes of a run were at work, and the chain of them that it took so long for: its critical path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cascade.graph.nest import names_in, nest_of
from cascade.spec.blueprint import Blueprint

__all__ = ["Needs", "critical_path", "needs_of", "time_line"]

Needs = Mapping[str, Sequence[str]]
"""For each node of the target's own graph, in its order, the nodes that it needs."""
MOST_ROWS = 300
MOST_SPANS = 60
"""So many calls of one node are drawn one by one."""


def needs_of(blueprint: Blueprint) -> Needs:
    """Return what each node of a program's own graph needs, jumps left aside."""
    names, graph = names_in(nest_of(blueprint))[0], blueprint.graph
    found: dict[str, list[str]] = {name: [] for name in names}
    for edge in graph.edges():
        if edge.kind != "jump" and 0 <= edge.source < edge.target < len(names):
            found[names[edge.target]].append(names[edge.source])
    return found


def critical_path(needs: Needs, ends: Mapping[str, float]) -> list[str]:
    """Return the chain of nodes, the first one first, of which each began when the one before had ended.

    Nodes that have not run are passed through: of what they need, that which ended last counts.

    Args:
        ends: when nodes ended.
    """
    last: dict[str, float] = {}
    before: dict[str, str | None] = {}
    for name, others in needs.items():
        latest = max((each for each in others if each in last), key=last.__getitem__, default=None)
        before[name] = latest
        if name in ends:
            last[name] = ends[name]
        elif latest is not None:
            last[name] = last[latest]
    at = max(last, key=lambda each: (last[each], each in ends), default=None)
    chain = []
    while at is not None:
        if at in ends:
            chain.append(at)
        at = before[at]
    return chain[::-1]


def time_line(nodes: Iterable[dict[str, Any]], needs: Needs, spans: Mapping[str, list[list[Any]]]) -> dict[str, Any]:
    """Return the rows of a time line: those of the critical path for certain, and the others as they began.

    Args:
        nodes: what is told of each node in JSON.
        spans: begin, end and status of calls, by node.
    """
    begun = sorted((each for each in nodes if each["first"] is not None), key=lambda each: each["first"])
    path = critical_path(needs, {each["name"]: each["last"] for each in begun if each["last"] is not None})
    on_path = dict.fromkeys(path)
    rest = [each for each in begun if each["name"] not in on_path]
    shown = {each["name"] for each in rest[: max(0, MOST_ROWS - len(on_path))]} | {*path[-MOST_ROWS:]}
    rows = [
        {
            **{name: each[name] for name in ("name", "first", "last", "status", "seconds", "started")},
            "critical": each["name"] in on_path,
            "spans": spans.get(each["name"], [])[:MOST_SPANS],
        }
        for each in begun
        if each["name"] in shown
    ]
    return {"rows": rows, "more": len(begun) - len(rows), "path": path}
