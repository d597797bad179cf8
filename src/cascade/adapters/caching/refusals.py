"""Why a value has no key: its content cannot be seen, or it does something rather than hold something."""

from __future__ import annotations

from typing import Any

__all__ = ["Service", "Unkeyable", "name_of"]


class Unkeyable(Exception):
    """A value has no content that can be seen."""


class Service(Unkeyable):
    """A value that does something rather than hold something (a lock); where code reaches it, its type counts."""


def name_of(value: Any) -> str:
    """Return `module:qualified name` of a function or class."""
    module = getattr(value, "__module__", None) or "builtins"
    return f"{module}:{getattr(value, '__qualname__', getattr(value, '__name__', type(value).__qualname__))}"
