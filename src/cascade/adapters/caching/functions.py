"""What can be told of functions by themselves: whose they are, what they change of `self`, what they import."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final, get_type_hints

from cascade.adapters.caching.places import is_own_function, is_own_module
from cascade.adapters.caching.uses import uses_of
from cascade.spec.task import Task

__all__ = [
    "GONE",
    "hints_of",
    "imported",
    "method_of",
    "reads_hints",
    "self_writes",
    "tells_of_own",
]

GONE: Final = object()
"""What stands for a name that is bound to nothing."""


def imported(name: str, space: dict[str, Any]) -> Any:
    """Return the module that an import inside a function gives, if that is the project's own or loaded already."""
    try:
        full = importlib.util.resolve_name(name, space.get("__package__")) if name[:1] == "." else name
        module = sys.modules.get(full)
        if module is None:
            spec = importlib.util.find_spec(full)
            probe = ModuleType(full)
            probe.__file__ = None if spec is None else spec.origin
            if spec is None or not spec.origin or not is_own_module(probe):
                return GONE if spec is None else probe
            module = importlib.import_module(full)
    except Exception:  # the call itself will say what is wrong
        return GONE
    return module


def tells_of_own(value: Any, wrapped: Any) -> bool:
    """Say whether an attribute of another's function holds the project's code, or was put on a wrapper of that."""
    if isinstance(value, FunctionType):
        return _is_of_own(value)
    if isinstance(value, Mapping):
        return any(map(_is_of_own, value.values()))
    if isinstance(value, MethodType) and not _is_of_own(value.__func__):
        return False
    return _is_of_own(wrapped) and type(value) not in (list, set)


def _is_of_own(func: Any) -> bool:
    """Say whether a function is the project's own, or wraps one that is."""
    while isinstance(func, FunctionType):
        if is_own_function(func):
            return True
        func = func.__dict__.get("__wrapped__")
    return False


def reads_hints(func: FunctionType) -> bool:
    """Say whether a wrapper may go by the annotations of what it wraps: those of the standard library do not."""
    return str(func.__globals__.get("__name__")).partition(".")[0] not in sys.stdlib_module_names


def hints_of(value: FunctionType | type) -> Any:
    """Return the annotations of a function or class, as far as they can be worked out."""
    try:
        return get_type_hints(value, include_extras=True)
    except Exception:  # a name that cannot be found: the words themselves count
        return dict(getattr(value, "__annotations__", {}))


def method_of(cls: type, name: str) -> FunctionType | None:
    """Return the function behind a method or property of a class."""
    for each in cls.__mro__:
        if name in vars(each):
            found = vars(each)[name]
            if isinstance(found, Task):
                found = found.func
            elif isinstance(found, property):
                found = found.fget
            return found if isinstance(found, FunctionType) else None
    return None


def self_writes(cls: type, method: Any, seen: set[str]) -> set[str]:
    """Return which attributes of `self` a method changes, by itself or by other methods that it calls on `self`."""
    found: set[str] = set()
    if not isinstance(method, FunctionType) or not method.__code__.co_argcount:
        return found
    owner = method.__code__.co_varnames[0]
    uses = uses_of(method.__code__)
    for (kind, name), attributes in uses.writes:
        if kind == "local" and name == owner and attributes:
            found.add(attributes[0])
    for (kind, name), attributes in uses.reads:
        if kind == "local" and name == owner and attributes and attributes[0] not in seen:
            seen.add(attributes[0])
            inner = method_of(cls, attributes[0])
            if inner is not None:
                found |= self_writes(cls, inner, seen)
    return found
