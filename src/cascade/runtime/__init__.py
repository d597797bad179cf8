"""Motion: the engine, the interpreter and the message bus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cascade.runtime.engine import Engine, Run
    from cascade.runtime.events.bus import MessageBus

__all__ = ["Engine", "MessageBus", "Run"]


def __getattr__(name: str) -> Any:
    """Import the engine, and asyncio with it, on first use."""
    from importlib import import_module

    rooms = {"Engine": "engine", "MessageBus": "events.bus", "Run": "engine"}
    if name not in rooms:
        raise AttributeError(f"module 'cascade.runtime' has no attribute {name!r}")
    return getattr(import_module(f"cascade.runtime.{rooms[name]}"), name)
