"""What a target comes to before anything runs: its blueprint, and the graphs inside it."""

from __future__ import annotations

from typing import Any

from cascade.graph.nest import Nest, nest_of
from cascade.runtime.plans.plan import Plan, prepare
from cascade.spec.blueprint import Blueprint
from cascade.spec.lazy import Lazy, configurations

__all__ = ["blueprint_of", "nest_for"]


def blueprint_of(target: Any) -> Blueprint | None:
    """Return the blueprint of what `cs.run` takes (or of a compiled flow), or None for a plain value.

    Raises:
        StaticGraphError, CycleError, ParameterError: what was declared cannot be run.
        TypeError: the target is a task that was not called.
    """
    if type(target).__name__ == "Flow" and isinstance(getattr(target, "blueprint", None), Blueprint):
        found: Blueprint = target.blueprint
        return found
    kept = target.plan if isinstance(target, Lazy) else None
    if isinstance(kept, Plan) and kept.version == configurations[0]:
        return kept.blueprint  # whichever solver ordered it: what is looked at here has no order, or has that one
    plan = prepare(target, None)
    return None if plan is None else plan.blueprint


def nest_for(target: Any, asked: str) -> Nest:
    """Return the graphs of a target; `asked` is what is done with it, for the message.

    Raises:
        TypeError: nothing in the target is lazy; and what `blueprint_of` raises.
    """
    blueprint = blueprint_of(target)
    if blueprint is None:
        raise TypeError(f"{asked} takes a lazy result, or a container of them, not {target!r}")
    return nest_of(blueprint)
