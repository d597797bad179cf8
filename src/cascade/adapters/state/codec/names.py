"""What a record may name: classes and functions of modules that are loaded already, or that the program allows.

Nothing is imported for a record, and no code runs while its names are looked up: a module may have a `__getattr__`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from cascade.errors import StateError

__all__ = ["NotNamed", "find", "library", "name_of"]


class NotNamed(Exception):
    """A class that cannot be found again by a name: it is local to a function, or another one has its name."""


def name_of(cls: type) -> str:
    """Return the name that a class is found by, `module:qualified name`.

    Raises:
        NotNamed: it is not found by it.
    """
    name = f"{cls.__module__}:{cls.__qualname__}"
    try:
        found = find(name, ())
    except StateError:
        found = None
    if found is not cls:
        raise NotNamed(name)
    return name


def find(name: str, allow: Sequence[str]) -> Any:
    """Return what a name of a record stands for.

    Args:
        name: `module:qualified name`.
        allow: modules that may be imported for it; a package stands for all that is in it.

    Raises:
        StateError: its module is not loaded, or has nothing of the name.
    """
    module, _, path = name.partition(":")
    found: Any = library(module, allow)
    for part in path.split("."):
        if not isinstance(found, (ModuleType, type)) or part not in vars(found):
            raise StateError(f"the record holds a {path} of {module}, and there is none; it was removed or renamed")
        found = vars(found)[part]
        if isinstance(found, ModuleType):
            raise StateError(f"the record names the module {path} of {module}, and no value is one")
    return found


def library(module: str, allow: Sequence[str]) -> ModuleType:
    """Return a module that is loaded, or that may be.

    Raises:
        StateError: it is not, and may not be.
    """
    found = sys.modules.get(module)
    if found is None:
        if not any(module == each or module.startswith(f"{each}.") for each in allow):
            raise StateError(
                f"the record holds a value of the module {module}, which is not loaded: import it before, or name it "
                "in allow= (nothing is imported because a record says so)"
            )
        found = import_module(module)
    return found
