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
LEAVES = ATOMS | {LazyResult}


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
    stack = [container]
    opened: set[int] = set()
    plain: type | None = None
    looks = MOST_RECORDS
    while stack:
        current = stack[-1]
        mark = id(current)
        if mark in memo:
            stack.pop()
            continue
        items = _items(current, where)
        inner = []
        for item in items:
            cls = item.__class__
            if cls in LEAVES:
                continue
            if is_container(item):
                inner.append(item)
            elif cls is not plain:
                if looks and may_hide(cls):
                    looks -= 1
                    check_inside(item, where)
                elif isinstance(item, NoValue):
                    check_inside(item, where)
                else:
                    plain = cls
        waiting = [item for item in inner if id(item) not in memo]
        if waiting and mark not in opened:
            opened.add(mark)
            stack.extend(waiting)
            continue
        if waiting:
            raise StaticGraphError(f"{where!s}: a {type(current).__name__} holds itself, directly or through others")
        stack.pop()
        memo[mark] = (current, _packed(current, items, memo, read))
    return memo[id(container)][1]


def check_inside(value: Any, where: object) -> None:
    """Raise StaticGraphError for a record that holds a lazy value, or a run."""
    try:
        check_argument(value, where)
    except TypeError as error:
        raise StaticGraphError(str(error)) from None


def _items(container: Any, where: object) -> Any:
    if isinstance(container, dict):
        for key in container:
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


def _packed(container: Any, items: Any, memo: dict[int, Any], read: Callable[[Lazy], Lazy] | None) -> Any:
    resolved = []
    lazy = False
    for item in items:
        cls = item.__class__
        if cls is LazyResult:
            lazy = True
            if read is not None and item.config is not None:
                item = read(item)
        elif cls in ATOMS:
            pass
        elif isinstance(item, Lazy):
            lazy = True
            item = item if read is None else read(item)
        elif is_container(item):
            item = memo[id(item)][1]
            lazy = lazy or item.__class__ is Pack
        resolved.append(item)
    if not lazy:
        return container
    keys = tuple(container) if isinstance(container, dict) else None
    return Pack(container.__class__, tuple(resolved), keys, remake_of(container))
