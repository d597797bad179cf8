"""What a task may return that is not a value: the base of all signals, and the one absent value."""

from __future__ import annotations

from typing import ClassVar, Final, final

__all__ = ["UNSET", "Signal", "Unset", "uncrossable"]


class Signal:
    """Base of everything that means something to the engine when a task returns it."""

    __slots__ = ()
    is_lazy: ClassVar[bool] = False
    """Whether the object stands for a value that a run will have."""


@final
class Unset:
    """The type of `UNSET`, which stands for an option that was not given (None is a value)."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNSET"

    def __reduce__(self) -> str:
        return "UNSET"


UNSET: Final = Unset()


def uncrossable(error: BaseException) -> RuntimeError:
    """Return what comes out for a StopIteration or StopAsyncIteration, which would end the engine's own waiting."""
    return RuntimeError(
        f"a task raised {type(error).__name__}, which cannot cross an await; catch it in the task "
        "(next() takes a default)"
    )
