"""Checks that only loops and lazy routes need: cycles through routes, states that wait for their own loop."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NoReturn

from cascade.errors import CycleError, StaticGraphError
from cascade.spec.operations import CALL1

if TYPE_CHECKING:
    from cascade.spec.graph import Graph

__all__ = ["check_loops", "draw_cycle", "sources", "states_of"]


def check_loops(graph: Graph) -> None:
    """Raise for what the walk over certain inputs cannot see.

    Raises:
        CycleError: nodes wait for each other by way of a route or an `otherwise`.
        StaticGraphError: a state depends on a state of its own loop.
    """
    _check_cycles(graph)
    if graph.jumps:
        _check_states(graph)


def sources(graph: Graph, i: int) -> list[int]:
    """Return the nodes that node `i` may wait for: by data, condition, order, route or `otherwise`."""
    found = [at for at in graph.references(i) if at >= 0]
    router = graph.routes.get(i)
    if router is not None:
        found += [at for at in (*router.routes.values(), router.default) if at is not None and at >= 0]
    gate = graph.gates.get(i)
    if gate is not None:
        found += gate.after
        if gate.condition is not None and gate.condition >= 0:
            found.append(gate.condition)
        if gate.otherwise is not None and gate.otherwise >= 0:
            found.append(gate.otherwise)
        if gate.amounts:
            found += [at for _, at in gate.amounts if at >= 0]
    return found


def _check_cycles(graph: Graph) -> None:
    """Look around from each router and each `otherwise`: every cycle left has one, for the walk found the others."""
    done = bytearray(len(graph))
    for root in (*graph.routes, *(i for i, gate in graph.gates.items() if gate.otherwise is not None)):
        if done[root]:
            continue
        path: list[int] = []
        ways = [iter([root])]
        while ways:
            for child in ways[-1]:
                if done[child] == 1:
                    _refuse_cycle(graph, path[path.index(child) :])
                if not done[child]:
                    done[child] = 1
                    path.append(child)
                    ways.append(iter(sources(graph, child)))
                    break
            else:
                ways.pop()
                if path:
                    done[path.pop()] = 2


def states_of(graph: Graph, entry: int) -> list[int]:
    """Return the bound nodes that a loop which starts at `entry` can enter."""
    found = [entry]
    known = {entry}
    for state in found:
        for target in graph.jumps[state].values():
            if target is not None and target in graph.jumps and target not in known:
                known.add(target)
                found.append(target)
    return found


def _check_states(graph: Graph) -> None:
    """A bound node that waits for a bound node: only those need a closer look, and only their ancestors."""
    gates, kinds, places = graph.gates, graph.kinds, graph.places
    waiting = [
        found
        for i in graph.jumps
        if not (gates[i].is_shared and kinds[i] == CALL1 and places[i] < 0) and (found := sources(graph, i))
    ]
    if not waiting:
        return
    holds = _readers(graph)
    if not any(holds[at] for found in waiting for at in found):
        return
    heights: list[int] = []
    for entry in _outermost(graph):
        states = states_of(graph, entry)
        if len(states) > 1:  # what waits for itself alone is a cycle, and was refused
            heights = heights or _heights(graph)
            _check_loop(graph, states, holds, heights)


def _outermost(graph: Graph) -> list[int]:
    """Return bound nodes such that the loops which start there have all states, and hold what the others do."""
    order: list[int] = []
    seen: set[int] = set()
    for start in graph.jumps:
        if start in seen:
            continue
        seen.add(start)
        ways = [(start, iter(graph.jumps[start].values()))]
        while ways:
            state, targets = ways[-1]
            for target in targets:
                if target in graph.jumps and target not in seen:
                    seen.add(target)
                    ways.append((target, iter(graph.jumps[target].values())))
                    break
            else:
                order.append(state)
                ways.pop()
    found: list[int] = []
    entered: set[int] = set()
    for state in reversed(order):  # whatever leads to a state has come before it, but for what it leads to itself
        if state in entered:
            continue
        found.append(state)
        entered.add(state)
        stack = [state]
        while stack:
            for target in graph.jumps[stack.pop()].values():
                if target in graph.jumps and target not in entered:
                    entered.add(target)
                    stack.append(target)
    return found


def _heights(graph: Graph) -> list[int]:
    """Number the nodes so that each has a higher number than all that it may wait for."""
    heights = [-1] * len(graph)
    count = 0
    for root in range(len(graph)):
        stack = [root]
        while stack:
            i = stack[-1]
            if heights[i] >= 0:
                stack.pop()
                continue
            below = [at for at in sources(graph, i) if heights[at] < 0]
            if below:
                stack += below
            else:
                heights[i] = count
                count += 1
                stack.pop()
    return heights


def _readers(graph: Graph) -> bytearray:
    """Mark the bound nodes and all that may wait for one; a route may be numbered behind its router."""
    holds = bytearray(len(graph))
    readers: dict[int, list[int]] = {}
    for i in range(len(graph)):
        for at in sources(graph, i):
            readers.setdefault(at, []).append(i)
    stack = list(graph.jumps)
    while stack:
        i = stack.pop()
        if not holds[i]:
            holds[i] = 1
            stack += readers.get(i, ())
    return holds


def _check_loop(graph: Graph, states: list[int], holds: bytearray, heights: list[int]) -> None:
    """Look from the states of a loop down to the lowest of them, and once at each node, however many wait for it."""
    loop = set(states)
    lowest = min(heights[state] for state in states)
    seen: set[int] = set()
    for state in states:
        stack = [(at, state) for at in sources(graph, state)]
        reader: dict[int, int] = {}
        while stack:
            at, by = stack.pop()
            if not holds[at] or at in seen or heights[at] < lowest:
                continue
            reader[at] = by
            if at in loop:
                _refuse_state(graph, state, at, reader)
            seen.add(at)
            stack += [(source, at) for source in sources(graph, at)]


def _named(graph: Graph, i: int) -> str:
    return f"{graph.name(i)} (declared at {graph.declared(i)})"


def _refuse_state(graph: Graph, state: int, other: int, reader: dict[int, int]) -> NoReturn:
    way, at = [other], other
    while at != state:
        at = reader[at]
        way.append(at)
    waits = " -> ".join(graph.name(i) for i in way)
    jumps = _jump_way(graph, other, state)
    raise StaticGraphError(
        f"{_named(graph, state)} is a state of the loop of {_named(graph, other)} and waits for its value:\n"
        f"  needs:  {waits}\n"
        f"  jumps:  {jumps}\n"
        f"A loop has a value only when it has ended. Send the value along instead: in {graph.name(other)}, "
        f"return cs.Jump(key, data={{...}}) with the arguments of {graph.name(state)} by name"
    )


def _jump_way(graph: Graph, start: int, end: int) -> str:
    """Draw jumps that lead from one state to another, or that join both to one loop."""
    for first, last in ((start, end), (end, start)):
        before: dict[int, tuple[int, object]] = {}
        queue = [first]
        for state in queue:
            for key, target in graph.jumps.get(state, {}).items():
                if target is not None and target not in before:
                    before[target] = (state, key)
                    queue.append(target)
        if last in before:
            drawn, at = graph.name(last), last
            while True:
                at, key = before[at]
                drawn = f"{graph.name(at)} =[{key}]=> {drawn}"
                if at == first:
                    return drawn
    return f"{graph.name(start)} and {graph.name(end)} are states of one loop"


def _refuse_cycle(graph: Graph, around: list[int]) -> NoReturn:
    raise CycleError(draw_cycle([_named(graph, i) for i in reversed(around)]))


def draw_cycle(lines: list[str]) -> str:
    """Return a message that draws the nodes of a cycle, each waiting for the next; those of one name are numbered."""
    names = [line.partition(" (declared at ")[0] for line in lines]
    often, so_far = Counter(names), Counter[str]()
    for at, name in enumerate(names):
        if often[name] > 1:
            so_far[name] += 1
            lines[at] = f"{name}#{so_far[name]}{lines[at][len(name) :]}"
    drawn = "\n".join(f"  {'└> ' if at else '   '}{line}" for at, line in enumerate([*lines, lines[0]]))
    return f"these nodes wait for each other, so none can start:\n{drawn}\n(to repeat work use cs.bind and cs.Jump)"
