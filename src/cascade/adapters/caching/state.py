"""The visible state of an object: what pickle would carry, and what it would leave out that is there to see."""

from __future__ import annotations

import copyreg
import functools
from collections.abc import Collection
from dataclasses import fields
from functools import lru_cache
from typing import Any

from cascade.adapters.caching.libraries import hidden_by, is_service
from cascade.adapters.caching.places import is_own_class
from cascade.adapters.caching.refusals import Hidden, Service, Unkeyable

__all__ = ["added", "attributes_of", "fields_of", "is_library", "left_out", "own_slots", "parts_of", "visible"]

BUILT_IN = (tuple, list, dict, set, frozenset, int, float, complex, str, bytes, bytearray, BaseException)
REDUCERS = ("__reduce_ex__", "__reduce__")
UNSEEN = frozenset({"_sa_instance_state"})
"""Attributes that libraries put on the objects of others, to keep their own accounts of them."""
OF_WRAPPED = frozenset({"__annotations__", "__doc__"})
"""What `functools.update_wrapper` copies, and says nothing of what the wrapper does."""


def parts_of(value: Any) -> tuple[Any, Any, Any, Any, Any] | str:
    """Return what pickle would make an object of (maker, arguments, state, items, pairs), or the name to find it by.

    Raises:
        Unkeyable: it would refuse.
    """
    cls: Any = type(value)
    try:
        reduce = copyreg.dispatch_table.get(cls)
        parts = value.__reduce_ex__(4) if reduce is None else reduce(value)
    except Exception as error:
        kind = Hidden if hidden_by(cls) else Service if any(map(is_service, cls.__mro__)) else Unkeyable
        raise kind(f"a {cls.__name__} has no content that can be seen ({error})") from None
    return parts if isinstance(parts, str) else (*parts, None, None, None)[:5]


@lru_cache(maxsize=1024)
def is_library(cls: type) -> bool:
    """Say whether a class of a library leaves it to Python how its objects are pickled and compared: hardly data."""
    names = (*REDUCERS, "__getstate__", "__eq__")
    return (
        all(getattr(cls, name) is getattr(object, name) for name in names)
        and not issubclass(cls, BUILT_IN)
        and cls not in copyreg.dispatch_table
        and not is_own_class(cls)
    )


@lru_cache(maxsize=1024)
def fields_of(cls: type) -> tuple[dict[str, None], bool]:
    """Return the names of a dataclass's fields, and whether all else that its objects hold is in their `__dict__`."""
    names = dict.fromkeys(field.name for field in fields(cls))
    slots = {name for base in cls.__mro__[:-1] for name in _slots(base)}
    plain = all(getattr(cls, name) is getattr(object, name) for name in REDUCERS) and not issubclass(cls, BUILT_IN)
    return names, plain and slots <= {*names, "__dict__", "__weakref__"}


def _slots(cls: type) -> tuple[str, ...]:
    found = vars(cls).get("__slots__", ())
    return (found,) if isinstance(found, str) else tuple(found)


def attributes_of(value: Any) -> dict[str, Any]:
    """Return all attributes of an object, whatever its class would have pickled of them."""
    state: Any = object.__getstate__(value)
    space, slots = state if isinstance(state, tuple) else (state, None)
    return {**(space or {}), **(slots or {})}


def left_out(value: Any, state: Any) -> dict[str, Any]:
    """Return what a class of the project adds to one of a library whose way of pickling does not know of it."""
    cls = type(value)
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):
        return {}
    definer = next(base for base in cls.__mro__ if any(name in vars(base) for name in REDUCERS))
    if definer is object or cls in copyreg.dispatch_table or is_own_class(definer) or not is_own_class(cls):
        return {}
    return own_slots(value) if isinstance(state, dict) else added(value)


def added(value: Any) -> dict[str, Any]:
    """Return the attributes that an object has of the project's own classes."""
    return {**getattr(value, "__dict__", {}), **own_slots(value)}


def own_slots(value: Any) -> dict[str, Any]:
    """Return what an object holds in the slots of the project's own classes, which no `__dict__` shows."""
    found = {}
    for base in type(value).__mro__[:-1]:
        if is_own_class(base):
            for name in _slots(base):
                if name[:2] == "__" and name[-2:] != "__":
                    name = f"_{base.__name__.lstrip('_')}{name}"
                if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                    found[name] = getattr(value, name)
    return found


def visible(value: Any, state: dict[Any, Any], hidden: Collection[str]) -> dict[Any, Any]:
    """Leave out of an object's attributes what does not count, and what is kept there to be computed but once."""
    cls: Any = type(value)
    careful = _uncounted(cls, (*state,))
    if not careful and not hidden:
        return state
    return {
        name: held
        for name, held in state.items()
        if name not in hidden and not (name in careful and _is_uncounted(value, name, held))
    }


@lru_cache(maxsize=4096)
def _uncounted(cls: type, names: tuple[Any, ...]) -> frozenset[str]:
    """Return which of the attributes of an object may not count."""
    drop = UNSEEN | OF_WRAPPED if "__wrapped__" in names else UNSEEN
    return frozenset(
        name
        for name in names
        if isinstance(name, str)
        and (name in drop or "hash" in name or isinstance(getattr(cls, name, None), functools.cached_property))
    )


def _is_uncounted(value: Any, name: str, held: Any) -> bool:
    """Say whether one of these does not count: of those that may keep a hash, that is seen by what they hold."""
    if "hash" not in name or isinstance(getattr(type(value), name, None), functools.cached_property):
        return True
    if not (held is None or type(held) is int):
        return False
    try:
        return held is None or held == hash(value)
    except Exception:  # not hashable: then it keeps no hash
        return False
