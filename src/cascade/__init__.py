"""Cascade: an embedded workflow engine. Declare a graph of plain functions, run it inside your own program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cascade.errors import (
    BudgetError,
    CacheError,
    CascadeError,
    ChannelError,
    ClusterError,
    ConnectorError,
    ConstraintError,
    CycleError,
    DependencyMissingError,
    JumpError,
    MissingExtraError,
    ParameterError,
    ResourceNotFoundError,
    RouterError,
    RunBusyError,
    RunChangedError,
    RunLostError,
    StateError,
    StaticGraphError,
    WorkerLostError,
)
from cascade.spec import keys
from cascade.spec.caching import cached
from cascade.spec.compose import pipeline, sequence, subflow
from cascade.spec.control import Jump, Router, TailCall, Value, bind, select_jump
from cascade.spec.inputs import Env, Param
from cascade.spec.lazy import LazyResult
from cascade.spec.outcomes import Failed, Outcome
from cascade.spec.resource import inject, resource
from cascade.spec.streams import Stream
from cascade.spec.task import Task, task

if TYPE_CHECKING:
    from cascade.app.caching import explain_cache
    from cascade.app.channels import channel
    from cascade.app.current import current
    from cascade.app.findings import check
    from cascade.app.flow import compile
    from cascade.app.forms import from_json, to_json, to_lisp
    from cascade.app.inner import current_engine
    from cascade.app.instrument import instrument
    from cascade.app.pictures import visualize
    from cascade.app.plans import dry_run
    from cascade.app.run import arun, run
    from cascade.app.schedules import schedule
    from cascade.app.sources import explain
    from cascade.command.entry import cli, create_cli
    from cascade.providers import fs as fs
    from cascade.providers import http as http
    from cascade.providers import io as io
    from cascade.providers import ipfs as ipfs
    from cascade.providers import read as read
    from cascade.providers import write as write
    from cascade.providers.config import load_yaml as load_yaml
    from cascade.providers.config import lookup as lookup
    from cascade.providers.shell import shell as shell
    from cascade.providers.sql import sql as sql
    from cascade.providers.text import dict as dict
    from cascade.providers.text import format as format
    from cascade.providers.text import template as template
    from cascade.providers.waiting import recv as recv
    from cascade.providers.waiting import wait as wait
    from cascade.providers.waiting import wait_signal as wait_signal
    from cascade.runtime.engine import Engine, Run
    from cascade.runtime.events.bus import MessageBus
    from cascade.spec.channels import Channel, Topic
    from cascade.spec.events import Event
    from cascade.spec.parked import Parked
    from cascade.testing.overriding import override_resource

__version__ = "0.1.0"

__all__ = [
    "BudgetError",
    "CacheError",
    "CascadeError",
    "Channel",
    "ChannelError",
    "ClusterError",
    "ConnectorError",
    "ConstraintError",
    "CycleError",
    "DependencyMissingError",
    "Engine",
    "Env",
    "Event",
    "Failed",
    "Jump",
    "JumpError",
    "LazyResult",
    "MessageBus",
    "MissingExtraError",
    "Outcome",
    "Param",
    "ParameterError",
    "Parked",
    "ResourceNotFoundError",
    "Router",
    "RouterError",
    "Run",
    "RunBusyError",
    "RunChangedError",
    "RunLostError",
    "StateError",
    "StaticGraphError",
    "Stream",
    "TailCall",
    "Task",
    "Topic",
    "Value",
    "WorkerLostError",
    "arun",
    "bind",
    "cached",
    "channel",
    "check",
    "cli",
    "compile",
    "create_cli",
    "current",
    "current_engine",
    "dry_run",
    "explain",
    "explain_cache",
    "from_json",
    "inject",
    "instrument",
    "keys",
    "override_resource",
    "pipeline",
    "resource",
    "run",
    "schedule",
    "select_jump",
    "sequence",
    "subflow",
    "task",
    "to_json",
    "to_lisp",
    "visualize",
]


def __getattr__(name: str) -> Any:
    """Import on first use what declaring does not need: asyncio alone costs more than all the rest together."""
    from importlib import import_module

    rooms = {
        "Channel": "cascade.spec.channels",
        "Engine": "cascade.runtime.engine",
        "Event": "cascade.spec.events",
        "MessageBus": "cascade.runtime.events.bus",
        "Parked": "cascade.spec.parked",
        "Run": "cascade.runtime.engine",
        "Topic": "cascade.spec.channels",
        "arun": "cascade.app.run",
        "channel": "cascade.app.channels",
        "check": "cascade.app.findings",
        "cli": "cascade.command.entry",
        "compile": "cascade.app.flow",
        "create_cli": "cascade.command.entry",
        "current": "cascade.app.current",
        "current_engine": "cascade.app.inner",
        "dry_run": "cascade.app.plans",
        "explain": "cascade.app.sources",
        "explain_cache": "cascade.app.caching",
        "from_json": "cascade.app.forms",
        "instrument": "cascade.app.instrument",
        "override_resource": "cascade.testing.overriding",
        "run": "cascade.app.run",
        "schedule": "cascade.app.schedules",
        "to_json": "cascade.app.forms",
        "to_lisp": "cascade.app.forms",
        "visualize": "cascade.app.pictures",
    }
    if name in rooms:
        value = getattr(import_module(rooms[name]), name)
    else:
        value = import_module("cascade.providers.registry").find(name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List also the providers, those of plugins too."""
    from importlib import import_module

    return sorted({*globals(), *__all__, *import_module("cascade.providers.registry").names()})
