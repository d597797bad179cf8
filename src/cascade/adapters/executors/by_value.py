"""Packs calls for another process: what can be imported there by its name, everything else by value.

Functions and classes of `__main__`, of other functions and of namespaces that are no modules go by value in
cloudpickle. Tasks and resources made of such functions do so here: pickle itself would send their names, which
nobody could look up there.
"""

from __future__ import annotations

import io
import sys
from contextvars import Context, ContextVar
from importlib import import_module
from operator import attrgetter
from typing import Any

import cloudpickle

from cascade.spec.placement import CallForm, profile_of
from cascade.spec.resource import Resource
from cascade.spec.task import Task

__all__ = ["dumps", "home_of", "is_importable"]

LOCAL = ("_profile", "form", "forms", "origin", "reach")
"""What a task knows of itself in one process: made anew in another."""


OURS = tuple(f"cascade.{room}." for room in ("adapters", "app", "compiler", "graph", "providers", "runtime", "spec"))
THEIRS = ("asyncio", "dask", "distributed", "opentelemetry", "tornado")
"""Packages whose context variables are about the process that they are in."""
_homes: dict[ContextVar[Any], tuple[str, str] | None] = {}
_made: dict[tuple[str, str], ContextVar[Any]] = {}
"""The context variables of other processes' `__main__`."""


def dumps(value: Any) -> bytes:
    """Return a value as bytes."""
    with io.BytesIO() as file:
        _Pickler(file).dump(value)
        return file.getvalue()


def is_importable(value: Any, module: str | None, name: str) -> bool:
    """Say whether importing `name` of `module` gives this very value in any process."""
    if module is None or module == "__main__":
        return False
    try:
        return attrgetter(name)(sys.modules[module]) is value
    except (AttributeError, KeyError):
        return False


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    def reducer_override(self, value: Any) -> Any:
        if type(value) is Task and value.receiver is None:
            if not is_importable(value, value.__module__, value.__qualname__):
                # Empty at first, so that its function can refer to the task itself.
                return object.__new__, (Task,), _state_of(value), None, None, _revive
        elif type(value) is Resource:
            func = value.func
            if is_importable(value, func.__module__, func.__qualname__):
                return attrgetter(func.__qualname__), (sys.modules[func.__module__],)
        elif type(value) is ContextVar and (home := home_of(value)) is not None:
            return _variable, (*home, *_default_of(value))
        return super().reducer_override(value)


def home_of(variable: ContextVar[Any]) -> tuple[str, str] | None:
    """Return the module of a context variable and its name there; None: it has none, or is about this process."""
    if variable not in _homes:
        homes = [
            (name, attribute)
            for name, module in list(sys.modules.items())
            for attribute, value in list(getattr(module, "__dict__", {}).items())
            if value is variable
        ]
        own = any(f"{name}.".startswith(OURS) or name.partition(".")[0] in THEIRS for name, _ in homes)
        _homes[variable] = homes[0] if homes and not own else None
    return _homes[variable]


def _default_of(variable: ContextVar[Any]) -> tuple[Any, ...]:
    try:
        return (Context().run(variable.get),)
    except LookupError:
        return ()


def _variable(module: str, name: str, *default: Any) -> ContextVar[Any]:
    """Find a context variable by its name; one of a script is made anew, the same each time."""
    if module != "__main__":
        found: ContextVar[Any] = getattr(import_module(module), name)
        return found
    if (module, name) not in _made:
        _made[module, name] = ContextVar(name, default=default[0]) if default else ContextVar(name)
    return _made[module, name]


def _state_of(task: Task[..., Any]) -> dict[str, Any]:
    return {name: value for name, value in task.__dict__.items() if name not in LOCAL}


def _revive(task: Task[..., Any], state: dict[str, Any]) -> None:
    task.__dict__.update(state)
    task.origin = task
    task.reach = None
    task._profile = profile_of(task.func)
    task.form = CallForm(task, (), task._profile)
    task.forms = {(): task.form}
