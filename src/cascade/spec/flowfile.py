"""Finds the flow that "flow.py:name" names."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from cascade.errors import StaticGraphError
from cascade.spec.lazy import Lazy

__all__ = ["flow_in"]


def flow_in(spelled: str) -> Any:
    """Return a flow of a Python file: what a run takes, or what a function without arguments returns.

    Args:
        spelled: `path/to/flow.py:name`; the path is looked up from the current directory.

    Raises:
        ValueError: not spelled like this.
        FileNotFoundError: there is no such file.
        StaticGraphError: the file has no such name, or it is no flow. What the file itself raises comes out.
    """
    from pathlib import Path

    file, colon, name = spelled.rpartition(":")
    if not colon or not file or not name or not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f'cs.subflow takes a flow, or "file.py:name" of one, not {spelled!r}')
    path = Path(file).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"cs.subflow({spelled!r}): there is no file {path}; paths begin at {Path.cwd()}")
    value: Any = _module_of(path)
    for part in name.split("."):
        if not hasattr(value, part):
            raise StaticGraphError(f"cs.subflow({spelled!r}): {path} has no {part!r}{_hint(part, value)}")
        value = getattr(value, part)
    if _is_function(value):
        value = value()
    if _holds_lazy(value) or type(value).__name__ == "Blueprint":
        return value
    target = getattr(value, "target", None)  # a compiled flow
    if target is not None and _holds_lazy(target):
        return target
    raise StaticGraphError(
        f"cs.subflow({spelled!r}): {name} is no flow but {value!r}; it should be a lazy result, "
        "or a function without arguments that returns one"
    )


def _module_of(path: Any) -> ModuleType:
    """Import a file once; where the program has imported it already, that is the module."""
    from importlib.util import module_from_spec, spec_from_file_location

    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(path):
            return module
    name = f"cascade_flow_{abs(hash(str(path))):x}_{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file: its name should end with .py")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _is_function(value: Any) -> bool:
    return type(value).__name__ == "function" and not value.__code__.co_flags & 0x80


def _holds_lazy(value: Any, depth: int = 3) -> bool:
    if isinstance(value, Lazy):
        return True
    if isinstance(value, dict):
        value = list(value.values())
    return depth > 0 and type(value) in (list, tuple) and any(_holds_lazy(each, depth - 1) for each in value)


def _hint(name: str, module: Any) -> str:
    from difflib import get_close_matches

    known = sorted(each for each, value in vars(module).items() if _holds_lazy(value) or _is_function(value))
    close = get_close_matches(name, known, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; it has {', '.join(known[:10])}" if known else "; it has no flow"
