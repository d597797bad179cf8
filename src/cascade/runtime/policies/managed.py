"""Managed calls: what a policy knows of the call that it stands around, be that of a task or of a sub-flow."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Any

from cascade.runtime.admission.ticket import Ticket
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.cancel_scope import TimedScope
from cascade.runtime.frames.scope import Interrupted, NodeFailure
from cascade.runtime.frames.started import Attempted
from cascade.runtime.run.state import RunState
from cascade.spec.gate import Gate
from cascade.spec.lazy import Lazy
from cascade.spec.notes import note_more, spelled

__all__ = ["ManagedCall", "Work", "late"]

NO_POLICY = Gate()


class ManagedCall(ABC):
    """One call of a node under policies, or under the eyes of a subscriber, with all its attempts."""

    __slots__ = ("attempted", "call", "clock", "count", "deadline", "gate", "is_hit", "pulse", "run", "ticket")

    def __init__(self, run: RunState, call: Call, gate: Gate | None, ticket: Ticket | None = None) -> None:
        self.run = run
        self.call = call
        self.gate = NO_POLICY if gate is None else gate
        self.count = 1
        """Which attempt it is at."""
        self.is_hit = False
        """Whether a cache had its result."""
        self.attempted: Attempted | None = None
        """The first attempt, if it was made in place."""
        self.ticket = ticket
        """What limits and constraints have let the first attempt in with already."""
        self.deadline: TimedScope | None = None
        """What ends the attempt that is under way, if that has a timeout."""
        self.clock: TimedScope | None = None
        """What ends it when its budget of time is used up, if it has one."""
        self.pulse: Any = None
        """What ends it when it is silent for too long, if it has a heartbeat (`policies.heartbeat.Pulse`)."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What limits know it by."""

    @property
    def place(self) -> tuple[RunState, Call] | None:
        """What is said to be going on; None: only what is inside of it is."""
        return None

    @abstractmethod
    def make(self) -> Awaitable[Any]:
        """Make the call itself."""

    def attempt(self, work: Work) -> Awaitable[Any]:
        """Make one attempt, which has been let in; `work` is what is left to do."""
        if self.run.is_interrupted:
            self.call.scope.check()  # while it waited
        return work(self)

    def observe(self, work: Work) -> Awaitable[Any]:
        """Do the work, which is all attempts, and say how it ended."""
        return work(self)

    @property
    def is_here(self) -> bool:
        """Whether the time of an attempt begins at once, and passes on the thread of the event loop."""
        return True

    @property
    def has_given(self) -> bool:
        """Whether others had some of what it gives, so that it cannot begin again."""
        return False

    @abstractmethod
    def keyed(self) -> tuple[Any, Any, dict[str, Any]]:
        """Return what a cache tells the call by: a form, and the arguments by position and by name."""

    def is_kept(self, value: Any) -> bool:
        """Say whether a cache is to keep a result."""
        return not isinstance(value, Lazy | CoroutineType)  # the run refuses or awaits these


Work = Callable[[ManagedCall], Awaitable[Any]]
"""What a policy stands around: the next one inwards."""


def late(message: str, failure: BaseException | None) -> TimeoutError:
    """Return the error of an attempt that was too late or silent, and ended with `failure` or without."""
    late = TimeoutError(message)
    cause = failure.error if isinstance(failure, NodeFailure) else failure
    late.__cause__ = None if isinstance(failure, asyncio.CancelledError) else cause
    for other in failure.others if isinstance(failure, (NodeFailure, Interrupted)) else ():
        note_more(late, f"besides, a node failed as it was cancelled: {spelled(other)}")
    return late
