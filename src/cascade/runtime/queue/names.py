"""What another process finds a program by: `file:name` of a file that is served, or the id of a registered blueprint.

A target that stands in a module has such a name, and it is found: so `engine.enqueue(flows.report)` says the same as
`engine.enqueue("flows.py:report")`, and can say what is wrong with the parameters.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from cascade.errors import StateError
from cascade.spec.blueprint import Blueprint
from cascade.spec.lazy import Lazy

__all__ = ["found_by", "name_of"]

FORM = re.compile(r"(?P<file>.+):(?P<name>[^\W\d]\w*(\.[^\W\d]\w*)*)")
MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def name_of(target: object, blueprints: Mapping[str, Blueprint], what: str) -> str:
    """Return the name of a target that has one.

    Args:
        blueprints: those that are registered, by their ids.
        what: who asks, for the message.

    Raises:
        StateError: it has none.
    """
    if isinstance(target, str):
        form = FORM.fullmatch(target)
        if target in blueprints or (form and (form["file"].endswith(".py") or MODULE.fullmatch(form["file"]))):
            return target
        known = ", ".join(map(repr, blueprints)) or "none"
        raise StateError(
            f"{what}({target!r}) names no program that a server could find: give 'flows.py:NAME', of a file that "
            f"`cascade serve` is given, or the id of a blueprint that is registered here (there are: {known})"
        )
    blueprint = getattr(target, "blueprint", target)  # a compiled flow has one
    for blueprint_id, each in blueprints.items():
        if each is blueprint:
            return blueprint_id
    if isinstance(target, (Lazy, Blueprint, list, tuple, dict)) or blueprint is not target:
        for module in [*sys.modules.values()]:
            for name, value in [*_names(module)]:
                if value is target and not name.startswith("_"):
                    return f"{_spelled(module)}:{name}"
    raise StateError(
        f"{what} takes what another process can find, and {target!r:.100} has no name: let it be a global of a file "
        "that `cascade serve` is given, or give the name as 'flows.py:NAME', or register it: "
        "engine.register_blueprint('NAME', target)"
    )


def found_by(name: str, blueprints: Mapping[str, Blueprint]) -> Any:
    """Return the target of a name, if this process has loaded it already and there is one such; else None."""
    if name in blueprints:
        return blueprints[name]
    form = FORM.fullmatch(name)
    assert form is not None
    found: list[Any] = []
    for module in [*sys.modules.values()]:
        value: Any = module if _is_of(module, form["file"]) else None
        for part in form["name"].split(".") if value is not None else ():
            value = getattr(value, part, None)
        if value is not None and not any(value is each for each in found):
            found.append(value)
    return found[0] if len(found) == 1 else None


def _names(module: ModuleType) -> Iterator[tuple[str, Any]]:
    names = getattr(module, "__dict__", None)
    if isinstance(names, dict) and isinstance(names.get("__file__"), str):
        yield from [*names.items()]


def _spelled(module: ModuleType) -> str:
    """Return what a module is served as: its file, or its name where it is in a package."""
    if "." in module.__name__ or hasattr(module, "__path__"):
        return module.__name__
    return os.path.basename(str(module.__file__))


def _is_of(module: ModuleType, file: str) -> bool:
    if not file.endswith(".py"):
        return getattr(module, "__name__", None) == file
    place = getattr(module, "__file__", None)
    if not isinstance(place, str) or os.path.basename(place) != os.path.basename(file):
        return False
    return not os.path.dirname(file) or os.path.abspath(file) == os.path.abspath(place)
