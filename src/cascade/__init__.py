"""Cascade: an embedded workflow engine. Declare a graph of plain functions, run it inside your own program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cascade.errors import (
    CacheError,
    CascadeError,
    ConstraintError,
    CycleError,
    DependencyMissingError,
    JumpError,
    MissingExtraError,
    ParameterError,
    ResourceNotFoundError,
    RouterError,
    StaticGraphError,
)
from cascade.spec.caching import cached
from cascade.spec.compose import pipeline, sequence, subflow
from cascade.spec.control import Jump, Router, TailCall, Value, bind, select_jump
from cascade.spec.inputs import Env, Param
from cascade.spec.lazy import LazyResult
from cascade.spec.resource import inject, resource
from cascade.spec.task import Task, task

if TYPE_CHECKING:
    from cascade.app.caching import explain_cache
    from cascade.app.flow import compile
    from cascade.app.run import arun, run
    from cascade.runtime.bus import MessageBus
    from cascade.runtime.engine import Engine, Run
    from cascade.spec.events import Event
    from cascade.testing.overriding import override_resource

__version__ = "0.1.0"

__all__ = [
    "CacheError",
    "CascadeError",
    "ConstraintError",
    "CycleError",
    "DependencyMissingError",
    "Engine",
    "Env",
    "Event",
    "Jump",
    "JumpError",
    "LazyResult",
    "MessageBus",
    "MissingExtraError",
    "Param",
    "ParameterError",
    "ResourceNotFoundError",
    "Router",
    "RouterError",
    "Run",
    "StaticGraphError",
    "TailCall",
    "Task",
    "Value",
    "arun",
    "bind",
    "cached",
    "compile",
    "explain_cache",
    "inject",
    "override_resource",
    "pipeline",
    "resource",
    "run",
    "select_jump",
    "sequence",
    "subflow",
    "task",
]


def __getattr__(name: str) -> Any:
    """Import on first use what declaring does not need: asyncio alone costs more than all the rest together."""
    from importlib import import_module

    rooms = {
        "Engine": "cascade.runtime.engine",
        "Event": "cascade.spec.events",
        "MessageBus": "cascade.runtime.bus",
        "Run": "cascade.runtime.engine",
        "arun": "cascade.app.run",
        "compile": "cascade.app.flow",
        "explain_cache": "cascade.app.caching",
        "override_resource": "cascade.testing.overriding",
        "run": "cascade.app.run",
    }
    if name not in rooms:
        raise AttributeError(f"module 'cascade' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(rooms[name]), name)
    return value
