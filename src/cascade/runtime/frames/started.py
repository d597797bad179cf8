"""What was begun in place and goes on elsewhere: sub-flows, maps and loops of emitted code, first attempts."""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING, Any

from cascade.spec.signal import Signal

if TYPE_CHECKING:
    from cascade.runtime.admission.ticket import Ticket

__all__ = ["Attempted", "Started", "MapStarted", "LoopStarted", "SubflowStarted", "Uncommitted", "close"]


class Started:
    """An instruction that was begun in place and is to be carried out to its end."""

    __slots__ = ()

    def close(self) -> None:
        """Let go of what nobody came to await."""


class Attempted(Started):
    """A first attempt that was made in place under a policy: what it failed of, or a coroutine that it gave."""

    __slots__ = ("outcome", "ticket")

    def __init__(self, outcome: Exception | CoroutineType[Any, Any, Any], ticket: Ticket | None = None) -> None:
        self.outcome: Any = outcome
        self.ticket = ticket
        """What a constraint has let the coroutine in with."""

    @property
    def has_failed(self) -> bool:
        """Whether another attempt may follow."""
        return not isinstance(self.outcome, CoroutineType)

    async def end(self) -> Any:
        """Raise what it failed of, or await what it gave; once."""
        outcome, self.outcome = self.outcome, None
        try:
            if isinstance(outcome, CoroutineType):
                return await outcome
            raise outcome
        finally:
            del outcome  # its traceback leads here

    def close(self) -> None:
        """Close a coroutine that the function gave."""
        if isinstance(self.outcome, CoroutineType):
            self.outcome.close()


class MapStarted(Started):
    """A map whose function was called for items, all or the first, and returned more than a value for some."""

    __slots__ = ("is_all", "values")

    def __init__(self, values: list[Any], is_all: bool = True) -> None:
        self.values = values
        self.is_all = is_all
        """No item is left to be called for."""

    def close(self) -> None:
        """Close the coroutines that the function returned."""
        for value in self.values:
            if value.__class__ is CoroutineType:
                value.close()


class LoopStarted(Started):
    """A loop that has had some entries, and what the last of them returned."""

    __slots__ = ("args", "count", "kwargs", "value")

    def __init__(self, value: Any, count: int, args: Any, kwargs: dict[str, Any]) -> None:
        self.value = value
        self.count = count
        self.args = args
        """With which the last call was made."""
        self.kwargs = kwargs

    def close(self) -> None:
        """Close the coroutine that the function returned."""
        if self.value.__class__ is CoroutineType:
            self.value.close()


class SubflowStarted(Started):
    """A sub-flow that was begun: its frame, what is still to be done there, and what `run_ready` ended with."""

    __slots__ = ("_left",)

    def __init__(self, frame: Any, work: list[Any], deferred: list[Any], outcome: object) -> None:
        self._left: Any = (frame, work, deferred, outcome)
        """The outcome is this class where the work was not looked at yet."""

    def taken(self) -> tuple[Any, list[Any], list[Any], Any]:
        """Return all of it, once; who takes it lets go of the activation."""
        left: tuple[Any, list[Any], list[Any], Any] = self._left
        self._left = None
        return left

    def close(self) -> None:
        """Let go of what calls inside of it returned."""
        if self._left is not None:
            frame, _, deferred, _ = self.taken()
            for _, _, started in deferred:
                close(started)
            frame.activation.let_go()


class Uncommitted(Started, Signal):
    """What a call that was made in place gave, and nobody is to read before it is committed."""

    __slots__ = ("beside", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.beside: list[tuple[Any, int, Any]] = []
        """The others of the same pass and scope, which wait for the same commit."""

    def put_aside(self, frame: Any, i: int, deferred: list[tuple[Any, int, Any]]) -> None:
        """Wait with the last that was put aside, if that does the same."""
        if deferred:
            other, _, last = deferred[-1]
            if last.__class__ is Uncommitted and other.scope is frame.scope:
                last.beside.append((frame, i, self.value))
                return
        deferred.append((frame, i, self))


def close(started: object) -> None:
    """Let go of what a call put aside returned, if somebody would have had to await it."""
    if isinstance(started, (CoroutineType, Started)):
        started.close()
