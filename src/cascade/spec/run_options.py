"""The options of a run, for those who check types: each is declared here, and nowhere in an overload.

The functions that take them have them in their own signatures once more, which is what `help`, the documentation and
`inspect.signature` show; a test holds that they are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any, Literal, TypedDict

from cascade.spec.policies import Hook
from cascade.spec.resource import Resource

__all__ = ["Durability", "LogFormat", "LogLevel", "OnChange", "RunOptions", "ScriptOptions", "SilentOptions"]

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "SILENT"]
LogFormat = Literal["human", "json"]
Durability = Literal["each", "group", "exit"]
OnChange = Literal["keep", "rerun", "adapt", "error"]


class RunOptions(TypedDict, total=False):
    """What `engine.run` and `engine.start` take by name."""

    run_id: str | None
    """By default a fresh one."""
    timeout: float | None
    """How many seconds the run may take, without its teardown; by default any number."""
    budget: Mapping[str, float] | None
    """The steps and the cost that all of it may spend, `{"steps": 100, "cost": 5}`; by default any number."""
    resources: Iterable[Resource]
    """Resources for this run alone."""
    durability: Durability | None
    """How the run is recorded; by default as the engine says."""
    on_change: OnChange
    """What becomes of recorded steps where the program has changed."""
    park: bool | float
    """Whether it gives up its process where it only waits, or from how many seconds on."""
    on_failure: Hook
    """Is called with the `cs.Outcome` of the run if it fails, before anybody is told of its end."""
    on_success: Hook
    """Is called with the `cs.Outcome` of the run if it succeeds, before anybody is told of its end."""


class SilentOptions(TypedDict, total=False):
    """What `cs.arun` takes by name."""

    resources: Iterable[Resource]
    """Resources that tasks ask for by name."""
    system_resources: Mapping[str, float] | None
    """Capacities for `with_constraints`."""
    timeout: float | None
    """How many seconds the run may take."""
    budget: Mapping[str, float] | None
    """The steps and the cost that all of it may spend."""
    on_failure: Hook
    """Is called with the `cs.Outcome` of the run if it fails."""
    on_success: Hook
    """Is called with the `cs.Outcome` of the run if it succeeds."""


class ScriptOptions(SilentOptions, total=False):
    """What `cs.run` takes by name."""

    log_level: LogLevel
    """What is told on stderr; "SILENT" tells nothing."""
    log_format: LogFormat
    """ "human", or "json" for one JSON object a line."""
    connector: Any
    """What carries messages for `cs.recv`."""
    state_backend: Any
    """Where the run is recorded, so that it goes on after a crash."""
    run_id: str | None
    """By default a fresh one."""
    durability: Durability
    """How it is recorded."""
    on_change: OnChange
    """What becomes of recorded steps where the program has changed."""
    park: bool | float
    """Whether it gives up its process where it only waits, or from how many seconds on."""
    control: bool
    """Whether other processes of the same user may steer the run once it has lasted half a second."""
    record: str | PathLike[str] | None
    """The path of a page that shows what happened, written when the run has ended; by default none."""
