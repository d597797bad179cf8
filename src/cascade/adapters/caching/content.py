"""Values as bytes that say their content: equal content and types, equal bytes.

Functions and classes are left to `refer`, which knows what code they stand for. What has no content that can be
seen (a lock, a generator) is an `Unkeyable`, or where the encoder is lenient counts by its type alone.
"""

from __future__ import annotations

import enum
import functools
import struct
from collections.abc import Callable, Mapping
from copyreg import dispatch_table
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

from cascade.adapters.caching.places import is_own_class
from cascade.spec.resource import Inject
from cascade.spec.task import Task

__all__ = ["Encoder", "Unkeyable", "name_of"]

BY_NAME = (
    *(BuiltinFunctionType, GetSetDescriptorType, MemberDescriptorType, MethodDescriptorType),
    *(MethodWrapperType, WrapperDescriptorType),
)
"""What C code gives: it counts by its name, and what it is bound to."""
_double = struct.Struct("<d").pack


class Unkeyable(Exception):
    """A value has no content that can be seen."""


def name_of(value: Any) -> str:
    """Return `module:qualified name` of a function or class."""
    module = getattr(value, "__module__", None) or "builtins"
    return f"{module}:{getattr(value, '__qualname__', getattr(value, '__name__', type(value).__qualname__))}"


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"%d:%s" % (len(data), data)


class Encoder:
    """Writes values one after the other into `out`.

    Args:
        refer: returns what stands for a function or a class.
        lenient: what is unkeyable counts by its type alone.
        without: by id of an object, the names of its attributes that do not count.
    """

    __slots__ = ("active", "lenient", "out", "refer", "without")

    def __init__(
        self, refer: Callable[[Any], bytes], lenient: bool = False, without: Mapping[int, set[str]] | None = None
    ) -> None:
        self.out = bytearray()
        self.refer = refer
        self.lenient = lenient
        self.without = without
        self.active: dict[int, int] = {}
        """The containers that are being written, by id: one inside itself is written as how far out it is."""

    def add(self, value: Any) -> None:
        """Write a value.

        Raises:
            Unkeyable: it has no content that can be seen, and the encoder is not lenient.
        """
        write = ATOMS.get(value.__class__)
        if write is not None:
            self.out += write(value)
            return
        mark = id(value)
        if mark in self.active:
            self.out += b"^%d;" % (len(self.active) - self.active[mark])
            return
        start = len(self.out)
        self.active[mark] = len(self.active)
        try:
            inner = CONTAINERS.get(value.__class__)
            if inner is not None:
                inner(self, value)
            else:
                self._object(value)
        except Unkeyable:
            if not self.lenient:
                raise
            del self.out[start:]
            self.out += b"?" + _text(name_of(type(value)))
        finally:
            del self.active[mark]

    def _list(self, value: Any) -> None:
        self.out += b"["
        for item in value:
            self.add(item)
        self.out += b"]"

    def _tuple(self, value: Any) -> None:
        self.out += b"("
        for item in value:
            self.add(item)
        self.out += b")"

    def _dict(self, value: Any) -> None:
        """Write a dict by its items, in whatever order they stand: dicts that are equal are one."""
        self.out += b"{%d;" % len(value)
        self._sorted(value.items())

    def _set(self, value: Any) -> None:
        self.out += b"<%d;" % len(value)
        self._sorted(value)

    def _frozenset(self, value: Any) -> None:
        self.out += b">%d;" % len(value)
        self._sorted(value)

    def _sorted(self, items: Any) -> None:
        out = self.out
        found = []
        try:
            for item in items:
                self.out = bytearray()
                if item.__class__ is tuple:
                    self._tuple(item)
                else:
                    self.add(item)
                found.append(bytes(self.out))
        finally:
            self.out = out
        out += b"".join(sorted(found))

    # --- everything else

    def _object(self, value: Any) -> None:
        out = self.out
        if isinstance(value, FunctionType | type):
            out += b"r" + self.refer(value)
        elif isinstance(value, MethodType):
            out += b"m" + self.refer(value.__func__)
            self.add(value.__self__)
        elif isinstance(value, Task):
            out += b"t"
            self.add(value.func)
            self.add(value.receiver)
        elif isinstance(value, BY_NAME):
            bound = getattr(value, "__self__", None)
            out += b"n" + _text(name_of(value))
            if bound is not None and not isinstance(bound, ModuleType):
                self.add(bound)
        elif isinstance(value, CodeType):
            self.code(value)
        elif isinstance(value, ModuleType):
            out += b"M" + _text(value.__name__)
        elif isinstance(value, Inject):
            out += b"j" + _text(value.name)
            if not isinstance(value.target, str):
                out += self.refer(value.target.func)
        elif isinstance(value, enum.Enum):
            out += b"e" + self.refer(type(value)) + _text(value.name or "")
            self.add(value.value)
        elif isinstance(value, PurePath):
            out += b"p" + _text(type(value).__name__) + _text(str(value))
        elif isinstance(value, staticmethod | classmethod):
            out += b"w" + _text(type(value).__name__)
            self.add(value.__func__)
        elif isinstance(value, property):
            out += b"w"
            self._tuple((value.fget, value.fset, value.fdel))
        elif isinstance(value, functools.cached_property):
            out += b"w"
            self.add(value.func)
        elif callable(wrapped := getattr(value, "__wrapped__", None)) and not isinstance(value, type):
            out += b"w" + _text(name_of(type(value)))
            self.add(wrapped)
        elif type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "tobytes"):
            self._array(value)
        elif is_dataclass(value):
            self._fields(value, {field.name for field in fields(value)})
        else:
            self._reduced(value)

    def code(self, code: CodeType) -> None:
        """Write what a code object does: not where it stands, and not what it is called."""
        out = self.out
        flags = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        out += b"c%d;%d;%d;%d;" % flags
        for data in (code.co_code, code.co_exceptiontable):
            out += b"%d:%s" % (len(data), data)
        for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars):
            out += _text(",".join(names))
        self._tuple(code.co_consts)

    def _array(self, value: Any) -> None:
        """Write an array of numpy by its bytes, without a need for numpy."""
        dtype = value.dtype
        self.out += b"a" + _text(type(value).__name__) + _text(str(dtype.descr))
        self._tuple(tuple(value.shape))
        if dtype.hasobject:
            self.add(value.tolist())
        else:
            data = value.tobytes()
            self.out += b"%d:" % len(data) + data
        mask = getattr(value, "mask", None)
        if mask is not None and mask is not value:
            self.add(mask)

    def _fields(self, value: Any, names: set[str]) -> None:
        names -= (self.without or {}).get(id(value), set())
        self.out += b"d" + self.refer(type(value))
        self._dict({name: getattr(value, name) for name in names if hasattr(value, name)})

    def _reduced(self, value: Any) -> None:
        """Write an object by what `pickle` and `copy` would make it of."""
        cls = type(value)
        if hasattr(value, "__next__") or hasattr(value, "__anext__"):
            raise Unkeyable(f"a {cls.__name__} is spent by reading it")
        if self.lenient and _is_service(cls):
            raise Unkeyable(f"a {cls.__name__} of a library counts by its type")
        if cls is object:
            raise Unkeyable("a plain object() has no content")
        try:
            reduce = dispatch_table.get(cls)
            parts = value.__reduce_ex__(4) if reduce is None else reduce(value)
        except Exception as error:
            raise Unkeyable(f"a {cls.__name__} has no content that can be seen ({error})") from None
        if isinstance(parts, str):
            self.out += b"n" + _text(f"{cls.__module__}:{parts}")
            return
        make, arguments, state, items, pairs = (*parts, None, None, None)[:5]
        self.out += b"o"
        self.add(make)
        self.add(arguments)
        attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
        for held in (attributes, slots):
            if type(held) is dict:
                self._dict(self._visible(value, held))
            else:
                self.add(held)
        for found in (items, pairs):
            self.add(None if found is None else list(found))

    def _visible(self, value: Any, state: dict[Any, Any]) -> dict[Any, Any]:
        """Leave out of an object's state what does not count, and what cached properties keep there."""
        hidden = (self.without or {}).get(id(value), ())
        cls = type(value)
        return {
            name: held
            for name, held in state.items()
            if name not in hidden
            and not (isinstance(name, str) and isinstance(getattr(cls, name, None), functools.cached_property))
        }


def _is_service(cls: type) -> bool:
    """Say whether a class of a library says nothing of its own of how its objects are pickled: it is not data."""
    names = ("__reduce_ex__", "__reduce__", "__getstate__")
    return (
        all(getattr(cls, name) is getattr(object, name) for name in names)
        and not issubclass(cls, tuple | list | dict | set | frozenset | int | float | str | bytes | BaseException)
        and cls not in dispatch_table
        and not is_own_class(cls)
    )


ATOMS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda value: b"N",
    bool: lambda value: b"T" if value else b"F",
    int: lambda value: b"i%x;" % value,
    float: lambda value: b"f" + _double(value),
    complex: lambda value: b"z" + _double(value.real) + _double(value.imag),
    str: lambda value: b"s" + _text(value),
    bytes: lambda value: b"b%d:%s" % (len(value), value),
    bytearray: lambda value: b"B%d:%s" % (len(value), bytes(value)),
    type(Ellipsis): lambda value: b".",
    type(NotImplemented): lambda value: b"!",
}
CONTAINERS: dict[type, Callable[[Encoder, Any], None]] = {
    list: Encoder._list,
    tuple: Encoder._tuple,
    dict: Encoder._dict,
    set: Encoder._set,
    frozenset: Encoder._frozenset,
    MappingProxyType: Encoder._dict,
}
