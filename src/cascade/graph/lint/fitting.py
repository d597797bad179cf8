"""Types: whether what a task says that it gives can be what its reader says that it takes.

Only what contradicts is found: a class that is neither a subclass nor a base of the other. What is not
annotated, or annotated with something that cannot be looked into, fits everything.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any

from cascade.graph.lint.finding import Finding, found
from cascade.spec.control import Jump, TailCall
from cascade.spec.graph import Graph, Pack
from cascade.spec.inputs import Param
from cascade.spec.operations import CALLN, MAP, PACK, ROUTE, SUBFLOW
from cascade.spec.scalars import spelled
from cascade.spec.signal import Signal

__all__ = ["Types", "contradicts"]

NUMBERS = {float: (int, float), complex: (int, float, complex)}
AWAITED = ("Coroutine", "Awaitable", "Future", "Task")
SEQUENCES = (list, tuple, set, frozenset)
MOST_DEPTH = 6


class Types:
    """What the nodes of one graph give."""

    def __init__(self, graph: Graph, inner: dict[int, Any]) -> None:
        self.graph = graph
        self.inner = inner
        """What each sub-flow gives, by its number."""
        self._hints: dict[int, dict[str, Any]] = {}

    def of(self, reference: int, depth: int = 0) -> Any:
        """Return what a reference gives, Any where that is not known. Constants are not looked at."""
        graph = self.graph
        if reference < 0:
            given = graph.inputs.get(-1 - reference)
            known = (
                isinstance(given, Param) and given.typed and isinstance(given.type, type) and given.default is not None
            )
            return given.type if known else Any  # type: ignore[union-attr]
        if depth > MOST_DEPTH:
            return Any
        kind = graph.kinds[reference]
        if kind <= CALLN:
            return self.result(reference)
        if kind == MAP:
            item = self.result(reference)
            return list if item is Any else list[item]  # type: ignore[valid-type]
        if kind == PACK:
            pack: Pack = graph.nodes[reference]
            return pack.type
        if kind == ROUTE:
            routes = graph.routes[reference]
            ways = [*routes.routes.values(), *(() if routes.default is None else (routes.default,))]
            return joined([self.of(way, depth + 1) if way >= 0 else Any for way in ways])
        if kind == SUBFLOW:
            return self.inner.get(reference, Any)
        return Any

    def result(self, i: int) -> Any:
        """Return what one call of a task gives, its Jumps aside."""
        gate = self.graph.gates.get(i)
        if gate is not None and (gate.otherwise is not None or gate.first is not None):
            return Any
        hint = self.hints(i).get("return", Any)
        if typing.get_origin(hint) is not None and getattr(typing.get_origin(hint), "__name__", "") in AWAITED:
            parts = typing.get_args(hint)
            hint = parts[-1] if parts else Any
        left = [part for part in members(hint) if not (isinstance(part, type) and issubclass(part, Signal))]
        exits = i in self.graph.jumps  # an exit may give any value
        return Any if exits or not left else joined(left)

    def hints(self, i: int) -> dict[str, Any]:
        """Return the annotations of a node's function, resolved."""
        task = self.graph.nodes[i].task
        known = self._hints.get(id(task))
        if known is None:
            known = self._hints[id(task)] = hints_of(task.func)
        return known

    def check(self) -> Iterator[Finding]:
        """Look at every argument that a task of the graph reads from another node or a parameter."""
        graph = self.graph
        for i in range(len(graph)):
            if graph.kinds[i] > CALLN and graph.kinds[i] != MAP:
                continue
            hints = self.hints(i)
            if not hints:
                continue
            each = graph.nodes[i].each if graph.kinds[i] == MAP else ()
            for name, source in zip(graph.argument_names(i), graph.references(i), strict=True):
                wanted = hints.get(name, Any)
                if wanted is Any or (source < 0 and -1 - source not in graph.inputs):
                    continue
                given = self.of(source)
                if name in each:
                    given = item_of(given)
                if contradicts(given, wanted):
                    yield self._finding(i, name, source, given, wanted)

    def _finding(self, i: int, name: str, source: int, given: Any, wanted: Any) -> Finding:
        graph = self.graph
        if source < 0:
            who = f"the parameter {graph.inputs[-1 - source].name!r} is {spelled(given)}"
        else:
            who = f"{graph.name(source)!r} gives {spelled(given)}"
        return found(
            "type-mismatch",
            f"{who}, but {graph.name(i)!r} takes {spelled(wanted)} as {name!r}",
            graph.declared(i),
            graph.name(i),
        )


def hints_of(func: Any) -> dict[str, Any]:
    """Return the annotations of a function, those that cannot be resolved left out."""
    raw = getattr(func, "__annotations__", None)
    if not isinstance(raw, dict):
        return {}
    try:
        return typing.get_type_hints(func)
    except Exception:
        return {name: hint for name, hint in raw.items() if not isinstance(hint, str)}


def members(hint: Any) -> list[Any]:
    """Return the parts of a union, or the hint alone."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return list(typing.get_args(hint))
    return [hint]


def joined(hints: list[Any]) -> Any:
    """Return the union of some hints."""
    if not hints or any(hint is Any for hint in hints):
        return Any
    try:
        union: Any = typing.Union[tuple(hints)]  # noqa: UP007
    except TypeError:
        return Any
    return union


def item_of(hint: Any) -> Any:
    """Return what the items of an iterable are, Any where that is not known."""
    parts = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if origin in (list, set, frozenset) and len(parts) == 1:
        return parts[0]
    if origin is tuple and len(parts) == 2 and parts[1] is Ellipsis:
        return parts[0]
    return Any


def contradicts(given: Any, wanted: Any, depth: int = 0) -> bool:
    """Say whether nothing that is `given` can be what is `wanted`."""
    if depth > MOST_DEPTH:
        return False
    return all(_differs(one, other, depth) for one in members(given) for other in members(wanted))


def _differs(given: Any, wanted: Any, depth: int) -> bool:
    if typing.get_origin(given) is typing.Literal:
        return all(_differs(type(value), wanted, depth) for value in typing.get_args(given))
    if typing.get_origin(wanted) is typing.Literal:
        return all(_differs(given, type(value), depth) for value in typing.get_args(wanted))
    one, other = _class_of(given), _class_of(wanted)
    if one is None or other is None or one is object or other is object:
        return False
    if one in NUMBERS.get(other, ()) or issubclass(one, (Jump, TailCall)):
        return False
    try:
        if not (issubclass(one, other) or issubclass(other, one)):
            return True
    except TypeError:  # a protocol that cannot be asked at run time
        return False
    parts, others = typing.get_args(given), typing.get_args(wanted)
    if one is other and len(parts) == len(others) and one in (*SEQUENCES, dict) and Ellipsis not in (*parts, *others):
        return any(contradicts(part, part_, depth + 1) for part, part_ in zip(parts, others, strict=True))
    if one is other is tuple and len(parts) == len(others) == 2 and parts[1] is others[1] is Ellipsis:
        return contradicts(parts[0], others[0], depth + 1)
    return False


def _class_of(hint: Any) -> type | None:
    """Return the class that stands for a hint, or None for what no class stands for."""
    if hint is None:
        return type(None)
    if hint is Any:
        return None
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _class_of(typing.get_args(hint)[0])
    found = origin if origin is not None else hint
    if not isinstance(found, type):
        return None
    if getattr(found, "_is_protocol", False) and found.__module__ not in ("collections.abc", "typing"):
        return None
    return found
