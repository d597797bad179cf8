"""How the arguments of a call are passed: by position wherever the function allows it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cascade.spec.placement import CallForm

__all__ = ["layout_of", "order_of"]


def layout_of(task: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> tuple[CallForm, Iterable[Any]]:
    """Return the call form and the argument values in its order: the last `len(form.names)` by keyword."""
    if not kwargs:
        return task.form, args
    placed, named = order_of(task, len(args), tuple(kwargs))
    return task.form_of(named), [*args, *(kwargs[name] for name in placed), *(kwargs[name] for name in named)]


def order_of(task: Any, count: int, names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split keyword names, after `count` positional arguments, into those that can go by position and the rest."""
    shape = task.shape
    if shape is None or not shape.faithful:
        return (), names
    placed = []
    for name in shape.names[count:]:
        if name not in names or name not in shape.positions:
            break
        placed.append(name)
    return tuple(placed), tuple(name for name in names if name not in placed)
