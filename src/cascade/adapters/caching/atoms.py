"""Values that hold no others, as bytes; and what C code gives, which counts by its name."""

from __future__ import annotations

import struct
from collections.abc import Callable
from types import (
    BuiltinFunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodWrapperType,
    WrapperDescriptorType,
)
from typing import Any

__all__ = ["ATOMS", "BY_NAME", "text_of"]

BY_NAME = (
    *(BuiltinFunctionType, GetSetDescriptorType, MemberDescriptorType, MethodDescriptorType),
    *(MethodWrapperType, WrapperDescriptorType),
)
"""What C code gives: it counts by its name, and what it is bound to."""
_double = struct.Struct("<d").pack


def text_of(value: str) -> bytes:
    """Return a text as bytes that say where it ends."""
    data = value.encode("utf-8", "surrogatepass")
    return b"%d:%s" % (len(data), data)


ATOMS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda value: b"N",
    bool: lambda value: b"T" if value else b"F",
    int: lambda value: b"i%x;" % value,
    float: lambda value: b"f" + _double(value),
    complex: lambda value: b"z" + _double(value.real) + _double(value.imag),
    str: lambda value: b"s" + text_of(value),
    bytes: lambda value: b"b%d:%s" % (len(value), value),
    bytearray: lambda value: b"B%d:%s" % (len(value), bytes(value)),
    type(Ellipsis): lambda value: b".",
    type(NotImplemented): lambda value: b"!",
}
