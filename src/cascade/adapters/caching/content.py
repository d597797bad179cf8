"""Values as bytes that say their content: equal content and types, equal bytes.

Functions and classes are left to `refer`, which knows what code they stand for. What has no content that can be
seen (a lock, a generator) is an `Unkeyable`. Where the encoder is lenient, a service counts by its type alone, and so
does an object of a library that holds one; what else has no content is written down as a refusal.
"""

from __future__ import annotations

import copyreg
import enum
from collections.abc import Callable, Collection, Mapping
from dataclasses import is_dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from pathlib import PurePath
from types import CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

from cascade.adapters.caching.arrays import form_of, is_array
from cascade.adapters.caching.atoms import ATOMS, BY_NAME, text_of
from cascade.adapters.caching.libraries import hidden_by, is_service, rule_for
from cascade.adapters.caching.places import is_own_class
from cascade.adapters.caching.proxies import attributes_of_proxy, is_proxy
from cascade.adapters.caching.refusals import Hidden, Service, Unkeyable, name_of
from cascade.adapters.caching.state import (
    added,
    attributes_of,
    fields_of,
    is_library,
    left_out,
    own_slots,
    parts_of,
    visible,
)
from cascade.spec.keys import FUNCTIONS, function_for
from cascade.spec.resource import Inject
from cascade.spec.task import Task

__all__ = ["Encoder", "Unkeyable", "name_of"]

MOST_KNOWN = 256
DESCRIPTORS = (staticmethod, classmethod, property, cached_property)
HELD = ("__func__", "fget", "fset", "fdel", "func")
"""What descriptors hold."""


class Encoder:
    """Writes values one after the other into `out`.

    Args:
        refer: returns what stands for a function or a class; None collects them in `found`.
        lenient: services count by their type alone; what else is unkeyable is told in `refusals`, and counts so too.
        without: by id of an object, the names of its attributes that do not count.
        services: objects of libraries that were found to be services, by id; more of them are put there.
    """

    __slots__ = ("active", "found", "inside", "lenient", "out", "refer", "refusals", "services", "without", "written")

    def __init__(
        self,
        refer: Callable[[Any], bytes] | None,
        lenient: bool = False,
        without: Mapping[int, set[str]] | None = None,
        services: dict[int, Any] | None = None,
    ) -> None:
        self.out = bytearray()
        self.found: list[Any] = []
        """Functions and classes that were written, but for those inside of services."""
        self.refer = self._collect if refer is None else refer
        self.lenient = lenient
        self.without = without
        self.inside = False
        """Within an object of a library: a service in it makes it one."""
        self.refusals: list[Unkeyable] = []
        self.services = {} if services is None else services
        self.written: dict[int, tuple[Any, bytes]] = {}
        """Objects of libraries and what was written of them: they may hang together in many ways."""
        self.active: dict[int, int] = {}
        """The containers that are being written, by id: one inside itself is written as how far out it is."""

    def _collect(self, value: Any) -> bytes:
        self.found.append(value)
        return b"?"

    def add(self, value: Any) -> None:
        """Write a value.

        Raises:
            Unkeyable: it has no content that can be seen, and the encoder is not lenient.
        """
        write = ATOMS.get(type(value))
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
            inner = CONTAINERS.get(type(value))
            if inner is not None:
                inner(self, value)
            else:
                self._object(value)
        except Unkeyable as error:
            if not self.lenient or (self.inside and isinstance(error, Service)):
                raise
            if not isinstance(error, Service) or isinstance(error, Hidden):
                self.refusals.append(error)
            del self.out[start:]
            self.out += b"?" + text_of(name_of(type(value)))
            if is_own_class(type(value)):
                self.out += self.refer(type(value))
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

    def _proxy(self, value: Any) -> None:
        self.out += b"y"
        self._dict(value)

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
        cls: Any = type(value)
        if FUNCTIONS and (function := function_for(cls)) is not None:
            self._stand_in(value, function, value)
        elif is_proxy(value):
            out += b"P" + self.refer(cls)
            self._dict(attributes_of_proxy(value))
        elif isinstance(value, FunctionType | type):
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
            out += b"n" + text_of(name_of(value))
            if bound is not None and not isinstance(bound, ModuleType):
                self.add(bound)
        elif isinstance(value, CodeType):
            self.code(value)
        elif isinstance(value, ModuleType):
            out += b"M" + text_of(value.__name__)
        elif isinstance(value, Inject):
            out += b"j" + text_of(value.name)
            if not isinstance(value.target, str):
                out += self.refer(value.target.func)
        elif isinstance(value, enum.Enum):
            out += b"e" + self.refer(cls) + text_of(value.name or "")
            self.add(value.value)
            for name in value.__dict__:
                if name[:1] != "_":
                    self._more({each: held for each, held in value.__dict__.items() if each[:1] != "_"})
                    break
        elif isinstance(value, PurePath):
            out += b"p" + text_of(cls.__name__) + text_of(str(value))
            self._added(value)
        elif isinstance(value, DESCRIPTORS):
            out += b"w" + text_of(cls.__name__)
            self._tuple([getattr(value, name) for name in HELD if hasattr(value, name)])
            self._added(value)
        else:
            self._instance(value)

    def _instance(self, value: Any) -> None:
        """Write an object that is neither code nor of a plain type."""
        cls: Any = type(value)
        write = _way_of(cls)
        if write is None:
            wrapped = getattr(value, "__wrapped__", None)
            if callable(wrapped):
                self.out += b"w" + text_of(name_of(cls))
                self.add(wrapped)
                self._more({name: held for name, held in getattr(value, "__dict__", {}).items() if name[:2] != "__"})
                return
            write = _way_of_data(cls)
        write(self, value)

    def _ruled(self, value: Any) -> None:
        rule = rule_for(value.__class__)
        assert rule is not None
        self._stand_in(value, rule, value, self.lenient)
        self._more(own_slots(value))

    def _stand_in(self, value: Any, function: Callable[..., Any], *given: Any) -> None:
        """Write what a function gives that says what stands for an object."""
        cls: Any = type(value)
        try:
            found = function(*given)
        except Unkeyable:
            raise
        except Exception as error:
            raise Unkeyable(f"what stands for a {cls.__name__} failed: {type(error).__name__}: {error}") from None
        self.out += b"k" + self.refer(cls)
        self.add(found)

    def _added(self, value: Any) -> None:
        """Write what a class of the project adds to one whose objects are written in a way of their own."""
        if is_own_class(type(value)):
            self.out += b"x" + self.refer(type(value))
            self._more(visible(value, added(value), self._hidden(value)))

    def _more(self, attributes: dict[str, Any]) -> None:
        """Write attributes that most objects of a kind do not have, where there are any."""
        if attributes:
            self.out += b"+"
            self._dict(attributes)

    def _hidden(self, value: Any) -> Collection[str]:
        return () if self.without is None else self.without.get(id(value), ())

    def code(self, code: CodeType) -> None:
        """Write what a code object does: not where it stands, and not what it is called."""
        out = self.out
        flags = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        out += b"c%d;%d;%d;%d;" % flags
        for data in (code.co_code, code.co_exceptiontable):
            out += b"%d:%s" % (len(data), data)
        for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars):
            out += text_of(",".join(names))
        self._tuple(code.co_consts)

    def _array(self, value: Any) -> None:
        form = form_of(value)
        self.out += b"a" + b"".join(map(text_of, form.kind))
        self._tuple(form.shape)
        if isinstance(form.content, bytes):
            self.out += b"%d:" % len(form.content)
            self.out += form.content
        else:
            self.add(form.content)
        for each in form.more:
            self.add(each)
        self._more(own_slots(value))

    def _fields(self, value: Any) -> None:
        """Write a dataclass by its fields, and by what it holds beside them."""
        cls: Any = type(value)
        names, plain = fields_of(cls)
        hidden = self._hidden(value)
        self.out += b"d" + self.refer(cls)
        try:
            found = {name: getattr(value, name) for name in names}
        except AttributeError:
            found = {name: getattr(value, name) for name in names if hasattr(value, name)}
        self._dict({name: found[name] for name in found if name not in hidden} if hidden else found)
        if not plain:
            self._beyond(value, names, hidden)
        elif not (space := getattr(value, "__dict__", names)).keys() <= names.keys():
            self._more(visible(value, {name: space[name] for name in space if name not in names}, hidden))

    def _beyond(self, value: Any, names: Collection[str], hidden: Collection[str]) -> None:
        """Write of a dataclass over something else what is not in its fields."""
        cls: Any = type(value)
        parts = parts_of(value)
        if isinstance(parts, str):
            return
        make, arguments, state, items, pairs = parts
        if make is not copyreg.__newobj__ or arguments != (cls,):  # type: ignore[attr-defined]
            self.add(make)
            self.add(arguments)
        attributes = {name: held for name, held in attributes_of(value).items() if name not in names}
        self._more(visible(value, attributes, hidden))
        if cls.__reduce_ex__ is not object.__reduce_ex__ or cls.__reduce__ is not object.__reduce__:
            self.add(state)
        if items is not None or pairs is not None:
            self._items(items, pairs)

    def _items(self, *contents: Any) -> None:
        for found in contents:
            self.add(None if found is None else list(found))

    def _reduced(self, value: Any) -> None:
        """Write an object by what `pickle` and `copy` would make it of.

        Raises:
            Unkeyable: they could not.
        """
        cls: Any = type(value)
        if why := hidden_by(cls):
            raise Hidden(why)
        spent = hasattr(value, "__next__") or hasattr(value, "__anext__")
        if spent and not (self.lenient and is_own_class(cls)):
            raise Service(f"a {cls.__name__} is spent by reading it")
        if cls is object:
            raise Service("a plain object() has no content")
        if not self.lenient:
            self._parts(value)
        elif is_service(cls):
            raise Service(f"a {cls.__name__} is a service")
        elif is_library(cls):
            self._library(value)
        else:
            self._parts(value)

    def _library(self, value: Any) -> None:
        """Write an object of a library once, unless there is a service in it, which makes it one."""
        mark = id(value)
        if mark in self.services:
            raise Service(f"a {type(value).__name__} is a service")
        known = self.written.get(mark)
        if known is None:
            outside, refusals, found, out = self.inside, len(self.refusals), len(self.found), self.out
            self.inside, self.out = True, bytearray()
            try:
                self._parts(value)
                known = self.written[mark] = (value, blake2b(self.out, digest_size=20).digest())
            except Service:
                del self.refusals[refusals:], self.found[found:]
                if len(self.services) < MOST_KNOWN:
                    self.services[mark] = value
                raise
            finally:
                self.inside, self.out = outside, out
        self.out += b"@" + known[1]

    def _parts(self, value: Any) -> None:
        parts = parts_of(value)
        if isinstance(parts, str):
            self.out += b"n" + text_of(f"{type(value).__module__}:{parts}")
            return
        make, arguments, state, items, pairs = parts
        self.out += b"o"
        self.add(make)
        self.add(arguments)
        hidden = self._hidden(value)
        attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
        for held in (attributes, slots):
            counts = visible(value, held, hidden) if type(held) is dict else held
            if type(counts) is dict and (counts or not hidden):
                self._dict(counts)
            else:
                self.add(counts or None if hidden else counts)
        self._items(items, pairs)
        self._more(visible(value, left_out(value, state), hidden))
        if isinstance(value, BaseException) and value.__cause__ is not None:
            self._more({"__cause__": value.__cause__})


@lru_cache(maxsize=1024)
def _way_of(cls: type) -> Callable[[Encoder, Any], None] | None:
    """Return how the objects of a class are written; None: look if they wrap something first."""
    return _way_of_data(cls) if is_own_class(cls) or is_array(cls) else None


@lru_cache(maxsize=1024)
def _way_of_data(cls: type) -> Callable[[Encoder, Any], None]:
    if is_array(cls):
        return Encoder._array
    if is_dataclass(cls):
        return Encoder._fields
    return Encoder._reduced if rule_for(cls) is None else Encoder._ruled


CONTAINERS: dict[type, Callable[[Encoder, Any], None]] = {
    list: Encoder._list,
    tuple: Encoder._tuple,
    dict: Encoder._dict,
    set: Encoder._set,
    frozenset: Encoder._frozenset,
    MappingProxyType: Encoder._proxy,
}
