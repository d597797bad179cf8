"""Which sub-flows may stand among the calls around them, and what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cascade.spec.inputs import Param
from cascade.spec.mistakes import ATOMS
from cascade.spec.operations import CALLN, GATED, NESTED, OPTIONAL, PACK, ROUTE
from cascade.spec.signal import UNSET

if TYPE_CHECKING:
    from cascade.spec.blueprint import Blueprint
    from cascade.spec.placement import CallForm

__all__ = ["forms_inside", "size_inside"]

MOST_INSIDE = 64
"""A sub-flow of more instructions, all in all, is a flow of its own."""
INSIDE = frozenset({*range(CALLN + 1), GATED, PACK, ROUTE, OPTIONAL, NESTED})


def size_inside(blueprint: Blueprint, most: int = MOST_INSIDE) -> int:
    """Return how many instructions a sub-flow has, with those inside of it; 0 if it cannot stand among others."""
    block, graph = blueprint.root, blueprint.graph
    if blueprint.skips or blueprint.order is not None or not 0 < len(block) <= most or block.root < 0:
        return 0
    if not INSIDE.issuperset(block.ops) or any(
        _keeps_out(graph.inputs.get(at), value) for at, value in enumerate(graph.constants)
    ):
        return 0
    if any(form is not None and form.is_async for form in block.forms):
        return 0
    if any(gate.terms.asks for gate in block.gates.values()):
        return 0  # what is taken before a function runs is looked for in its own block
    size = len(block)
    for inner in blueprint.subflows.values():
        own = size_inside(inner, most - size)
        if not own:
            return 0
        size += own
    return size


def _keeps_out(given: Any, value: Any) -> bool:
    """Say whether a constant is more than the code can name: an input that is looked up, a secret, a value to share."""
    if given is None:
        return value.__class__ not in ATOMS
    if not isinstance(given, Param) or given.secret:
        return True
    return given.default is not UNSET and given.default.__class__ not in ATOMS


def forms_inside(blueprint: Blueprint) -> list[CallForm]:
    """Return how the tasks in a sub-flow, and in those inside of it, are called."""
    block = blueprint.root
    found = [form for form, op in zip(block.forms, block.ops, strict=True) if form is not None and op != NESTED]
    return [*found, *(form for inner in blueprint.subflows.values() for form in forms_inside(inner))]
