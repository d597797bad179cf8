"""The readable forms of objects: dataclasses, enums, NamedTuples and models of pydantic, by name and content.

An object is made anew without its `__init__`, as it was: with what it held, checked by nobody. What wants to be pickled
in a way of its own (`__reduce__`, `__getstate__`, `__new__`) has no readable form.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from cascade.adapters.state.codec.names import NotNamed, find, name_of
from cascade.errors import StateError

__all__ = ["READERS", "Write", "content_writer"]

Form = Callable[[Any], Any]
"""Gives the form of a part."""
Write = Callable[[Any, Form], Any]
"""Gives the form of an object, by that of its parts."""
OWN_WAYS = ("__reduce__", "__reduce_ex__", "__setstate__", "__getnewargs__", "__getnewargs_ex__")
FLAG = "~flag"
PARTS = ("__dict__", "__pydantic_extra__", "__pydantic_fields_set__", "__pydantic_private__")


@lru_cache(maxsize=1024)
def content_writer(cls: Any) -> tuple[Write, bool] | None:
    """Return what writes the objects of a class, and whether they can change; None if they have no readable form."""
    try:
        name = name_of(cls)
    except NotNamed:
        return None
    if issubclass(cls, enum.Enum):
        return _enum_writer(cls, name), False
    if cls.__bases__ == (tuple,) and isinstance(getattr(cls, "_fields", None), tuple) and _is_plain_tuple(cls):
        return (lambda value, form: {"~namedtuple": [name, list(cls._fields), [*map(form, value)]]}), False
    base = _model_base()
    if base is not None and issubclass(cls, base):
        return (_model_writer(name), True) if _is_plain_model(cls) else None
    if hasattr(cls, "__dataclass_fields__") and _is_plain(cls):
        params = getattr(cls, "__dataclass_params__", None)
        return _dataclass_writer(cls, name), not getattr(params, "frozen", False)
    return None


def _is_plain_tuple(cls: type) -> bool:
    """Say whether a NamedTuple pickles as all do; `__new__` and `__getnewargs__` are those that Python has made."""
    return not any(way in vars(cls) for way in ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__"))


def _is_plain(cls: type) -> bool:
    """Say whether the objects of a class hold nothing but slots and attributes, and pickle as all do."""
    for each in cls.__mro__[:-1]:
        if each.__module__ in ("typing", "abc"):  # Generic, Protocol, ABC
            continue
        own = vars(each)
        if not each.__flags__ & 1 << 9 or any(way in own for way in OWN_WAYS):  # made by C, or pickled in its own way
            if not _is_slotted_frozen(own):
                return False
        elif "__getstate__" in own or "__new__" in own:
            return False
    return True


def _is_slotted_frozen(own: Any) -> bool:
    """Say whether `__getstate__` and `__setstate__` are those that dataclasses with slots are given by Python."""
    ways = [way for way in (*OWN_WAYS, "__getstate__") if way in own]
    return bool(ways) and all(getattr(own[way], "__module__", "") == "dataclasses" for way in ways)


# --- enums and NamedTuples


def _enum_writer(cls: Any, name: str) -> Write:
    def write(value: Any, form: Form) -> Any:
        if cls.__members__.get(value._name_) is value:
            return {"~enum": [name, value._name_]}
        if isinstance(value, enum.Flag) and type(value._value_) is int:  # several of its members at once
            return {FLAG: [name, value._value_]}
        raise NotNamed(name)

    return write


def _enum(body: Any, read: Form, allow: Sequence[str]) -> Any:
    cls = _class(body[0], allow, enum.Enum, "enum")
    if body[1] not in cls.__members__:
        raise StateError(f"the record holds {cls.__qualname__}.{body[1]}, and there is none any more")
    return cls.__members__[body[1]]


def _flag(body: Any, read: Form, allow: Sequence[str]) -> Any:
    return _class(body[0], allow, enum.Flag, "flag")(int(body[1]))


def _namedtuple(body: Any, read: Form, allow: Sequence[str]) -> Any:
    name, fields, items = body
    cls = _class(name, allow, tuple, "NamedTuple")
    if not isinstance(getattr(cls, "_fields", None), tuple):
        raise StateError(f"the record holds a NamedTuple {name}, and that is none any more")
    held = dict(zip(fields, map(read, items), strict=True))
    held = getattr(cls, "_field_defaults", {}) | held
    _check_fields(cls, set(cls._fields) - held.keys())
    return tuple.__new__(cls, [held[field] for field in cls._fields])


# --- dataclasses


def _slots(cls: type) -> list[str]:
    """Name the slots of a class and its bases."""
    found = []
    for each in cls.__mro__:
        slots = vars(each).get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            is_private = slot.startswith("__") and not slot.endswith("__")
            found.append(f"_{each.__name__.lstrip('_')}{slot}" if is_private else slot)
    return [slot for slot in found if slot not in ("__dict__", "__weakref__")]


def _dataclass_writer(cls: type[Any], name: str) -> Write:
    slots = _slots(cls)
    fields = {field.name for field in dataclasses.fields(cls)}

    def write(value: Any, form: Form) -> Any:
        held = {slot: getattr(value, slot) for slot in slots if hasattr(value, slot)} if slots else {}
        if hasattr(value, "__dict__"):
            held |= value.__dict__
        if not fields <= held.keys():
            raise NotNamed(name)
        return {"~dataclass": [name, {key: form(each) for key, each in held.items()}]}

    return write


def _dataclass(body: Any, read: Form, allow: Sequence[str]) -> Any:
    name, content = body
    cls = _class(name, allow, object, "dataclass")
    if not hasattr(cls, "__dataclass_fields__") or not _is_plain(cls):
        raise StateError(f"the record holds a dataclass {name}, and that is none any more")
    held = {key: read(each) for key, each in content.items()}
    missing = []
    for field in dataclasses.fields(cls):
        if field.name in held:
            continue
        if field.default is not dataclasses.MISSING:
            held[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            held[field.name] = field.default_factory()
        else:
            missing.append(field.name)
    _check_fields(cls, missing)
    made = object.__new__(cls)
    slots = set(_slots(cls))
    for key, each in held.items():
        if key in slots:
            object.__setattr__(made, key, each)
        elif hasattr(made, "__dict__"):
            made.__dict__[key] = each
    return made


# --- models of pydantic


def _model_base() -> type | None:
    """Return what all models of pydantic are made from, if pydantic is loaded."""
    module = sys.modules.get("pydantic.main")
    return None if module is None else vars(module).get("BaseModel")


def _is_plain_model(cls: Any) -> bool:
    ways = ("__getstate__", "__setstate__")
    ours = all(getattr(getattr(cls, way), "__module__", "").startswith("pydantic.") for way in ways)
    plain: Any = object
    return ours and all(getattr(cls, way) is getattr(plain, way) for way in ("__new__", "__reduce__", "__reduce_ex__"))


def _model_writer(name: str) -> Write:
    def write(value: Any, form: Form) -> Any:
        state = value.__getstate__()
        return {"~pydantic": [name, {part: form(each) for part, each in state.items()}]}

    return write


def _model(body: Any, read: Form, allow: Sequence[str]) -> Any:
    name, content = body
    base = _model_base()
    cls = _class(name, allow, object, "model")
    base = base or _model_base()  # loaded with the class
    if base is None or not issubclass(cls, base) or not _is_plain_model(cls) or not content.keys() <= set(PARTS):
        raise StateError(f"the record holds a model of pydantic {name}, and that is none any more")
    state = {part: read(each) for part, each in content.items()}
    held = state["__dict__"]
    missing = []
    for field, info in cls.__pydantic_fields__.items():
        if field not in held:
            if info.is_required():
                missing.append(field)
            else:
                held[field] = info.get_default(call_default_factory=True, validated_data=held)
    _check_fields(cls, missing)
    made = object.__new__(cls)
    made.__setstate__(state)
    return made


# --- all


def _class(name: Any, allow: Sequence[str], base: type, kind: str) -> Any:
    """Return a class that a record names, if it is of the kind that was recorded."""
    found = find(name, allow)
    if not isinstance(found, type) or not issubclass(found, base):
        raise StateError(f"the record holds a {kind} {name}, and that is none any more")
    return found


def _check_fields(cls: type, missing: set[str] | list[str]) -> None:
    if missing:
        names = ", ".join(sorted(missing))
        raise StateError(
            f"a {cls.__qualname__} was recorded without {names}, which it has now; give that a default, or run the "
            "step again"
        )


READERS: dict[str, Callable[[Any, Form, Sequence[str]], Any]] = {
    "~enum": _enum,
    FLAG: _flag,
    "~namedtuple": _namedtuple,
    "~dataclass": _dataclass,
    "~pydantic": _model,
}
"""By tag: gives the object of a form, by what reads its parts, and what may be imported for it."""
