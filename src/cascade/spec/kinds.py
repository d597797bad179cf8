"""What a declared type asks of a value, as far as `isinstance` can tell at once."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

__all__ = ["classes_of"]

WIDER: dict[type, tuple[type, ...]] = {float: (float, int), complex: (complex, float, int)}
"""What type checkers take for these as well."""


def classes_of(kind: Any) -> tuple[type, ...] | None:
    """Return the classes of a declared type, of one of which a value has to be; None: it may be anything.

    What a container holds is not looked at: of `list[int]` it is a list.

    Raises:
        TypeError: it is no type, or one that `isinstance` cannot tell.
    """
    if kind is Any or kind is object:
        return None
    if kind is None:
        return (NoneType,)
    origin = get_origin(kind)
    if origin is Annotated:
        return classes_of(get_args(kind)[0])
    if origin is Literal:
        return tuple({type(value) for value in get_args(kind)})
    if origin is Union or origin is UnionType:
        found = [classes_of(each) for each in get_args(kind)]
        return None if None in found else tuple({each for classes in found for each in classes or ()})
    if hasattr(kind, "__supertype__"):  # a NewType
        return classes_of(kind.__supertype__)
    kind = kind if origin is None else origin
    if not isinstance(kind, type):
        raise TypeError(f"{kind!r} is no class, and no union of classes")
    isinstance(None, kind)  # raises of a protocol that cannot be asked at run time
    return WIDER.get(kind, (kind,))
