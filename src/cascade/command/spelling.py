"""How parameters are spelled as options of a command, and what their help says."""

from __future__ import annotations

import json
import re
import typing
from enum import Enum
from typing import Annotated, Any

from cascade.app.words import say
from cascade.spec.inputs import MASK, Input, Param
from cascade.spec.reading import UNIONS
from cascade.spec.scalars import spelled
from cascade.spec.shown import without_passwords
from cascade.spec.signal import UNSET

__all__ = ["help_of", "is_switch", "metavar_of", "spellings_of"]

TAKEN = frozenset(
    {
        *("param", "json", "help", "log-level", "log-format", "timeout"),
        *("state", "run-id", "on-change", "durability"),
    }
)
SPELLED = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
MOST_CHOICES = 60
BY_TEXT = frozenset({"date", "time", "datetime", "timedelta", "Decimal", "Fraction", "UUID"})


def spellings_of(known: list[Param]) -> dict[str, str]:
    """Return the options of parameters by their names; where two would be one, the other takes --param alone."""
    taken = {f"--{word}" for word in TAKEN}
    found: dict[str, str] = {}
    for param in sorted(known, key=lambda each: (each.name.startswith(("no_", "no-")), "_" in each.name)):
        option = f"--{param.name.replace('_', '-')}"
        forms = {option, f"--no-{option[2:]}"} if is_switch(param.type) else {option}
        if SPELLED.fullmatch(param.name) and not forms & taken:
            taken |= forms
            found[param.name] = option
    return found


def help_of(given: Input) -> str:
    """Return the help of a parameter, or of a variable of the environment."""
    words = [given.description] if given.description else []
    if isinstance(given, Param) and given.takes_many:
        words.append(f"({say('h_many')})")
    if given.default is UNSET:
        words.append(f"[{say('required')}]")
    elif given.default is not None:
        shown = MASK if given.secret else without_passwords(_default(given.default))
        words.append(f"[{say('t_default', value=shown)}]")
    return "  ".join(words)


def is_switch(hint: Any) -> bool:
    """Say whether an option is given without a value: `--really` or `--no-really`."""
    return hint is bool or (typing.get_origin(hint) in UNIONS and set(typing.get_args(hint)) == {bool, type(None)})


def _default(value: Any) -> str:
    """Return a default as it would be given."""
    cls = type(value)
    if isinstance(value, Enum):
        return value.value if isinstance(value, str) else value.name or str(value.value)
    if isinstance(value, (str, bool, int, float)) or cls.__name__ in BY_TEXT or cls.__module__.startswith("pathlib"):
        return str(value)
    if cls is bytes:
        return str(value.decode(errors="replace"))
    try:
        return json.dumps(sorted(value) if cls in (set, frozenset) else value, ensure_ascii=False)
    except (TypeError, ValueError):
        return "..."


def metavar_of(hint: Any) -> str:
    """Return what stands for the value of an option."""
    known = {int: "INTEGER", float: "FLOAT"}.get(hint)
    if known is not None:
        return known
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    choices: list[str] = []
    if origin in UNIONS:
        left = [part for part in parts if part is not type(None)]
        return metavar_of(left[0]) if len(left) == 1 else "VALUE"
    if origin is Annotated:
        return metavar_of(hint.__origin__)
    if origin in (list, set, frozenset) or (origin is tuple and parts[-1] is Ellipsis):
        return metavar_of(parts[0])
    if origin is typing.Literal:
        choices = [getattr(part, "name", None) or str(part) for part in parts]
    elif isinstance(hint, type) and issubclass(hint, Enum):
        choices = [_default(member) for member in hint]
    listed = "|".join(choices)
    if listed and len(listed) <= MOST_CHOICES:
        return f"[{listed}]"
    if callable(hint) and not isinstance(hint, type):
        return "VALUE"
    return "PATH" if getattr(hint, "__module__", "").startswith("pathlib") else spelled(hint).upper()
