"""Containers in arguments: which hold lazy results, and what they hold when the graph is first built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cascade.errors import StaticGraphError
from cascade.spec.containers import remake_of
from cascade.spec.graph import Pack
from cascade.spec.lazy import Lazy, LazyResult
from cascade.spec.mistakes import check_argument, is_searched, may_hide
from cascade.spec.refusals import NoValue

__all__ = ["check_inside", "freeze", "is_container"]

ATOMS = frozenset({int, str, float, bool, type(None), bytes, complex})
is_container = is_searched
MOST_RECORDS = 1000
"""So many records are looked into for lazy values, which are refused there."""


def freeze(container: Any, memo: dict[int, Any], where: object, read: Callable[[Lazy], Lazy] | None = None) -> Any:
    """Return a `Pack` of what the container holds now if a lazy result is in it, at any depth, else itself.

    Args:
        memo: what each container came to, by id, so that one shared by many is read once. It keeps them alive.
        where: what the container is an argument of, for messages.
        read: what each lazy value found is replaced with.

    Raises:
        StaticGraphError: a lazy result in a set or as a dict key; a container that holds itself.
    """
    known = memo.get(id(container))
    if known is not None:
        return known[1]
    found, inner = _looked_into(container, memo, where, read)
    if not inner:
        memo[id(container)] = (container, found)
        return found
    stack = [container]
    opened: set[int] = set()
    while stack:
        current = stack[-1]
        mark = id(current)
        if mark in memo:
            stack.pop()
            continue
        found, inner = _looked_into(current, memo, where, read)
        if not inner:
            stack.pop()
            memo[mark] = (current, found)
        elif mark in opened:
            raise StaticGraphError(f"{where!s}: a {type(current).__name__} holds itself, directly or through others")
        else:
            opened.add(mark)
            stack += inner
    return memo[id(container)][1]


def _looked_into(
    container: Any, memo: dict[int, Any], where: object, read: Callable[[Lazy], Lazy] | None
) -> tuple[Any, list[Any]]:
    """Return a `Pack` if a lazy value is in a container, else itself; and the containers that must be known before."""
    resolved: list[Any] = []
    inner: list[Any] = []
    is_lazy = False
    plain: type | None = None
    looks = MOST_RECORDS
    for item in _items(container, where):
        cls = item.__class__
        if cls in ATOMS:
            pass
        elif cls is LazyResult or isinstance(item, Lazy):
            is_lazy = True
            if read is not None and (cls is not LazyResult or item.config is not None):
                item = read(item)
        elif is_container(item):
            known = memo.get(id(item))
            if known is None:
                inner.append(item)
            else:
                item = known[1]
                is_lazy = is_lazy or item.__class__ is Pack
        elif cls is not plain:
            if looks and may_hide(cls):
                looks -= 1
                check_inside(item, where)
            elif isinstance(item, NoValue):
                check_inside(item, where)
            else:
                plain = cls
        resolved.append(item)
    if inner or not is_lazy:
        return container, inner
    keys = tuple(container) if isinstance(container, dict) else None
    return Pack(container.__class__, tuple(resolved), keys, remake_of(container)), inner


def check_inside(value: Any, where: object) -> None:
    """Raise StaticGraphError for a record that holds a lazy value, or a run."""
    try:
        check_argument(value, where)
    except TypeError as error:
        raise StaticGraphError(str(error)) from None


def _items(container: Any, where: object) -> Any:
    cls = container.__class__
    if cls is list or cls is tuple:
        return container
    if isinstance(container, dict):
        for key in container:
            if key.__class__ in ATOMS:
                continue
            if isinstance(key, Lazy) or (isinstance(key, (tuple, frozenset)) and _deep(key)):
                raise StaticGraphError(f"{where!s}: a lazy result is the key of a dict; only its values may be lazy")
        return container.values()
    if isinstance(container, (set, frozenset)):
        if _deep(container):
            raise StaticGraphError(f"{where!s}: a lazy result is in a set, which would need its value; use a list")
        return ()
    return container


def _deep(values: Any) -> bool:
    """Say whether a lazy result is in hashable containers, at any depth."""
    stack = [values]
    while stack:
        for item in stack.pop():
            if isinstance(item, Lazy):
                return True
            if isinstance(item, (tuple, frozenset)):
                stack.append(item)
    return False
