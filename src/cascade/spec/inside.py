"""The run that a piece of code is a part of: what tasks, their threads and the executors see of it.

One context variable, set once a run to its scope: tasks see the context of what runs them, in threads too. Once the run
has ended its scope holds no state of it, which a context that is left over would keep alive.
"""

from __future__ import annotations

from contextvars import Context, ContextVar
from typing import Any, Protocol
from weakref import WeakKeyDictionary

__all__ = ["Inside", "depth_here", "inside_of", "present", "waited_for"]


class Inside(Protocol):
    """What is known inside of one run, while it goes on."""

    name: str
    """The id of the run."""
    run: Any
    """The state of the run; None: it has ended."""
    loop: Any
    """The event loop that it runs on."""
    depth: int
    """How many runs there are around it."""
    outer: Inside | None
    """The run whose task has begun this one."""
    runs: set[Any]
    """The runs that its tasks have begun, but for what they have started as runs of their own."""
    idle: Any
    """A future for when there are none."""

    @property
    def awaited_by(self) -> Any:
        """The asyncio task that awaits the run; None: none does, that is known of."""

    def about_here(self) -> Any:
        """Return what is known of the call that this code is in, for a process that carries it out; and what hears it.

        That takes how far it has come (`report`) and, if it has a heartbeat, signs of life (`pulse`).
        """


waited_for: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
"""The asyncio tasks that a thread of a task does nothing but wait for, and its job."""
present: ContextVar[Inside | None] = ContextVar("cascade_inside", default=None)


def inside_of(context: Context | None = None) -> Inside | None:
    """Return what is known of the run that this code is a part of; None: there is none, or it has ended.

    Args:
        context: look there, and not where this is called.
    """
    inside = present.get() if context is None else context.get(present)
    return None if inside is None or inside.run is None else inside


def depth_here() -> int:
    """Return how many runs this code is inside of."""
    inside = inside_of()
    return 0 if inside is None else inside.depth + 1
