"""What the nodes of a program wait for (messages, times), and what a person fills in to send a message."""

from __future__ import annotations

import enum
import typing
from typing import Any
from weakref import WeakKeyDictionary

from cascade.graph.nest import names_in, nest_of
from cascade.providers.waiting import recv, wait, wait_signal
from cascade.spec.blueprint import Blueprint
from cascade.spec.graph import Graph
from cascade.spec.reading import reading_of

__all__ = ["form_of", "signals_of", "waits_of"]

FIELDS: dict[Any, str] = {bool: "bool", int: "int", float: "float", str: "text"}
MOST_CHOICES = 50
NOT_KNOWN = object()
FIRST: dict[Any, tuple[str, str]] = {
    wait_signal: ("message", "name"),
    wait: ("seconds", "seconds"),
    recv: ("topic", "topic"),
}
"""The tasks that only wait: a word for what they wait for, and the first of their arguments."""
_waits: WeakKeyDictionary[Blueprint, dict[str, str]] = WeakKeyDictionary()


def signals_of(blueprint: Blueprint) -> dict[str, dict[str, Any]]:
    """Return for each node that waits for a message the name of that, and its form; by the name of the node."""
    found: dict[str, dict[str, Any]] = {}
    nest = nest_of(blueprint)
    for graph, names in zip(nest.graphs, names_in(nest), strict=True):
        for i, node in enumerate(names):
            if getattr(graph.nodes[i], "task", None) is not wait_signal:
                continue
            name, kind = _argument(graph, i, 0, "name"), _argument(graph, i, None, "type")
            if isinstance(name, str):
                form = {"kind": "json", "type": "?"} if kind is NOT_KNOWN else form_of(kind)
                found[node] = {"name": name, "form": form}
    return found


def waits_of(blueprint: Blueprint) -> dict[str, str]:
    """Return for each node that only waits what it waits for, in words; by the name of the node."""
    known = _waits.get(blueprint)
    if known is not None:
        return known
    found: dict[str, str] = {}
    nest = nest_of(blueprint)
    for graph, names in zip(nest.graphs, names_in(nest), strict=True):
        for i, node in enumerate(names):
            first = FIRST.get(getattr(graph.nodes[i], "task", None))
            if first is not None:
                what = _argument(graph, i, 0, first[1])
                found[node] = first[0] if what in (None, NOT_KNOWN) else f"{first[0]} {what}"
    _waits[blueprint] = found
    return found


def _argument(graph: Graph, i: int, at: int | None, name: str) -> Any:
    """Return an argument that the program itself gives; None if it gives none."""
    form, read = graph.forms[i], [*graph.references(i)]
    names = () if form is None else form.names
    plain = len(read) - len(names)
    if name in names:
        reference = read[plain + names.index(name)]
    elif at is not None and at < plain:
        reference = read[at]
    else:
        return None
    slot = -1 - reference
    return NOT_KNOWN if reference >= 0 or slot in graph.inputs else graph.constants[slot]


def form_of(kind: Any) -> dict[str, Any]:
    """Return what a person fills in for a value of a type."""
    if kind in (None, Any):
        return {"kind": "json", "type": ""}
    if isinstance(kind, type) and kind in FIELDS:
        return {"kind": FIELDS[kind]}
    if typing.get_origin(kind) is typing.Literal:
        return {"kind": "choice", "choices": [*typing.get_args(kind)][:MOST_CHOICES]}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"kind": "choice", "choices": [each.name for each in kind][:MOST_CHOICES]}
    try:
        shown = reading_of(kind).name
    except Exception:  # whatever a type of the user's raises
        shown = getattr(kind, "__name__", "?")
    return {"kind": "json", "type": str(shown)[:100]}
