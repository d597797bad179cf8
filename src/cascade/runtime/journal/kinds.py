"""The kinds of steps that are recorded, and which are: of a task, of a loop, and of what others decide by.

A task that is not recorded promises that another call's value does as well. What was decided by its value stays so all
the same: which route was taken, whether a call was skipped, how much it asked for, whether a loop went on. Where the
value itself tells that (a key, an amount, True or False) it is recorded after all, when it comes, so that nobody acts
on a decision that a crash could take back. Of any other value that is a condition only its truth is, at the call that
has the condition. The value of a loop is recorded, as where it ended was decided.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from cascade.errors import CascadeError, StateError
from cascade.graph.nest import Nest, nest_of
from cascade.runtime.frames.frame import NodeInstance
from cascade.spec.blueprint import Blueprint
from cascade.spec.graph import Graph
from cascade.spec.notes import spelled
from cascade.spec.operations import MAP
from cascade.spec.task import Task

__all__ = [
    *(
        "ACCOUNTED",
        "BEGUN",
        "DECIDED",
        "ENTRY",
        "FAILED",
        "IF_FIT",
        "IS_FALSE",
        "IS_TRUE",
        "LEFT_OUT",
        "LOOP",
        "OF_ITEMS",
    ),
    *("POSITION", "VALUE"),
    *("Kept", "as_recorded", "checkpoint_of", "deciding", "has_history", "is_kept", "kept_of"),
]

VALUE, LEFT_OUT, LOOP, FAILED, BEGUN, ENTRY = "value", "left out", "loop", "failed", "begun", "entry"
ACCOUNTED = "accounted"
POSITION = "^"
"""Behind the key of a loop: where it is."""
DECIDED, IS_TRUE, IS_FALSE = "&", "true", "false"
"""Behind the key of what has a condition: whether that held, if its value does not tell."""


class Kept(enum.Enum):
    """What is recorded of a node."""

    NOTHING = "nothing"
    VALUE = "its value"
    ITEMS = "the values of its items"
    END = "its value if that can be recorded: where a loop ended, or what a route or an amount is taken from"
    ENDS = "the same of each item"
    TRUTH = "its value if that is True or False, as somebody has it for a condition"


OF_ITEMS = frozenset({Kept.ITEMS, Kept.ENDS})
IF_FIT = frozenset({Kept.END, Kept.ENDS, Kept.TRUTH})
"""What cannot be recorded of these is computed again."""
_deciding: WeakKeyDictionary[Blueprint, dict[Graph, dict[int, Kept]]] = WeakKeyDictionary()


def kept_of(graph: Graph, number: int, decides: Mapping[int, Kept]) -> Kept:
    """Return what is recorded of a node of a graph, of which some decide."""
    task, is_map = getattr(graph.nodes[number], "task", None), graph.kinds[number] == MAP
    if task is None or is_kept(task):
        return Kept.ITEMS if is_map else Kept.VALUE
    if number in graph.jumps:
        return Kept.ENDS if is_map else Kept.END
    return decides.get(number, Kept.NOTHING)


def deciding(blueprint: Blueprint) -> dict[Graph, dict[int, Kept]]:
    """Return the nodes, in each graph of a program, that are not recorded but for what is decided by them."""
    found = _deciding.get(blueprint)
    if found is None:
        nest = nest_of(blueprint)
        found = {graph: {} for graph in nest.graphs}
        for at, graph in enumerate(nest.graphs):
            amounts = [reference for gate in graph.gates.values() for _, reference in gate.amounts]
            _mark(
                nest,
                found,
                Kept.END,
                [(at, each) for each in (*(graph.references(i)[0] for i in graph.routes), *amounts)],
            )
        for at, graph in enumerate(nest.graphs):
            conditions = [gate.condition for gate in graph.gates.values() if gate.condition is not None]
            _mark(nest, found, Kept.TRUTH, [(at, each) for each in conditions])
        _deciding[blueprint] = found
    return found


def _mark(nest: Nest, found: dict[Graph, dict[int, Kept]], kept: Kept, waiting: list[tuple[int, int]]) -> None:
    """Mark the tasks that give the values at some references, through whatever hands them on."""
    seen = set(waiting)
    for at, reference in waiting:
        graph, (around, number) = nest.graphs[at], nest.owners[at]
        others: list[tuple[int, int | None]] = []
        if reference < 0:
            if around >= 0 and -1 - reference in graph.inputs:
                others = [(around, each) for each in nest.graphs[around].references(number)]
        else:
            task, router, gate = (
                getattr(graph.nodes[reference], "task", None),
                graph.routes.get(reference),
                graph.gates.get(reference),
            )
            if gate is not None:
                others = [(at, gate.otherwise)]
            if router is not None:
                others += [(at, each) for each in (*router.routes.values(), router.default)]
            elif (at, reference) in nest.inner:
                others.append((nest.inner[at, reference], nest.graphs[nest.inner[at, reference]].root))
            elif task is None:
                others += [(at, each) for each in graph.references(reference)]
            elif graph.kinds[reference] != MAP and not is_kept(task):
                found[graph].setdefault(reference, kept)
        for each in others:
            if each[1] is not None and each not in seen:
                seen.add(each)  # type: ignore[arg-type]
                waiting.append(each)  # type: ignore[arg-type]


def has_history(loop: NodeInstance | None) -> bool:
    """Say whether all entries of a loop are kept: its steps once more, each behind `@` and the entry."""
    config = None if loop is None else getattr(loop.graph.nodes[loop.number], "config", None)
    return config is not None and bool(config.history)


DAMAGE = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What is raised on the way through what does not look as it was written."""


@contextmanager
def as_recorded(what: str) -> Iterator[None]:
    """Raise StateError for a record that is not what we write: it was damaged, or somebody else has written it."""
    try:
        yield
    except DAMAGE as error:
        if isinstance(error, CascadeError):
            raise
        raise StateError(
            f"{what} cannot be read: it is damaged, or not written by Cascade ({spelled(error)}); restore the store "
            "from a backup, or start the run under another run_id"
        ) from error


def checkpoint_of(loop: NodeInstance) -> str | None:
    """Return whether each entry of a loop is recorded ("entry") or one a turn ("turn"); None: as its entries allow."""
    config = getattr(loop.graph.nodes[loop.number], "config", None)
    if config is None:
        return None
    return "entry" if config.history else config.checkpoint


def is_kept(task: Task[..., Any]) -> bool:
    """Say whether the values of a task are recorded."""
    return not task.pure if task.record is None else task.record
