"""What stands for an object in the keys of caches where its content cannot be seen, or is more than counts.

cs.keys.register(Model, lambda model: (model.path, model.version))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["register"]

PLAIN = frozenset(
    {type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, type}
)
FUNCTIONS: dict[type, Callable[[Any], Any]] = {}
"""All that was registered."""


def register(cls: type, function: Callable[[Any], Any]) -> None:
    """Say what stands for the objects of a class in the keys of cached calls, as arguments and where code reaches them.

    It goes for subclasses too, unless one has a function of its own; the class of an object counts beside it. A later
    registration replaces an earlier one.

    Args:
        cls: a class; not one of Python's plain types, which have all their content in the key.
        function: takes an object and returns what tells it from others: plain values, or what has a key itself.

    Raises:
        TypeError: `cls` is no class, or `function` cannot be called.
        ValueError: the class is one of Python's plain types.
    """
    if not isinstance(cls, type):
        raise TypeError(f"cs.keys.register takes a class, not {cls!r}; its second argument is a function of an object")
    if not callable(function):
        raise TypeError(f"cs.keys.register takes a function of a {cls.__name__}, not {function!r}")
    if cls in PLAIN or cls is object:
        raise ValueError(f"cs.keys.register does not take {cls.__name__}: what a key holds of it is not open to change")
    FUNCTIONS[cls] = function


def function_for(cls: type) -> Callable[[Any], Any] | None:
    """Return what was registered for a class or the nearest of its bases."""
    return next((FUNCTIONS[base] for base in cls.__mro__ if base in FUNCTIONS), None)
