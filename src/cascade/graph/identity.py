"""Pure calls: when two of them are one node."""

from __future__ import annotations

from typing import Any

from cascade.spec.caching import identity_of
from cascade.spec.control import Value
from cascade.spec.graph import Pack
from cascade.spec.layout import layout_of
from cascade.spec.lazy import Lazy, LazyResult
from cascade.spec.policies import Constraints
from cascade.spec.signal import UNSET

__all__ = ["PureCalls"]

ATOMS = frozenset({int, str, bytes, bool, type(None)})


class PureCalls:
    """The pure calls of one graph, by what tells them apart."""

    __slots__ = ("_key", "_known", "_numbers", "_packs")

    def __init__(self) -> None:
        self._known: dict[Any, int] = {}
        self._numbers: dict[Any, int] = {}
        """Equal containers have one number: by type, and what identifies each item."""
        self._packs: dict[int, Any] = {}
        """What identifies the containers with lazy results inside, by id; the graph keeps them alive."""

    def find(self, node: LazyResult[Any], index: dict[Any, Any]) -> int | None:
        """Return the number of a call equal to `node`, if there is one."""
        self._key = self._key_of(node, index)
        return self._known.get(self._key)

    def keep(self, node: LazyResult[Any], i: int) -> None:
        """Remember the call last asked for as node `i`."""
        self._known[self._key] = i

    def _key_of(self, node: LazyResult[Any], index: dict[Any, Any]) -> Any:
        form, values = layout_of(node.task, node.args, node.kwargs)
        spelled = [self._spell(value, index) for value in values]
        split = len(spelled) - len(form.names)
        named = frozenset(zip(form.names, spelled[split:], strict=True))
        tokens: list[Any] = [id(form.task), *spelled[:split], named]
        config = node.config
        if config is not None:
            tokens += (
                self._spell(config.condition, index),
                self._spell(config.otherwise, {}),  # which of its nodes have a number yet is chance
                tuple(_leaf(other, index) for other in config.after),
                config.retry,
                config.timeout,
                config.budget,
                _spelled(config.constraints, index),
                identity_of(config.cache) if config.cache is not UNSET else UNSET,
                config.hooks,
                config.label,
                id(config.selector),
                config.max_iterations,
                config.history,
                config.checkpoint,
            )
            tokens += (config.receiver, config.passes_first, config.none_if_skipped)
        return tuple(tokens)

    def _spell(self, value: Any, index: dict[Any, Any]) -> Any:
        """Return what identifies `value`: atoms by type and value, containers by their items, nodes by number.

        A stack instead of recursion: containers may be nested to any depth. A container inside itself is
        spelled by identity.
        """
        if value.__class__ is Value:  # what it wraps is passed as it is, even a lazy result
            value, index = value.value, {}
        if _items(value) is None:
            return _leaf(value, index)
        spelled = self._packs if index else {}
        done: dict[int, Any] = {}
        opened: set[int] = set()
        stack = [value]
        while stack:
            current = stack[-1]
            mark = id(current)
            items = _items(current)
            if items is None or mark in done:
                stack.pop()
            elif mark in spelled:
                done[mark] = spelled[mark]
            elif mark not in opened:
                opened.add(mark)
                stack += [item for item in items if id(item) not in opened and _items(item) is not None]
            else:
                parts = [done[id(item)] if id(item) in done else _leaf(item, index) for item in items]
                done[mark] = self._number(current, parts)
                if current.__class__ is Pack:
                    spelled[mark] = done[mark]
        return done[id(value)]

    def _number(self, container: Any, parts: list[Any]) -> Any:
        cls = container.type if container.__class__ is Pack else container.__class__
        items: Any = tuple(parts)
        if cls is dict:
            half = len(parts) // 2
            items = frozenset(zip(parts[:half], parts[half:], strict=True))
        return "container", self._numbers.setdefault((cls, items), len(self._numbers))


def _spelled(constraints: Constraints | None, index: dict[Any, Any]) -> Any:
    """Return what identifies constraints."""
    if constraints is None:
        return None
    lazy = frozenset((name, _leaf(value, index)) for name, value in constraints.lazy.items())
    return frozenset(constraints.amounts.items()), lazy


def _items(value: Any) -> Any:
    """Return the items of what is known by its items (of a dict: the keys, then the values), else None."""
    cls = value.__class__
    if cls is list or cls is tuple:
        return value
    if cls is dict:
        return (*value, *value.values())
    if cls is Pack and value.type in (list, tuple, dict):
        return value.items if value.keys is None else (*value.keys, *value.items)
    return None


def _leaf(value: Any, index: dict[Any, Any]) -> Any:
    cls = value.__class__
    if cls in ATOMS:
        return cls, value
    if cls is float:
        return cls, value.hex() if value == value else id(value)
    if cls is complex:
        return cls, repr(value) if value == value else id(value)
    if isinstance(value, (Lazy, Pack)):
        at = index.get(value)
        if isinstance(at, int):
            return "node", at
    return "object", id(value)
