"""The kinds of steps that are recorded, and whether a loop keeps those of all its entries."""

from __future__ import annotations

from cascade.runtime.frames.frame import NodeInstance

__all__ = ["BEGUN", "ENTRY", "FAILED", "LEFT_OUT", "LOOP", "POSITION", "VALUE", "has_history"]

VALUE, LEFT_OUT, LOOP, FAILED, BEGUN, ENTRY = "value", "left out", "loop", "failed", "begun", "entry"
POSITION = "^"
"""Behind the key of a loop: where it is."""


def has_history(loop: NodeInstance | None) -> bool:
    """Say whether all entries of a loop are kept: its steps once more, each behind `@` and the entry."""
    config = None if loop is None else getattr(loop.graph.nodes[loop.number], "config", None)
    return config is not None and bool(config.history)
