"""How records are read: dataclasses, attrs classes, named tuples and TypedDicts, from JSON objects."""

from __future__ import annotations

import difflib
import json
import typing
from collections.abc import Callable, Iterable
from typing import Any

from cascade.spec.scalars import ANY, Reading, Refused, refuse

__all__ = ["is_record", "record"]

Find = Callable[[Any, dict[Any, Any]], Reading]


def is_record(cls: type) -> bool:
    """Say whether a class is a dataclass, an attrs class, a named tuple or a TypedDict."""
    known = hasattr(cls, "__dataclass_fields__") or hasattr(cls, "__attrs_attrs__")
    return known or _is_named(cls) or _is_typed_dict(cls)


def _is_named(cls: type) -> bool:
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


def _is_typed_dict(cls: type) -> bool:
    return issubclass(cls, dict) and hasattr(cls, "__required_keys__")


class _Fields:
    """What a record is made of: how each part is read, and which must be there."""

    def __init__(self, cls: Any, find: Find, known: dict[Any, Any]) -> None:
        self.cls = cls
        try:
            hints = typing.get_type_hints(cls, include_extras=True)
        except NameError as error:
            raise TypeError(f"{cls.__name__} has a field whose type is not there: {error}") from None
        if _is_typed_dict(cls):
            names, needed = list(hints), set(cls.__required_keys__)
        elif _is_named(cls):
            names, needed = list(cls._fields), set(cls._fields) - cls._field_defaults.keys()
        elif hasattr(cls, "__attrs_attrs__"):
            fields = {field.alias: field for field in cls.__attrs_attrs__ if field.init}
            names, needed = list(fields), {name for name, f in fields.items() if type(f.default).__name__ == "_Nothing"}
            hints = {name: hints[field.name] for name, field in fields.items() if field.name in hints}
        else:
            names, needed = _of_dataclass(cls)
        self.needed = needed
        self.readings = {name: find(_bare(hints[name]), known) if name in hints else ANY for name in names}

    def read(self, given: dict[Any, Any]) -> dict[str, Any]:
        """Return the values of the fields."""
        found = {}
        for name, value in given.items():
            reading = self.readings.get(name)
            if reading is None:
                raise Refused(f"{self.cls.__name__} has no {name!r}{_near(name, self.readings)}")
            try:
                found[name] = reading.read(value)
            except Exception as error:
                raise Refused(f"{name}: {error or repr(error)}") from None
        missing = [name for name in self.readings if name in self.needed and name not in found]
        if missing:
            raise Refused(f"{self.cls.__name__} needs {', '.join(map(repr, missing))}")
        return found


def _of_dataclass(cls: Any) -> tuple[list[str], set[str]]:
    """Return the names that a dataclass is made with, and those that must be there."""
    from dataclasses import MISSING

    kinds = ("_FIELD", "_FIELD_INITVAR")
    fields = [each for each in cls.__dataclass_fields__.values() if each.init and each._field_type.name in kinds]
    needed = {each.name for each in fields if each.default is MISSING and each.default_factory is MISSING}
    return [each.name for each in fields], needed


def _bare(hint: Any) -> Any:
    """Return the type that an InitVar is of."""
    return hint.type if type(hint).__name__ == "InitVar" else hint


def _near(name: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else f" (it has: {', '.join(known)})"


def record(cls: Any, find: Find, known: dict[Any, Any]) -> Reading:
    """Return how a record is read.

    Args:
        find: returns how another type is read.
        known: the records that are being looked at: one that holds itself is read as it is read.

    Raises:
        TypeError: a field cannot be read.
    """
    if cls in known:
        return Reading(cls.__name__, lambda value: known[cls].has(value), lambda value: known[cls].read(value))
    known[cls] = None
    fields = _Fields(cls, find, known)
    is_dict = _is_typed_dict(cls)

    def has(value: Any) -> bool:
        if not is_dict:
            return isinstance(value, cls)
        if not isinstance(value, dict) or not fields.needed <= value.keys() <= fields.readings.keys():
            return False
        return all(fields.readings[name].has(each) for name, each in value.items())

    def read(value: Any) -> Any:
        if has(value):
            return value
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise Refused(f"it is no JSON ({error}); write an object with {', '.join(fields.readings)}") from None
        if isinstance(value, (list, tuple)) and _is_named(cls) and len(value) <= len(fields.readings):
            value = dict(zip(fields.readings, value, strict=False))
        if not isinstance(value, dict):
            refuse(value, cls.__name__)
        found = fields.read(value)
        return found if is_dict else cls(**found)

    reading = known[cls] = Reading(cls.__name__, has, read)
    return reading
