"""What the code of a function reaches: helpers, classes, globals, closures, defaults; as parts of a key.

Each part has a digest of its own, so that a miss can be explained. What is reached is found once and then watched:
most of it by identity, and what can change in place by its content.

What reached code itself changes (a list it appends to, a counter) is not part of a key: it is what the function
does, not what it is made of.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections import deque
from collections.abc import Callable
from enum import Enum
from hashlib import blake2b
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from cascade.adapters.caching.content import ATOMS, Encoder, name_of
from cascade.adapters.caching.places import is_own_class, is_own_function, is_own_module
from cascade.adapters.caching.uses import ASSIGNED, ITEM, Path, uses_of
from cascade.spec.task import Task

__all__ = ["Reach", "digest_of", "self_writes"]

GONE: Final = object()
UNSEEN = frozenset(
    {
        *("__abstractmethods__", "__annotate__", "__annotations__", "__annotations_cache__", "__classdictcell__"),
        *("__dataclass_fields__", "__dataclass_params__", "__dict__", "__doc__", "__firstlineno__", "__hash__"),
        *("__annotate_func__", "__conditional_annotations__", "__match_args__", "__module__", "__orig_bases__"),
        *("__parameters__", "__qualname__", "__static_attributes__", "__weakref__", "_abc_impl"),
    }
)
"""Attributes of a class that say nothing of what it does."""


def digest_of(data: bytes | bytearray) -> str:
    """Return a digest as text."""
    return blake2b(data, digest_size=20).hexdigest()


class Reach:
    """What a function or class reaches.

    `parts` are digests by what each part is called, `digest` is one of them all.
    """

    __slots__ = ("_cells", "_changeable", "_functions", "_watched", "digest", "labels", "owners", "parts", "root")

    def __init__(self, root: Any) -> None:
        self.root = root
        self.labels: dict[int, tuple[str, Any]] = {}
        """What each function and class reached is called; it is held here, so that its id stays its own."""
        self.parts: dict[str, str] = {}
        self.owners: dict[type, frozenset[str]] = {}
        """For methods: which attributes of an instance of each class they change."""
        self._watched: list[tuple[Callable[..., Any], str, Any]] = []
        self._cells: list[tuple[CellType, Any]] = []
        self._functions: list[tuple[FunctionType, CodeType, Any, Any]] = []
        self._changeable: list[tuple[Any, dict[int, set[str]], str]] = []
        _Walk(self).walk()
        listed = "\n".join(f"{name}\t{part}" for name, part in sorted(self.parts.items()))
        self.digest = blake2b(listed.encode("utf-8", "surrogatepass"), digest_size=20).digest()

    def is_current(self) -> bool:
        """Say whether everything reached is still what it was."""
        for get, name, value in self._watched:
            if get(name, GONE) is not value:
                return False
        for cell, value in self._cells:
            if _content(cell) is not value:
                return False
        for func, code, defaults, keywords in self._functions:
            if func.__code__ is not code or func.__defaults__ is not defaults or func.__kwdefaults__ is not keywords:
                return False
        return all(self.encoded(value, self.token, without) == digest for value, without, digest in self._changeable)

    @staticmethod
    def encoded(value: Any, refer: Callable[[Any], bytes], without: dict[int, set[str]]) -> str:
        """Return the digest of something reached; what is unkeyable in it counts by its type."""
        encoder = Encoder(refer, lenient=True, without=without)
        try:
            encoder.add(value)
        except RecursionError:
            return "too deep"
        return digest_of(encoder.out)

    def token(self, value: Any) -> bytes:
        """Return what stands for a function or class that was reached."""
        known = self.labels.get(id(value))
        return b"?" if known is None else known[0].encode("utf-8", "surrogatepass") + b";"

    def written_of(self, cls: type) -> frozenset[str]:
        """Return which attributes of `self` a method changes, itself or by other methods."""
        found = self.owners.get(cls)
        if found is None:
            found = self.owners[cls] = frozenset(self_writes(cls, self.root, set()))
        return found


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return GONE


class _Walk:
    """One look at all that is reached."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        self.waiting: deque[tuple[str, Any]] = deque()
        self.counts: dict[str, int] = {}
        self.values: dict[str, tuple[Any, Any]] = {}
        """What was reached by name: its value, and what tells whether it does not count."""
        self.written: set[Any] = set()
        """(id of a namespace, name) and ids of cells that reached code changes."""
        self.without: dict[int, set[str]] = {}
        """The attributes, by object, that reached code changes."""

    def walk(self) -> None:
        reach = self.reach
        self.note("the function itself", reach.root, None)
        while self.waiting:
            label, found = self.waiting.popleft()
            if isinstance(found, type):
                self.look_at_class(label, found)
            else:
                self.look_at_function(label, found)
        for name, (value, place) in self.values.items():
            if place in self.written and place is not None and not _is_code(value):
                continue
            digest = reach.encoded(value, reach.token, self.without) if value is not GONE else "unbound"
            reach.parts[name] = digest
            if not _is_fixed(value):
                reach._changeable.append((value, self.without, digest))

    def note(self, name: str, value: Any, place: Any) -> None:
        """Take in a value that was reached; what it holds in turn is found by writing it once."""
        if name not in self.values:
            self.values[name] = (value, place)
            if value is not GONE:
                Reach.encoded(value, self.refer, {})

    # --- functions and classes

    def refer(self, value: Any) -> bytes:
        """Give a function or class a label, and look at it later if it is the project's own."""
        reach = self.reach
        known = reach.labels.get(id(value))
        if known is None:
            label = name_of(value)
            count = self.counts[label] = self.counts.get(label, 0) + 1
            if count > 1:
                label = f"{label} ({count})"
            reach.labels[id(value)] = (label, value)
            if isinstance(value, type):
                if is_own_class(value):
                    self.waiting.append((label, value))
            elif is_own_function(value):
                self.waiting.append((label, value))
            else:
                self.look_into(label, value)
        return reach.token(value)

    def look_into(self, label: str, func: FunctionType) -> None:
        """Find the project's functions that another's function wraps."""
        for name, cell in zip(func.__code__.co_freevars, func.__closure__ or (), strict=True):
            value = _content(cell)
            if _is_code(value):
                self.reach._cells.append((cell, value))
                self.note(f"closure variable {name!r} of {label}", value, None)
        if "__wrapped__" in func.__dict__:
            self.note(f"what {label} wraps", func.__dict__["__wrapped__"], None)

    def look_at_function(self, label: str, func: FunctionType) -> None:
        code = func.__code__
        reach = self.reach
        reach._functions.append((func, code, func.__defaults__, func.__kwdefaults__))
        encoder = Encoder(self.refer, lenient=True)
        encoder.code(code)
        reach.parts[f"code of {label}"] = digest_of(encoder.out)
        if func.__defaults__ or func.__kwdefaults__:
            self.note(f"defaults of {label}", (func.__defaults__, func.__kwdefaults__), None)
        if "__wrapped__" in func.__dict__:
            self.note(f"what {label} wraps", func.__dict__["__wrapped__"], None)
        uses = uses_of(code)
        for path in uses.reads:
            self.read(label, func, path)
        for path in uses.writes:
            self.write(label, func, path)

    def look_at_class(self, label: str, cls: type) -> None:
        own = vars(cls)
        self.note(f"bases of {label}", (type(cls), cls.__bases__), None)
        for name, value in list(own.items()):
            if name in UNSEEN or (name[:2] == "__" and not callable(getattr(value, "__func__", value))):
                continue
            if issubclass(cls, Enum) and name[:1] == "_" and not isinstance(value, FunctionType):
                continue
            self.reach._watched.append((own.get, name, value))
            self.note(f"{label}.{name}", value, (id(cls), name))

    # --- names

    def read(self, label: str, func: FunctionType, path: Path) -> None:
        found = self.resolve(label, func, path, watch=True)
        if found is None:
            return
        name, value, rest, place = found
        self.note(name, value, place)
        cls = type(value)
        if rest and value is not GONE and not _is_code(value) and not isinstance(value, ModuleType):
            method = _method(cls, rest[0])
            if method is not None and is_own_class(cls):
                self.without.setdefault(id(value), set()).update(self_writes(cls, method, set()))

    def write(self, label: str, func: FunctionType, path: Path) -> None:
        found = self.resolve(label, func, path, watch=False)
        if found is None:
            return
        _, value, rest, place = found
        if isinstance(value, ModuleType):
            if rest and rest[0] not in (ITEM, ASSIGNED):
                self.written.add((id(vars(value)), rest[0]))
        elif isinstance(value, type):
            if rest and rest[0] not in (ITEM, ASSIGNED):
                self.written.add((id(value), rest[0]))
        elif _is_code(value):
            return
        elif rest and rest[0] not in (ITEM, ASSIGNED):
            self.without.setdefault(id(value), set()).add(rest[0])
        elif rest or not is_own_class(type(value)):  # a method of the project's own says what it changes
            self.written.add(place)

    def resolve(
        self, label: str, func: FunctionType, path: Path, watch: bool
    ) -> tuple[str, Any, tuple[str, ...], Any] | None:
        """Return of a path: what its end is called, its value, the attributes left over, and where it stands."""
        (kind, name), rest = path
        reach = self.reach
        place: Any
        if kind == "global":
            space = func.__globals__
            value = space.get(name, GONE)
            place = (id(space), name)
            if watch:
                reach._watched.append((space.get, name, value))
            if value is GONE and _is_builtin(name):
                return None
            shown = f"{space.get('__name__', '?')}.{name}"
        elif kind == "free":
            code = func.__code__
            if name not in code.co_freevars:
                return None
            cell = (func.__closure__ or ())[code.co_freevars.index(name)]
            value = _content(cell)
            place = id(cell)
            if watch:
                reach._cells.append((cell, value))
            shown = f"closure variable {name!r} of {label}"
        elif kind == "import":
            value = _imported(name, func.__globals__)
            place = None
            shown = f"import of {name}"
        else:
            return None
        while isinstance(value, ModuleType) and rest and rest[0] not in (ITEM, ASSIGNED) and is_own_module(value):
            space = vars(value)
            place, shown = (id(space), rest[0]), f"{value.__name__}.{rest[0]}"
            value, rest = space.get(rest[0], GONE), rest[1:]
            if watch:
                reach._watched.append((space.get, place[1], value))
        return shown, value, rest, place


def _imported(name: str, space: dict[str, Any]) -> Any:
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


def _is_builtin(name: str) -> bool:
    import builtins

    return hasattr(builtins, name)


def _is_code(value: Any) -> bool:
    """Say whether a value is something to call that was written by somebody, rather than data."""
    return isinstance(
        value, FunctionType | type | MethodType | Task | staticmethod | classmethod | property
    ) or callable(getattr(value, "__wrapped__", None))


def _is_fixed(value: Any) -> bool:
    """Say whether a value can only change by being replaced, which is watched."""
    if isinstance(value, tuple | frozenset):
        return all(map(_is_fixed, value))
    known = value is GONE or value.__class__ in ATOMS or isinstance(value, Enum | ModuleType | BuiltinFunctionType)
    if isinstance(value, Task):
        return value.receiver is None
    return (known and type(value) is not bytearray) or isinstance(value, FunctionType | type)


def _method(cls: type, name: str) -> FunctionType | None:
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
            inner = _method(cls, attributes[0])
            if inner is not None:
                found |= self_writes(cls, inner, seen)
    return found
