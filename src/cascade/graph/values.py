"""Plain values as JSON and back, and functions by module and name.

JSON has no tuples, sets, bytes, NaN or dicts with other keys than text: an object with one key that begins with
`$` stands for such a value. Functions and classes are `module:qualified name`, and read back only from modules
that the reader allows.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Collection
from enum import Enum, Flag
from importlib import import_module
from math import isfinite
from types import ModuleType
from typing import Any

from cascade.spec.control import Value
from cascade.spec.graph import Pack
from cascade.spec.lazy import Lazy
from cascade.spec.resource import Inject, Resource
from cascade.spec.task import Task

__all__ = ["Unwritable", "decode", "encode", "named_tuple", "reference_of", "resolve"]

MOST_DEPTH = 200
HUGE = 1 << 4096
RECORDS = "cascade.spec."
"""Records of these modules (policies) are written by their fields."""
PLAIN_TYPES = {
    each.__name__: each
    for each in (int, str, float, bool, complex, bytes, list, tuple, dict, set, frozenset, object, type(None))
}


STANDARD_HOMES = frozenset({"datetime", "decimal", "fractions", "pathlib", "uuid"})
TEXTS = frozenset(
    {
        *("datetime:date", "datetime:time", "datetime:datetime", "decimal:Decimal", "fractions:Fraction"),
        *("uuid:UUID", "pathlib:Path", "pathlib:PurePath"),
    }
)


class Unwritable(TypeError):
    """A value that JSON cannot carry; the message says why."""


# --- names of functions, classes and resources


def reference_of(found: Any) -> str | None:
    """Return `module:qualified name` if that leads back to this function, task, class or resource, else None."""
    func = found.func if isinstance(found, (Task, Resource)) else found
    name = getattr(func, "__qualname__", None)
    module = getattr(func, "__module__", None)
    if not isinstance(name, str) or not isinstance(module, str):
        return None
    home = sys.modules.get(module)
    at: Any = home
    for part in name.split("."):
        at = getattr(at, part, None)
    if at is not None and (at is found or at is func):
        return f"{module}:{name}"
    if isinstance(found, (Task, Resource)):
        for other, value in vars(home).items() if home is not None else ():
            if value is found:
                return f"{module}:{other}"
    return f"{module}:{name}" if isinstance(at, Task) and at.func is func else None


def resolve(reference: str, allow: Collection[str], what: str) -> Any:
    """Import what a reference names.

    Args:
        allow: the modules that may be imported; a package allows what is inside it.
        what: who needs it, for messages.

    Raises:
        ImportError: its module is not allowed, or it is not there.
    """
    module, _, path = reference.partition(":")
    if not any(module == each or module.startswith(f"{each}.") for each in allow):
        hint = (
            "; it was in the script that was run, so move it to a module that can be imported"
            if module == "__main__"
            else f'; allow it: cs.from_json(text, allow=["{module.partition(".")[0]}"])'
        )
        raise ImportError(f"{what} needs {reference}, from a module that is not allowed{hint}")
    try:
        found: Any = import_module(module)
    except ImportError as error:
        raise ImportError(f"{what} needs {reference}, and {module} cannot be imported: {error}") from error
    for part in path.split("."):
        found = None if found is None else getattr(found, part, None)
        if isinstance(found, ModuleType):
            found = None
    func = found.func if isinstance(found, (Task, Resource)) else found
    if found is None or getattr(func, "__module__", None) != module:
        raise ImportError(f"{what} needs {reference}, but {module} has nothing of this name of its own")
    return found


# --- values


def encode(value: Any, depth: int = 0) -> Any:
    """Return what JSON has for a value.

    Raises:
        Unwritable: it has nothing.
    """
    cls = value.__class__
    if value is None or cls is bool or cls is str:
        return value
    if cls is int:
        return value if -HUGE < value < HUGE else {"$int": hex(value)}
    if cls is float:
        return value if isfinite(value) else {"$float": repr(value)}
    if depth > MOST_DEPTH:
        raise Unwritable(f"it is nested more than {MOST_DEPTH} deep, or holds itself")
    if cls in (list, tuple, set, frozenset):
        items = [encode(item, depth + 1) for item in value]
        return items if cls is list else {f"${cls.__name__}": items}
    if cls is dict:
        if all(key.__class__ is str and not key.startswith("$") for key in value):
            return {key: encode(item, depth + 1) for key, item in value.items()}
        return {"$dict": [[encode(key, depth + 1), encode(item, depth + 1)] for key, item in value.items()]}
    return _encode_other(value, cls, depth)


def _encode_other(value: Any, cls: type, depth: int) -> Any:
    if cls is bytes:
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    if cls is complex:
        return {"$complex": [encode(value.real), encode(value.imag)]}
    if cls is range:
        return {"$range": [value.start, value.stop, value.step]}
    if cls is Value:
        return {"$value": encode(value.value, depth + 1)}
    if cls is Inject:
        target = value.target
        return {"$inject": target if isinstance(target, str) else {"$ref": _named(target)}}
    if isinstance(value, (Lazy, Pack)):
        raise Unwritable(f"it is or holds {value!r} as a plain value")
    if isinstance(value, Task):
        return {"$task": _named(value)}
    if isinstance(value, Enum):
        return _encode_enum(value, cls)
    if cls.__module__.partition(".")[0] in STANDARD_HOMES:
        form = _encode_standard(value, cls)
        if form is not None:
            return form
    if isinstance(value, tuple) and hasattr(cls, "_fields"):
        return {"$namedtuple": [_named(cls), [encode(item, depth + 1) for item in value]]}
    if cls.__module__.startswith(RECORDS):
        fields = [name for name in getattr(cls, "__slots__", ()) if name != "__weakref__"]
        return {"$record": [_named(cls), {name: encode(getattr(value, name), depth + 1) for name in fields}]}
    if isinstance(value, type) or callable(value):
        return {"$ref": _named(value)}
    raise Unwritable(f"JSON has nothing for {_shown(value)}")


def _encode_enum(value: Any, cls: Any) -> dict[str, Any]:
    """Write a member by its name; of flags, what is no single one by its number."""
    if cls.__members__.get(value.name) is value:
        return {"$enum": [_named(cls), value.name]}
    if isinstance(value, Flag):
        return {"$flag": [_named(cls), encode(value.value)]}
    raise Unwritable(f"{_shown(value)} is no member of its enumeration")


def _encode_standard(value: Any, cls: type) -> dict[str, Any] | None:
    """Write what the standard library has for one word of text: dates, durations, decimals, paths and the like."""
    home, name = cls.__module__.partition(".")[0], cls.__name__
    if home == "pathlib":
        return {"$text": ["pathlib:PurePath" if name.startswith("Pure") else "pathlib:Path", str(value)]}
    if name in ("date", "time", "datetime"):
        zone = getattr(value, "tzinfo", None)
        if getattr(value, "fold", 0) or type(zone).__name__ not in ("NoneType", "timezone"):
            raise Unwritable(f"{_shown(value)} has a zone or a fold that its text does not say")
        return {"$text": [f"datetime:{name}", value.isoformat()]}
    if name == "timedelta":
        return {"$timedelta": [value.days, value.seconds, value.microseconds]}
    if name in ("Decimal", "Fraction", "UUID"):
        return {"$text": [f"{home}:{name}", str(value)]}
    return None


def _named(found: Any) -> str:
    name = reference_of(found)
    if name is None:
        raise Unwritable(f"{_shown(found)} cannot be imported by its name")
    return name


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) < 80 else text[:77] + '...'} ({type(value).__name__})"


def decode(form: Any, allow: Collection[str], what: str) -> Any:
    """Return the value that `encode` wrote.

    Raises:
        ImportError: it needs something from a module that is not allowed, or that is not there.
        ValueError: nothing wrote this.
    """
    if form.__class__ is list:
        return [decode(item, allow, what) for item in form]
    if form.__class__ is not dict:
        return form
    if len(form) == 1:
        [(key, inner)] = form.items()
        if key.startswith("$"):
            reader = _READERS.get(key)
            if reader is None:
                raise ValueError(f"{what}: {key!r} is no form of a value")
            return reader(inner, allow, what)
    return {key: decode(item, allow, what) for key, item in form.items()}


def _plain_type(name: str, allow: Collection[str], what: str) -> Any:
    module, _, path = name.partition(":")
    if module == "builtins":
        import builtins

        found = PLAIN_TYPES.get(path) or getattr(builtins, path, None)
        if found in PLAIN_TYPES.values() or (isinstance(found, type) and issubclass(found, BaseException)):
            return found
    return resolve(name, allow, what)


def _record(inner: Any, allow: Collection[str], what: str) -> Any:
    name, fields = inner
    if not name.startswith(RECORDS):
        raise ValueError(f"{what}: {name} is no record of Cascade's own")
    cls = resolve(name, ["cascade.spec"], what)
    known = getattr(cls, "__slots__", ())
    if not isinstance(cls, type) or issubclass(cls, Lazy) or not set(fields) <= set(known):
        raise ValueError(f"{what}: {name} is no record with the fields {', '.join(fields)}")
    record = object.__new__(cls)
    for field, value in fields.items():
        object.__setattr__(record, field, decode(value, allow, what))
    return record


def named_tuple(reference: str, items: list[Any], allow: Collection[str], what: str) -> Any:
    """Return a named tuple of the class that a reference names."""
    own = reference.startswith(RECORDS)
    cls = resolve(reference, ["cascade.spec"] if own else allow, what)
    if not (isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")):
        raise ValueError(f"{what}: {reference} is no named tuple")
    return cls(*items)


def _namedtuple(inner: Any, allow: Collection[str], what: str) -> Any:
    return named_tuple(inner[0], decode(inner[1], allow, what), allow, what)


def _task(inner: Any, allow: Collection[str], what: str) -> Any:
    found = resolve(inner, allow, what)
    if not isinstance(found, Task):
        raise ImportError(f"{what} needs the task {inner}, which is no task")
    return found


def _inject(inner: Any, allow: Collection[str], what: str) -> Inject:
    if isinstance(inner, str):
        return Inject(inner)
    found = resolve(inner["$ref"], allow, what)
    if not isinstance(found, Resource):
        raise ImportError(f"{what} needs the resource {inner['$ref']}, which is no resource")
    return Inject(found)


def _enum(inner: Any, allow: Collection[str], what: str) -> Any:
    cls = resolve(inner[0], allow, what)
    if not (isinstance(cls, type) and issubclass(cls, Enum)):
        raise ValueError(f"{what}: {inner[0]} is no enumeration")
    return cls[inner[1]]


def _flag(inner: Any, allow: Collection[str], what: str) -> Any:
    cls = resolve(inner[0], allow, what)
    if not (isinstance(cls, type) and issubclass(cls, Flag)):
        raise ValueError(f"{what}: {inner[0]} is no enumeration of flags")
    return cls(decode(inner[1], allow, what))


def _standard(inner: Any, allow: Collection[str], what: str) -> Any:
    name, text = inner
    if name not in TEXTS:
        raise ValueError(f"{what}: {name} is no type that is written as text")
    module, _, path = name.partition(":")
    cls = getattr(import_module(module), path)
    return cls.fromisoformat(text) if module == "datetime" else cls(text)


def _timedelta(inner: Any, allow: Collection[str], what: str) -> Any:
    return import_module("datetime").timedelta(*inner)


_READERS: dict[str, Callable[[Any, Collection[str], str], Any]] = {
    "$int": lambda inner, allow, what: int(inner, 16),
    "$float": lambda inner, allow, what: float(inner),
    "$complex": lambda inner, allow, what: complex(*decode(inner, allow, what)),
    "$bytes": lambda inner, allow, what: base64.b64decode(inner),
    "$range": lambda inner, allow, what: range(*inner),
    "$tuple": lambda inner, allow, what: tuple(decode(inner, allow, what)),
    "$set": lambda inner, allow, what: set(decode(inner, allow, what)),
    "$frozenset": lambda inner, allow, what: frozenset(decode(inner, allow, what)),
    "$dict": lambda inner, allow, what: {decode(k, allow, what): decode(v, allow, what) for k, v in inner},
    "$value": lambda inner, allow, what: Value(decode(inner, allow, what)),
    "$ref": _plain_type,
    "$record": _record,
    "$namedtuple": _namedtuple,
    "$task": _task,
    "$inject": _inject,
    "$enum": _enum,
    "$flag": _flag,
    "$text": _standard,
    "$timedelta": _timedelta,
}
