"""How a value is read as a type: what a person would annotate, read from text, or taken as it is.

The standard cases are read here, whether pydantic is installed or not; what needs pydantic (its models, constraints
in Annotated, types with a schema of their own) is left to it.
"""

from __future__ import annotations

import json
import types
import typing
from collections import abc
from collections.abc import Callable
from enum import Enum
from typing import Any

from cascade.spec.records import is_record, record
from cascade.spec.scalars import (
    ANY,
    SCALARS,
    Reading,
    Refused,
    enumeration,
    literal,
    plain_class,
    refuse,
    spelled,
)

__all__ = ["UNIONS", "asks_pydantic", "reading_for", "reading_of"]

CONCRETE: dict[type, type] = {
    **dict.fromkeys((abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable, abc.Reversible), list),
    **dict.fromkeys((abc.Set, abc.MutableSet), set),
    **dict.fromkeys((abc.Mapping, abc.MutableMapping), dict),
}
"""What is made of text for a class that is none of its own."""
KINDS = (int, float, bool)
"""What a text among the items of a default stands for, if all of them are such."""
UNIONS = (typing.Union, types.UnionType)
WRAPPERS = frozenset({"Required", "NotRequired", "ReadOnly", "Final"})
CONSTRAINTS = ("annotated_types", "pydantic.fields", "pydantic.types", "pydantic.functional_validators")


def reading_of(hint: Any, known: dict[Any, Any] | None = None) -> Reading:
    """Return how a type is read.

    Args:
        hint: a class, anything that annotates, or a function that converts.
        known: the records that are being looked at, as one may hold itself.

    Raises:
        TypeError: it cannot be read; the message says why.
    """
    found = _standard(hint, {} if known is None else known)
    if found is not None:
        return found
    from cascade.spec.models import model

    return model(hint, spelled(hint))


def reading_for(default: Any) -> Reading:
    """Return how the values are read that stand in the place of a default."""
    cls = default.__class__
    if cls in (list, tuple, set, frozenset) and default:
        kind = next(iter(default)).__class__
        if kind in KINDS and all(item.__class__ is kind for item in default):
            item = reading_of(kind)
            loose = Reading(item.name, lambda value: not isinstance(value, str), _only_text(item))
            return _items(cls, cls, loose, cls.__name__)
    try:
        return reading_of(cls)
    except TypeError:  # objects of it pass
        return Reading(cls.__name__, lambda value: isinstance(value, cls), lambda value: _is_one(value, cls))


def _only_text(item: Reading) -> Callable[[Any], Any]:
    return lambda value: item.read(value) if isinstance(value, str) else value


def _is_one(value: Any, cls: type) -> Any:
    return value if isinstance(value, cls) else refuse(value, cls.__name__)


def _standard(hint: Any, known: dict[Any, Any]) -> Reading | None:
    """Return how a type is read without pydantic, None where that takes pydantic."""
    hint = type(None) if hint is None else hint
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or hint is getattr(typing, "LiteralString", None):
        return ANY if hint is Any else reading_of(str)
    if origin in UNIONS:
        return _union([reading_of(part, known) for part in parts], spelled(hint))
    if origin is typing.Literal:
        return literal(parts, spelled(hint))
    if origin is typing.Annotated:
        return _annotated(hint, known)
    if getattr(origin, "_name", None) in WRAPPERS or getattr(origin, "__name__", None) in WRAPPERS:
        return reading_of(parts[0], known)
    if hasattr(hint, "__supertype__"):  # a NewType
        return reading_of(hint.__supertype__, known)
    if type(hint).__name__ == "TypeAliasType":
        return reading_of(hint.__value__, known)
    cls = hint if origin is None else origin
    if not isinstance(cls, type):
        if type(hint).__module__ in ("typing", "typing_extensions") or origin is not None:
            return None
        if not callable(hint):
            raise TypeError(f"type is a type or a function that converts, not {hint!r}")
        return _function(hint)
    return _class(cls, parts, spelled(hint), known)


def _class(cls: Any, parts: tuple[Any, ...], name: str, known: dict[Any, Any]) -> Reading | None:
    scalar = SCALARS.get(f"{cls.__module__}.{cls.__qualname__}")
    if scalar is not None and not parts:
        return scalar(cls)
    if issubclass(cls, Enum):
        return enumeration(cls)
    if cls.__qualname__ == "Callable" or (cls is type and not parts):  # none is spelled by text
        return Reading(name, lambda value: isinstance(value, cls), lambda value: _is_one(value, cls))
    if hasattr(cls, "__pydantic_validator__"):
        return None
    if is_record(cls):
        return None if parts else record(cls, reading_of, known)
    if hasattr(cls, "__get_pydantic_core_schema__"):
        from cascade.spec.models import is_installed

        return None if is_installed() or parts else plain_class(cls)
    if issubclass(cls, (str, bytes, bytearray, memoryview, range)):
        return None if parts else plain_class(cls)
    if issubclass(cls, tuple) and parts and parts[-1] is not Ellipsis:
        return _fixed([reading_of(part, known) for part in parts if part != ()], name)
    inner = [reading_of(part, known) for part in parts if part is not Ellipsis]
    if issubclass(cls, abc.Mapping) and len(inner) in (0, 2):
        return _mapping(cls, CONCRETE.get(cls, cls), inner or [ANY, ANY], name)
    if (issubclass(cls, (abc.Sequence, abc.Set)) or cls in CONCRETE) and len(inner) < 2:
        return _items(cls, CONCRETE.get(cls, cls), inner[0] if inner else ANY, name)
    return None if parts else plain_class(cls)


def _function(convert: Any) -> Reading:
    """Return how a function reads: all that is given goes through it."""
    return Reading(spelled(convert), lambda value: False, convert)


def _annotated(hint: Any, known: dict[Any, Any]) -> Reading | None:
    """Return how `Annotated` is read: as what it annotates; then pydantic checks it, if there is something to check."""
    notes = hint.__metadata__
    asking = [note for note in notes if asks_pydantic(note)]
    if not asking:
        return reading_of(hint.__origin__, known)
    if all(type(note).__module__.startswith(CONSTRAINTS) for note in asking) and not any(
        type(note).__name__ in ("BeforeValidator", "WrapValidator", "PlainValidator", "Json") for note in asking
    ):
        plain = _standard(hint.__origin__, known)
        if plain is not None:
            from cascade.spec.models import checked

            return checked(hint, plain, spelled(hint))
    return None


def asks_pydantic(note: Any) -> bool:
    """Say whether what Annotated holds is for pydantic: a constraint, a validator or the like."""
    home = type(note).__module__.partition(".")[0]
    return home in ("annotated_types", "pydantic") or hasattr(note, "__get_pydantic_core_schema__")


# --- containers


def _decoded(text: str, kind: type, example: str) -> Any:
    """Return what JSON text holds."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(f"it is no JSON ({error}); write {example}") from None
    return found if isinstance(found, kind) else refuse(text, f"JSON like {example}")


def _array(text: str) -> list[Any]:
    """Return the items that text stands for: those of a JSON array, or itself as the only one."""
    return _decoded(text, list, '["a", "b"]') if text.lstrip().startswith("[") else [text]


def _each(reading: Reading, values: Any, hint: str = "") -> list[Any]:
    found = []
    for at, value in enumerate(values):
        try:
            found.append(reading.read(value))
        except Exception as error:
            raise Refused(f"item {at}: {error or repr(error)}{hint}") from None
    return found


def _items(cls: Any, made: Any, item: Reading, name: str) -> Reading:
    """Return how a list, a tuple, a set or the like is read."""

    def has(value: Any) -> bool:
        if not isinstance(value, cls) or isinstance(value, (str, bytes, bytearray)):
            return False
        return item is ANY or not isinstance(value, abc.Collection) or all(map(item.has, value))

    def read(value: Any) -> Any:
        if has(value):
            return value
        if isinstance(value, str):
            values, hint = _array(value), "; write JSON: [...]" if "," in value else ""
        elif isinstance(value, list) or (isinstance(value, cls) and not isinstance(value, (bytes, bytearray))):
            values, hint = value, ""  # JSON has lists alone, so one does for a set
        else:
            refuse(value, name)
        found = _each(item, values, hint)
        return found if made is list else made(found)

    return Reading(name, has, read, many=True)


def _fixed(items: list[Reading], name: str) -> Reading:
    """Return how a tuple of a certain length is read."""

    def has(value: Any) -> bool:
        return (
            isinstance(value, tuple)
            and len(value) == len(items)
            and all(reading.has(each) for reading, each in zip(items, value, strict=True))
        )

    def read(value: Any) -> Any:
        if has(value):
            return value
        if isinstance(value, str):
            value = _array(value)
        elif not isinstance(value, (list, tuple)):
            refuse(value, name)
        if len(value) != len(items):
            raise Refused(f"it has {len(items)} items, not {len(value)}; write a JSON array of {len(items)}")
        return tuple(reading.read(each) for reading, each in zip(items, value, strict=True))

    return Reading(name, has, read, many=True)


def _mapping(cls: Any, made: Any, inner: list[Reading], name: str) -> Reading:
    """Return how a dict or the like is read."""
    key, item = inner

    def has(value: Any) -> bool:
        return isinstance(value, cls) and (
            (key is ANY or all(map(key.has, value))) and (item is ANY or all(map(item.has, value.values())))
        )

    def read(value: Any) -> Any:
        if has(value):
            return value
        if isinstance(value, str):
            value = _decoded(value, dict, '{"a": 1}')
        elif not isinstance(value, (dict, cls)):
            refuse(value, name)
        found = {}
        for each, held in value.items():
            try:
                found[key.read(each)] = item.read(held)
            except Exception as error:
                raise Refused(f"item {each!r}: {error or repr(error)}") from None
        return found if made is dict else made(found)

    return Reading(name, has, read)


def _union(members: list[Reading], name: str) -> Reading:
    """Return how one of several types is read: an object as what it is, text as the first type that takes it."""
    ordered = sorted(members, key=lambda member: member.name == "NoneType")  # `none` is text wherever text will do

    def has(value: Any) -> bool:
        return any(member.has(value) for member in ordered)

    def read(value: Any) -> Any:
        if value.__class__ is not str and has(value):
            return value
        reasons = []
        for member in ordered:
            try:
                return member.read(value)
            except Exception as error:
                if member.name != "NoneType":
                    reasons.append((member.name, error or repr(error)))
        if len(reasons) == 1:
            raise Refused(str(reasons[0][1]))
        raise Refused("; ".join(f"as {kind}: {why}" for kind, why in reasons))

    return Reading(name, has, read, any(member.many for member in members))
