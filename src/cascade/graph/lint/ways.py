"""Loops: states that nobody enters, loops that nobody leaves, exits that lead back."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import Any

from cascade.graph.lint.finding import Finding, found
from cascade.graph.lint.source import Source, own_nodes, source_of
from cascade.graph.loops import sources, states_of
from cascade.spec.control import Jump
from cascade.spec.graph import Graph

__all__ = ["check_loops_of", "unseen_keys"]

SAFE = frozenset({"bool", "dict", "float", "int", "len", "list", "max", "min", "repr", "round", "set", "sorted", "str"})
"""Builtins whose value is no Jump, often seen in a return."""


class Ways:
    """What is known of how one function ends."""

    __slots__ = ("ends", "keys", "unknown")

    def __init__(self) -> None:
        self.keys: dict[Any, str] = {}
        """The keys of the Jumps that it makes, with where."""
        self.ends = False
        """Whether the task may return something that is no Jump."""
        self.unknown = False
        """Whether the task may do more than can be seen."""


def check_loops_of(graph: Graph) -> Iterator[Finding]:
    """Look at the loops of a graph."""
    ways = {i: ways_of(graph.nodes[i].task) for i in graph.jumps}
    yield from _unknown_routes(graph, ways)
    yield from _unreachable(graph, ways)
    yield from _endless(graph, ways)
    yield from _unbound(graph)


def unseen_keys(graph: Graph) -> dict[int, set[str]]:
    """Return the keys that states never jump by, where their code tells: it makes Jumps, by other keys alone."""
    unseen = {}
    for i, routes in graph.jumps.items():
        way = ways_of(graph.nodes[i].task)
        if way.keys and not way.unknown:
            unseen[i] = {str(key) for key in routes if key not in way.keys}
    return unseen


def ways_of(task: Any) -> Ways:
    """Return how a task's function can end."""
    ways = Ways()
    source = source_of(task.func)
    if source is None:
        ways.unknown = True
        return ways
    jumps: list[ast.Call] = []
    for node in own_nodes(source.node):
        if isinstance(node, ast.Call):
            if _is_jump(source, node):
                jumps.append(node)
        elif isinstance(node, (ast.Yield, ast.YieldFrom)):
            ways.unknown = True
    for call in jumps:
        given = call.args[0] if call.args else next((k.value for k in call.keywords if k.arg == "target_key"), None)
        keys = _constants(given)
        if keys is None:
            ways.unknown = True
        else:
            ways.keys.update({key: source.at(call) for key in keys})
    given_names = _assigned(source)
    for node in own_nodes(source.node):
        if isinstance(node, ast.Return):
            _look_at_return(source, node.value, given_names, ways)
    if _falls_through(source.node.body):
        ways.ends = True
    return ways


def _is_jump(source: Source, call: ast.Call) -> bool:
    return source.value(call.func) is Jump or source.dotted(call.func) in ("cascade.Jump", "cascade.spec.control.Jump")


def _constants(node: ast.AST | None) -> list[Any] | None:
    """Return the values that an expression can have, if they can be read off."""
    if isinstance(node, ast.Constant):
        return [node.value]
    if isinstance(node, ast.IfExp):
        first, second = _constants(node.body), _constants(node.orelse)
        return None if first is None or second is None else first + second
    return None


def _assigned(source: Source) -> dict[str, list[ast.expr]]:
    """Return what the function's variables are given: each `name = value` of it."""
    given: dict[str, list[ast.expr]] = {}
    for node in own_nodes(source.node):
        if isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.NamedExpr)) and node.value is not None:
            pairs = [(node.target, node.value)]
        else:
            continue
        for target, value in pairs:
            for name in ast.walk(target):
                if isinstance(name, ast.Name):
                    given.setdefault(name.id, []).append(value)
    return given


def _look_at_return(source: Source, value: ast.expr | None, given: dict[str, list[ast.expr]], ways: Ways) -> None:
    """Take in what a `return` may give. A Jump that comes as an argument or out of a container is not thought of."""
    stack: list[ast.expr | None] = [value]
    looked_up: set[str] = set()
    while stack:
        node = stack.pop()
        if isinstance(node, ast.IfExp):
            stack += [node.body, node.orelse]
        elif isinstance(node, ast.BoolOp):
            stack += node.values
        elif isinstance(node, ast.NamedExpr):
            stack.append(node.value)
        elif isinstance(node, ast.Call):
            if not _is_jump(source, node):
                ways.ends = True
                ways.unknown = ways.unknown or source.dotted(node.func) not in SAFE
        elif isinstance(node, ast.Name) and node.id in given and node.id not in source.parameters:
            if node.id not in looked_up:
                looked_up.add(node.id)
                stack += given[node.id]
        else:
            ways.ends = True
            ways.unknown = ways.unknown or isinstance(node, ast.Await)


def _falls_through(body: list[ast.stmt]) -> bool:
    """Say whether a block can come to its end."""
    return not any(map(_leaves, body))


def _leaves(node: ast.stmt) -> bool:
    """Say whether what stands behind a statement is never reached."""
    match node:
        case ast.Return() | ast.Raise() | ast.Continue() | ast.Break():
            return True
        case ast.If(body=body, orelse=orelse):
            return bool(orelse) and not (_falls_through(body) or _falls_through(orelse))
        case ast.While(test=ast.Constant(value=value)):
            return bool(value) and not any(isinstance(each, ast.Break) for each in ast.walk(node))
        case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=finalbody):
            ways = [body + orelse, *(handler.body for handler in handlers)]
            return not any(map(_falls_through, ways)) or not _falls_through(finalbody)
        case ast.Match(cases=[*_, ast.match_case(pattern=ast.MatchAs(pattern=None), guard=None)] as cases):
            return not any(_falls_through(case.body) for case in cases)
    return False


def _unknown_routes(graph: Graph, ways: dict[int, Ways]) -> Iterator[Finding]:
    for i, way in ways.items():
        routes = graph.jumps[i]
        for key, place in way.keys.items():
            if key not in routes:
                listed = ", ".join(map(repr, routes))
                yield found(
                    "unknown-route",
                    f"{graph.name(i)!r} returns cs.Jump({key!r}), and its selector has no such route; it has: {listed}",
                    place,
                    graph.name(i),
                )


def _unreachable(graph: Graph, ways: dict[int, Ways]) -> Iterator[Finding]:
    """A state is entered if it is read as a value, or by a key that some entered state jumps with."""
    read = {edge.source for edge in graph.edges() if edge.kind != "jump"} | {graph.root}
    stack = [i for i in graph.jumps if i in read]
    entered = set(stack)
    while stack:
        i = stack.pop()
        way = ways[i]
        for key, target in graph.jumps[i].items():
            if target in graph.jumps and target not in entered and (way.unknown or key in way.keys):
                entered.add(target)
                stack.append(target)
    lost: dict[int, set[str]] = {i: set() for i in graph.jumps if i not in entered}
    for routes in graph.jumps.values() if lost else ():
        for key, target in routes.items():
            if target in lost:
                lost[target].add(repr(key))
    for i, keys in lost.items():
        yield found(
            "unreachable-state",
            f"the state {graph.name(i)!r} is never entered: no state that is entered returns "
            f"cs.Jump({' or '.join(sorted(keys))})",
            graph.declared(i),
            graph.name(i),
        )


def _endless(graph: Graph, ways: dict[int, Ways]) -> Iterator[Finding]:
    seen = _leading_to(graph, [i for i in graph.jumps if _may_end(graph, ways, i)])
    for entry in graph.jumps:
        if entry in seen:
            continue
        states = states_of(graph, entry)
        seen.update(states)
        targets = [graph.jumps[i].get(key, entry) for i in states for key in ways[i].keys]
        lost = any(key not in graph.jumps[i] for i in states for key in ways[i].keys)
        if targets and not lost and all(target in graph.jumps for target in targets):
            names = ", ".join(sorted({repr(graph.name(i)) for i in states}))
            yield found(
                "endless-loop",
                f"the loop of {names} has no way out: every return is a Jump to another entry; return a value, jump "
                'to a route that is None ({"stop": None}), or say cs.bind(..., max_iterations=n)',
                graph.declared(entry),
                graph.name(entry),
            )


def _may_end(graph: Graph, ways: dict[int, Ways], i: int) -> bool:
    """Say whether a loop may end in a state; where that is skipped, it does."""
    gate = graph.gates[i]
    return ways[i].unknown or ways[i].ends or gate.terms.max_iterations is not None or gate.condition is not None


def _leading_to(graph: Graph, states: Iterable[int]) -> set[int]:
    """Return these states and all from which jumps lead there, perhaps by way of others."""
    found = set(states)
    stack = [*found]
    before: dict[int, list[int]] = {}
    for i, routes in graph.jumps.items() if stack else ():
        for target in routes.values():
            if target is not None:
                before.setdefault(target, []).append(i)
    while stack:
        fresh = [i for i in before.get(stack.pop(), ()) if i not in found]
        found.update(fresh)
        stack += fresh
    return found


def _unbound(graph: Graph) -> Iterator[Finding]:
    exits = {
        i: {key: at for key, at in routes.items() if at is not None and at >= 0 and at not in graph.jumps}
        for i, routes in graph.jumps.items()
    }
    if not any(exits.values()):
        return
    bits = {
        target: 1 << at for at, target in enumerate(dict.fromkeys(t for out in exits.values() for t in out.values()))
    }
    needed = _marked(graph, bits)
    back: dict[int, set[int]] = {}
    for target in bits:
        bound = _needs(graph, target).intersection(graph.jumps)
        back[target] = _leading_to(graph, bound) if bound else bound
    for i, ways_out in exits.items():
        for key, target in ways_out.items():
            name, there = graph.name(i), graph.name(target)
            if needed[i] & bits[target]:
                yield found(
                    "unbound-route",
                    f"the route {key!r} of {name!r} leads to {there!r}, which {name!r} depends on and which is not "
                    f"bound: it ends the loop with the value of {there!r} and does not run it again; bind it "
                    f"(cs.bind) if it is meant as a state, or jump to {name!r} to run both again",
                    graph.declared(i),
                    name,
                )
            elif i in back[target]:
                yield found(
                    "exit-reads-loop",
                    f"the exit {there!r} (route {key!r} of {name!r}) depends on the loop that it is the way out of, so "
                    "leaving runs the whole loop once more; send what it needs in Jump's data",
                    graph.declared(target),
                    there,
                )


def _needs(graph: Graph, i: int) -> set[int]:
    """Return all nodes that node `i` may wait for."""
    seen: set[int] = set()
    stack = sources(graph, i)
    while stack:
        at = stack.pop()
        if at not in seen:
            seen.add(at)
            stack += sources(graph, at)
    return seen


def _marked(graph: Graph, bits: dict[int, int]) -> list[int]:
    """Return for each node the marks of all that it may wait for."""
    marks = [-1] * len(graph)
    stack = [*graph.jumps]
    while stack:
        i = stack[-1]
        if marks[i] < 0:
            below = sources(graph, i)
            missing = [at for at in below if marks[at] < 0]
            if missing:
                stack += missing
                continue
            own = 0
            for at in below:
                own |= marks[at] | bits.get(at, 0)
            marks[i] = own
        stack.pop()
    return marks
