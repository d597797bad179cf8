"""Why a value has no key: its content cannot be seen, or it does something rather than hold something."""

from __future__ import annotations

from typing import Any

__all__ = ["Hidden", "Service", "Unkeyable", "name_of"]


class Unkeyable(Exception):
    """A value has no content that can be seen."""


class Service(Unkeyable):
    """A value that does something rather than hold something (a lock); where code reaches it, its type counts."""


class Hidden(Service):
    """A value that has content which a key cannot see (a generator, a weak dict); refused where code reaches it.

    Within an object of a library it is that object's own affair, and makes it a service.
    """


def name_of(value: Any) -> str:
    """Return `module:qualified name` of a function or class."""
    module = getattr(value, "__module__", None) or "builtins"
    return f"{module}:{getattr(value, '__qualname__', getattr(value, '__name__', type(value).__qualname__))}"
