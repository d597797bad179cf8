"""Containers: which are searched for lazy values and made anew with their values, and what others hold."""

from __future__ import annotations

from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Callable, Iterable
from itertools import islice
from types import MappingProxyType, SimpleNamespace
from typing import Any

__all__ = ["REMADE", "VIEWS", "Remake", "held", "holds", "remake_of"]

REMADE: dict[str, type] = {cls.__name__: cls for cls in (OrderedDict, defaultdict, Counter, deque)}
"""The containers of the standard library that are searched beside lists, tuples and dicts."""
EMPTY: list[dict[Any, Any]] = [{}, OrderedDict()]
VIEWS: frozenset[type] = frozenset(type(view) for made in EMPTY for view in (made.keys(), made.values(), made.items()))


class Remake:
    """Makes a container of `collections` of a dict or a list with the same in it.

    Two are equal that make the same; code that was written for one serves the other.
    """

    __slots__ = ("option", "type")

    def __init__(self, type: type, option: Any) -> None:
        self.type = type
        self.option = option
        """Of a defaultdict its factory, of a deque how many it takes, else None."""

    def __call__(self, values: Any) -> Any:
        """Return a container of these values."""
        if self.type is deque:
            return deque(values, self.option)
        if self.type is defaultdict:
            return defaultdict(self.option, values)
        return self.type(values)

    def _key(self) -> tuple[type, Any]:
        return self.type, self.option if self.option.__class__ is int else id(self.option)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remake) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


def remake_of(container: Any) -> Remake | None:
    """Return what makes another container like this one of a dict or list; None for lists, tuples and dicts."""
    cls = container.__class__
    if cls is defaultdict:
        return Remake(cls, container.default_factory)
    if cls is deque:
        return Remake(cls, container.maxlen)
    return Remake(cls, None) if cls is OrderedDict or cls is Counter else None


def _listed(base: Any) -> Callable[[Any], Iterable[tuple[str, Any]]]:
    """Read the items past what a subclass makes of reading them."""
    return lambda at: ((f"[{i}]", item) for i, item in enumerate(base.__iter__(at)))


def _keyed(items: Iterable[tuple[Any, Any]]) -> Iterable[tuple[str, Any]]:
    return ((f"[{key!r}]", item) for key, item in items)


def _unordered(at: Any) -> Iterable[tuple[str, Any]]:
    base: Any = set if isinstance(at, set) else frozenset if isinstance(at, frozenset) else type(at)
    return ((" (an item)", item) for item in base.__iter__(at))


READERS: dict[type, Callable[[Any], Iterable[tuple[str, Any]]]] = {
    **{base: _listed(base) for base in (list, tuple, deque)},
    **dict.fromkeys((set, frozenset, *VIEWS), _unordered),
    dict: lambda at: _keyed(dict.items(at)),
    MappingProxyType: lambda at: _keyed(at.items()),
    ChainMap: lambda at: [(".maps", at.maps)],
    UserDict: lambda at: [(".data", at.data)],
    UserList: lambda at: [(".data", at.data)],
    SimpleNamespace: lambda at: ((f".{name}", item) for name, item in vars(at).items()),
}
"""How to see what a container and those of its subclasses hold, each with how it is reached."""
KINDS = frozenset(READERS)


def holds(cls: type) -> bool:
    """Say whether instances of a class are containers, of a kind whose items can be seen."""
    return not KINDS.isdisjoint(cls.__mro__)


def held(container: Any, most: int) -> list[tuple[str, Any]]:
    """Return the first items of a container, each with how it is reached."""
    reader = next(READERS[base] for base in container.__class__.__mro__ if base in READERS)
    return list(islice(reader(container), most))
