"""Types of parameters as JSON and back.

A class is `module:qualified name`; `list[int]`, unions, literals and the like are objects that hold their parts.
Types of the standard library are read back without being allowed.
"""

from __future__ import annotations

import typing
from collections.abc import Collection
from importlib import import_module
from typing import Any

from cascade.graph.values import Unwritable, decode, encode, reference_of
from cascade.spec.reading import UNIONS, asks_pydantic

__all__ = ["decode_type", "encode_type"]

STANDARD = frozenset(
    {
        *(f"datetime:{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
        *(f"pathlib:{name}" for name in ("Path", "PurePath", "PosixPath", "PurePosixPath", "WindowsPath")),
        *("pathlib:PureWindowsPath", "decimal:Decimal", "fractions:Fraction", "uuid:UUID", "re:Pattern"),
        *(f"collections:{name}" for name in ("deque", "OrderedDict", "Counter", "defaultdict")),
        *(f"collections.abc:{name}" for name in ("Sequence", "MutableSequence", "Collection", "Iterable")),
        *(f"collections.abc:{name}" for name in ("Set", "MutableSet", "Mapping", "MutableMapping", "Callable")),
        *("ipaddress:IPv4Address", "ipaddress:IPv6Address", "zoneinfo:ZoneInfo", "typing:Any"),
    }
)
MOVED = {"pathlib._local": "pathlib", "pathlib._abc": "pathlib"}
"""Where a class says that it is in one Python, and where it is in all."""
ANY_LENGTH = "..."


def encode_type(hint: Any) -> Any:
    """Return what JSON has for a type; None for a function or class that cannot be imported by its name.

    Raises:
        Unwritable: a part of it cannot be written.
    """
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is None:
        hint = type(None)
    if hint is Any:
        return "typing:Any"
    if origin in UNIONS:
        return {"union": [_part(part) for part in parts]}
    if origin is typing.Literal:
        return {"literal": [encode(part) for part in parts]}
    if origin is typing.Annotated:
        if any(map(asks_pydantic, hint.__metadata__)):
            raise Unwritable("what Annotated asks of it has no form in JSON; name its class alone")
        return encode_type(hint.__origin__)
    if type(hint).__name__ == "TypeAliasType":
        return encode_type(hint.__value__)
    if origin is not None:
        return {"of": _part(origin), "parts": [ANY_LENGTH if part is Ellipsis else _part(part) for part in parts]}
    found = reference_of(hint)
    if hint is type(None):
        found = "builtins:NoneType"
    module, colon, name = (found or "").partition(":")
    return f"{MOVED.get(module, module)}{colon}{name}" if found else None


def _part(hint: Any) -> Any:
    form = encode_type(hint)
    if form is None:
        raise Unwritable(f"{hint!r} cannot be imported by its name")
    return form


def decode_type(form: Any, allow: Collection[str], what: str) -> Any:
    """Return the type that `encode_type` wrote.

    Raises:
        ImportError: it is in a module that is not allowed, or is not there.
        ValueError: nothing wrote this.
    """
    if isinstance(form, str):
        if form in STANDARD:
            module, _, name = form.partition(":")
            return getattr(import_module(module), name)
        return decode({"$ref": form}, allow, what)
    if isinstance(form, dict) and "union" in form:
        return typing.Union[tuple(decode_type(part, allow, what) for part in form["union"])]  # noqa: UP007
    if isinstance(form, dict) and "literal" in form:
        return typing.Literal[tuple(decode(part, allow, what) for part in form["literal"])]
    if not isinstance(form, dict) or "of" not in form:
        raise ValueError(f"{what}: {form!r} is no form of a type")
    parts = tuple(... if part == ANY_LENGTH else decode_type(part, allow, what) for part in form["parts"])
    return decode_type(form["of"], allow, what)[parts if len(parts) > 1 else parts[0]]
