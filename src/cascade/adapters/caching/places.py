"""Whose code a function or module is: the project's own, which keys look into, or others', which count by name."""

from __future__ import annotations

import os
import sys
import sysconfig
from functools import lru_cache
from types import FunctionType, MethodDescriptorType, ModuleType, WrapperDescriptorType
from typing import Any

__all__ = ["is_own_class", "is_own_function", "is_own_module"]

OTHERS = tuple(
    os.path.realpath(path) + os.sep
    for path in {
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        os.path.dirname(os.path.dirname(os.path.dirname(__file__))),  # this package
    }
    if path
)
MAKERS = frozenset({"abc", "types"})
"""Modules that are written down as those of classes that are made while a program runs."""
IN_C = frozenset({MethodDescriptorType, WrapperDescriptorType})
INSTALLED = frozenset({"site-packages", "dist-packages"})


@lru_cache(maxsize=4096)
def _is_own_file(path: str) -> bool:
    if path.startswith("<"):
        return not path.startswith("<frozen ")
    real = os.path.realpath(path)
    return not real.startswith(OTHERS) and INSTALLED.isdisjoint(real.split(os.sep))


def is_own_module(module: ModuleType) -> bool:
    """Say whether a module is neither of the standard library nor installed."""
    path = getattr(module, "__file__", None)
    if path is None:
        name = module.__name__.partition(".")[0]
        return name not in sys.stdlib_module_names and name not in sys.builtin_module_names
    return _is_own_file(path)


def is_own_function(func: FunctionType) -> bool:
    """Say whether a function was written in such a module."""
    path = func.__code__.co_filename
    if not path.startswith("<"):
        return _is_own_file(path)
    module = sys.modules.get(func.__globals__.get("__name__", ""))
    return _is_own_file(path) and (module is None or is_own_module(module))


def is_own_class(cls: Any) -> bool:
    """Say whether a class was written in such a module."""
    module = sys.modules.get(cls.__module__)
    if module is None and any(type(held) in IN_C and held.__objclass__ is cls for held in vars(cls).values()):
        return False  # the modules of C that packages have inside may go by another name than they say
    if module is None or (module.__name__ in MAKERS and getattr(module, cls.__name__, None) is not cls):
        return True
    return is_own_module(module)
