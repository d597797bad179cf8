"""What the code of a function reaches: helpers, classes, globals, closures, defaults; as parts of a key.

Each part has a digest of its own, so that a miss can be explained. What is reached is found once and then watched:
most of it by identity, and what can change in place by its content.

What reached code itself changes (a list it appends to, a counter) is not part of a key: it is what the function
does, not what it is made of.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from enum import Enum
from hashlib import blake2b
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from cascade.adapters.caching.atoms import ATOMS
from cascade.adapters.caching.content import Encoder, name_of
from cascade.adapters.caching.functions import (
    GONE,
    hints_of,
    imported,
    method_of,
    reads_hints,
    self_writes,
    tells_of_own,
)
from cascade.adapters.caching.places import is_own_class, is_own_function, is_own_module
from cascade.adapters.caching.proxies import is_proxy
from cascade.adapters.caching.refusals import Unkeyable
from cascade.adapters.caching.schemas import class_contents
from cascade.adapters.caching.uses import ASSIGNED, ITEM, Path, uses_of
from cascade.spec.keys import FUNCTIONS
from cascade.spec.task import Task

__all__ = ["Reach", "digest_of"]

MAKING = frozenset({"__init__", "__new__", "__post_init__", "__set_name__", "__setstate__", "__del__"})
"""Methods that run before anything reaches an object, or after."""
HINTS = frozenset({"__annotations__", "get_annotations", "get_type_hints", "signature"})
"""What code names that goes by the annotations of functions."""
PLAIN = frozenset({bool, int, float, str, bytes})
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

    __slots__ = (
        *("_cells", "_changeable", "_functions", "_registered", "_services", "_sizes", "_watched"),
        *("digest", "keys", "labels", "owners", "parts", "refusals", "root"),
    )

    def __init__(self, root: Any) -> None:
        self.root = root
        self.labels: dict[int, tuple[str, Any]] = {}
        """What each function and class reached is called; it is held here, so that its id stays its own."""
        self.parts: dict[str, str] = {}
        self.keys: dict[Any, Any] = {}
        """The keys of calls that were asked for with plain values, by `mark_of` these."""
        self.refusals: list[tuple[str, Unkeyable]] = []
        """The parts that hold what has no content to see and is no service, and why each has no key."""
        self.owners: dict[type, frozenset[str]] = {}
        """For methods: which attributes of an instance of each class they change."""
        self._registered = dict(FUNCTIONS)
        self._watched: list[tuple[Callable[..., Any], str, Any]] = []
        self._cells: list[tuple[CellType, Any]] = []
        self._functions: list[tuple[FunctionType, CodeType, Any, Any]] = []
        self._sizes: list[tuple[Mapping[str, Any], int]] = []
        """The attributes of functions and classes, and how many there are."""
        self._changeable: list[tuple[Any, dict[int, set[str]], str]] = []
        self._services: dict[int, Any] = {}
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
        for space, size in self._sizes:
            if len(space) != size:
                return False
        if self._registered != FUNCTIONS:
            return False
        return not self._changeable or all(
            self.encoded(value, without)[0] == digest for value, without, digest in self._changeable
        )

    def encoded(self, value: Any, without: dict[int, set[str]]) -> tuple[str, Encoder]:
        """Return the digest of something reached, and the encoder that wrote it, with what it refused."""
        encoder = Encoder(self.token, lenient=True, without=without, services=self._services)
        try:
            encoder.add(value)
        except RecursionError:
            encoder.refusals.append(Unkeyable("it is nested too deep"))
            encoder.out = bytearray(b"too deep")
        return digest_of(encoder.out), encoder

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
        self.values: dict[str, tuple[Any, Any, bool]] = {}
        """What was reached by name: its value, what tells whether it does not count, and whether it stays as it is."""
        self.reads_hints = False
        self.written: set[Any] = set()
        """(id of a namespace, name) and ids of cells that reached code changes."""
        self.without: dict[int, set[str]] = {}
        """The attributes, by object, that reached code changes."""

    def walk(self) -> None:
        reach = self.reach
        self.note("the function itself", reach.root, None)
        self.leave_out(reach.root, ())
        self.follow()
        if self.reads_hints:
            for func, *_ in [*reach._functions]:
                self.note(f"annotations of {reach.labels[id(func)][0]}", hints_of(func), None, fixed=True)
            self.follow()
        for name, (value, place, fixed) in self.values.items():
            if (
                place in self.written
                and place is not None
                and not _is_code(value)
                and not isinstance(value, ContextVar)
            ):
                continue
            if value is GONE:
                reach.parts[name] = "unbound"
                continue
            digest, encoder = reach.encoded(value, self.without)
            reach.parts[name] = digest
            reach.refusals += [(name, error) for error in encoder.refusals]
            if not (fixed or _is_fixed(value) or encoder.out[:1] == b"?"):
                reach._changeable.append((value, self.without, digest))

    def follow(self) -> None:
        while self.waiting:
            label, found = self.waiting.popleft()
            if isinstance(found, type):
                self.look_at_class(label, found)
            else:
                self.look_at_function(label, found)

    def note(self, name: str, value: Any, place: Any, fixed: bool = False) -> None:
        """Take in a value that was reached; what it holds in turn is found by writing it once."""
        if name not in self.values:
            self.values[name] = (value, place, fixed)
            if value is not GONE:
                encoder = Encoder(None, lenient=True)
                try:
                    encoder.add(value)
                except RecursionError:  # then it is refused
                    return
                for each in encoder.found:
                    self.refer(each)

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
        self.look_at_attributes(label, func)

    def look_at_attributes(self, label: str, func: FunctionType) -> None:
        """Take in what stands as attributes at a function; of another's function, what tells of the project's own."""
        space = func.__dict__
        if not space:
            return
        self.reach._sizes.append((space, len(space)))
        own = is_own_function(func)
        wrapped = space.get("__wrapped__")
        if "__wrapped__" in space:
            self.note(f"what {label} wraps", wrapped, None)
        if not own and isinstance(wrapped, FunctionType) and is_own_function(wrapped) and reads_hints(func):
            self.note(f"annotations of {label}", hints_of(wrapped), None, fixed=True)
        for name, value in list(space.items()):
            if name != "__wrapped__" and (own or tells_of_own(value, wrapped)):
                self.reach._watched.append((space.get, name, value))
                self.note(f"{label}.{name}", value, (id(func), name))

    def look_at_function(self, label: str, func: FunctionType) -> None:
        code = func.__code__
        reach = self.reach
        reach._functions.append((func, code, func.__defaults__, func.__kwdefaults__))
        encoder = Encoder(self.refer, lenient=True)
        encoder.code(code)
        reach.parts[f"code of {label}"] = digest_of(encoder.out)
        if func.__defaults__ or func.__kwdefaults__:
            self.note(f"defaults of {label}", (func.__defaults__, func.__kwdefaults__), None)
        self.reach._sizes.append((func.__dict__, len(func.__dict__)))
        self.look_at_attributes(label, func)
        uses = uses_of(code)
        for path in uses.reads:
            self.reads_hints = self.reads_hints or not HINTS.isdisjoint((path[0][1], *path[1]))
            self.read(label, func, path)
        for path in uses.writes:
            self.write(label, func, path)

    def look_at_class(self, label: str, cls: type) -> None:
        own = vars(cls)
        self.note(f"bases of {label}", (type(cls), cls.__bases__), None)
        self.reach._sizes.append((own, len(own)))
        for name, content in class_contents(cls):
            self.note(f"{name} of {label}", content, None, fixed=True)
        if own.get("__annotations__") and "__pydantic_fields__" not in own:  # whoever reads them may go by them
            self.note(f"annotations of {label}", hints_of(cls), None, fixed=True)
        for name, value in list(own.items()):
            if name in UNSEEN or name.startswith("__pydantic_"):
                continue
            if name[:2] == "__" and not (callable(getattr(value, "__func__", value)) or type(value) in PLAIN):
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
        self.leave_out(value, rest)
        if type(value) is FunctionType and rest and rest[0] in value.__dict__:
            held = value.__dict__[rest[0]]
            self.reach._watched.append((value.__dict__.get, rest[0], held))
            self.note(f"{self.reach.labels[id(value)][0]}.{rest[0]}", held, (id(value), rest[0]))

    def leave_out(self, value: Any, rest: tuple[str, ...]) -> None:
        """Take note of what the methods change that code uses of an object of the project's own classes."""
        cls = type(value)
        if value is GONE or not is_own_class(cls) or isinstance(value, FunctionType | type | ModuleType):
            return
        names = rest[:1]
        if not rest or rest[0] == ITEM:  # called, iterated, entered, ...
            own = [base for base in cls.__mro__[:-1] if is_own_class(base)]
            names = tuple(name for base in own for name in vars(base) if name[:2] == "__" and name not in MAKING)
        for method in filter(None, (method_of(cls, name) for name in names)):
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
        elif isinstance(value, FunctionType) and rest and rest[0] not in (ITEM, ASSIGNED):
            self.written.add((id(value), rest[0]))
        elif _is_code(value) and not is_own_class(type(value)):
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
            value = imported(name, func.__globals__)
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
    if is_proxy(value):
        return False
    known = value is GONE or type(value) in ATOMS or isinstance(value, Enum | ModuleType | BuiltinFunctionType)
    if isinstance(value, Task):
        return value.receiver is None
    return (known and type(value) is not bytearray) or isinstance(value, FunctionType | type)
