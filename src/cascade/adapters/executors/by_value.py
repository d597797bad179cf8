"""Packs calls for another process: what can be imported there by its name, everything else by value.

Functions and classes of `__main__`, of other functions and of namespaces that are no modules go by value in
cloudpickle. Tasks and resources made of such functions do so here: pickle itself would send their names, which
nobody could look up there.
"""

from __future__ import annotations

import io
import sys
from operator import attrgetter
from typing import Any

import cloudpickle

from cascade.spec.placement import CallForm, profile_of
from cascade.spec.resource import Resource
from cascade.spec.task import Task

__all__ = ["dumps", "is_importable"]

LOCAL = ("_profile", "form", "forms", "origin", "reach")
"""What a task knows of itself in one process: made anew in another."""


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
        return super().reducer_override(value)


def _state_of(task: Task[..., Any]) -> dict[str, Any]:
    return {name: value for name, value in task.__dict__.items() if name not in LOCAL}


def _revive(task: Task[..., Any], state: dict[str, Any]) -> None:
    task.__dict__.update(state)
    task.origin = task
    task.reach = None
    task._profile = profile_of(task.func)
    task.form = CallForm(task, (), task._profile)
    task.forms = {(): task.form}
