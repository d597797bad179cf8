"""The kinds of steps that are recorded, and which are: of a task, and of a loop."""

from __future__ import annotations

from typing import Any

from cascade.runtime.frames.frame import NodeInstance
from cascade.spec.task import Task

__all__ = [
    "BEGUN",
    "ENTRY",
    "FAILED",
    "LEFT_OUT",
    "LOOP",
    "POSITION",
    "VALUE",
    "checkpoint_of",
    "has_history",
    "is_kept",
]

VALUE, LEFT_OUT, LOOP, FAILED, BEGUN, ENTRY = "value", "left out", "loop", "failed", "begun", "entry"
POSITION = "^"
"""Behind the key of a loop: where it is."""


def has_history(loop: NodeInstance | None) -> bool:
    """Say whether all entries of a loop are kept: its steps once more, each behind `@` and the entry."""
    config = None if loop is None else getattr(loop.graph.nodes[loop.number], "config", None)
    return config is not None and bool(config.history)


def checkpoint_of(loop: NodeInstance) -> str | None:
    """Return whether each entry of a loop is recorded ("entry") or one a turn ("turn"); None: as its entries allow."""
    config = getattr(loop.graph.nodes[loop.number], "config", None)
    if config is None:
        return None
    return "entry" if config.history else config.checkpoint


def is_kept(task: Task[..., Any]) -> bool:
    """Say whether the values of a task are recorded."""
    return not task.pure if task.record is None else task.record
