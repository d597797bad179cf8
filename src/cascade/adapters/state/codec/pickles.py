"""Pickles of what has no readable form, held to names that a record may use: when written, and again when read.

A pickle names what it calls to be read. Here that is no function of the standard library but those that rebuild plain
values, and nothing that is not loaded. It is the second fence: an object of the program's own may do anything when it
is made. The first is that nobody else can write to the store, or that its pickles are signed.
"""

from __future__ import annotations

import enum
import io
import pickle
import sys
from collections.abc import Sequence
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from cascade.adapters.state.codec.names import find
from cascade.errors import StateError
from cascade.spec.notes import spelled

__all__ = ["pickled", "unpickled"]

PLAIN_MODULES = frozenset(
    {
        *("_datetime", "_decimal", "_pydatetime", "_pydecimal", "array", "ast", "collections", "datetime", "decimal"),
        *("fractions", "ipaddress", "numbers", "pathlib", "pathlib._local", "statistics", "uuid", "zoneinfo"),
    }
)
"""Modules of the standard library that only hold values."""
PLAIN_NAMES = frozenset(
    {
        *(f"builtins:{name}" for name in ("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset")),
        *(f"builtins:{name}" for name in ("int", "list", "object", "range", "set", "slice", "str", "tuple")),
        *("_io:BytesIO", "_io:StringIO", "argparse:Namespace", "copyreg:__newobj__", "copyreg:__newobj_ex__"),
        *("copyreg:_reconstructor", "functools:partial", "operator:itemgetter", "random:Random", "re:_compile"),
        *("types:SimpleNamespace", "types:GenericAlias", "xml.etree.ElementTree:Element"),
    }
)
FUNCTIONS = (FunctionType, BuiltinFunctionType)
METHODS = (MethodType, BuiltinFunctionType)
COMPILED = frozenset({"cython_function_or_method", "fused_cython_function", "ufunc"})
"""Functions of libraries that are of a type of their own."""


def pickled(value: object) -> bytes:
    """Return the pickle of a value.

    Raises:
        StateError: it does not pickle, or could not be read again.
    """
    file = io.BytesIO()
    try:
        _Pickler(file, protocol=5).dump(value)
    except StateError:
        raise
    except Exception as error:  # whatever a class raises of its own
        raise StateError(f"it does not pickle ({spelled(error)})") from error
    return file.getvalue()


def unpickled(data: bytes | memoryview, allow: Sequence[str]) -> Any:
    """Return the value of a pickle that names nothing but what it may."""
    return _Unpickler(io.BytesIO(data), allow).load()


class _Pickler(pickle.Pickler):
    """Refuses at once what would be refused when it is read."""

    def reducer_override(self, obj: Any) -> Any:
        """Look at classes and functions; have members of enums named in one way on every Python."""
        cls: Any = type(obj)
        if issubclass(cls, METHODS) and isinstance(obj.__self__, type):
            return _method, (obj.__self__, obj.__name__)
        if issubclass(cls, METHODS) and not isinstance(obj.__self__, ModuleType | None):
            raise StateError("it holds a method of an object; give what it is a method of")
        if issubclass(cls, type) or issubclass(cls, FUNCTIONS) or cls.__name__ in COMPILED:
            _check(obj, f"{obj.__module__}.{getattr(obj, '__qualname__', obj.__name__)}")
        elif issubclass(cls, enum.Enum) and cls.__members__.get(obj._name_) is obj:
            return _member, (cls, obj._name_)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    """Finds what a record may name."""

    def __init__(self, file: io.BytesIO, allow: Sequence[str]) -> None:
        super().__init__(file)
        self._allow = allow

    def find_class(self, module: str, name: str, /) -> Any:
        """Return a class or a function that a record may name."""
        found = find(f"{module}:{name}", self._allow)
        _check(found, f"{module}.{name}")
        return found

    def persistent_load(self, pid: Any) -> Any:
        """Refuse what a pickle leaves out: nothing is written in this way."""
        raise StateError(f"the record refers to something outside of it ({pid!r:.40})")


def _member(cls: type[enum.Enum], name: str) -> enum.Enum:
    """Return a member of an enum."""
    if not issubclass(cls, enum.Enum) or name not in cls.__members__:
        raise StateError(f"the record holds {cls.__qualname__}.{name}, and there is none")
    return cls.__members__[name]


def _method(cls: type, name: str) -> Any:
    """Return a method of a class itself, as one that makes an object anew."""
    found = getattr(cls, name)
    if (
        not isinstance(cls, type)
        or name.startswith("__")
        or not isinstance(found, METHODS)
        or found.__self__ is not cls
    ):
        raise StateError(f"the record names {cls!r:.40}.{name}, which records may not")
    return found


def _check(found: Any, name: str) -> None:
    """Raise StateError for what a record may not name."""
    cls = type(found)
    is_class = isinstance(found, type)
    if is_class or issubclass(cls, FUNCTIONS) or cls.__name__ in COMPILED:
        home = getattr(found, "__module__", None) or "builtins"
        if home.partition(".")[0] not in sys.stdlib_module_names or home in PLAIN_MODULES:
            return
        if f"{home}:{found.__qualname__}" in PLAIN_NAMES:
            return
        if is_class and issubclass(found, (BaseException, enum.Enum, tuple)):
            return
    elif found is Ellipsis or found is NotImplemented or (not callable(found) and not isinstance(found, ModuleType)):
        return
    raise StateError(f"it names {name}, which records may not: reading it could run code")
