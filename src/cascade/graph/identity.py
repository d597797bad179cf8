"""Pure calls: when two of them are one node."""

from __future__ import annotations

from typing import Any

from cascade.spec.control import Value
from cascade.spec.graph import Pack
from cascade.spec.layout import layout_of
from cascade.spec.lazy import Lazy, LazyResult

__all__ = ["PureCalls"]


class PureCalls:
    """The pure calls of one graph, by what tells them apart."""

    __slots__ = ("_key", "_known")

    def __init__(self) -> None:
        self._known: dict[Any, int] = {}

    def find(self, node: LazyResult[Any], index: dict[Any, Any]) -> int | None:
        """Return the number of a call equal to `node`, if there is one."""
        self._key = self._key_of(node, index)
        return self._known.get(self._key)

    def keep(self, node: LazyResult[Any], i: int) -> None:
        """Remember the call last asked for as node `i`."""
        self._known[self._key] = i

    def _key_of(self, node: LazyResult[Any], index: dict[Any, Any]) -> Any:
        form, values = layout_of(node.task, node.args, node.kwargs)
        tokens: list[Any] = [id(form.task), form.names]
        for value in values:
            _spell(value, index, tokens)
        config = node.config
        if config is not None:
            for value in (config.condition, config.otherwise, list(config.after)):
                _spell(value, index, tokens)
            tokens += (
                config.retry,
                config.constraints,
                config.label,
                id(config.selector),
                config.max_iterations,
            )
            tokens += (config.receiver, config.passes_first, config.none_if_skipped)
        return tuple(tokens)


def _spell(value: Any, index: dict[Any, Any], tokens: list[Any]) -> None:
    """Append what identifies `value`: atoms by type and value, containers by their items, nodes by number.

    A stack instead of recursion: containers may be nested to any depth. A container that is open further up
    is spelled by identity, so one that holds itself ends.
    """
    stack = [value]
    seen: set[int] = set()
    while stack:
        value = stack.pop()
        cls = value.__class__
        if cls in (int, str, bytes, bool, type(None)):
            tokens += (cls, value)
        elif cls is float:
            tokens += (cls, value.hex() if value == value else id(value))
        elif cls is complex:
            tokens += (cls, repr(value) if value == value else id(value))
        elif isinstance(value, (Lazy, Pack)):
            at = index.get(value)
            tokens += ("node", at) if isinstance(at, int) else ("later", id(value))
        elif cls is Value:
            stack.append(value.value)
        elif cls in (list, tuple, dict) and id(value) not in seen:
            seen.add(id(value))
            tokens += (cls, len(value))
            items = [part for pair in value.items() for part in pair] if cls is dict else list(value)
            stack.extend(reversed(items))
        else:
            tokens += ("object", id(value))
